package trial_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/guard"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// world is a cluster, its broker, its load and its Prometheus. What it measures depends on its configuration alone, so that runs can be compared.
type world struct {
	mu      sync.Mutex
	env     map[string]string
	rest    string
	authors map[string]apply.Author
	newest  apply.Author
	patches []string // every write that changed something
	events  map[string]apply.Event
	knobs   []space.Knob

	goodput    func(space.Point) float64
	p99        func(space.Point) float64
	broken     func(space.Point) *apply.RolloutError // the rollout of this configuration fails
	bad        func(now time.Time) error             // no window can be measured
	unloaded   bool                                  // there is no load
	dynamic    space.Point                           // set in the running broker, past the workload; gone with the next patch
	ignores    string                                // the broker does not take this knob's variable
	refuses    string                                // the API server takes no such value
	rights     func() error                          // what the tuner may not do
	runs       string                                // the variable that a running broker takes, without a restart
	contested  string                                // the variable that another controller puts back
	rollout    time.Duration                         // how long one takes
	generation int64                                 // counts the changes of the target
	before     space.Point                           // what the broker ran with first
	down       func() error                          // the API server
	onLook     func(*world)                          // somebody else's hand; called with the lock held
	lives      apply.Life                            // of the pod there is; a patch makes another one
	killSet    int                                   // the program dies in this Set, after the patch arrived
	kill       func()
	sets       int
	deletes    int // times that it was allowed to delete pods

	guard      func(p space.Point, at time.Time) (float64, error) // what guards read
	past       []moment                                           // every configuration since the beginning
	off        string                                             // why the switch is off
	noise      func(now time.Time, pod string) float64            // what goodput is multiplied with, beside a little that is always there
	restarted  time.Time                                          // last
	rolls      int                                                // restarts of the brokers
	redeployed string                                             // for what they were last deployed anew
	spans      []observe.Span                                     // everything that was measured
	source     observe.Source                                     // nil: what is measured is not asked of a Prometheus
}

// asking is a world that is measured by way of its Prometheus. The load of this moment it knows by itself.
type asking struct {
	*observe.Observer
	w *world
}

func (a asking) Live(ctx context.Context) observe.Live { return a.w.Live(ctx) }

// moment is when a configuration came into force.
type moment struct {
	at    time.Time
	point space.Point
}

// Number answers for a guard, also about the past.
func (w *world) Number(_ context.Context, _ string, at time.Time) (promql.Sample, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at.IsZero() {
		at = time.Now()
	}
	now := moment{point: w.before}
	for _, m := range w.past {
		if !m.at.After(at) {
			now = m
		}
	}
	v, err := w.guard(now.point, at)
	return promql.Sample{Value: v, Time: at}, err
}

// stop is the switch.
func (w *world) stop() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.off
}

var errKilled = errors.New("killed")

func newWorld(knobs []space.Knob) *world {
	w := &world{
		env:  map[string]string{"HEAP": "-Xms256m -Xmx256m", "IO": "2"},
		rest: "rest", rollout: 5 * time.Second, generation: 1,
		events: map[string]apply.Event{}, authors: map[string]apply.Author{}, knobs: knobs,
		before:  space.Point{"heap": 256, "io": 2},
		p99:     func(space.Point) float64 { return 0.150 },
		guard:   func(space.Point, time.Time) (float64, error) { return 0, nil },
		goodput: func(p space.Point) float64 { return (1000 + float64(p["io"])*100) * (1 - float64(p["heap"])/5000) }, // a larger heap is clearly worse
	}
	return w
}

// point is the configuration that the target has.
func (w *world) point() space.Point {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now()
}

// made are the patches so far.
func (w *world) made() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.patches)
}

func (w *world) now() space.Point {
	p, err := space.Parse(w.knobs, w.env)
	if err != nil {
		panic(err) // a test that writes such a variable does not measure
	}
	return p
}

func (w *world) Look(context.Context) (apply.View, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		if err := w.down(); err != nil {
			return apply.View{}, err
		}
	}
	if w.onLook != nil {
		w.onLook(w)
	}
	return apply.View{
		Env: maps.Clone(w.env), Rest: w.rest, Generation: w.generation, Authors: maps.Clone(w.authors), Newest: w.newest, Memory: 4 << 30,
	}, nil
}

