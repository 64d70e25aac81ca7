package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// conclude carries the judgement out. Taking back is insisted on: a value that was found wanting must not stay because something is down.
func (r *Runner) conclude(ctx context.Context, t *study.Trial) error {
	if t.Purpose == ledger.Rollback && t.Applied && !t.Stays() { // what it leads away from must not come back, whoever has changed something meanwhile
		return r.end(ctx, t, ledger.Reverted, t.Candidate)
	}
	if t.Stays() {
		if t.Series != nil && t.Applied { // the other side may be the one in force
			if err := r.undo(ctx, fmt.Sprintf("keep trial %d", t.Number), reversed(t.Changes)); err != nil {
				return err
			}
		}
		return r.end(ctx, t, ledger.Kept, t.Candidate)
	}
	if t.Applied && !(t.Purpose == ledger.Scored && t.Outcome == ledger.OutcomeDiscarded) { // what has come in its place is measured next
		if err := r.turn(ctx, t); err != nil {
			return err
		}
		if err := r.undo(ctx, fmt.Sprintf("take back trial %d", t.Number), t.Changes); err != nil {
			return err
		}
	}
	return r.end(ctx, t, ledger.Reverted, r.study.Incumbent)
}

// end writes a trial's last edge; point is what is the incumbent then.
func (r *Runner) end(ctx context.Context, t *study.Trial, phase ledger.Phase, point space.Point) error {
	number := t.Number
	last := ledger.Record{Kind: ledger.Edge, Phase: phase, Trial: number, Point: point, Outcome: t.Outcome, Author: author(t, t.Author), Reason: t.Reason}
	if err := r.record(last); err != nil {
		return err
	}
	r.announce(ctx, eventEnd(r.study.Trials[number-1]))
	return nil
}

// reversed are the changes that lead back.
func reversed(changes []ledger.Change) []ledger.Change {
	var out []ledger.Change
	for _, c := range slices.Backward(changes) {
		c.Old, c.New, c.OldText, c.NewText = c.New, c.Old, c.NewText, c.OldText
		out = append(out, c)
	}
	return out
}

// undo sets the old values again, except where somebody else has set another one since, and waits until the broker runs with them. Who puts back meanwhile what
// others are not to have has made another change, which the next look finds; what the tuner itself has tried is set once more, and then left to a controller that
// insists on it.
func (r *Runner) undo(ctx context.Context, what string, changes []ledger.Change) error {
	back, write, set := reversed(changes), r.Cluster.Restore, false
	return r.insist(ctx, what, func() (err error) {
		var ours []ledger.Change
		if set && r.File.Reverts() {
			ours, err = r.untouched(ctx, back)
		} else {
			ours, err = r.restore(ctx, write, back)
		}
		if err != nil || len(ours) == 0 {
			return err
		}
		set, write = true, r.Cluster.Set
		if err := r.Cluster.Rollback(ctx); err != nil {
			return err
		}
		effective, err := r.Broker.Effective(ctx)
		if err != nil {
			return err
		}
		r.effective(effective)
		for _, c := range ours {
			if got := effective[c.Knob]; got != c.New {
				return fmt.Errorf("read back %s: want %d (got %d)", c.Knob, c.New, got)
			}
		}
		return r.Broker.Healthy(ctx)
	})
}

// restore makes the changes, and returns those that it could make.
func (r *Runner) restore(ctx context.Context, write setter, changes []ledger.Change) ([]ledger.Change, error) {
	var ours []ledger.Change
	for _, c := range changes {
		view, err := r.put(ctx, write, c)
		switch {
		case err == nil:
			r.seen = view
			ours = append(ours, c)
		case errors.Is(err, apply.ErrContested):
			r.contested = err.Error()
			return nil, err
		case !errors.Is(err, apply.ErrChanged): // theirs stays; the next look records it
			return nil, err
		}
	}
	return ours, nil
}

