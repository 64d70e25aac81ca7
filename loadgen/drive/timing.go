package drive

import (
	"context"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

const (
	// How often the sending goroutine looks up even if nothing is due and nobody calls.
	longestSleep = time.Second
	// The shortest sleep: what is due within it goes out together, so that a high rate costs no system call for each record.
	shortestSleep = 250 * time.Microsecond
	// How much of a sleep is left to the machine's own clock, because the runtime's timers are late by up to a millisecond.
	lastStretch = 2 * time.Millisecond
	// How late records may be before the second steps in: about what the first is late when all is well.
	grace = 2 * shortestSleep
)

// run sends by the schedule until ctx ends, and then what has become due by that moment, unless drained ends first.
func (w *worker) run(ctx, drained context.Context) {
	punctual(w.n)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for until := time.Duration(-1); ctx.Err() == nil; {
		w.turn <- struct{}{}
		now := w.e.clock.Now()
		if until >= 0 && !w.covered {
			w.overslept.Record(now - until)
		}
		w.covered = false
		next := w.take(now)
		due := len(w.due) > 0
		if due {
			w.sendAll(drained)
		}
		<-w.turn
		if until = -1; due {
			continue
		}
		if next == schedule.Never && now >= w.endsAt() {
			break
		}
		until = w.sleep(ctx, timer, w.changed, min(next, now+longestSleep, w.endsAt()))
	}
	w.turn <- struct{}{} // for good
	w.stop(w.e.clock.Now())
	for drained.Err() == nil {
		if w.take(w.e.clock.Now()); len(w.due) == 0 {
			return
		}
		w.sendAll(drained)
	}
	w.mu.Lock()
	rest := w.skip(w.e.clock.Now())
	w.mu.Unlock()
	w.e.errors.add(notDrained, rest)
}

// second sends what run should have sent by now. What keeps a thread from its processor, a kernel that copies or a hypervisor that gives the processor to
// somebody else, seldom keeps the other processor's, too.
func (w *worker) second(ctx, drained context.Context) {
	punctual(w.n + 1)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := w.e.clock.Now()
		next := w.next()
		if now < next+grace {
			w.sleep(ctx, timer, nil, min(next+grace, now+longestSleep))
			continue
		}
		select {
		case w.turn <- struct{}{}:
			if w.take(w.e.clock.Now()); len(w.due) > 0 {
				w.overslept.Record(now - next)
				w.covered = true
				w.sendAll(drained)
			}
			<-w.turn
		default: // it is being sent
			w.sleep(ctx, timer, nil, now+grace)
		}
	}
}

// next is when the next record is due that has not been taken.
func (w *worker) next() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.plan.Next(); at < w.end {
		return at
	}
	return schedule.Never - grace
}

// loop sends as a closed loop does: a record for each slot that is free, meant for the moment at which it is.
func (w *worker) loop(ctx, drained context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for origin := w.e.Began(); ctx.Err() == nil && w.e.clock.Now() < origin; {
		w.sleep(ctx, timer, w.changed, min(origin, w.e.clock.Now()+longestSleep))
	}
	for {
		r := w.free.get(ctx.Done())
		now := w.e.clock.Now()
		if r == nil || now >= w.endsAt() || ctx.Err() != nil {
			w.stop(now)
			return
		}
		w.mu.Lock()
		w.taken[w.e.phase(now)]++
		w.mu.Unlock()
		w.send(drained, r, now, now)
		w.out.Add(1)
	}
}

// sleep waits until a moment, which it returns, or less and returns -1: the schedule may change meanwhile, or ctx end.
func (w *worker) sleep(ctx context.Context, timer *time.Timer, changed <-chan struct{}, until time.Duration) time.Duration {
	now := w.e.clock.Now()
	until = max(until, now+shortestSleep)
	if until-now > lastStretch {
		timer.Reset(until - now - lastStretch)
		select {
		case <-timer.C:
		case <-changed:
			return -1
		case <-ctx.Done():
			return -1
		}
		now = w.e.clock.Now()
	}
	if until > now {
		w.e.c.Sleep(until - now)
	}
	return until
}
