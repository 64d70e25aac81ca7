package schedule_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

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
		"exactly when one is due":      {{10 * ms, 250}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, constant(1000), 0, 0, 1)
			// What has to come is the integral of the rate, plus the record at time zero.
			integral, last, rate := 1.0, time.Duration(0), 1000.0
			for _, c := range change {
				if err := s.SetRate(c.at, c.rate); err != nil {
					t.Fatal(err)
				}
				integral += rate * (c.at - last).Seconds()
				last, rate = c.at, c.rate
				if got := s.RateAt(c.at); got != rate {
					t.Errorf("rate at %v: got %v, want the %v that was set", c.at, got, rate)
				}
			}
			for i := range 200 {
				now := last + time.Duration(i)*ms
				want := integral + rate*(now-last).Seconds()
				if got := float64(s.Due(now)); math.Abs(got-math.Floor(want+1e-9)) > 1e-9 {
					t.Fatalf("at %v: got %v due, want the whole part of %v", now, got, want)
				}
			}
			end := last + 200*ms
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

// What has been offered is a counter: it must not fall when the rate does, whatever is rounded.
func TestWhatIsDueStaysDueWhenTheRateIsSet(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range []schedule.Config{constant(3e8), {Shape: schedule.Poisson, Rate: 3e8}} {
		for range 1000 {
			s := mustNew(t, c, 0, 0, 1)
			now := time.Duration(r.Int64N(100))
			before := s.Due(now)
			for range 3 {
				if err := s.SetRate(now, []float64{0, 1, 1e9}[r.IntN(3)]); err != nil {
					t.Fatal(err)
				}
				got := s.Due(now)
				if got < before { // more there may be: what was to come within the nanosecond
					t.Fatalf("%s: got %d due at %v after the rate was set, want at least the %d of before", c.Shape, got, now, before)
				}
				before = got
			}
		}
	}
}

func TestRandomChangesKeepTheIntegral(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := mustNew(t, constant(100), 0, 0, 1)
	integral, now, rate := 1.0, time.Duration(0), 100.0
	var taken, skipped uint64
	for range 5000 {
		step := time.Duration(r.Int64N(int64(20 * ms)))
		integral += rate * step.Seconds()
		now += step
		switch r.IntN(4) {
		case 0: // the sender is late and takes nothing
		case 1:
			skipped += s.Skip(now - 5*ms)
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

func TestAtRateZeroNothingComes(t *testing.T) {
	s := mustNew(t, constant(10), 0, 0, 1)
	s.Skip(time.Second)
	if err := s.SetRate(time.Second, 0); err != nil {
		t.Fatal(err)
	}
	if at, ok := s.Take(schedule.Never); ok || s.Next() != schedule.Never || s.Due(schedule.Never) != 0 {
		t.Errorf("got a record at %v (%v), next %v and %d due, want never and none", at, ok, s.Next(), s.Due(schedule.Never))
	}
	s = mustNew(t, stages(schedule.Stage{Rate: 1, Duration: time.Second}, schedule.Stage{}), -time.Minute, 0, 1)
	if s.Skip(0) != 1 || s.Next() != schedule.Never {
		t.Errorf("after the last stage got a record at %v, want never", s.Next())
	}
}

func TestRateSetBeforeTheOriginCountsFromThere(t *testing.T) {
	s := mustNew(t, constant(1), time.Minute, 0, 1)
	if err := s.SetRate(time.Second, 100); err != nil {
		t.Fatal(err)
	}
	if got := s.Due(time.Minute + time.Second - 1); got != 100 {
		t.Errorf("got %d records in the first second, want 100", got)
	}
}

func TestRatesThatCannotBeSetAreRefused(t *testing.T) {
	s := mustNew(t, constant(1), 0, 0, 1)
	for _, rate := range []float64{-1, math.NaN(), math.Inf(1), 1.1e9} {
		if err := s.SetRate(0, rate); err == nil || !strings.Contains(err.Error(), "rate: must be 0 or more and at most 1e+09 records/s (got ") {
			t.Errorf("rate %v: got %v", rate, err)
		}
	}
	for name, c := range map[string]schedule.Config{
		"steps": stages(schedule.Stage{Rate: 1}), "sine": fixed()["sine"], "ramp": fixed()["ramp"], "burst": fixed()["bursts"],
		"closed": {Shape: schedule.Closed, InFlight: 1},
	} {
		if err := mustNew(t, c, 0, 0, 1).SetRate(0, 1); err == nil || !strings.Contains(err.Error(), "(got "+name+")") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
