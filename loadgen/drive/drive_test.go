package drive_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/slo"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

const ms = time.Millisecond

// broker is a stand-in for a cluster: it acknowledges and delivers each record after a while, or not at all.
type broker struct {
	latency time.Duration
	// down says whether the broker stands still, and until when.
	down   func(at time.Duration) (until time.Duration, is bool)
	refuse func(r *drive.Record) error
	groups int // that read; 0: one
	engine *drive.Engine
	start  time.Time

	mu   sync.Mutex
	ends map[int32]int64
}

// next is the offset that the next record of a partition gets.
func (b *broker) next(partition int32) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ends == nil {
		b.ends = make(map[int32]int64)
	}
	b.ends[partition]++
	return b.ends[partition] - 1
}

type sink struct {
	b    *broker
	in   chan *drive.Record
	done chan struct{}
}

func (b *broker) Open(_ int, done func([]*drive.Record, error)) (drive.Sink, error) {
	s := &sink{b: b, in: make(chan *drive.Record, 100000), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for r := range s.in {
			if until, is := b.down(time.Since(b.start)); is {
				time.Sleep(until - time.Since(b.start))
			}
			// Records come in order and each takes the same time, so waiting for the oldest is enough.
			if wait := r.Sent + b.latency - b.engine.Clock().Now(); wait > 0 {
				time.Sleep(wait)
			}
			if b.refuse != nil {
				if err := b.refuse(r); err != nil {
					done([]*drive.Record{r}, err)
					continue
				}
			}
			offset := b.next(r.Partition)
			for g := range max(1, b.groups) {
				b.engine.Arrived(drive.Arrival{Group: g, Partition: r.Partition, Offset: offset, Value: r.Value, Stamp: r.Header})
			}
			done([]*drive.Record{r}, nil)
		}
	}()
	return s, nil
}

func (s *sink) Send(_ context.Context, r *drive.Record) bool {
	s.in <- r
	return true
}

func (s *sink) Close(context.Context) error {
	close(s.in)
	<-s.done
	return nil
}

func never(time.Duration) (time.Duration, bool) { return 0, false }

func between(from, to time.Duration) func(time.Duration) (time.Duration, bool) {
	return func(at time.Duration) (time.Duration, bool) { return to, at >= from && at < to }
}

func mustWorkload(t *testing.T, text string) workload.Workload {
	t.Helper()
	w, err := workload.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// play runs an engine against a stand-in for the given time.
func play(t *testing.T, c drive.Config, b *broker, length time.Duration, step func(slo.Observation) float64) *drive.Engine {
	t.Helper()
	c.Topic, c.Run = "lab", 7
	if c.Sleep == nil {
		c.Sleep = time.Sleep
	}
	if c.Partitions == 0 {
		c.Partitions = c.Workload.Topic.Partitions
	}
	e, err := drive.New(c)
	if err != nil {
		t.Fatal(err)
	}
	b.engine, b.start = e, time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	watching, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := e.Watch(watching, step); err != nil {
			t.Error(err)
		}
	})
	if err := e.Run(ctx, b, 5*time.Second); err != nil {
		t.Error(err)
	}
	stop()
	group.Wait()
	return e
}

const small = "name: small\npayload: {bytes: 100}\nwarmup: 0s\ntopic: {partitions: 1}\n"

// withoutRaceDetector leaves to a run without it what takes it minutes: a hundred thousand records, in simulated time. The same goroutines do the same with
// fewer records in the other tests.
func withoutRaceDetector(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("too many records for the race detector; .ci/unit runs it without")
	}
}

// In 60 s at 1000 records/s a stall of 3 s delays 3000 records by up to 3 s: with 5 % of all delayed, the 99th percentile is at the slowest
// fifth of those, 2.4 s, plus what the broker always takes. The client's bound on records in flight must not change that.
func TestScaleAStallShowsInFullInTheResponseTime(t *testing.T) {
	t.Parallel()
	for name, inFlight := range map[string]string{"with ample room in the client": "10000", "with room for 10 records": "10", "with room for 50": "50", "with room for 300": "300", "with room for 2500": "2500"} {
		t.Run(name, func(t *testing.T) {
			if inFlight != "50" {
				withoutRaceDetector(t)
			}
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := mustWorkload(t, small+"producer: {clients: 1, in_flight: "+inFlight+"}\n")
				b := &broker{latency: ms, down: between(20*time.Second, 23*time.Second)}
				e := play(t, drive.Config{Workload: w, Rate: 1000, Catchup: time.Minute}, b, time.Minute, nil)
				total := e.Totals()
				if total.Acked != total.Offered || math.Abs(float64(total.Offered)-60000) > 60 {
					t.Errorf("got %d offered and %d acknowledged, want 60000 of both", total.Offered, total.Acked)
				}
				const want = 2401 * ms
				got, _ := total.Response.Quantile(0.99)
				if math.Abs(float64(got)/float64(want)-1) > 0.05 {
					t.Errorf("response time: got a P99 of %v, want %v within 5%%", got, want)
				}
				if got, _ := total.EndToEnd.Quantile(0.99); math.Abs(float64(got)/float64(want)-1) > 0.05 {
					t.Errorf("end to end: got a P99 of %v, want %v within 5%%", got, want)
				}
				service, _ := total.Service.Quantile(0.99)
				lag, _ := total.Lag.Quantile(0.99)
				if inFlight == "50" && (service > want/2 || lag < want/2) {
					t.Errorf("with little room the delay is lag, not service: got service %v, lag %v", service, lag)
				}
			})
		})
	}
}

