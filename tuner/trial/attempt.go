package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// end is how a trial comes out, other than by an error of the ledger or the end of the program.
type end struct {
	outcome ledger.Outcome
	failure string
	reason  string
	author  string
	verdict *judge.Verdict
	windows []judge.Window
}

func inconclusive(failure, format string, args ...any) *end {
	return &end{outcome: ledger.OutcomeInconclusive, failure: failure, reason: fmt.Sprintf(format, args...)}
}

func refused(failure, format string, args ...any) *end {
	return &end{outcome: ledger.OutcomeReverted, failure: failure, reason: fmt.Sprintf(format, args...)}
}

// resume goes on with the trial that an earlier process left, from its edge. Before the target may have been touched that is preflight; after the
// judgement it is carrying it out; between them the acts up to reading back are repeated, which changes nothing when they were done, and the
// measurement is made anew, since nothing is known about the time in between.
func (r *Runner) resume(ctx context.Context) error {
	r.announceAgain()
	t := r.study.Running()
	if t == nil {
		return nil
	}
	r.resumed = true
	if !r.mayPursue(t) {
		return r.giveUp(ctx, t)
	}
	r.Logger.Info("go on with a trial", "trial", t.Number, "phase", t.Phase)
	return r.pursue(ctx)
}

// mayPursue says whether the mode allows what the trial still needs.
func (r *Runner) mayPursue(t *study.Trial) bool {
	switch t.Purpose {
	case ledger.Scored:
		return t.Outcome != ledger.OutcomeReverted || r.File.Acts()
	case ledger.Rollback:
		return r.File.Acts()
	}
	return r.File.Mode.Acts()
}

// giveUp ends a trial in a mode that promises not to act: the target stays as it is, so what it holds is the incumbent from now on. What is already
// judged, and needs no act to be carried out, is carried out.
func (r *Runner) giveUp(ctx context.Context, t *study.Trial) error {
	if t.Phase == ledger.Judged && (t.Stays() && t.Series == nil || !t.Applied) {
		return r.conclude(ctx, t)
	}
	var view apply.View
	if err := r.insist(ctx, "look at the target", func() (err error) { view, err = r.Cluster.Look(ctx); return err }); err != nil {
		return err
	}
	held := r.study.Incumbent
	reason := fmt.Sprintf("given up in phase %s, since the tuner was started in mode %s, which leaves the knobs alone", t.Phase, r.File.Mode)
	if point, err := space.Parse(r.knobs, view.Env); err == nil && point.Key() == t.Candidate.Key() {
		held = t.Candidate
		for _, c := range t.Changes {
			reason += fmt.Sprintf("; %s is left at %q (before the trial: %q)", c.Env, c.NewText, c.OldText)
		}
	}
	err := r.record(ledger.Record{
		Kind: ledger.Edge, Phase: ledger.Judged, Trial: t.Number, Outcome: ledger.OutcomeDiscarded, Failure: "mode-changed", Reason: reason,
		Verdict: t.Verdict, Windows: t.Windows,
	})
	if err != nil {
		return err
	}
	return r.end(ctx, r.study.Running(), ledger.Reverted, held)
}

// pursue takes the running trial to its end.
func (r *Runner) pursue(ctx context.Context) error {
	r.state(status.Trialing, "")
	t := r.study.Running()
	v := r.keepVigil(ctx, *t)
	r.vigil = v
	r.desk.watch(t.Number, v)
	defer func() {
		r.desk.watch(0, nil)
		r.vigil = nil
		v.close()
	}()
	if t.Phase != ledger.Judged {
		e, err := r.outcome(ctx, t)
		if err != nil {
			return err
		}
		err = r.record(ledger.Record{
			Kind: ledger.Edge, Phase: ledger.Judged, Trial: t.Number, Outcome: e.outcome, Failure: e.failure, Reason: e.reason, Author: author(t, e.author),
			Verdict: e.verdict, Windows: e.windows, Restart: t.Applied && r.restarts(t.Changes) && t.InForce().Key() != last(t, e).Key(),
		})
		if err != nil {
			return err
		}
	}
	return r.conclude(ctx, r.study.Running())
}

