package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// settle waits until the cluster is healthy and the load has been back for a while without a break. A pod that is ready says neither.
func (r *Runner) settle(ctx context.Context, want space.Point) (*end, error) {
	w := r.File.Windows
	start := time.Now()
	var since time.Time // of unbroken health; zero: not yet
	for {
		if e := r.intact(ctx, want); e != nil {
			return e, nil
		}
		err := r.Broker.Healthy(ctx)
		if err == nil {
			err = loaded(r.Meter.Live(ctx))
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		if !since.IsZero() && time.Since(since) >= w.Settle {
			return nil, nil
		}
		if time.Since(start) > w.SettleLimit {
			if err == nil {
				err = errors.New("the load came back only for moments")
			}
			return inconclusive("not-settled", "not settled within %s: %v", w.SettleLimit, err), nil
		}
		if err := wait(ctx, idle); err != nil {
			return nil, err
		}
	}
}

// warm waits at least the shortest warm-up, then until the goodput of two windows in a row differs little, at most the longest.
func (r *Runner) warm(ctx context.Context, want space.Point) (*end, error) {
	w := r.File.Windows
	start := time.Now()
	if err := wait(ctx, w.Warmup); err != nil {
		return nil, err
	}
	for {
		if e := r.intact(ctx, want); e != nil {
			return e, nil
		}
		now := time.Now()
		before, errBefore := r.Meter.Measure(ctx, observe.Span{From: now.Add(-2 * w.Window), To: now.Add(-w.Window)})
		last, errLast := r.Meter.Measure(ctx, observe.Span{From: now.Add(-w.Window), To: now})
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errBefore == nil && errLast == nil && math.Abs(last.Goodput/before.Goodput-1) <= w.Steady:
			return nil, nil
		case time.Since(start) >= w.WarmupLimit:
			return nil, nil
		}
		if err := wait(ctx, idle); err != nil {
			return nil, err
		}
	}
}

// amount is how many windows are wanted, and whether fewer are enough. Patient ones go on, with the newest of them, while the load still moves: at most
// for the given time.
type amount struct {
	count   int
	enough  func(so []judge.Window) bool
	patient time.Duration
}

func all(count int) amount {
	return amount{count: count, enough: func([]judge.Window) bool { return false }}
}

// settled are windows of a load that has found its rate. After a start from cold it feels its way up for minutes, each window little above the one
// before, and whatever is tried next would be compared with what was never the incumbent's best.
func (r *Runner) settled() amount {
	a := all(r.File.Windows.Count)
	a.patient = r.File.Windows.MaxAge // what takes longer to measure is old by then
	return a
}

// measure takes windows one behind the other. Each is asked for after it ended and the last scrape in it was taken; a bad one is replaced by a
// further one as long as there are any.
func (r *Runner) measure(ctx context.Context, want space.Point, a amount) ([]judge.Window, *end, error) {
	w := r.File.Windows
	late := r.late()
	var good []judge.Window
	var causes []string
	began := time.Now()
	from := began
	more := func(n int) bool {
		if a.enough(good) {
			return false
		}
		if len(good) < a.count {
			return n < a.count+w.Extra
		}
		_, moving := judge.Moving(good, r.File.Objective.Margin)
		return moving && time.Since(began) < a.patient
	}
	for n := 0; more(n); n++ {
		to := from.Add(w.Window)
		if err := wait(ctx, time.Until(to.Add(late))); err != nil {
			return nil, nil, err
		}
		if e := r.intact(ctx, want); e != nil {
			return nil, e, nil
		}
		window, err := r.Meter.Measure(ctx, observe.Span{Trial: began, From: from, To: to})
		var bad *observe.Bad
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err == nil:
			good = append(good, window)
			good = good[max(0, len(good)-a.count):]
			r.progress(good)
		case errors.As(err, &bad) && bad.Blames:
			return nil, refused(bad.Cause, "%s: %s", bad.Figure, bad.Why), nil
		default:
			causes = append(causes, err.Error())
			r.Logger.Warn("bad window", "err", err)
		}
		from = to
	}
	if err := r.Cluster.Rollout(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		return nil, rolloutEnd(err), nil
	}
	if len(good) < a.count && !a.enough(good) {
		cause := "no-data"
		if len(causes) > 0 {
			cause = firstCause(causes[0])
		}
		return nil, inconclusive(cause, "only %d of %d windows could be measured: %s", len(good), a.count, strings.Join(causes, " | ")), nil
	}
	return good, nil, nil
}

// firstCause is the cause in the text of a *observe.Bad: figure: cause: why.
func firstCause(text string) string {
	parts := strings.SplitN(text, ": ", 3)
	if len(parts) < 2 {
		return "no-data"
	}
	return parts[1]
}