// untouched are those changes whose new values are still there.
func (r *Runner) untouched(ctx context.Context, changes []ledger.Change) ([]ledger.Change, error) {
	view, err := r.Cluster.Look(ctx)
	if err != nil {
		return changes, err
	}
	return slices.DeleteFunc(slices.Clone(changes), func(c ledger.Change) bool { return view.Env[c.Env] != c.NewText }), nil
}

// The reasons of the events on the workload.
const (
	eventTried        = "TuningAttempted"
	eventKept         = "TuningKept"
	eventReverted     = "TuningReverted"
	eventInconclusive = "TuningInconclusive"
	eventScored       = "ChangeScored"
	eventQuarrel      = "TuningContested"
)

// arrows are all changes on one line.
func arrows(changes []ledger.Change) string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = fmt.Sprintf("%s %s → %s", c.Env, c.OldText, c.NewText)
	}
	return strings.Join(out, ", ")
}

func eventAttempted(t *study.Trial) apply.Event {
	return apply.Event{
		ID: eventID(t), Reason: eventTried, Time: t.Started,
		Message: fmt.Sprintf("trial %d: %s (%s)", t.Number, arrows(t.Changes), t.Reason),
	}
}

func eventEnd(t study.Trial) apply.Event {
	e := apply.Event{ID: eventID(&t), Reason: eventInconclusive, Warning: true, Time: t.Ended}
	switch t.Outcome {
	case ledger.OutcomeKept:
		e.Reason, e.Warning = eventKept, false
	case ledger.OutcomeReverted:
		e.Reason, e.Warning = eventReverted, t.Failure != ""
	case ledger.OutcomeBetter, ledger.OutcomeNotBetter, ledger.OutcomeWorse:
		e.Reason, e.Warning = eventScored, t.Outcome == ledger.OutcomeWorse
	}
	effect := "not measured"
	if t.Verdict != nil {
		effect = fmt.Sprintf("%+.1f %%", t.Verdict.Effect*100)
	}
	what := arrows(t.Changes)
	if t.Purpose == ledger.Scored {
		what += ", by " + t.By
	}
	e.Message = fmt.Sprintf("trial %d: %s: %s, effect %s (%s)", t.Number, what, t.Outcome, effect, t.Reason)
	return e
}

// eventID names the trial across ledgers: numbers start again with a new one.
func eventID(t *study.Trial) string {
	return t.Started.UTC().Format(time.RFC3339Nano) + "/" + strconv.Itoa(t.Number)
}

const emitLimit = 5 * time.Second

// announce tells people; what cannot be told now is told later. A trial never waits for it.
func (r *Runner) announce(ctx context.Context, e apply.Event) {
	r.unsent = append(r.unsent, e)
	r.flush(ctx)
}

const keepUnsent = 100

func (r *Runner) flush(ctx context.Context) {
	for len(r.unsent) > 0 {
		limited, cancel := context.WithTimeout(ctx, emitLimit)
		err := r.Herald.Emit(limited, r.unsent[0])
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				r.Logger.Warn("event not sent yet", "reason", r.unsent[0].Reason, "err", err)
			}
			r.unsent = r.unsent[max(0, len(r.unsent)-keepUnsent):]
			return
		}
		r.unsent = r.unsent[1:]
	}
}

// announceAgain sends the events of the newest trial that a killed tuner may not have sent; sent twice they appear once.
func (r *Runner) announceAgain() {
	if len(r.study.Trials) == 0 {
		return
	}
	t := r.study.Trials[len(r.study.Trials)-1]
	if t.Applied && t.Purpose != ledger.Scored {
		r.unsent = append(r.unsent, eventAttempted(&t))
	}
	if why, _ := r.quarrels(&t); why != "" {
		r.unsent = append(r.unsent, eventContested(&t, why))
	}
	if t.Phase.Done() {
		r.unsent = append(r.unsent, eventEnd(t))
	}
}

func (r *Runner) effective(p space.Point) { r.Board.Update(SetEffective(p)) }