// last is the configuration that the target has when the trial has come out so.
func last(t *study.Trial, e *end) space.Point {
	if e.outcome == ledger.OutcomeKept || t.Purpose == ledger.Rollback || t.Purpose == ledger.Scored && e.outcome != ledger.OutcomeReverted {
		return t.Candidate
	}
	return t.Before
}

// outcome makes the attempt, which a guard or an order may end at any moment. A way back is not ended by either: there is nowhere better to go.
func (r *Runner) outcome(ctx context.Context, t *study.Trial) (*end, error) {
	if t.Purpose == ledger.Rollback {
		return r.goBack(ctx, t)
	}
	e, err := r.vigil.guarded(ctx, func(ctx context.Context) (*end, error) { return r.attempt(ctx, t) })
	if t.Purpose == ledger.Scored {
		return r.scored(e), err
	}
	if _, before := t.Sides(); e != nil && e.outcome == ledger.OutcomeReverted && e.verdict == nil && t.Side == before {
		e.outcome = ledger.OutcomeInconclusive // it happened to what the configuration is compared with
		if t.Purpose == ledger.Confirm {
			e.outcome = ledger.OutcomeKept // the winner is to blame
		}
	}
	return e, err
}

// goBack brings the target to an earlier configuration, for as long as that takes.
func (r *Runner) goBack(ctx context.Context, t *study.Trial) (*end, error) {
	if t.Phase == ledger.Proposed {
		if err := r.edge(t, ledger.Preflight); err != nil {
			return nil, err
		}
	}
	if err := r.turn(ctx, t); err != nil {
		return nil, err
	}
	if e, err := r.apply(ctx, t); e != nil || err != nil {
		return e, err
	}
	if err := r.edge(t, ledger.Verifying); err != nil {
		return nil, err
	}
	var e *end
	err := r.insist(ctx, fmt.Sprintf("go back in trial %d", t.Number), func() error {
		if e = r.intact(ctx, t.Candidate); e != nil {
			return nil
		}
		if err := r.Cluster.Rollback(ctx); err != nil {
			return err
		}
		effective, err := r.Broker.Effective(ctx)
		if err != nil {
			return err
		}
		r.effective(effective)
		if effective.Key() != t.Candidate.Key() {
			return fmt.Errorf("read back: want %s (got %s)", t.Candidate.Key(), effective.Key())
		}
		return nil
	})
	if e == nil {
		e = &end{outcome: ledger.OutcomeKept, reason: t.Reason}
	}
	return e, err
}

// attempt goes from the trial's phase up to the judgement.
func (r *Runner) attempt(ctx context.Context, t *study.Trial) (*end, error) {
	r.windows = 0
	if t.Series != nil {
		return r.series(ctx, t)
	}
	if t.Purpose != ledger.Scored { // that is in force already
		if e, err := r.bring(ctx, t); e != nil || err != nil {
			return e, err
		}
	}
	if r.seen.Generation == 0 { // an earlier process applied it
		r.seen.Generation = t.Generation
	}
	effective, e, err := r.verify(ctx, t)
	if e != nil || err != nil {
		return e, err
	}
	if err := r.settling(t, effective); err != nil {
		return nil, err
	}
	windows, e, err := r.steady(ctx, t.Candidate, r.trialWindows(), func(p ledger.Phase) error { return r.edge(t, p) })
	if e != nil || err != nil {
		return e, err
	}
	return r.judge(t, windows), nil
}

// bring makes the change.
func (r *Runner) bring(ctx context.Context, t *study.Trial) (*end, error) {
	switch t.Phase {
	case ledger.Proposed, ledger.Preflight:
		if err := r.edge(t, ledger.Preflight); err != nil {
			return nil, err
		}
		if e, err := r.preflight(ctx, t); e != nil || err != nil {
			return e, err
		}
		fallthrough
	case ledger.Applying:
		return r.apply(ctx, t)
	}
	return nil, nil
}

func (r *Runner) edge(t *study.Trial, p ledger.Phase) error {
	return r.record(ledger.Record{Kind: ledger.Edge, Phase: p, Trial: t.Number, Point: t.InForce(), Block: t.Block, Side: t.Side})
}

func (r *Runner) settling(t *study.Trial, effective space.Point) error {
	err := r.record(ledger.Record{Kind: ledger.Edge, Phase: ledger.Settling, Trial: t.Number, Effective: effective, Block: t.Block, Side: t.Side})
	if err == nil {
		r.vigil.rolledOut(t.Settled)
	}
	return err
}