// measureIncumbent measures what runs now, when nothing is known about it or what is known is old. While what runs is on probation, a breach ends
// that, however far it has come.
func (r *Runner) measureIncumbent(ctx context.Context) error {
	if r.after == nil {
		return r.measureNow(ctx)
	}
	_, err := r.after.guarded(ctx, func(ctx context.Context) (*end, error) { return nil, r.measureNow(ctx) })
	return err
}

func (r *Runner) measureNow(ctx context.Context) error {
	r.windows = 0
	r.state(status.Baseline, "")
	var effective space.Point
	err := r.insist(ctx, "read the effective values", func() (err error) {
		if err = r.ready(ctx); err != nil {
			return err
		}
		if err = r.remember(ctx); err != nil {
			return err
		}
		effective, err = r.Broker.Effective(ctx)
		return err
	})
	if err != nil {
		return err
	}
	r.effective(effective)
	point := r.study.Incumbent
	if effective.Key() != point.Key() {
		r.state(status.Holding, fmt.Sprintf("the variables say %s, the broker runs with %s", point.Key(), effective.Key()))
		return wait(ctx, idle)
	}
	windows, e, err := r.steady(ctx, point, r.settled(), func(ledger.Phase) error { return nil })
	switch {
	case err != nil:
		return err
	case e != nil && e.outcome == ledger.OutcomeDiscarded:
		return nil // the next look, at the target or at the broker, says so
	case e != nil:
		r.state(status.Holding, "the incumbent could not be measured: "+e.reason)
		r.Logger.Warn("the incumbent could not be measured", "err", e.reason)
		return wait(ctx, idle)
	}
	reason := fmt.Sprintf("the incumbent's goodput is %.0f/s", judge.Median(windows, judge.Goodput))
	if by, moving := judge.Moving(windows, r.File.Objective.Margin); moving {
		reason += fmt.Sprintf(", and still moves: %+.0f %% from the first half of its windows to the second", 100*by)
	}
	return r.record(ledger.Record{Kind: ledger.Measured, Point: point, Effective: effective, Windows: windows, Reason: reason})
}

// steady measures brokers that live through it. Any end but somebody else's change is put down to a death in between, if there was one: it is
// what made the load stay away or the windows bad.
func (r *Runner) steady(ctx context.Context, point space.Point, a amount, edge func(ledger.Phase) error) ([]judge.Window, *end, error) {
	windows, e, err := r.phases(ctx, point, a, edge)
	if err != nil || e != nil && e.outcome == ledger.OutcomeDiscarded {
		return nil, e, err
	}
	var now apply.Lives
	if err := r.insist(ctx, "look at the brokers", func() (err error) { now, err = r.Cluster.Lives(ctx); return err }); err != nil {
		return nil, nil, err
	}
	died := now.Since(r.lives)
	if died == nil {
		return windows, e, nil
	}
	if e := r.intact(ctx, point); e != nil { // a rollout that somebody else made replaces pods too
		return nil, e, nil
	}
	return nil, rolloutEnd(died), nil
}

// remember notes which brokers are to be measured.
func (r *Runner) remember(ctx context.Context) (err error) {
	r.lives, err = r.Cluster.Lives(ctx)
	return err
}

func (r *Runner) phases(ctx context.Context, point space.Point, a amount, edge func(ledger.Phase) error) ([]judge.Window, *end, error) {
	if e, err := r.settle(ctx, point); e != nil || err != nil {
		return nil, e, err
	}
	if err := edge(ledger.Warming); err != nil {
		return nil, nil, err
	}
	if e, err := r.warm(ctx, point); e != nil || err != nil {
		return nil, e, err
	}
	if err := edge(ledger.Measuring); err != nil {
		return nil, nil, err
	}
	windows, e, err := r.measure(ctx, point, a)
	if e != nil || err != nil {
		return nil, e, err
	}
	e, err = r.still(ctx, point)
	return windows, e, err
}

// still reads the values in force again: a broker's settings can be changed while it runs, past the workload, and then nobody knows with which of
// them the windows were measured.
func (r *Runner) still(ctx context.Context, want space.Point) (*end, error) {
	start := time.Now()
	for {
		effective, err := r.Broker.Effective(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && effective.Key() == want.Key():
			return nil, nil
		case err == nil:
			if e := r.intact(ctx, want); e != nil {
				return e, nil
			}
			return &end{
				outcome: ledger.OutcomeDiscarded, author: "unknown", failure: "outside-change",
				reason: fmt.Sprintf("the broker itself was changed while it was measured (want %s, got %s); it does not say by whom", want.Key(), effective.Key()),
			}, nil
		case time.Since(start) > r.File.Windows.Verify:
			return inconclusive("read-back", "the effective values could not be read after the windows: %v", err), nil
		}
		if err := wait(ctx, idle); err != nil {
			return nil, err
		}
	}
}
