package probe

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// A broker that answers in 2 ms stands still for 3 s in a minute. A client that counts from when it sent sees next to nothing of it, because
// it had to wait with sending; counted from when the records were due it is there.
func TestAStallShowsInTheTail(t *testing.T) {
	for name, outstanding := range map[string]int{
		"with a client that blocks when 300 records are out": 300,
		"with one that never blocks":                         math.MaxInt32,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const every, service, stall = time.Millisecond, 2 * time.Millisecond, 3 * time.Second
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute-every/2)
				defer cancel()
				m := newMeasured()
				began := time.Now()
				stalled, over := began.Add(20*time.Second), began.Add(20*time.Second+stall)
				slots := make(chan struct{}, min(outstanding, 1e5))
				var mu sync.Mutex
				var sinceSent []time.Duration
				var answers sync.WaitGroup
				paced(ctx, began, every, 10*time.Second, func(due time.Time) {
					slots <- struct{}{}
					sent := time.Now()
					answers.Go(func() {
						if now := time.Now(); !now.Before(stalled) && now.Before(over) {
							time.Sleep(time.Until(over))
						}
						time.Sleep(service)
						m.produced(1, time.Since(due), 0, 0)
						mu.Lock()
						sinceSent = append(sinceSent, time.Since(sent))
						mu.Unlock()
						<-slots
					})
				}, func(n int) { t.Errorf("want every record sent, %d were left out", n) })
				answers.Wait()

				slices.Sort(sinceSent)
				if n := len(sinceSent); n != 60000 {
					t.Fatalf("want 60000 records, got %d", n)
				}
				if outstanding == 300 {
					if p99 := sinceSent[len(sinceSent)*99/100]; p99 > 100*time.Millisecond {
						t.Errorf("want a P99 from sending that hides the stall, or this test shows nothing; got %s", p99)
					}
				}
				// 600 of the 3000 records of the stall are the slowest of a hundred: they waited for more than 2.4 s.
				if p99 := quantile(t, m, 0.99); p99 < 2.4*0.95 || p99 > 2.45*1.05 {
					t.Errorf("want a P99 of 2.4 s, got %.3f s", p99)
				}
				if p50 := quantile(t, m, 0.5); p50 < 0.0019 || p50 > 0.0022 {
					t.Errorf("want a median of 2 ms, got %.5f s", p50)
				}
			})
		})
	}
}

// quantile of the native histogram of produce latencies to broker 1, in the middle of its bucket.
func quantile(t *testing.T, m *measured, q float64) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.produce.WithLabelValues("1").(interface{ Write(*dto.Metric) error }).Write(&out); err != nil {
		t.Fatal(err)
	}
	h := out.Histogram
	growth := math.Exp2(math.Exp2(-float64(h.GetSchema())))
	if growth > 1.1 {
		t.Errorf("want buckets that grow by 1.1 at most, got %.3f", growth)
	}
	rank := q * float64(h.GetSampleCount())
	index, delta, count, cumulated := int32(0), 0, int64(0), float64(h.GetZeroCount())
	for _, span := range h.PositiveSpan {
		index += span.GetOffset()
		for range span.GetLength() {
			count += h.PositiveDelta[delta]
			delta++
			if cumulated += float64(count); cumulated >= rank {
				return math.Pow(growth, float64(index)-0.5)
			}
			index++
		}
	}
	t.Fatalf("no bucket for %v of %d samples", q, h.GetSampleCount())
	return 0
}

func TestTheScheduleIsKept(t *testing.T) {
	const every, patience = 100 * time.Millisecond, time.Second
	for name, tt := range map[string]struct {
		takes                func(n int) time.Duration // the n-th call
		calls, leftOut, late int
	}{
		"by calls that take no time":          {func(int) time.Duration { return 0 }, 100, 0, 0},
		"by calls that take half an interval": {func(int) time.Duration { return every / 2 }, 100, 0, 0},
		"after one that took five intervals": {func(n int) time.Duration {
			if n == 10 {
				return 5 * every
			}
			return 0
		}, 100, 0, 4},
		"after one that outlasted the patience": {func(n int) time.Duration {
			if n == 10 {
				return 50 * every
			}
			return 0
		}, 61, 39, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithDeadline(t.Context(), began.Add(10*time.Second))
				defer cancel()
				var calls, leftOut, late int
				seen := map[time.Duration]bool{}
				paced(ctx, began.Add(every/4), every, patience, func(due time.Time) {
					at := due.Sub(began) - every/4
					if at%every != 0 || seen[at] {
						t.Errorf("want each moment of the schedule once, got %s", at)
					}
					seen[at] = true
					if time.Since(due) < 0 {
						t.Errorf("called %s too early", -time.Since(due))
					}
					if time.Since(due) > 0 {
						late++
					}
					time.Sleep(tt.takes(calls))
					calls++
				}, func(n int) { leftOut += n })
				if calls != tt.calls || leftOut != tt.leftOut || late != tt.late {
					t.Errorf("want %d calls, %d left out, %d late; got %d, %d, %d", tt.calls, tt.leftOut, tt.late, calls, leftOut, late)
				}
			})
		})
	}
}