func TestScaleTheScheduleIsKept(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{100, 1000, 10000, 100000} {
		if rate > 1000 {
			withoutRaceDetector(t)
		}
		synctest.Test(t, func(t *testing.T) {
			w := mustWorkload(t, small+"producer: {clients: 4, in_flight: 4000}\n")
			b := &broker{latency: ms, down: never}
			e := play(t, drive.Config{Workload: w, Rate: rate, Catchup: time.Minute}, b, 10*time.Second, nil)
			total := e.Totals()
			if off := math.Abs(float64(total.Sent)/(rate*10) - 1); off > 0.001 || total.Offered != total.Sent {
				t.Errorf("rate %v: got %d offered and %d sent in 10 s", rate, total.Offered, total.Sent)
			}
			r, err := e.Report()
			if err != nil {
				t.Fatal(err)
			}
			whole := 0
			for _, p := range r.Series.Points {
				if p.Seconds < 0.99 {
					continue
				}
				whole++
				// One record at the edge of a second may be in the next.
				if off := math.Abs(float64(p.Sent) - rate*p.Seconds); off > max(1, 0.01*rate) {
					t.Errorf("rate %v: got %d sent in a second of %v s", rate, p.Sent, p.Seconds)
				}
			}
			if whole < 9 {
				t.Errorf("rate %v: got %d whole seconds of ten", rate, whole)
			}
			if lag, _ := total.Lag.Quantile(0.99); lag > 2*ms {
				t.Errorf("rate %v: got a schedule lag of %v", rate, lag)
			}
		})
	}
}

func TestEveryRecordIsAcknowledgedOrFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, "name: w\npayload: {bytes: 100}\nwarmup: 2s\ntopic: {partitions: 3}\nproducer: {clients: 2, in_flight: 100, give_up: 1s}\n")
		var n atomic.Int64 // each client of the broker has a goroutine
		b := &broker{latency: ms, down: between(3*time.Second, 8*time.Second), refuse: func(*drive.Record) error {
			if n.Add(1)%100 == 0 {
				return errors.New("refused")
			}
			return nil
		}}
		e := play(t, drive.Config{Workload: w, Rate: 500, Catchup: time.Second}, b, 10*time.Second, nil)
		e.Settle(t.Context(), time.Second)
		total := e.Totals()
		if total.Offered != total.Acked+total.Failed {
			t.Errorf("got %d offered, %d acknowledged, %d failed: they do not add up", total.Offered, total.Acked, total.Failed)
		}
		if total.Failed < 4*500*95/100 {
			t.Errorf("got %d failed, want those of four seconds of a five-second outage, and each hundredth", total.Failed)
		}
		if total.Consumed != total.EndToEnd.Count() || total.Consumed != total.Acked {
			t.Errorf("got %d consumed, %d with a latency, %d acknowledged: want the same", total.Consumed, total.EndToEnd.Count(), total.Acked)
		}
		if e.Outstanding() != 0 || e.InFlight() != 0 {
			t.Errorf("got %d outstanding and %d in flight at the end", e.Outstanding(), e.InFlight())
		}
	})
}

func TestAfterAnOutageTheScheduleStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small+"producer: {clients: 1, in_flight: 200}\n")
		b := &broker{latency: ms, down: between(10*time.Second, 20*time.Second)}
		e := play(t, drive.Config{Workload: w, Rate: 1000, Catchup: time.Second, Restart: true}, b, 30*time.Second, nil)
		total := e.Totals()
		if failed := float64(total.Failed); math.Abs(failed-9800) > 100 {
			t.Errorf("got %v failed, want the 10000 of the outage less the 200 that were under way", failed)
		}
		if slowest, _ := total.Response.Quantile(1); slowest < 9*time.Second {
			t.Errorf("got a slowest response of %v, want the outage to show", slowest)
		}
		if got := total.Acked; math.Abs(float64(got)-20200) > 100 {
			t.Errorf("got %d acknowledged, want 20200", got)
		}
	})
}