func (w *world) Rights(context.Context) error {
	if w.rights == nil {
		return nil
	}
	return w.rights()
}

func (w *world) Redeploy(ctx context.Context, reason string) (apply.View, error) {
	w.mu.Lock()
	if w.down != nil {
		if err := w.down(); err != nil {
			w.mu.Unlock()
			return apply.View{}, err
		}
	}
	if w.redeployed != reason {
		w.redeployed = reason
		w.generation++
		w.rolls++
		w.restarted = time.Now()
		w.lives = apply.Life{Pod: w.lives.Pod + "+"}
		w.patches = append(w.patches, "redeploy")
	}
	w.sets++
	dies := w.sets == w.killSet
	w.mu.Unlock()
	if dies {
		w.kill()
		return apply.View{}, errKilled
	}
	return w.Look(ctx)
}

func (w *world) Restarts(variable string) bool { return variable != w.runs }

func (w *world) Set(ctx context.Context, variable, old, new string) (apply.View, error) {
	return w.set(ctx, variable, old, new, false)
}

func (w *world) Restore(ctx context.Context, variable, old, new string) (apply.View, error) {
	return w.set(ctx, variable, old, new, true)
}

func (w *world) set(ctx context.Context, variable, old, new string, anyway bool) (apply.View, error) {
	w.mu.Lock()
	if w.down != nil {
		if err := w.down(); err != nil {
			w.mu.Unlock()
			return apply.View{}, err
		}
	}
	if w.refuses != "" && new == w.refuses && w.env[variable] != new {
		w.mu.Unlock()
		return apply.View{}, fmt.Errorf("patch: %w: outside the policy", apply.ErrRefused)
	}
	if !anyway && w.contested == variable && w.env[variable] != new {
		w.mu.Unlock()
		return apply.View{}, fmt.Errorf("set %s: %w: %w: argocd has done so 2 times", variable, apply.ErrRefused, apply.ErrContested)
	}
	switch w.env[variable] {
	case new:
	case old:
		w.env[variable] = new
		w.generation++
		if w.Restarts(variable) {
			w.rolls++
			w.restarted = time.Now()
		}
		w.dynamic = nil
		w.lives = apply.Life{Pod: w.lives.Pod + "+"}
		w.patches = append(w.patches, variable+"="+new)
		w.past = append(w.past, moment{time.Now(), w.now()})
		w.authors[variable] = apply.Author{Manager: apply.Manager, Time: time.Now()}
	default:
		w.mu.Unlock()
		return apply.View{}, apply.ErrChanged
	}
	w.sets++
	dies := w.sets == w.killSet
	w.mu.Unlock()
	if dies {
		w.kill()
		return apply.View{}, errKilled
	}
	return w.Look(ctx)
}

func (w *world) Rollout(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(w.rollout):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		if err := w.broken(w.now()); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) Rollback(ctx context.Context) error {
	w.mu.Lock()
	w.deletes++
	w.mu.Unlock()
	return w.Rollout(ctx)
}

func (w *world) Lives(context.Context) (apply.Lives, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return apply.Lives{"kafka-0": w.lives}, nil
}

func (w *world) Effective(context.Context) (space.Point, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.now()
	maps.Copy(p, w.dynamic)
	if w.ignores != "" {
		p[w.ignores] = w.before[w.ignores]
	}
	return p, nil
}

func (w *world) Healthy(context.Context) error { return nil }

func (w *world) Measure(_ context.Context, span observe.Span) (judge.Window, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spans = append(w.spans, span)
	if w.bad != nil {
		if err := w.bad(span.To); err != nil {
			return judge.Window{}, err
		}
	}
	p := w.now()
	noise := 1 + 0.004*float64(span.To.Unix()/12%3)
	if w.noise != nil {
		noise *= w.noise(span.To, string(w.lives.Pod))
	}
	return judge.Window{Goodput: w.goodput(p) * noise, P99: w.p99(p)}, nil
}

func (w *world) Live(context.Context) observe.Live {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unloaded {
		return observe.Live{Missing: map[string]string{"p99": "no load"}}
	}
	return observe.Live{P99: status.Ptr(0.1), Acked: status.Ptr(1000.0)}
}

func (w *world) Emit(_ context.Context, e apply.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events[e.ID+e.Reason] = e
	return nil
}

