package slo_test

import (
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/slo"
)

// feed drives a controller by hand: at each tick the server has consumed what was offered, with the given percentile.
type feed struct {
	ctl         *slo.Controller
	now         time.Duration
	consumed    float64
	outstanding uint64
}

func mustFeed(t *testing.T, start float64) *feed {
	t.Helper()
	c, err := slo.New(slo.Config{SLO: 100 * ms, Start: start, Min: 1, Max: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	return &feed{ctl: c}
}

func (f *feed) run(length, p99 time.Duration, served bool) {
	for end := f.now + length; f.now < end; f.now += slo.Tick {
		if served {
			f.consumed += f.ctl.Rate() * slo.Tick.Seconds()
		}
		f.ctl.Step(slo.Observation{Now: f.now, Outstanding: f.outstanding, Consumed: uint64(f.consumed), P99: func(time.Duration) (time.Duration, uint64) {
			return p99, 1000
		}})
	}
}

// Slow records need not come from a queue: whatever makes the percentile too high, less must be offered.
func TestAPercentileAboveTheTargetLowersTheRateWithoutABacklog(t *testing.T) {
	f := mustFeed(t, 1000)
	f.run(10*time.Second, 200*ms, true) // ends the climb
	if f.ctl.State() != slo.Hold {
		t.Fatalf("got state %s, want the climb ended", f.ctl.State())
	}
	before := f.ctl.Rate()
	f.run(10*time.Second, 200*ms, true)
	if after := f.ctl.Rate(); after > 0.7*before || after < 0.3*before {
		t.Errorf("got %.0f/s ten seconds after %.0f/s, want a clear fall and no collapse", after, before)
	}
	low := f.ctl.Rate()
	f.run(20*time.Second, 10*ms, true)
	if after := f.ctl.Rate(); after < 1.3*low {
		t.Errorf("got %.0f/s after twenty easy seconds at %.0f/s, want a rise", after, low)
	}
}

func TestAnOutageIsNamedAndCostsLittle(t *testing.T) {
	f := mustFeed(t, 1000)
	f.run(10*time.Second, 90*ms, true)
	f.run(10*time.Second, 60*ms, true)
	before := f.ctl.Rate()
	f.outstanding = 5000
	f.run(10*time.Second, 0, false)
	if f.ctl.State() != slo.Outage {
		t.Errorf("got state %s after ten seconds without a record, want outage", f.ctl.State())
	}
	f.outstanding = 0
	f.run(3*time.Second, 60*ms, true)
	if after := f.ctl.Rate(); after < 0.6*before || after > before {
		t.Errorf("got %.0f/s just after the outage, want somewhat less than the %.0f/s before it", after, before)
	}
}

// Whether a server stands still can only be told from ticks; one that works by fits and starts is overloaded all the same when its backlog stays.
func TestABacklogThatDoesNotGoIsTooMuchHoweverUnevenTheWork(t *testing.T) {
	f := mustFeed(t, 1000)
	f.run(10*time.Second, 200*ms, true) // ends the climb
	before := f.ctl.Rate()
	can, backlog := 0.4*before, 0.0
	for range 40 {
		for tick := range 4 {
			backlog = min(backlog+f.ctl.Rate()*slo.Tick.Seconds(), before) // the rest is given up
			if tick == 3 {
				done := min(backlog, can)
				f.consumed += done
				backlog -= done
			}
			f.outstanding = uint64(backlog)
			f.run(slo.Tick, 90*ms, false)
		}
	}
	if after := f.ctl.Rate(); after > can {
		t.Errorf("got %.0f/s after 40 s in which the server did %.0f/s, want no more than that", after, can)
	}
}