// preflight waits for a target that may be changed: as the ledger says, rolled out, healthy, under load.
func (r *Runner) preflight(ctx context.Context, t *study.Trial) (*end, error) {
	start := time.Now()
	for {
		view, err := r.Cluster.Look(ctx)
		if err == nil {
			if e := r.disturbed(view, r.study.Incumbent); e != nil {
				return e, nil
			}
			r.seen = view
			r.limit(view)
			if err := r.File.SearchSpace().Check(t.Candidate, space.Pod{Memory: r.Memory}); err != nil {
				return refused("limit", "refused before applying: %v", err), nil
			}
			err = r.ready(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			return nil, nil
		case time.Since(start) > r.File.Windows.Preflight:
			return inconclusive("preflight", "not applied, since the target was not ready within %s: %v", r.File.Windows.Preflight, err), nil
		}
		if err := wait(ctx, idle); err != nil {
			return nil, err
		}
	}
}

// ready is whether the target runs as it should and is measured.
func (r *Runner) ready(ctx context.Context) error {
	if err := r.Cluster.Rollout(ctx); err != nil {
		return err
	}
	if err := r.Broker.Healthy(ctx); err != nil {
		return err
	}
	return loaded(r.Meter.Live(ctx))
}

func loaded(l observe.Live) error {
	switch {
	case l.P99 == nil:
		return fmt.Errorf("no P99: %s", l.Missing["p99"])
	case l.Acked == nil:
		return fmt.Errorf("no acknowledged rate: %s", l.Missing["acked"])
	case *l.Acked <= 0:
		return errors.New("nothing is acknowledged")
	}
	return nil
}

// disturbed ends the trial when the target is not as the ledger says: only somebody else can have done that.
func (r *Runner) disturbed(view apply.View, want space.Point) *end {
	o := r.since(view, want)
	if o == nil {
		return nil
	}
	what := "something other than the knobs"
	switch {
	case len(o.Variables) > 0:
		got, _ := space.Parse(r.knobs, view.Env)
		what = fmt.Sprintf("the knobs (want %s, got %s)", want.Key(), got.Key())
	case view.Rest == r.study.Rest:
		what = "something and put it back"
	}
	return &end{outcome: ledger.OutcomeDiscarded, author: o.Author, failure: "outside-change", reason: fmt.Sprintf("%s changed %s during the trial", o.Author, what)}
}

// intact is disturbed with a fresh look. An API server that does not answer disturbs nothing.
func (r *Runner) intact(ctx context.Context, want space.Point) *end {
	view, err := r.Cluster.Look(ctx)
	if err != nil {
		return nil
	}
	return r.disturbed(view, want)
}

// apply writes the values. A first edge announces them; after a crash the same calls find them set and send nothing.
func (r *Runner) apply(ctx context.Context, t *study.Trial) (*end, error) {
	again := t.Applied
	before := r.Sentry.Read(ctx, time.Time{})
	if e := r.handOver(ctx, t, before); e != nil {
		return e, nil
	}
	err := r.record(ledger.Record{
		Kind: ledger.Edge, Phase: ledger.Applying, Trial: t.Number, Point: t.Candidate, Revision: r.study.Rest, Restart: !again && r.restarts(t.Changes),
	})
	if err != nil {
		return nil, err
	}
	r.vigil.begin(t.AppliedAt, before)
	r.announce(ctx, eventAttempted(t))
	var changed *end
	write := r.Cluster.Set
	if t.Purpose == ledger.Rollback {
		write = r.Cluster.Restore
	}
	err = r.insist(ctx, "apply "+texts(t.Changes), func() error {
		for _, c := range t.Changes {
			changed, err = r.set(ctx, write, t.Candidate, c)
			if changed != nil && changed.failure == "refused" && t.Purpose == ledger.Rollback { // as long as that takes
				changed, err = nil, errors.New(changed.reason)
			}
			if changed != nil || err != nil {
				return err
			}
		}
		return nil
	})
	return changed, err
}

// setter is Set of the cluster, or Restore.
type setter func(ctx context.Context, variable, old, new string) (apply.View, error)

func (r *Runner) set(ctx context.Context, write setter, want space.Point, c ledger.Change) (*end, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	view, err := r.put(r.life, write, c)
	switch {
	case err == nil:
		r.seen = view
	case errors.Is(err, apply.ErrChanged):
		view, lookErr := r.Cluster.Look(ctx)
		if lookErr != nil {
			return nil, lookErr
		}
		return r.disturbed(view, want), nil
	case errors.Is(err, apply.ErrContested):
		r.contested = err.Error()
		return inconclusive("contested", "not applied: %v", err), nil
	case errors.Is(err, apply.ErrRefused):
		return inconclusive("refused", "not applied: %v", err), nil
	}
	return nil, err
}

// put writes the value, in place of the old one however that is spelled: as 04, for instance, by somebody else.
func (r *Runner) put(ctx context.Context, write setter, c ledger.Change) (apply.View, error) {
	view, err := write(ctx, c.Env, c.OldText, c.NewText)
	if !errors.Is(err, apply.ErrChanged) {
		return view, err
	}
	now, lookErr := r.Cluster.Look(ctx)
	if lookErr != nil {
		return view, lookErr
	}
	point, _ := space.Parse(r.knobs, now.Env) // what it does not know is theirs
	if v, known := point[c.Knob]; !known || v != c.Old {
		return view, err
	}
	return write(ctx, c.Env, now.Env[c.Env], c.NewText)
}

// texts are the new values.
func texts(changes []ledger.Change) string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.NewText
	}
	return strings.Join(out, ", ")
}