// journal keeps records like the ledger does, through JSON, and can die before or after a record.
type journal struct {
	mu      sync.Mutex
	records []ledger.Record
	dieAt   int // the number of the append at which the program dies; 0: never
	after   bool
	appends int
}

func (j *journal) Append(r ledger.Record) (ledger.Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.appends++
	if j.appends == j.dieAt && !j.after {
		return ledger.Record{}, errKilled
	}
	r.Version, r.Seq, r.Time = ledger.Version, uint64(len(j.records))+1, time.Now().UTC()
	text, err := json.Marshal(r)
	if err != nil {
		return ledger.Record{}, err
	}
	var back ledger.Record
	if err := json.Unmarshal(text, &back); err != nil {
		return ledger.Record{}, err
	}
	j.records = append(j.records, back)
	if j.appends == j.dieAt {
		return ledger.Record{}, errKilled
	}
	return back, nil
}

// all is what the journal holds so far; a runner may be writing to it.
func (j *journal) all() []ledger.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.records)
}

func testFile(t *testing.T) config.File {
	t.Helper()
	f, err := config.Parse("test", []byte(`
version: 1
mode: auto
target: {namespace: kafka, name: kafka, container: kafka, bootstrap: ["kafka:9092"], jvm_metrics: ["http://kafka:9404/metrics"]}
prometheus: {url: "http://prometheus:9090"}
knobs:
- {name: heap, env: HEAP, format: "-Xms{v}m -Xmx{v}m", unit: MiB, min: 256, max: 1024, steps: [256, 512, 1024], readback: jvm-heap}
- {name: io, env: IO, format: "{v}", unit: threads, min: 1, max: 8, steps: [1, 2, 4, 8], readback: "broker-config:num.io.threads"}
objective: {slo: 200ms}
`))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newRunner(t *testing.T, f config.File, w *world, j *journal) (*trial.Runner, *status.Board) {
	t.Helper()
	c := trial.Config{
		File: f, Cluster: w, Broker: w, Meter: w, Herald: w, Journal: j, Records: j.all(),
		Sentry: guard.NewReader(w, f), Stop: w.stop,
	}
	if w.source != nil {
		o, err := observe.New(w.source, f)
		if err != nil {
			t.Fatal(err)
		}
		c.Meter, c.Sentry = asking{o, w}, guard.NewReader(w.source, f)
	}
	c.Board = status.NewBoard(trial.First(c))
	r, err := trial.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r, c.Board
}

// run drives a runner until the board satisfies end, or the journal died (then it returns true). Time is the bubble's.
func run(t *testing.T, f config.File, w *world, j *journal, end func(status.Snapshot) bool) (died bool, last status.Snapshot) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.kill = cancel
	runner, board := newRunner(t, f, w, j)
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	for limit := 0; ; limit++ {
		select {
		case err := <-done:
			if !errors.Is(err, errKilled) && w.killSet == 0 {
				t.Fatalf("the runner ended by itself: %v", err)
			}
			return true, board.Snapshot()
		case <-time.After(time.Second):
		}
		if s := board.Snapshot(); end(s) {
			cancel()
			if err := <-done; err != nil {
				t.Fatalf("the runner ended with %v", err)
			}
			return false, s
		}
		if limit > 24*3600 {
			t.Fatalf("not at the end after a day: %+v", board.Snapshot())
		}
	}
}

func isDone(s status.Snapshot) bool { return s.State == status.Done }

// story is what a ledger says happened, without times.
func story(records []ledger.Record) []string {
	var out []string
	for _, t := range study.Fold(records).Trials {
		out = append(out, fmt.Sprintf("%d %s %d→%d %s %s", t.Number, t.Change.Knob, t.Change.Old, t.Change.New, t.Outcome, t.Failure))
	}
	return out
}

// agree fails the test unless the cluster is as the ledger says.
func agree(t *testing.T, w *world, j *journal) {
	t.Helper()
	s := study.Fold(j.all())
	if s.Running() != nil {
		t.Errorf("a trial was left running: %+v", s.Running())
	}
	if got, want := w.point().Key(), s.Desired().Key(); got != want {
		t.Errorf("the cluster has %s, the ledger says %s", got, want)
	}
	if errs := study.Verify(j.all()); len(errs) > 0 {
		t.Errorf("the ledger is not in order: %v", errors.Join(errs...))
	}
}

// in runs a test in a bubble of its own time.
func in(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}
