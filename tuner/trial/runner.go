// Package trial runs the loop: measure the incumbent, propose, apply, verify, settle, warm up, measure, judge, keep or take back.
//
// It promises that every edge of a trial is in the ledger, on the disk, before the act that follows it; that every act is idempotent, so that a
// tuner killed anywhere goes on without applying anything twice and the target ends as the ledger says; that a value which is not kept is taken
// back, for as long as that takes (a tuner that is started in a mode that does not act ends the trial as discarded instead, and says which value stays; a
// controller that puts back twice what the tuner has tried is named and not fought); that in mode observe with revert what does harm is taken back
// however often somebody puts it back; that a measurement it could not make is inconclusive and never speaks for or against a configuration; that
// what a search has found stays only if it is better than the start once more, measured in blocks that are taken in turns; and that
// a change made by somebody else ends the trial, is attributed, and is not overwritten. It leaves out how things are measured, judged and applied.
package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// Cluster is the target; apply.Workload, apply.Mixed and apply.Strimzi are.
type Cluster interface {
	Look(ctx context.Context) (apply.View, error)
	Set(ctx context.Context, variable, old, new string) (apply.View, error)
	Restore(ctx context.Context, variable, old, new string) (apply.View, error) // however often it is put back
	Rollout(ctx context.Context) error                                          // only looks
	Rollback(ctx context.Context) error                                         // may delete what stands in the way
	Lives(ctx context.Context) (apply.Lives, error)
	Rights(ctx context.Context) error                                // names those that are missing
	Redeploy(ctx context.Context, reason string) (apply.View, error) // once for each reason
	Restarts(variable string) bool                                   // whether a change of it restarts the brokers
}

// Broker reads back; apply.Brokers is one.
type Broker interface {
	Effective(ctx context.Context) (space.Point, error)
	Healthy(ctx context.Context) error
}

// Meter measures; observe.Observer is one.
type Meter interface {
	Measure(ctx context.Context, span observe.Span) (judge.Window, error)
	Live(ctx context.Context) observe.Live
}

// Herald tells people; apply.Workload is one.
type Herald interface {
	Emit(ctx context.Context, e apply.Event) error
}

// Journal keeps records; ledger.Ledger is one.
type Journal interface {
	Append(r ledger.Record) (ledger.Record, error)
}

// Config of a Runner. Everything except Sentry, Stop, Term, Logger, Memory, Build and Torn is required.
type Config struct {
	File    config.File
	Cluster Cluster
	Broker  Broker
	Meter   Meter
	Herald  Herald
	Journal Journal
	Sentry  Sentry          // nil: there are no guards
	Stop    func() string   // why the tuner must not act now; empty: it may
	Term    int64           // of the lease under which this runner acts
	Records []ledger.Record // what the journal holds already
	Board   *status.Board
	Logger  *slog.Logger
	Memory  int64 // bytes that the target's container is said to have; its own limit is looked up too
	Build   string
	Torn    int64
}

// Runner is the loop. One goroutine uses it; only Order may be called from others.
type Runner struct {
	Config
	knobs   []space.Knob
	rules   judge.Rules
	study   *study.Study
	vigil   *vigil         // over the running trial
	after   *vigil         // over what was kept last
	load    []judge.Window // of the last windows, while nothing is tried
	loadEnd time.Time

	desk    desk
	life    context.Context // of Run: a write is not cut off by the end of an attempt, or nobody would know whether it arrived
	resumed bool            // the next edge goes on with a trial that an earlier process began
	windows int             // measured so far in the running trial
	lives   apply.Lives     // the brokers after the rollout, before they are measured
	seen    apply.View      // the target after the runner's own last change, or when it was looked at since; Generation 0: not yet by this process
	unsent  []apply.Event

	contested string // why nothing is tried any more: somebody else puts values back
}