// verify waits for the rollout and reads back what the broker and its JVM run with.
func (r *Runner) verify(ctx context.Context, t *study.Trial) (space.Point, *end, error) {
	want := t.InForce()
	err := r.record(ledger.Record{
		Kind: ledger.Edge, Phase: ledger.Verifying, Trial: t.Number, Point: want, Generation: r.seen.Generation, Block: t.Block, Side: t.Side,
	})
	if err != nil {
		return nil, nil, err
	}
	if e := r.intact(ctx, want); e != nil {
		return nil, e, nil
	}
	if err := r.Cluster.Rollout(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if e := r.intact(ctx, want); e != nil {
			return nil, e, nil
		}
		return nil, rolloutEnd(err), nil
	}
	if err := r.insist(ctx, "look at the brokers", func() error { return r.remember(ctx) }); err != nil {
		return nil, nil, err
	}
	start := time.Now()
	for {
		effective, err := r.Broker.Effective(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err == nil && effective.Key() == want.Key():
			r.effective(effective)
			return effective, nil, nil
		case time.Since(start) <= r.File.Windows.Verify:
		case err != nil:
			return nil, inconclusive("read-back", "the effective values could not be read: %v", err), nil
		default:
			return nil, refused("read-back", "the change has no effect: want %s, the broker runs with %s", want.Key(), effective.Key()), nil
		}
		if err := wait(ctx, idle); err != nil {
			return nil, nil, err
		}
	}
}

func rolloutEnd(err error) *end {
	class := apply.ClassOf(err)
	if class.Blames() {
		return refused(string(class), "%v", err)
	}
	if class == "" {
		class = apply.API
	}
	return inconclusive(string(class), "%v", err)
}

// trialWindows are all, or fewer when the comparison is plain before.
func (r *Runner) trialWindows() amount {
	return amount{count: r.File.Windows.Count, enough: func(so []judge.Window) bool { return judge.Plain(r.study.Windows, so, r.rules) }}
}

// judge compares with the incumbent as it was measured last. After a tuner was down for long that says nothing about now.
func (r *Runner) judge(t *study.Trial, windows []judge.Window) *end {
	w := r.File.Windows
	limit := w.MaxAge + w.Preflight + w.Rollout + w.Verify + w.SettleLimit + w.WarmupLimit + time.Duration(w.Count+w.Extra)*w.Window
	if age := time.Since(r.study.MeasuredAt); len(r.study.Windows) > 0 && age > limit {
		return inconclusive("incumbent-old", "the incumbent was measured %s ago, too long for a comparison (limit %s)", age.Round(time.Second), limit)
	}
	v, err := judge.Compare(r.study.Windows, windows, r.rules)
	if err != nil { // the incumbent was not measured: an outside change came in between
		return inconclusive("no-incumbent", "%v", err)
	}
	return &end{verdict: &v, windows: windows, reason: v.Reason, outcome: r.settles(t.Purpose, v)}
}
