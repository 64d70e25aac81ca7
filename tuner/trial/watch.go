package trial

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kafkalab/kafkalab/tuner/guard"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// Sentry reads the guards; guard.Reader is one.
type Sentry interface {
	Read(ctx context.Context, at time.Time) []guard.Reading
	Missed(since, now time.Time) []time.Time
	Step() time.Duration
}

// interruption ends an attempt from outside of it: a guard's breach, an order, the switch.
type interruption struct{ end *end }

func (i interruption) Error() string { return i.end.reason }

// vigil is kept over a trial from its beginning to its end, beside everything that the trial does, however long that takes.
type vigil struct {
	mu        sync.Mutex
	tally     *guard.Tally
	settled   time.Time
	interrupt context.CancelCauseFunc // nil: nothing is under way that could be ended
	found     *guard.Breach           // the first
	queued    *interruption           // came before there was anything to end
	trial     int
	obeys     bool // the switch ends what is under way
	done      chan struct{}
	stop      context.CancelFunc
}

// keepVigil begins to watch t, whose change is in force, or on its way, since it was applied or since the end of another trial in between.
func (r *Runner) keepVigil(ctx context.Context, t study.Trial) *vigil {
	ctx, stop := context.WithCancel(ctx)
	v := &vigil{trial: t.Number, obeys: !t.Phase.Done() && t.Purpose != ledger.Scored, settled: t.Settled, done: make(chan struct{}), stop: stop}
	inForce, seen := t.AppliedAt, t.Since
	if t.Phase == ledger.Proposed {
		seen = inForce
	}
	if last := r.study.Trials[len(r.study.Trials)-1]; last.Number != t.Number && last.Ended.After(inForce) {
		inForce, seen, v.settled = last.Ended, last.Ended, last.Ended
	}
	if t.Applied {
		v.begin(seen, r.Sentry.Read(ctx, r.accountable(t)))
	}
	go v.watch(ctx, r.Sentry, r.Stop, inForce, seen)
	return v
}

// watch looks at every scrape. What happened while no tuner watched is looked up first.
func (v *vigil) watch(ctx context.Context, sentry Sentry, switched func() string, inForce, seen time.Time) {
	defer close(v.done)
	if v.began() {
		for _, at := range sentry.Missed(seen, time.Now()) {
			if at.After(inForce) && ctx.Err() == nil {
				v.add(ctx, at, sentry.Read(ctx, at))
			}
		}
	}
	tick := time.NewTicker(sentry.Step())
	defer tick.Stop()
	for {
		if why := switched(); why != "" && v.obeys {
			v.end(&end{outcome: ledger.OutcomeDiscarded, failure: "stopped", reason: "taken back: " + why})
		}
		if v.began() {
			v.add(ctx, time.Now(), sentry.Read(ctx, time.Time{}))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// begin is told just before the change is made.
func (v *vigil) begin(at time.Time, before []guard.Reading) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tally == nil {
		v.tally = guard.NewTally(at, before)
	}
}

func (v *vigil) began() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tally != nil
}

// rolledOut is told when the rollout is complete.
func (v *vigil) rolledOut(at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.settled.IsZero() {
		v.settled = at
	}
}

// switches is told when brokers are about to be replaced once more.
func (v *vigil) switches() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.settled = time.Time{}
}

func (v *vigil) add(ctx context.Context, at time.Time, readings []guard.Reading) {
	if ctx.Err() != nil { // these are no answers
		return
	}
	v.mu.Lock()
	b := v.tally.Add(at, readings, v.settled)
	if v.found == nil && b != nil && !b.Blind {
		v.found = b
	}
	v.mu.Unlock()
	switch {
	case b == nil:
	case b.Blind && !v.obeys: // nothing is being tried that could be taken back
	case b.Blind:
		v.end(inconclusive("blind", "taken back, since it could not be watched: %s", b.Why))
	default:
		v.end(refused("guard:"+b.Name, "%s, since %s", b.Why, b.Since.UTC().Format(time.TimeOnly)))
	}
}

// end ends the attempt, unless it is over.
func (v *vigil) end(e *end) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.interrupt != nil:
		v.interrupt(interruption{e})
	case v.queued == nil:
		v.queued = &interruption{e}
	}
}

// taken is how long guards were breached since it was asked last, in seconds.
func (v *vigil) taken() float64 {
	if v == nil {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tally == nil {
		return 0
	}
	return v.tally.Take()
}

func (v *vigil) close() {
	v.stop()
	<-v.done
}

// guarded works on the attempt until it ends or is ended.
func (v *vigil) guarded(ctx context.Context, work func(context.Context) (*end, error)) (*end, error) {
	inner, interrupt := context.WithCancelCause(ctx)
	v.mu.Lock()
	v.interrupt = interrupt
	if v.queued != nil {
		interrupt(*v.queued)
	}
	v.mu.Unlock()
	e, err := work(inner)
	v.mu.Lock()
	v.interrupt = nil
	v.mu.Unlock()
	interrupt(nil)
	var i interruption
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && !errors.Is(err, context.Canceled): // the ledger's
		return nil, err
	case errors.As(context.Cause(inner), &i):
		return i.end, nil
	}
	return e, err
}

// probation is how long after it was kept a change is still taken back when a guard is breached.
const probation = 10 * time.Minute

// onProbation is the trial whose change is in force and was kept not long ago, or nil.
func (r *Runner) onProbation() *study.Trial {
	for i := len(r.study.Trials) - 1; i >= 0; i-- {
		t := &r.study.Trials[i]
		if t.Phase != ledger.Kept {
			continue
		}
		if t.Purpose == ledger.Scored && !r.File.Reverts() {
			return nil
		}
		if t.Purpose != ledger.Rollback && time.Since(t.Ended) < probation && t.Candidate.Key() == r.study.Incumbent.Key() {
			return t
		}
		return nil
	}
	return nil
}

// lookAfter watches what was kept last, as long as it is on probation.
func (r *Runner) lookAfter(ctx context.Context) {
	t := r.onProbation()
	if r.after != nil && (t == nil || r.after.trial != t.Number) {
		r.after.close()
		r.after = nil
	}
	if t != nil && r.after == nil {
		r.after = r.keepVigil(ctx, *t)
	}
}

// handOver ends the watch over what was kept before, now that something else is applied. If that has just begun to breach a guard, nothing is: the
// breach would be taken for one that was always there.
func (r *Runner) handOver(ctx context.Context, t *study.Trial, before []guard.Reading) *end {
	if r.after == nil {
		return nil
	}
	r.after.add(ctx, time.Now(), before)
	if t.Purpose != ledger.Rollback && r.pending() {
		return inconclusive("preflight", "not applied, since what was kept before begins to breach a guard")
	}
	r.after.close()
	r.after = nil
	return nil
}

// breach is the guard that was breached, or nil.
func (v *vigil) breach() *guard.Breach {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.found
}

// pending says whether a guard is breached since the last trial, though not for long enough to count: nothing new begins on top of that.
func (r *Runner) pending() bool {
	if r.after == nil {
		return false
	}
	r.after.mu.Lock()
	defer r.after.mu.Unlock()
	return r.after.tally.Pending()
}

// nobody is the sentry where there are no guards.
type nobody struct{}

func (nobody) Read(context.Context, time.Time) []guard.Reading { return nil }
func (nobody) Missed(time.Time, time.Time) []time.Time         { return nil }
func (nobody) Step() time.Duration                             { return idle }
