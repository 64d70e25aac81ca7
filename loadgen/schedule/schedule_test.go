package schedule_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

// fixed are the shapes whose times are fixed, a few thousand records in ten seconds each.
func fixed() map[string]schedule.Config {
	return map[string]schedule.Config{
		"constant":            constant(997.3),
		"ramp":                {Shape: schedule.Ramp, Rate: 10, To: 1000, Over: 7 * time.Second},
		"ramp to nothing":     {Shape: schedule.Ramp, Rate: 1000, Over: 7 * time.Second},
		"steps":               stages(schedule.Stage{Rate: 333.3, Duration: time.Second}, schedule.Stage{Duration: time.Second}, schedule.Stage{Rate: 700}),
		"steps in rounds":     stages(schedule.Stage{Rate: 33.3, Duration: 700 * ms}, schedule.Stage{Rate: 1e6, Duration: ms}, schedule.Stage{Duration: 123 * ms}),
		"sine":                {Shape: schedule.Sine, Rate: 400, Amplitude: 400, Period: 3 * time.Second},
		"bursts":              {Shape: schedule.Burst, Rate: 77.7, Size: 100, Period: 700 * ms},
		"bursts over nothing": {Shape: schedule.Burst, Size: 7, Period: 33 * ms},
	}
}

func TestSharesAddUpToTheWhole(t *testing.T) {
	const origin, end = 3 * time.Second, 13 * time.Second
	for name, c := range fixed() {
		t.Run(name, func(t *testing.T) {
			want := until(t, mustNew(t, c, origin, 0, 1), end)
			if len(want) < 1000 || !slices.IsSorted(want) {
				t.Fatalf("got %d records by one sender, want a thousand or more, in order", len(want))
			}
			for _, of := range []int{1, 2, 3, 7, 12, 100} {
				var got []time.Duration
				for share := range of {
					s := mustNew(t, c, origin, share, of)
					part := until(t, s, end)
					if most := (len(want)-1-share)/of + 1; len(part) != most && share < len(want) {
						t.Fatalf("share %d of %d: got %d records, want %d", share, of, len(part), most)
					}
					got = append(got, part...)
				}
				if !slices.Equal(sorted(got), want) {
					t.Fatalf("%d shares: got other times than one sender", of)
				}
			}
		})
	}
}

func TestSharesAddUpToTheWholeThroughChangesOfRate(t *testing.T) {
	run := func(share, of int) (times []time.Duration) {
		r := rand.New(rand.NewPCG(1, 2)) // the same changes for all
		s := mustNew(t, constant(500), 0, share, of)
		for now := time.Duration(0); now < 10*time.Second; {
			now += time.Duration(r.Int64N(int64(20 * ms)))
			for at, ok := s.Take(now); ok; at, ok = s.Take(now) {
				times = append(times, at)
			}
			if err := s.SetRate(now, r.Float64()*2000); err != nil {
				t.Fatal(err)
			}
		}
		return times
	}
	want := run(0, 1)
	for _, of := range []int{2, 5, 16} {
		var got []time.Duration
		for share := range of {
			got = append(got, run(share, of)...)
		}
		if !slices.Equal(sorted(got), want) {
			t.Errorf("%d shares: got %d records at other times than one sender's %d", of, len(got), len(want))
		}
	}
}

func TestLateRecordsKeepTheirOwnTimes(t *testing.T) {
	s := mustNew(t, constant(1000), 0, 0, 1)
	const late = 3 * time.Second
	if due := s.Due(late); due != 3001 {
		t.Fatalf("got %d due after %v, want 3001", due, late)
	}
	for i := range 3001 {
		at, ok := s.Take(late)
		if want := time.Duration(i) * ms; !ok || at != want {
			t.Fatalf("record %d: got %v, %v, want %v", i, at, ok, want)
		}
	}
	if _, ok := s.Take(late); ok {
		t.Error("a record was given out that was not due")
	}
}

