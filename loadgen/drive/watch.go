package drive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/slo"
)

const (
	keep       = 16               // ticks of which the counts are remembered: more than slo.Window
	readyAfter = 5 * time.Second  // nothing acknowledged or consumed for so long: not ready
	logEvery   = 30 * time.Second // a line about how it goes
	// A sender that wakes up later than this, one time in a hundred, is itself what limits the run.
	limitedAfter = 20 * time.Millisecond
)

// watch is what the engine knows about the last few seconds. Only Watch writes it.
type watch struct {
	mu         sync.Mutex
	ticks      []tick // oldest first
	lastAcked  time.Duration
	lastEaten  time.Duration
	acked      uint64
	eaten      uint64
	everAcked  bool
	everEaten  bool
	limited    atomic.Bool
	overslept  hist.Snapshot
	rounds     int
	loggedAt   time.Duration
	loggedAck  uint64
	loggedEat  uint64
	loggedFail uint64
}

type tick struct {
	at       time.Duration
	latency  *hist.Snapshot // end to end of our own records, since the start
	consumed uint64
}

// Watch looks at the run every slo.Tick until ctx ends: it sweeps for losses, notes health, and, when step is not nil, sets the rate that
// step answers.
func (e *Engine) Watch(ctx context.Context, step func(slo.Observation) float64) error {
	t := time.NewTicker(slo.Tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		now := e.clock.Now()
		consumed := e.look(now)
		if step == nil {
			continue
		}
		rate := step(slo.Observation{Now: now, Outstanding: e.Outstanding(), Consumed: consumed, P99: e.P99})
		if err := e.SetRate(rate); err != nil {
			return fmt.Errorf("set rate: %w", err)
		}
	}
}

// look takes stock and returns how many of our own records were consumed so far.
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
	for _, a := range e.arrived {
		for p := range phases {
			next.latency.Add(&a.own[p])
		}
	}
	next.consumed = next.latency.Count()
	w.ticks = append(w.ticks, next)
	if next.consumed > w.eaten {
		w.eaten, w.lastEaten, w.everEaten = next.consumed, now, true
	}
	var acked, failed uint64
	var overslept hist.Snapshot
	for _, k := range e.workers {
		for p := range phases {
			acked += k.acked[p].Load()
			failed += k.failed[p].Load()
		}
		overslept.Add(&k.overslept)
	}
	if acked > w.acked {
		w.acked, w.lastAcked, w.everAcked = acked, now, true
	}
	if w.rounds++; w.rounds%4 == 0 { // once a second
		e.verify.Sweep(false)
		e.judge(&overslept)
	}
	if now-w.loggedAt >= logEvery {
		over := (now - w.loggedAt).Seconds()
		p99, _ := e.since(now - slo.Window)
		e.log.Info("running", "target_rate", round(e.Rate()), "acked_rate", round(float64(acked-w.loggedAck)/over),
			"consumed_rate", round(float64(next.consumed-w.loggedEat)/over), "failed", failed-w.loggedFail, "p99", p99.Round(10*time.Microsecond))
		w.loggedAt, w.loggedAck, w.loggedEat, w.loggedFail = now, acked, next.consumed, failed
	}
	return next.consumed
}

func round(f float64) float64 { return float64(int(f*10+0.5)) / 10 }

// judge decides whether the generator itself is the limit.
func (e *Engine) judge(total *hist.Snapshot) {
	w := &e.watch
	var last hist.Snapshot
	last.Merge(total)
	last.Sub(&w.overslept)
	w.overslept.Reset()
	w.overslept.Merge(total)
	late, ok := last.Quantile(0.99)
	w.limited.Store(ok && late > limitedAfter)
}

// P99 is the 99th percentile of the end-to-end latency of our own records consumed after since, to the tick, and their number. It reaches
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

// Ready is nil while records are acknowledged and consumed.
func (e *Engine) Ready() error {
	w := &e.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	now := e.clock.Now()
	var errs []error
	for _, s := range []struct {
		ever bool
		last time.Duration
		verb string
	}{{w.everAcked, w.lastAcked, "acknowledged"}, {w.everEaten, w.lastEaten, "consumed"}} {
		switch {
		case !s.ever:
			errs = append(errs, fmt.Errorf("no record has been %s yet", s.verb))
		case now-s.last > readyAfter:
			errs = append(errs, fmt.Errorf("no record has been %s for %v", s.verb, (now-s.last).Round(time.Second)))
		}
	}
	return errors.Join(errs...)
}
