package drive

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/slo"
)

const (
	keep       = 16               // ticks of which the counts are remembered: more than slo.Window
	readyAfter = 5 * time.Second  // nothing acknowledged or consumed for so long: not ready
	logEvery   = 30 * time.Second // a line about how it goes
	// A sender that is later than this, one time in a hundred, and that nothing but itself has kept, limits the run.
	limitedAfter = 20 * time.Millisecond
	// A sender that spends more of its time than this with waiting for a slot is kept by Kafka.
	keptBack = 0.5
)

// watch is what the engine knows about the last few seconds. Only Watch writes it.
type watch struct {
	mu      sync.Mutex
	ticks   []tick // oldest first
	acked   progress
	eaten   progress
	limited atomic.Bool
	seconds atomic.Int64 // in which it was
	second  second
	series  report.Series
	point   report.Point // the second under way
	logged  struct {
		at                   time.Duration
		acked, eaten, failed uint64
	}
}

type tick struct {
	at      time.Duration
	latency *hist.Snapshot // of our own records, since the start
}

// Watch looks at the run every slo.Tick, on the quarters of the wall clock's seconds, until ctx ends: it sweeps for losses, notes how it goes,
// and, when step is not nil, sets the rate that step answers once the consumers have caught up.
func (e *Engine) Watch(ctx context.Context, step func(slo.Observation) float64) error {
	if pause(ctx, slo.Tick-time.Duration(e.clock.Wall(e.clock.Now())%int64(slo.Tick))); ctx.Err() != nil {
		return nil
	}
	e.watch.second.start(e)
	t := time.NewTicker(slo.Tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			e.note(e.clock.Now())
			return nil
		case <-t.C:
		}
		now := e.clock.Now()
		consumed := e.look(now)
		e.warmed(now)
		if step == nil || !e.caughtUp() {
			continue
		}
		rate := step(slo.Observation{Now: now, Outstanding: e.Outstanding(), Consumed: consumed / uint64(max(1, len(e.verify))), P99: e.P99})
		if err := e.SetRate(rate); err != nil {
			return fmt.Errorf("set rate: %w", err)
		}
	}
}

// latency adds up what is to meet the SLO: end to end, of our own records; where nobody consumes, the response time.
func (e *Engine) latency(to *hist.Snapshot) {
	if len(e.verify) == 0 {
		for _, k := range e.workers {
			for p := range phases {
				to.Add(&k.response[p])
			}
		}
		return
	}
	for _, a := range e.arrived {
		for p := range phases {
			to.Add(&a.own[p])
		}
	}
}

// look takes stock and returns how many of our own records are through so far, each counted once for each consumer group.
func (e *Engine) look(now time.Duration) uint64 {
	w := &e.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	next := tick{at: now, latency: &hist.Snapshot{}}
	if len(w.ticks) >= keep {
		next.latency = w.ticks[0].latency
		next.latency.Reset()
		w.ticks = append(w.ticks[:0], w.ticks[1:]...)
	}
	e.latency(next.latency)
	w.ticks = append(w.ticks, next)
	through := next.latency.Count()
	w.eaten.note(through, now)
	var acked, failed uint64
	for _, k := range e.workers {
		for p := range phases {
			acked += k.acked[p].Load()
			failed += k.failed[p].Load()
		}
	}
	w.acked.note(acked, now)
	w.point.InFlight = max(w.point.InFlight, uint64(e.InFlight()))
	last := w.second.at
	if n := len(w.ticks); n > 1 {
		last = w.ticks[n-2].at
	}
	w.point.Target += e.Rate() * (now - last).Seconds() // ticks come late on a busy machine, and some not at all
	if e.clock.Wall(now)/int64(time.Second) != e.clock.Wall(w.second.at)/int64(time.Second) {
		for _, v := range e.verify {
			v.Sweep()
		}
		e.passed(now)
	}
	if now-w.logged.at >= logEvery {
		over := (now - w.logged.at).Seconds()
		p99, _ := e.since(now - slo.Window)
		e.log.Info("running", "target_rate", round(e.Rate()), "acked_rate", round(float64(acked-w.logged.acked)/over),
			"consumed_rate", round(float64(through-w.logged.eaten)/over), "failed", failed-w.logged.failed, "p99", p99.Round(10*time.Microsecond))
		w.logged.at, w.logged.acked, w.logged.eaten, w.logged.failed = now, acked, through, failed
	}
	return through
}

func round(f float64) float64 { return float64(int(f*10+0.5)) / 10 }

// P99 is the 99th percentile of the latency of our own records that got through after since, to the tick, and their number. It reaches
// back four seconds.
func (e *Engine) P99(since time.Duration) (p99 time.Duration, samples uint64) {
	e.watch.mu.Lock()
	defer e.watch.mu.Unlock()
	return e.since(since)
}

func (e *Engine) since(since time.Duration) (time.Duration, uint64) {
	ticks := e.watch.ticks
	for i, t := range ticks {
		if t.at < since || i == len(ticks)-1 {
			continue
		}
		var d hist.Snapshot
		d.Merge(ticks[len(ticks)-1].latency)
		d.Sub(t.latency)
		p99, _ := d.Quantile(0.99)
		return p99, d.Count()
	}
	return 0, 0
}
