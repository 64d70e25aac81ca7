package lag_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/exporter/lag"
)

const remember = 7 * 24 * time.Hour

var epoch = time.UnixMilli(1_700_000_000_000)

func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * 1e9)) }

// partition is the truth: when each record was written, in seconds.
type partition []float64

// end is the offset that the next record has at a moment.
func (p partition) end(seconds float64) int64 { return int64(sort.SearchFloat64s(p, seconds)) }

// behind is how long before now the record at an offset was written.
func (p partition) behind(now float64, offset int64) float64 {
	if offset >= p.end(now) {
		return 0
	}
	return now - p[offset]
}

func steady(length, rate float64) (p partition) {
	for i := range int(length * rate) {
		p = append(p, float64(i)/rate)
	}
	return p
}

// bursts writes n records within a second, and then nothing for a while.
func bursts(length, every float64, n int) (p partition) {
	for start := 0.0; start < length; start += every {
		for i := range n {
			p = append(p, start+float64(i)/float64(n))
		}
	}
	return p
}

func random(length float64, r *rand.Rand) (p partition) {
	rate := 100.0
	for t := 0.0; t < length; t += r.ExpFloat64() / rate {
		if r.IntN(2000) == 0 {
			rate = math.Pow(10, 3*r.Float64()-1)
		}
		p = append(p, t)
	}
	return p
}

// within is the promise: two intervals between observations, or one part in twenty.
func within(got time.Duration, want, interval float64) bool {
	return math.Abs(got.Seconds()-want) <= max(2*interval, 0.05*want)
}

func TestLagInSecondsIsTheAgeOfTheOldestUnreadRecord(t *testing.T) {
	const interval, length = 10.0, 4 * 3600.0
	for name, p := range map[string]partition{
		"steady":        steady(length, 20),
		"bursts":        bursts(length, 600, 500),
		"idle for long": append(steady(600, 50), length-5),
		"any":           random(length, rand.New(rand.NewPCG(1, 1))),
	} {
		t.Run(name, func(t *testing.T) {
			var h lag.History
			for now := interval / 3; now < length; now += interval {
				h.Observe(at(now), p.end(now), remember)
				for _, back := range []float64{0, 1, 30, 400, 3000, 12_000} {
					offset := p.end(max(0, now-back))
					got, ok := h.Behind(at(now), offset)
					if want := p.behind(now, offset); ok && !within(got, want, interval) {
						t.Fatalf("%.0f s after the start: got %v for a record that is %.1f s old", now, got, want)
					}
					if seen := offset >= p.end(interval/3); ok != seen {
						t.Fatalf("%.0f s after the start: got an answer: %v, want one: %v, for a record of %.0f s ago", now, ok, seen, back)
					}
				}
			}
		})
	}
}

func TestAConsumerAtTheEndIsNotBehindHoweverLongNothingWasWritten(t *testing.T) {
	var h lag.History
	for i := range 1000 {
		h.Observe(at(float64(10*i)), 77, remember)
	}
	if got, ok := h.Behind(at(10_000), 77); got != 0 || !ok {
		t.Errorf("got %v, %v, want 0 and known", got, ok)
	}
	if got, ok := h.Behind(at(10_000), 76); ok {
		t.Errorf("got %v for a record that was written before the first observation, want no answer", got)
	}
	if got, ok := h.Behind(at(10_000), 78); ok {
		t.Errorf("got %v for an offset beyond the end, want no answer", got)
	}
}

func TestALogThatWasBegunAnewIsAnother(t *testing.T) {
	var h lag.History
	h.Observe(at(0), 100, remember)
	h.Observe(at(10), 200, remember)
	h.Observe(at(20), 50, remember)
	if got, ok := h.Behind(at(20), 40); ok {
		t.Errorf("got %v from the log that was deleted, want no answer", got)
	}
	h.Observe(at(30), 60, remember)
	if got, ok := h.Behind(at(30), 55); !ok || got > 10*time.Second {
		t.Errorf("got %v, %v, want what the new log tells", got, ok)
	}
}

func TestOneMissedObservationHidesNoAge(t *testing.T) {
	const interval = 15
	p := steady(600, 20)
	var h lag.History
	for now := 0.0; now < 600; now += interval {
		if now == 20*interval {
			continue
		}
		h.Observe(at(now), p.end(now), remember)
		for back := 1.0; back < now-interval; back += interval / 3 {
			offset := p.end(now - back)
			if when, more := h.Ask(at(now), offset, 0, interval*time.Second, remember); more {
				t.Fatalf("at %.0f s Kafka would be asked about %v, for a record of %.0f s ago", now, when, back)
			}
			if got, ok := h.Behind(at(now), offset); !ok || !within(got, p.behind(now, offset), interval) {
				t.Fatalf("at %.0f s: got %v, %v, for a record of %.0f s ago", now, got, ok, back)
			}
		}
	}
}

