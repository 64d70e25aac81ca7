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
