package trial

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// step does the next thing and returns soon, except when it measures or runs a trial.
func (r *Runner) step(ctx context.Context) error {
	r.flush(ctx)
	point, err := r.attend(ctx)
	if err != nil {
		return err
	}
	if point == nil { // not readable: attend has said so
		return wait(ctx, idle)
	}
	if r.File.Mode == config.Observe {
		return r.observe(ctx)
	}
	if why := r.Stop(); why != "" {
		r.state(status.Paused, why)
		return r.rest(ctx)
	}
	r.lookAfter(ctx)
	if back, due := r.wayBack(); due {
		return r.try(ctx, back)
	}
	if p := r.desk.paused(); p != nil {
		r.state(status.Paused, fmt.Sprintf("by %s: %s", p.By, p.Reason))
		return r.rest(ctx)
	}
	if r.contested != "" {
		r.state(status.Holding, r.contested)
		return r.rest(ctx)
	}
	if r.pending() {
		r.state(status.Holding, "a guard is breached; nothing new begins")
		return r.rest(ctx)
	}
	return r.advance(ctx)
}

// advance does what brings the search further.
func (r *Runner) advance(ctx context.Context) error {
	if len(r.study.Windows) == 0 {
		return r.measureIncumbent(ctx)
	}
	next, none, ok := r.choose()
	waits := ok && r.waits(next)
	switch {
	case !ok && r.study.Finished != "":
		return r.watchLoad(ctx)
	case ok && r.interleaved(next) != nil: // it measures both sides itself
	case ok && next.purpose == ledger.Confirm && r.selected(), // or it would be compared with its own luck
		!waits && r.stale(): // the last word of a search is a fresh one, too
		return r.measureIncumbent(ctx)
	}
	switch {
	case !ok:
		return r.record(ledger.Record{Kind: ledger.Finished, Reason: r.summary(none), Point: r.study.Incumbent})
	case r.File.Mode == config.Recommend:
		r.offer(next, status.Recommending, "")
		return r.rest(ctx)
	case waits:
		r.offer(next, status.Awaiting, fmt.Sprintf("trial %d waits for approval", r.nextTrial()))
		return r.rest(ctx)
	}
	if err := r.Cluster.Rights(ctx); err != nil { // found out later, it would leave the target between two values
		r.state(status.Holding, fmt.Sprintf("trial %d is not begun: %v", r.nextTrial(), err))
		return r.rest(ctx)
	}
	return r.try(ctx, next)
}

// rest waits until it is time for another look, or an order comes.
func (r *Runner) rest(ctx context.Context) error {
	t := time.NewTimer(idle)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.desk.poke:
	case <-t.C:
	}
	return nil
}

func (r *Runner) nextTrial() int { return len(r.study.Trials) + 1 }

// waits says whether the trial needs somebody's approval first. A way back never does.
func (r *Runner) waits(p proposal) bool {
	return r.File.Mode == config.Approve && p.purpose != ledger.Rollback && !r.desk.approved(r.nextTrial(), p.point)
}

func (r *Runner) stale() bool {
	return len(r.study.Windows) == 0 || time.Since(r.study.MeasuredAt) > r.File.Windows.MaxAge
}

// offer shows a proposal to people.
func (r *Runner) offer(p proposal, now status.State, reason string) {
	number, changes := r.nextTrial(), r.changes(p)
	r.desk.offer(number, p.point)
	c := changes[0]
	next := &status.Proposal{Trial: number, Steps: steps(changes), Knob: c.Knob, Env: c.Env, Old: c.OldText, New: c.NewText, Reason: p.reason}
	r.Board.Update(func(s *status.Snapshot) { s.State, s.Reason, s.Next = now, reason, next })
}

// try makes a trial of the proposal.
func (r *Runner) try(ctx context.Context, p proposal) error {
	changes := r.changes(p)
	err := r.record(ledger.Record{
		Kind: ledger.Edge, Phase: ledger.Proposed, Trial: r.nextTrial(), Change: &changes[0], Changes: changes, Purpose: p.purpose, Series: r.interleaved(p),
		Point: p.point, Revision: r.study.Rest, Reason: p.reason, Author: p.author, Made: p.made, Generation: p.generation,
		Restart: p.purpose == ledger.Scored && r.restarts(changes),
	})
	if err != nil {
		return err
	}
	return r.pursue(ctx)
}

// restarts says whether the changes restart the brokers.
func (r *Runner) restarts(changes []ledger.Change) bool {
	return slices.ContainsFunc(changes, func(c ledger.Change) bool { return r.Cluster.Restarts(c.Env) })
}

// changes are what leads from the incumbent to the proposal.
func (r *Runner) changes(p proposal) []ledger.Change {
	var out []ledger.Change
	for _, k := range r.knobs {
		if old, new := r.study.Incumbent[k.Name], p.point[k.Name]; old != new {
			out = append(out, change(k, old, new))
		}
	}
	return out
}
