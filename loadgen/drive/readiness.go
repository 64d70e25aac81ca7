package drive

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/slo"
)

// joining is what is known about the consumers while they join.
type joining struct {
	mu      sync.Mutex
	members map[int]bool
	waiting bool   // the warm-up does not end before all have joined and caught up
	backlog uint64 // what had been issued when the last one joined
	joined  bool
}

// Joined says that consumer n holds its partitions.
func (e *Engine) Joined(n int) {
	j := &e.joining
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.joined {
		return
	}
	if j.members == nil {
		j.members = make(map[int]bool)
	}
	j.members[n] = true
	if j.joined = len(j.members) == groups(e.c.Workload)*e.c.Workload.Consumer.Clients; !j.joined {
		return
	}
	now := e.clock.Now()
	for _, w := range e.workers {
		_, issued := w.outstanding(now)
		j.backlog += issued
	}
}

// caughtUp says whether the consumers have joined and read what had been sent before.
func (e *Engine) caughtUp() bool {
	j := &e.joining
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.waiting {
		return true
	}
	if !j.joined {
		return false
	}
	for _, v := range e.verify {
		if v.Seen() < j.backlog {
			return false
		}
	}
	j.waiting = false
	return true
}

// warmed ends the warm-up when its time has passed and the consumers have caught up. A record's phase never changes by it: what was
// intended before now has been in the warm-up all along.
func (e *Engine) warmed(now time.Duration) {
	began := e.began.Load()
	if began == never || e.warm.Load() != never || now < time.Duration(began)+e.c.Workload.Warmup || !e.caughtUp() {
		return
	}
	e.warm.CompareAndSwap(never, int64(now+slo.Tick)) // a sender may be ahead of this look at the clock
}

// Ready is nil while records are acknowledged and, where there are consumers, consumed.
func (e *Engine) Ready() error {
	w := &e.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	now := e.clock.Now()
	errs := []error{w.acked.check("acknowledged", now)}
	if len(e.verify) > 0 {
		errs = append(errs, w.eaten.check("consumed", now))
	}
	return errors.Join(errs...)
}

// progress is when a count grew last.
type progress struct {
	count uint64
	at    time.Duration
	ever  bool
}

func (p *progress) note(count uint64, now time.Duration) {
	if count > p.count {
		p.count, p.at, p.ever = count, now, true
	}
}

func (p *progress) check(verb string, now time.Duration) error {
	switch {
	case !p.ever:
		return fmt.Errorf("no record has been %s yet", verb)
	case now-p.at > readyAfter:
		return fmt.Errorf("no record has been %s for %v", verb, (now - p.at).Round(time.Second))
	}
	return nil
}