// New makes a runner.
func New(c Config) (*Runner, error) {
	if c.Cluster == nil || c.Broker == nil || c.Meter == nil || c.Herald == nil || c.Journal == nil || c.Board == nil {
		return nil, errors.New("trial: cluster, broker, meter, herald, journal and board are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Sentry == nil {
		c.Sentry = nobody{}
	}
	if c.Stop == nil {
		c.Stop = func() string { return "" }
	}
	o := c.File.Objective
	return &Runner{
		Config: c, knobs: c.File.Space(), study: study.Fold(c.Records),
		rules: judge.Rules{Margin: o.Margin, Alpha: o.Alpha, SLO: o.SLO.Seconds(), Tolerance: o.Tolerance},
		desk:  desk{book: orders.Fold(c.Records), entries: len(c.Records), poke: make(chan struct{}, 1)},
	}, nil
}

const (
	idle  = 2 * time.Second  // between looks at the target while nothing is done; also how long somebody else's change stays unnoticed
	first = time.Second      // first pause after a failure
	most  = 15 * time.Second // longest
)

// Run works until ctx ends (then it returns nil) or the ledger cannot be written.
func (r *Runner) Run(ctx context.Context) error {
	r.life = ctx
	err := r.run(ctx)
	if r.after != nil {
		r.after.close()
	}
	if ctx.Err() != nil {
		r.state(status.Stopped, "")
		return nil
	}
	return err
}

func (r *Runner) run(ctx context.Context) error {
	r.publish()
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.resume(ctx); err != nil {
		return err
	}
	for {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
}

// begin notes that a tuner started and what it found.
func (r *Runner) begin(ctx context.Context) error {
	var view apply.View
	if err := r.insist(ctx, "look at the target", func() (err error) { view, err = r.Cluster.Look(ctx); return err }); err != nil {
		return err
	}
	if _, err := space.Parse(r.knobs, view.Env); err != nil && r.study.Incumbent == nil {
		return r.untilReadable(ctx)
	}
	return r.session(view)
}

// untilReadable waits for a target whose variables have the configured form: before that there is nothing to start from.
func (r *Runner) untilReadable(ctx context.Context) error {
	var view apply.View
	err := r.insist(ctx, "read the knobs", func() (err error) {
		if view, err = r.Cluster.Look(ctx); err != nil {
			return err
		}
		_, err = space.Parse(r.knobs, view.Env)
		return err
	})
	if err != nil {
		return err
	}
	return r.session(view)
}

func (r *Runner) session(view apply.View) error {
	point, _ := space.Parse(r.knobs, view.Env) // a partial one is for people
	return r.record(ledger.Record{
		Kind: ledger.Session, Point: point, Revision: view.Rest, Generation: view.Generation,
		Mode: string(r.File.Mode), Build: r.Build, Config: r.File.Digest, Question: r.File.Question(), Torn: r.Torn,
	})
}

// attend looks at the target and records what somebody else changed. The point is nil when the variables cannot be understood.
func (r *Runner) attend(ctx context.Context) (space.Point, error) {
	var view apply.View
	if err := r.insist(ctx, "look at the target", func() (err error) { view, err = r.Cluster.Look(ctx); return err }); err != nil {
		return nil, err
	}
	r.limit(view)
	point, err := space.Parse(r.knobs, view.Env)
	if err != nil {
		r.state(status.Holding, fmt.Sprintf("%v (changed by %s)", err, view.Author(r.variables()...)))
		return nil, nil
	}
	o := r.since(view, r.study.Incumbent)
	if o == nil {
		r.seen = view
		return point, nil
	}
	if r.File.Mode == config.Observe {
		return point, r.theirs(ctx, point, view, o)
	}
	return point, r.outside(point, view, o.Author, "changed outside of any trial; it is the new incumbent")
}

// limit notes what memory the container has now. Orders are examined by it too, while the loop works: whoever takes them holds the desk's lock.
func (r *Runner) limit(view apply.View) {
	if view.Memory > 0 {
		r.desk.mu.Lock()
		defer r.desk.mu.Unlock()
		r.Memory = view.Memory
	}
}

// since is what somebody else did to a target that is meant to have the values: compared with the ledger, and with how it was seen last, which also
// tells of what was changed and put back in between.
func (r *Runner) since(view apply.View, want space.Point) *apply.Outside {
	before := r.seen
	before.Rest, before.Env = r.study.Rest, maps.Clone(view.Env)
	if before.Generation == 0 {
		before.Generation = view.Generation
	}
	got, _ := space.Parse(r.knobs, view.Env) // what it does not know is different
	for _, k := range r.knobs {
		if v, known := got[k.Name]; !known || v != want[k.Name] {
			before.Env[k.Env] = k.Render(want[k.Name])
		}
	}
	return view.Since(before)
}

// outside records what somebody else did; it says of changed knobs what is given as the reason.
func (r *Runner) outside(point space.Point, view apply.View, author, reason string) error {
	var changes []ledger.Change
	for _, k := range r.knobs {
		if old, new := r.study.Incumbent[k.Name], point[k.Name]; old != new {
			changes = append(changes, change(k, old, new))
		}
	}
	switch {
	case len(changes) > 0:
	case view.Rest == r.study.Rest:
		reason = "something was changed and put back; the incumbent is measured again"
	default:
		reason = "something other than the knobs was changed; the incumbent is measured again"
	}
	r.Logger.Info("somebody else changed the target", "author", author, "point", point.Key())
	r.seen = view
	return r.record(ledger.Record{
		Kind: ledger.Outside, Author: author, Point: point, Revision: view.Rest, Generation: view.Generation, Changes: changes, Reason: reason,
	})
}

func (r *Runner) variables() []string {
	out := make([]string, len(r.knobs))
	for i, k := range r.knobs {
		out[i] = k.Env
	}
	return out
}

func change(k space.Knob, old, new int64) ledger.Change {
	return ledger.Change{Knob: k.Name, Env: k.Env, Old: old, New: new, OldText: k.Render(old), NewText: k.Render(new)}
}

// record writes to the ledger; only after that is it true.
func (r *Runner) record(rec ledger.Record) error {
	if rec.Kind == ledger.Edge && r.resumed {
		rec.Resumed, r.resumed = true, false
	}
	if rec.Kind == ledger.Edge {
		rec.Violation = r.vigil.taken()
	}
	written, err := r.write(rec)
	if err != nil {
		return err
	}
	r.study.Add(written)
	r.Logger.Info("ledger", "seq", written.Seq, "kind", written.Kind, "trial", written.Trial, "phase", written.Phase,
		"outcome", written.Outcome, "point", written.Point.Key(), "reason", written.Reason)
	r.publish()
	return nil
}

// insist repeats work that nothing can be done without until it succeeds, and says what it waits for.
func (r *Runner) insist(ctx context.Context, what string, work func() error) error {
	before := r.Board.Snapshot()
	held := false
	for pause := first; ; pause = min(2*pause, most) {
		err := work()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, apply.ErrFenced): // another tuner acts now
			return err
		case err == nil:
			if held {
				r.Logger.Info("goes on", "after", what)
				r.state(before.State, before.Reason)
			}
			return nil
		}
		reason := fmt.Sprintf("%s: %v", what, err)
		if r.Board.Snapshot().Reason != reason {
			r.Logger.Warn("holding", "err", reason)
		}
		r.state(status.Holding, reason)
		held = true
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