func TestScaleSLOModeRidesThroughAnOutage(t *testing.T) {
	withoutRaceDetector(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small+"producer: {clients: 2, in_flight: 500}\n")
		b := &broker{latency: 5 * ms, down: between(40*time.Second, 50*time.Second)}
		c, err := slo.New(slo.Config{SLO: 100 * ms, Start: 50, Min: 10, Max: 2000})
		if err != nil {
			t.Fatal(err)
		}
		var rates []float64
		play(t, drive.Config{Workload: w, Rate: 50, Catchup: time.Second, Restart: true}, b, 90*time.Second, func(o slo.Observation) float64 {
			rates = append(rates, c.Step(o))
			return rates[len(rates)-1]
		})
		perSecond := int(time.Second / slo.Tick)
		for _, at := range []int{35, 80} {
			if got := rates[at*perSecond]; got < 1900 {
				t.Errorf("after %d s: got a rate of %.0f, want the highest allowed, 2000", at, got)
			}
		}
	})
}

func TestFaultsAndForeignRecordsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small+"producer: {clients: 1}\n")
		b := &broker{latency: ms, down: never}
		e := play(t, drive.Config{Workload: w, Rate: 100, Catchup: time.Second}, b, time.Second, nil)
		before := e.Totals().Consumed
		damaged := make([]byte, 100)
		stamp.Put(damaged, stamp.Stamp{Run: 7, Producer: 0, Sequence: 1000, Wall: time.Now().UnixNano()}, 0)
		e.Arrived(drive.Arrival{Offset: 1000, Value: damaged})            // its body does not match
		e.Arrived(drive.Arrival{Offset: 1001, Value: []byte("not ours")}) // another program's
		future := make([]byte, stamp.Size)
		stamp.Put(future, stamp.Stamp{Run: 8, Wall: time.Now().Add(time.Hour).UnixNano()}, stamp.Sum(nil))
		e.Arrived(drive.Arrival{Offset: 1002, Value: future}) // another machine's clock is ahead
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(drive.NewCollector(e, 0))
		for name, want := range map[string]float64{"loadgen_records_corrupted_total": 1, "loadgen_records_foreign_total": 1, "loadgen_clock_skew_total": 1} {
			if got := value(t, registry, name); got != want {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
		if got := e.Totals().Consumed; got != before+2 {
			t.Errorf("got %d consumed, want %d: the damaged one and the early one have latencies too", got, before+2)
		}
	})
}

func value(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			sum := 0.0
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestMetricsAreThoseOfTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, "name: w\npayload: {bytes: 100}\nwarmup: 2s\ntopic: {partitions: 3}\n")
		b := &broker{latency: ms, down: never}
		e := play(t, drive.Config{Workload: w, Rate: 100, Catchup: time.Second}, b, 5*time.Second, nil)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(drive.NewCollector(e, 250*ms))
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range families {
			names = append(names, f.GetName())
			for _, m := range f.GetMetric() {
				if label(m, "workload") != "w" {
					t.Errorf("%s has no label workload", f.GetName())
				}
				if h := m.GetHistogram(); h != nil && (h.GetSchema() != 6 || len(h.GetBucket()) == 0) {
					t.Errorf("%s: want native buckets of schema 6 and classic ones, got schema %d and %d", f.GetName(), h.GetSchema(), len(h.GetBucket()))
				}
			}
		}
		for _, want := range []string{
			"response_seconds", "service_seconds", "schedule_lag_seconds", "end_to_end_seconds",
			"records_offered_total", "records_sent_total", "records_acked_total", "records_failed_total", "records_retried_total", "records_consumed_total",
			"records_lost_total", "records_duplicated_total", "records_reordered_total", "records_corrupted_total",
			"acked_bytes_total", "consumed_bytes_total", "clock_skew_total", "target_rate", "slo_seconds", "generator_limited", "inflight_records",
			"records_aborted_total", "start_timestamp_seconds",
		} {
			if !slices.Contains(names, "loadgen_"+want) {
				t.Errorf("loadgen_%s is missing", want)
			}
		}
		for phase, want := range map[string]float64{"warmup": 200, "measure": 300} {
			for _, name := range []string{"loadgen_records_offered_total", "loadgen_records_acked_total", "loadgen_records_consumed_total"} {
				if got := ofPhase(families, name, phase); math.Abs(got-want) > 2 {
					t.Errorf("%s, %s: got %v, want %v", name, phase, got, want)
				}
			}
		}
	})
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func ofPhase(families []*dto.MetricFamily, name, phase string) float64 {
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label(m, "phase") == phase {
				return m.GetCounter().GetValue()
			}
		}
	}
	return math.NaN()
}

func TestReadyMeansAcknowledgedAndConsumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small)
		e, err := drive.New(drive.Config{Sleep: time.Sleep, Workload: w, Topic: "lab", Partitions: 1, Rate: 10, Run: 7, Catchup: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if e.Ready() == nil {
			t.Error("ready before anything was sent")
		}
		b := &broker{latency: ms, down: between(10*time.Second, 60*time.Second)}
		e = play(t, drive.Config{Workload: w, Rate: 100, Catchup: time.Second}, b, 5*time.Second, nil)
		if err := e.Ready(); err != nil {
			t.Errorf("not ready while all is well: %v", err)
		}
		time.Sleep(10 * time.Second)
		if e.Ready() == nil {
			t.Error("ready ten seconds after the last record")
		}
	})
}