func TestOriginCanBeAnyTime(t *testing.T) {
	for name, c := range map[string]struct {
		origin, next time.Duration
		due          map[time.Duration]uint64
		rate         map[time.Duration]float64
	}{
		"to come": {
			origin: time.Minute, next: time.Minute,
			due:  map[time.Duration]uint64{-1: 0, time.Minute - 1: 0, time.Minute: 1, time.Minute + time.Second: 11},
			rate: map[time.Duration]float64{0: 0, time.Minute - 1: 0, time.Minute: 10},
		},
		"passed": {
			origin: -time.Minute, next: -time.Minute,
			due:  map[time.Duration]uint64{-time.Minute - 1: 0, -time.Minute: 1, 0: 601, time.Minute: 1201},
			rate: map[time.Duration]float64{-2 * time.Minute: 0, 0: 10},
		},
		"as long ago as can be": {
			origin: math.MinInt64 + 1, next: math.MinInt64 + 1,
			due:  map[time.Duration]uint64{math.MinInt64 + 1: 1, 0: 92233720369, schedule.Never: 92233720369},
			rate: map[time.Duration]float64{schedule.Never: 10},
		},
		"never": {
			origin: schedule.Never, next: schedule.Never,
			due:  map[time.Duration]uint64{0: 0, schedule.Never - 1: 0, schedule.Never: 0},
			rate: map[time.Duration]float64{0: 0, schedule.Never - 1: 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, constant(10), c.origin, 0, 1)
			if got := s.Next(); got != c.next {
				t.Errorf("next: got %v, want %v", got, c.next)
			}
			for at, want := range c.due {
				if got := s.Due(at); got != want {
					t.Errorf("due at %v: got %d, want %d", at, got, want)
				}
			}
			for at, want := range c.rate {
				if got := s.RateAt(at); got != want {
					t.Errorf("rate at %v: got %v, want %v", at, got, want)
				}
			}
		})
	}
}

func TestWhoJoinsLateLeavesToOthersWhatWasDueBefore(t *testing.T) {
	c := constant(1000)
	s := mustNew(t, c, -time.Hour, 3, 8)
	skipped := s.Skip(0)
	if skipped != 450000 || s.Issued() != skipped {
		t.Errorf("got %d skipped and %d issued, want an eighth of an hour's", skipped, s.Issued())
	}
	if want := 3 * ms; s.Next() != want {
		t.Errorf("got the next record at %v, want %v as if it had been there all along", s.Next(), want)
	}
}

func TestClosedLoopIntendsWhenASlotIsFree(t *testing.T) {
	c := schedule.Config{Shape: schedule.Closed, InFlight: 7}
	slots := 0
	for share := range 3 {
		s := mustNew(t, c, time.Second, share, 3)
		slots += s.InFlight()
		if s.Next() != time.Second || s.Due(time.Hour) != 0 || s.Skip(time.Hour) != 0 || s.RateAt(time.Minute) != 0 {
			t.Errorf("share %d: got next %v, due %d; want the origin and nothing ever waiting", share, s.Next(), s.Due(time.Hour))
		}
		if _, ok := s.Take(time.Second - 1); ok {
			t.Errorf("share %d: got a record before the origin", share)
		}
		for i, now := range []time.Duration{time.Second, time.Minute, time.Minute, time.Hour} {
			if at, ok := s.Take(now); !ok || at != now || s.Issued() != uint64(i+1) {
				t.Errorf("share %d, record %d: got %v, %v, want it at %v", share, i, at, ok, now)
			}
		}
	}
	if slots != c.InFlight {
		t.Errorf("got %d slots over all shares, want %d", slots, c.InFlight)
	}
	if s := mustNew(t, schedule.Config{Shape: schedule.Closed, InFlight: 1}, 0, 1, 2); s.InFlight() != 0 || s.Next() != schedule.Never {
		t.Errorf("a share without a slot: got %d slots and a record at %v, want none and never", s.InFlight(), s.Next())
	}
	if s := mustNew(t, constant(1), 0, 0, 1); s.InFlight() != 0 {
		t.Errorf("an open shape: got %d slots, want 0", s.InFlight())
	}
}

func TestBadSharesAreRefused(t *testing.T) {
	for _, c := range []struct{ share, of int }{{0, 0}, {-1, 2}, {2, 2}, {0, -1}} {
		if _, err := schedule.New(constant(1), 0, c.share, c.of, 0); err == nil || !strings.Contains(err.Error(), "share: must be") {
			t.Errorf("share %d of %d: got %v", c.share, c.of, err)
		}
	}
	if _, err := schedule.New(schedule.Config{}, 0, 0, 1, 0); err == nil {
		t.Error("a config without a shape was taken")
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	for name, c := range at1M() {
		s := mustNew(t, c, 0, 0, 2)
		if n := testing.AllocsPerRun(1000, func() { s.Take(schedule.Never - 1); s.Due(s.Next() + 1000) }); n != 0 {
			t.Errorf("%s: got %v allocations a record", name, n)
		}
	}
}
