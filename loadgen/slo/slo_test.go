package slo_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/slo"
)

const ms = time.Millisecond

// server is a single queue: records are served in order at a capacity that may change, with jitter, pauses and a base latency.
type server struct {
	capacity func(at time.Duration) float64 // records/s, 0 while down
	base     time.Duration
	jitter   float64 // spread of the capacity from one millisecond to the next
	rand     *rand.Rand

	queue    []time.Duration
	credit   float64
	consumed uint64
	latency  hist.Recorder
}

func (s *server) step(now time.Duration) {
	c := s.capacity(now)
	if c == 0 {
		s.credit = 0
		return
	}
	s.credit += c / 1000 * math.Exp(s.jitter*s.rand.NormFloat64()-s.jitter*s.jitter/2)
	for s.credit >= 1 && len(s.queue) > 0 {
		at := s.queue[0]
		s.queue = s.queue[1:]
		s.credit--
		s.consumed++
		s.latency.Record(now - at + s.base + time.Duration(s.rand.ExpFloat64()*float64(s.base)/3))
	}
	if len(s.queue) == 0 {
		s.credit = min(s.credit, 1)
	}
}

// trace is one simulated run: the rate, and what was consumed, in each tick.
type trace struct {
	at   []time.Duration
	rate []float64
	snap []*hist.Snapshot
}

func simulate(t *testing.T, c slo.Config, s *server, length time.Duration) *trace {
	t.Helper()
	ctl, err := slo.New(c)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := schedule.New(schedule.Config{Shape: schedule.Constant, Rate: c.Start}, 0, 0, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.rand = rand.New(rand.NewPCG(1, 2))
	tr := &trace{}
	for now := time.Duration(0); now < length; now += ms {
		for at, ok := plan.Take(now); ok; at, ok = plan.Take(now) {
			if s.capacity(now) == 0 && len(s.queue) > 4000 { // the client's bound on records in flight
				continue
			}
			s.queue = append(s.queue, at)
		}
		s.step(now)
		if now%slo.Tick != 0 {
			continue
		}
		snap := &hist.Snapshot{}
		snap.Add(&s.latency)
		tr.at, tr.snap = append(tr.at, now), append(tr.snap, snap)
		rate := ctl.Step(slo.Observation{Now: now, Outstanding: uint64(len(s.queue)), Consumed: s.consumed, P99: func(since time.Duration) (time.Duration, uint64) {
			return tr.p99(since, now)
		}})
		tr.rate = append(tr.rate, rate)
		if testing.Verbose() && now%time.Second == 0 {
			p, _ := tr.p99(now-2500*ms, now)
			t.Logf("%3ds %-6s rate %7.0f of %6.0f  queue %5d  p99 %v", now/time.Second, ctl.State(), rate, s.capacity(now), len(s.queue), p.Round(ms))
		}
		if err := plan.SetRate(now, rate); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func (tr *trace) p99(from, to time.Duration) (time.Duration, uint64) {
	first, last := -1, -1
	for i, at := range tr.at {
		if at >= from && first < 0 {
			first = i
		}
		if at <= to {
			last = i
		}
	}
	if first < 0 || last <= first {
		return 0, 0
	}
	var d hist.Snapshot
	d.Merge(tr.snap[last])
	d.Sub(tr.snap[first])
	q, _ := d.Quantile(0.99)
	return q, d.Count()
}

// mean is the mean rate between two moments, and its lowest and highest value.
func (tr *trace) mean(from, to time.Duration) (mean, low, high float64) {
	low = math.Inf(1)
	n := 0
	for i, at := range tr.at {
		if at >= from && at < to {
			mean += tr.rate[i]
			low, high = min(low, tr.rate[i]), max(high, tr.rate[i])
			n++
		}
	}
	return mean / float64(n), low, high
}

func constant(c float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return c }
}

func TestControllerFindsTheKnee(t *testing.T) {
	const second = time.Second
	pause := func(c float64, every, length time.Duration) func(time.Duration) float64 {
		return func(at time.Duration) float64 {
			if at > 10*second && at%every < length {
				return 0
			}
			return c
		}
	}
	change := func(before, after float64, when time.Duration) func(time.Duration) float64 {
		return func(at time.Duration) float64 {
			if at < when {
				return before
			}
			return after
		}
	}
	type check struct{ from, to time.Duration }
	for name, tc := range map[string]struct {
		capacity func(time.Duration) float64
		jitter   float64
		slo      time.Duration
		length   time.Duration
		checks   []check
		within   float64 // of the capacity at that moment
	}{
		"a steady server of 2000/s is filled within a minute":        {constant(2000), 0.3, 200 * ms, 120 * second, []check{{50 * second, 120 * second}}, 0.10},
		"a slow server of 150/s is filled within a minute":           {constant(150), 0.3, 500 * ms, 120 * second, []check{{50 * second, 120 * second}}, 0.10},
		"a fast server of 10000/s is filled within a minute":         {constant(10000), 0.3, 50 * ms, 120 * second, []check{{50 * second, 120 * second}}, 0.10},
		"a noisy server is filled within a minute":                   {constant(2000), 1, 200 * ms, 120 * second, []check{{50 * second, 120 * second}}, 0.10},
		"pauses shorter than the SLO cost no more than a tenth":      {pause(2000, 2*second, 60*ms), 0.3, 250 * ms, 120 * second, []check{{50 * second, 120 * second}}, 0.12},
		"a knee that moves down by half is followed within a minute": {change(2000, 1000, 60*second), 0.3, 200 * ms, 180 * second, []check{{50 * second, 60 * second}, {110 * second, 180 * second}}, 0.10},
		"a knee that moves up by half is followed within a minute":   {change(2000, 3000, 60*second), 0.3, 200 * ms, 180 * second, []check{{50 * second, 60 * second}, {100 * second, 180 * second}}, 0.10},
		"a knee that doubles is followed within a minute":            {change(1000, 2000, 60*second), 0.3, 200 * ms, 180 * second, []check{{50 * second, 60 * second}, {110 * second, 180 * second}}, 0.10},
		"an outage of ten seconds is over within half a minute after": {func(at time.Duration) float64 {
			if at > 60*second && at < 70*second {
				return 0
			}
			return 2000
		}, 0.3, 200 * ms, 150 * second, []check{{50 * second, 60 * second}, {100 * second, 150 * second}}, 0.10},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{capacity: tc.capacity, base: 5 * ms, jitter: tc.jitter}
			tr := simulate(t, slo.Config{SLO: tc.slo, Start: 50, Min: 10, Max: 1e6}, s, tc.length)
			for _, c := range tc.checks {
				knee := tc.capacity(c.to - 10*second + 500*ms)
				mean, low, high := tr.mean(c.from, c.to)
				p99, _ := tr.p99(c.from, c.to)
				t.Logf("%v to %v: mean rate %.0f (%.0f to %.0f), knee %.0f, P99 %v of %v", c.from, c.to, mean, low, high, knee, p99.Round(ms), tc.slo)
				if math.Abs(mean/knee-1) > tc.within {
					t.Errorf("from %v to %v: got a mean rate of %.0f/s, want within %.0f%% of %.0f/s", c.from, c.to, mean, tc.within*100, knee)
				}
				if p99 > tc.slo {
					t.Errorf("from %v to %v: got a P99 of %v, want at most %v", c.from, c.to, p99, tc.slo)
				}
			}
		})
	}
}