func TestAClockThatIsSetBackIsWaitedFor(t *testing.T) {
	var h lag.History
	h.Observe(at(100), 10, remember)
	h.Observe(at(110), 20, remember)
	h.Observe(at(50), 30, remember)
	if _, ok := h.Behind(at(50), 25); ok {
		t.Error("got an answer from an observation of the future")
	}
	h.Observe(at(120), 40, remember)
	if got, ok := h.Behind(at(120), 30); !ok || got > 10*time.Second {
		t.Errorf("got %v, %v once the clock is right again, want at most 10 s", got, ok)
	}
}

// answer is what Kafka says about a moment: the first record that is not older, and its time.
func (p partition) answer(h *lag.History, about time.Time) {
	offset := p.end(about.Sub(epoch).Seconds())
	var written time.Time
	if int(offset) < len(p) {
		written = at(p[offset])
	}
	h.Learn(about, offset, written)
}

// After a restart nothing is remembered; a few questions to Kafka make up for it.
func TestAfterARestartKafkaIsAskedAFewTimes(t *testing.T) {
	const length, interval = 48 * 3600.0, 15
	r := rand.New(rand.NewPCG(2, 2))
	for name, tt := range map[string]struct {
		partition
		typical, most int
	}{
		"steady":       {steady(length, 2), 3, 3},
		"begun lately": {steady(3600, 20), 3, 3},
		"bursts":       {bursts(length, 1800, 500), 3, 4},
		"idle":         {append(steady(600, 50), length-5), 3, 15},
		"any":          {random(length/4, r), 5, 15},
	} {
		t.Run(name, func(t *testing.T) {
			p := tt.partition
			now := p[len(p)-1] + 1
			var counts []int
			for range 200 {
				want := math.Exp(r.Float64() * math.Log(now))
				var h lag.History
				h.Observe(at(now), p.end(now), remember)
				offset := min(p.end(now-want), int64(len(p)-1))
				want = p.behind(now, offset)
				asked := 0
				for {
					moment, more := h.Ask(at(now), offset, 0, interval*time.Second, remember)
					if !more {
						break
					}
					if asked++; asked > tt.most {
						t.Fatalf("asked %d times about a record that is %.0f s old", asked, want)
					}
					p.answer(&h, moment)
				}
				counts = append(counts, asked)
				if got, ok := h.Behind(at(now), offset); !ok || !within(got, want, interval) {
					t.Errorf("got %v, %v for a record that is %.1f s old, after %d questions", got, ok, want, asked)
				}
			}
			slices.Sort(counts)
			if median := counts[len(counts)/2]; median > tt.typical {
				t.Errorf("want %d questions for half of the records at most, got %d", tt.typical, median)
			}
			t.Logf("questions: half of the records need %d at most, all %d", counts[len(counts)/2], counts[len(counts)-1])
		})
	}
}

func TestWhatIsOlderThanRememberedIsGivenUp(t *testing.T) {
	var h lag.History
	h.Observe(at(1e6), 1000, time.Hour)
	asked := 0
	for {
		moment, more := h.Ask(at(1e6), 3, 0, time.Second, time.Hour)
		if !more {
			break
		}
		if asked++; asked > 20 {
			t.Fatal("asked without an end")
		}
		h.Learn(moment, 900, moment) // all of the last hour is far ahead
	}
	if got, ok := h.Behind(at(1e6), 3); ok {
		t.Errorf("got %v, want no answer", got)
	}
}

func TestProducersClocksThatDisagreeNeverMakeTheEndShrink(t *testing.T) {
	var h lag.History
	h.Observe(at(1000), 500, remember)
	h.Learn(at(900), 600, at(1100)) // a record from the future
	h.Learn(at(800), 400, at(950))
	h.Learn(at(700), 450, at(710))
	last := time.Duration(math.MaxInt64)
	for offset := range int64(500) {
		if got, ok := h.Behind(at(1000), offset); ok {
			if got > last {
				t.Fatalf("record %d is said to be %v old, the one before it %v", offset, got, last)
			}
			last = got
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, rate := range []int64{0, 1000} {
		b.Run(fmt.Sprintf("%d a second", rate), func(b *testing.B) {
			var h lag.History
			b.ReportAllocs()
			for i := range int64(b.N) {
				h.Observe(at(float64(15*i)), rate*15*i, 24*time.Hour)
			}
			b.ReportMetric(float64(h.Len()), "moments")
		})
	}
}
