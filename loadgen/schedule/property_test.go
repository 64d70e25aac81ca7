package schedule_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

// anyConfig is a config of any open shape, with figures from tiny to huge.
func anyConfig(r *rand.Rand) schedule.Config {
	rate := func() float64 {
		f := math.Pow(10, r.Float64()*12-3)
		if r.IntN(2) == 0 {
			f = max(1, math.Round(f))
		}
		return f
	}
	long := func() time.Duration { return time.Duration(math.Pow(10, r.Float64()*13)) }
	c := schedule.Config{Rate: rate()}
	switch r.IntN(6) {
	case 0:
		c.Shape = schedule.Constant
	case 1:
		c.Shape, c.To, c.Over = schedule.Ramp, rate(), long()
		if r.IntN(3) == 0 {
			c.Rate = 0
		} else if r.IntN(3) == 0 {
			c.To = 0
		}
	case 2:
		c.Shape, c.Rate = schedule.Steps, 0
		for range 1 + r.IntN(5) {
			c.Stages = append(c.Stages, schedule.Stage{Rate: rate() * float64(r.IntN(2)), Duration: long()})
		}
		c.Stages = append(c.Stages, schedule.Stage{Rate: rate(), Duration: long() * time.Duration(r.IntN(2))})
	case 3:
		c.Shape, c.Period, c.Amplitude = schedule.Sine, long(), c.Rate*min(1, r.Float64()*1.2)
	case 4:
		c.Shape, c.Period, c.Size = schedule.Burst, long()+time.Microsecond, 1+r.IntN(500)
		c.Rate *= 0.4 * float64(r.IntN(2))
	case 5:
		c.Shape = schedule.Poisson
	}
	return c
}

// check takes some hundred records of a random share in random steps, and compares everything that is said about them.
func check(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	c := anyConfig(r)
	of := 1 + r.IntN(9)
	share := r.IntN(of)
	origin := time.Duration(r.Int64N(2e9) - 1e9)
	if err := c.Validate(); err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	s, twin := mustNew(t, c, origin, share, of), mustNew(t, c, origin, share, of)
	var times []time.Duration
	for range 300 {
		at, ok := twin.Take(schedule.Never - 1)
		if !ok {
			break
		}
		times = append(times, at)
	}
	if !slices.IsSorted(times) || len(times) > 0 && times[0] < origin {
		t.Fatalf("%+v, share %d of %d from %v: times go back: %v", c, share, of, origin, times)
	}
	gone := 0
	for gone < len(times) {
		now := times[gone+r.IntN(min(40, len(times)-gone))] + time.Duration(r.IntN(3)) - 1
		due, _ := slices.BinarySearch(times[gone:], now+1)
		if gone+due == len(times) {
			break // there may be more at this moment than were listed
		}
		if got := s.Due(now); got != uint64(due) {
			t.Fatalf("%+v, share %d of %d from %v: got %d due at %d after %d, want %d; times %v", c, share, of, origin, got, now, gone, due, times)
		}
		if r.IntN(4) == 0 {
			if got := s.Skip(now); got != uint64(due) {
				t.Fatalf("%+v: got %d skipped at %v, want %d", c, got, now, due)
			}
			gone += due
			continue
		}
		for range r.IntN(due + 1) {
			if at, ok := s.Take(now); !ok || at != times[gone] {
				t.Fatalf("%+v: record %d: got %v, %v, want %v", c, gone, at, ok, times[gone])
			}
			gone++
		}
		if s.Next() != times[gone] || s.Issued() != uint64(gone) {
			t.Fatalf("%+v: got next %v and %d issued, want %v and %d", c, s.Next(), s.Issued(), times[gone], gone)
		}
	}
}

func TestDueSkipAndTakeAgreeForEveryShape(t *testing.T) {
	for seed := range uint64(1000) {
		check(t, seed)
	}
}

func FuzzDueSkipAndTakeAgree(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(check)
}
