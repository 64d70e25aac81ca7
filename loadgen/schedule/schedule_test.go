package schedule_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

func mustNew(t *testing.T, start time.Duration, rate, offset float64) *schedule.Schedule {
	t.Helper()
	s, err := schedule.New(start, rate, offset)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRecordIIsDueAtStartPlusIOverRate(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 7, 997, 1000, 1234.567, 44100, 100000} {
		s := mustNew(t, time.Second, rate, 0)
		steps := min(int(rate*100), 300000)
		for i := range steps {
			want := time.Second + time.Duration(math.Round(float64(i)/rate*1e9))
			if got := s.Next(); got != want {
				t.Fatalf("rate %v, record %d: got %v, want %v", rate, i, got, want)
			}
			if _, ok := s.Take(want - 1); ok {
				t.Fatalf("rate %v, record %d: taken before it was due", rate, i)
			}
			if at, ok := s.Take(want); !ok || at != want {
				t.Fatalf("rate %v, record %d: got %v, %v when it was due at %v", rate, i, at, ok, want)
			}
		}
	}
}

func TestOfferedInEverySecondIsExact(t *testing.T) {
	for _, rate := range []float64{1000, 10000, 99999} {
		s := mustNew(t, 0, rate, 0.5)
		before := uint64(0)
		for second := 1; second <= 600; second++ {
			issued := s.Skip(time.Duration(second)*time.Second - 1)
			before += issued
			if math.Abs(float64(issued)-rate) > 1 {
				t.Fatalf("rate %v, second %d: got %d records", rate, second, issued)
			}
		}
		if math.Abs(float64(before)-600*rate) > 1 {
			t.Errorf("rate %v over ten minutes: got %d records, want %.0f", rate, before, 600*rate)
		}
	}
}

func TestLateRecordsKeepTheirOwnTimes(t *testing.T) {
	s := mustNew(t, 0, 1000, 0)
	const late = 3 * time.Second
	if due := s.Due(late); due != 3001 {
		t.Fatalf("got %d due after %v, want 3001", due, late)
	}
	for i := range 3001 {
		at, ok := s.Take(late)
		if want := time.Duration(i) * time.Millisecond; !ok || at != want {
			t.Fatalf("record %d: got %v, %v, want %v", i, at, ok, want)
		}
	}
	if _, ok := s.Take(late); ok {
		t.Error("a record was given out that was not due")
	}
}

func TestChangeOfRateNeitherLosesNorBunches(t *testing.T) {
	for name, change := range map[string][]struct {
		at   time.Duration
		rate float64
	}{
		"up in mid interval":           {{10500 * time.Microsecond, 2000}},
		"down in mid interval":         {{10250 * time.Microsecond, 10}},
		"up and down at the same time": {{10500 * time.Microsecond, 5000}, {10500 * time.Microsecond, 500}},
		"to a standstill and back":     {{10500 * time.Microsecond, 0}, {20500 * time.Microsecond, 1000}},
		"twice within one interval":    {{10100 * time.Microsecond, 500}, {10200 * time.Microsecond, 2000}},
		"exactly when one is due":      {{10 * time.Millisecond, 250}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, 0, 1000, 0)
			// What has to come is the integral of the rate, plus the record at time zero.
			integral, last, rate := 1.0, time.Duration(0), 1000.0
			for _, c := range change {
				if err := s.SetRate(c.at, c.rate); err != nil {
					t.Fatal(err)
				}
				integral += rate * (c.at - last).Seconds()
				last, rate = c.at, c.rate
			}
			for ms := range 200 {
				now := last + time.Duration(ms)*time.Millisecond
				want := integral + rate*(now-last).Seconds()
				if got := float64(s.Due(now)); math.Abs(got-math.Floor(want+1e-9)) > 1e-9 {
					t.Fatalf("at %v: got %v due, want the whole part of %v", now, got, want)
				}
			}
			end := last + 200*time.Millisecond
			before, lowest := time.Duration(-1), 1e9/5000.0
			for at, ok := s.Take(end); ok; at, ok = s.Take(end) {
				if before >= 0 && float64(at-before) < lowest-2 {
					t.Fatalf("records at %v and %v are closer than any rate allows", before, at)
				}
				before = at
			}
		})
	}
}

func TestRandomChangesKeepTheIntegral(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := mustNew(t, 0, 100, 0)
	integral, now, rate := 1.0, time.Duration(0), 100.0
	var taken, skipped uint64
	for range 20000 {
		step := time.Duration(r.Int64N(int64(20 * time.Millisecond)))
		integral += rate * step.Seconds()
		now += step
		switch r.IntN(4) {
		case 0: // the sender is late and takes nothing
		case 1:
			skipped += s.Skip(now - 5*time.Millisecond)
		default:
			for _, ok := s.Take(now); ok; _, ok = s.Take(now) {
				taken++
			}
		}
		rate = r.Float64() * 5000
		if err := s.SetRate(now, rate); err != nil {
			t.Fatal(err)
		}
	}
	taken += s.Due(now)
	if got := float64(taken + skipped); math.Abs(got-integral) > 1.001 {
		t.Errorf("got %.0f records, want the integral %.3f", got, integral)
	}
}

func TestSharesOfOneRateAreEvenlySpaced(t *testing.T) {
	const n, rate = 4, 1000.0
	var all []time.Duration
	for i := range n {
		s := mustNew(t, 0, rate/n, float64(i)/n)
		for at, ok := s.Take(time.Second); ok; at, ok = s.Take(time.Second) {
			all = append(all, at)
		}
	}
	seen := make(map[time.Duration]bool)
	for _, at := range all {
		if seen[at] || at%time.Millisecond != 0 {
			t.Fatalf("got a record at %v, want one at each whole millisecond", at)
		}
		seen[at] = true
	}
}

func TestBadRatesAreRefused(t *testing.T) {
	s := mustNew(t, 0, 1, 0)
	for _, rate := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := schedule.New(0, rate, 0); err == nil {
			t.Errorf("New took rate %v", rate)
		}
		if err := s.SetRate(0, rate); err == nil {
			t.Errorf("SetRate took rate %v", rate)
		}
	}
	for _, offset := range []float64{-0.1, 1.1, math.NaN()} {
		if _, err := schedule.New(0, 1, offset); err == nil {
			t.Errorf("New took offset %v", offset)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	s, err := schedule.New(0, 1e6, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Take(schedule.Never - 1)
	}
}
