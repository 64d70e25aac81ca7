package trial_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// TestOutcomes runs whole studies in worlds with one thing wrong and looks at how the first trial of I/O threads (2 → 4) ended.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	four := func(p space.Point) bool { return p["io"] == 4 }
	fails := func(class apply.Class) func(*world) {
		return func(w *world) {
			w.broken = func(p space.Point) *apply.RolloutError {
				if four(p) {
					return &apply.RolloutError{Class: class, Detail: "seen in the test"}
				}
				return nil
			}
		}
	}
	// In these worlds only windows measured while io is 4 are bad.
	badly := func(err error) func(*world) {
		return func(w *world) {
			w.bad = func(time.Time) error {
				if w.env["IO"] == "4" {
					return err
				}
				return nil
			}
		}
	}
	// In these worlds something happens once to the broker while it is measured with io 4, and it is ready again at once.
	once := func(happens func(*apply.Life)) func(*world) {
		return func(w *world) {
			done := false
			w.bad = func(time.Time) error {
				if w.env["IO"] == "4" && !done {
					done = true
					happens(&w.lives)
				}
				return nil
			}
		}
	}
	for name, c := range map[string]struct {
		world   func(*world)
		outcome ledger.Outcome
		failure string
		reason  string
	}{
		"a gain is kept":                           {func(*world) {}, ledger.OutcomeKept, "", "goodput"},
		"no gain is taken back":                    {func(w *world) { w.goodput = func(space.Point) float64 { return 1000 } }, ledger.OutcomeReverted, "", "within the noise"},
		"a gain below the margin is taken back":    {func(w *world) { w.goodput = func(p space.Point) float64 { return 1000 + 3.5*float64(p["io"]) } }, ledger.OutcomeReverted, "", ""},
		"a loss is taken back":                     {func(w *world) { w.goodput = func(p space.Point) float64 { return 1000 - 100*float64(p["io"]) } }, ledger.OutcomeReverted, "", "goodput"},
		"a gain that breaks the SLO is taken back": {func(w *world) { w.p99 = func(p space.Point) float64 { return 0.1 * float64(p["io"]) } }, ledger.OutcomeReverted, "", "breaks the SLO"},
		"a crash loop is taken back":               {fails(apply.CrashLoop), ledger.OutcomeReverted, "crash-loop", "seen in the test"},
		"an OOM kill is taken back":                {fails(apply.OutOfMemory), ledger.OutcomeReverted, "out-of-memory", "seen in the test"},
		"an OOM kill while it is measured":         {once(func(l *apply.Life) { l.Restarts, l.OutOfMemory, l.Detail = 1, true, "seen later" }), ledger.OutcomeReverted, "out-of-memory", "seen later"},
		"a crash while it is measured":             {once(func(l *apply.Life) { l.Restarts, l.Detail = 1, "seen later" }), ledger.OutcomeReverted, "crash-loop", "seen later"},
		"a pod deleted while it is measured":       {func(w *world) { w.bad = deletes(w) }, ledger.OutcomeInconclusive, "replaced", "deleted"},
		"a value set in the running broker": {func(w *world) {
			w.bad = func(time.Time) error {
				if w.env["IO"] == "4" {
					w.dynamic = space.Point{"io": 3}
				}
				return nil
			}
		}, ledger.OutcomeDiscarded, "outside-change", "io=3"},
		"a rollout without end is taken back":     {fails(apply.Deadline), ledger.OutcomeReverted, "deadline", "seen in the test"},
		"an image that is missing proves nothing": {fails(apply.Image), ledger.OutcomeInconclusive, "image", "seen in the test"},
		"a full node proves nothing":              {fails(apply.Unschedulable), ledger.OutcomeInconclusive, "unschedulable", "seen in the test"},
		"an API server away proves nothing":       {fails(apply.API), ledger.OutcomeInconclusive, "api", "seen in the test"},
		"a variable without effect is taken back": {func(w *world) { w.ignores = "io" }, ledger.OutcomeReverted, "read-back", "no effect"},
		"a policy that forbids it proves nothing": {func(w *world) { w.refuses = "4" }, ledger.OutcomeInconclusive, "refused", "outside the policy"},
		"NaN proves nothing":                      {badly(&observe.Bad{Cause: "nan", Figure: "p99", Why: "NaN"}), ledger.OutcomeInconclusive, "nan", "p99: nan"},
		"no data proves nothing":                  {badly(&observe.Bad{Cause: "no-data", Figure: "goodput", Why: "empty"}), ledger.OutcomeInconclusive, "no-data", "goodput: no-data"},
		"a 5xx proves nothing":                    {badly(&observe.Bad{Cause: "server-error", Figure: "p99", Why: "503"}), ledger.OutcomeInconclusive, "server-error", "p99: server-error"},
		"a breached guard of kind worse decides":  {badly(&observe.Bad{Cause: "guard:lost", Figure: "guard lost", Why: "3", Blames: true}), ledger.OutcomeReverted, "guard:lost", "guard lost"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{}
				c.world(w)
				run(t, f, w, j, isDone)
				agree(t, w, j)
				trials := study.Fold(j.all()).Trials
				i := slices.IndexFunc(trials, func(tr study.Trial) bool { return tr.Change.Knob == "io" && tr.Change.New == 4 })
				if i < 0 {
					t.Fatalf("io 4 was never tried: %q", story(j.all()))
				}
				tr := trials[i]
				if tr.Outcome != c.outcome || tr.Failure != c.failure || !strings.Contains(tr.Reason, c.reason) {
					t.Errorf("want %s %q with %q in the reason (got %s %q: %s)", c.outcome, c.failure, c.reason, tr.Outcome, tr.Failure, tr.Reason)
				}
				kept := c.outcome == ledger.OutcomeKept
				if got := w.point()["io"]; kept != (got > 2) && c.reason != "goodput" && c.failure == "" {
					t.Errorf("kept is %v, io is %d", kept, got)
				}
				tries := len(slices.Collect(func(yield func(study.Trial) bool) {
					for _, tr := range trials {
						if tr.Candidate.Key() == trials[i].Candidate.Key() && !yield(tr) {
							return
						}
					}
				}))
				if want := map[bool]int{true: 2, false: 1}[c.outcome == ledger.OutcomeInconclusive || c.outcome == ledger.OutcomeDiscarded]; tries != want {
					t.Errorf("want the configuration tried %d times (got %d)", want, tries)
				}
			})
		})
	}
}

// deletes is somebody who deletes each pod that runs with io 4.
func deletes(w *world) func(time.Time) error {
	last := w.lives.Pod
	return func(time.Time) error {
		if w.env["IO"] == "4" && w.lives.Pod != last {
			w.lives.Pod += "'"
			last = w.lives.Pod
		}
		return nil
	}
}

// TestTheIncumbentDiesOnce: what was measured of a broker that died meanwhile is not what others are compared with.
func TestTheIncumbentDiesOnce(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		w.bad = func(time.Time) error {
			if w.lives.Restarts == 0 && len(w.patches) == 0 {
				w.lives.Restarts, w.lives.Detail = 1, "seen later"
			}
			return nil
		}
		run(t, f, w, j, func(s status.Snapshot) bool {
			return s.State == status.Holding && strings.Contains(s.Reason, "could not be measured") && strings.Contains(s.Reason, "seen later")
		})
		if n := len(j.all()); n != 1 {
			t.Errorf("want nothing measured (got %d records)", n)
		}
		run(t, f, w, j, isDone)
		agree(t, w, j)
	})
}

func TestTheIncumbentIsChangedInTheBroker(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		w.bad = func(time.Time) error { w.dynamic = space.Point{"io": 3}; return nil }
		run(t, f, w, j, func(s status.Snapshot) bool { return s.State == status.Holding && strings.Contains(s.Reason, "io=3") })
		if n := len(j.all()); n != 1 {
			t.Errorf("want nothing measured (got %d records)", n)
		}
		w.bad, w.dynamic = nil, nil
		run(t, f, w, j, isDone)
		agree(t, w, j)
	})
}

func TestOneBadWindowIsReplaced(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		bad := 0
		w.bad = func(time.Time) error {
			if w.env["IO"] == "4" && bad < f.Windows.Extra {
				bad++
				return &observe.Bad{Cause: "timeout", Figure: "p99", Why: "slow"}
			}
			return nil
		}
		run(t, f, w, j, isDone)
		if !slices.Contains(story(j.all()), "2 io 2→4 kept ") {
			t.Errorf("want io 4 kept in spite of %d bad windows (got %q)", bad, story(j.all()))
		}
	})
}

func TestSomebodyElse(t *testing.T) {
	t.Parallel()
	at := func(phase ledger.Phase, j *journal, act func(w *world)) func(*world) {
		done := false
		return func(w *world) {
			tr := study.Fold(j.all()).Running()
			if done || tr == nil || tr.Phase != phase || tr.Change.Knob != "io" {
				return
			}
			done = true
			act(w)
		}
	}
	write := func(variable, value string) func(*world) {
		return func(w *world) {
			w.env[variable] = value
			w.generation++
			w.authors[variable] = apply.Author{Manager: "kubectl-patch", Time: time.Now()}
		}
	}
	for name, c := range map[string]struct {
		act  func(w *world)
		want string // the configuration right after the trial was given up
	}{
		"writes the knob under trial":       {write("IO", "1"), "heap=256 io=1"},
		"writes another knob":               {write("HEAP", "-Xms512m -Xmx512m"), "heap=512 io=2"},
		"changes something else":            {func(w *world) { w.rest, w.newest = "other", apply.Author{Manager: "kubectl-rollout"} }, "heap=256 io=2"},
		"writes something of no known form": {write("IO", "many"), ""},
	} {
		for _, phase := range []ledger.Phase{ledger.Preflight, ledger.Verifying, ledger.Settling, ledger.Warming, ledger.Measuring} {
			t.Run(name+" while "+string(phase), func(t *testing.T) {
				in(t, func(t *testing.T) {
					f := testFile(t)
					w, j := newWorld(f.Space()), &journal{}
					w.onLook = at(phase, j, c.act)
					end := func(s status.Snapshot) bool {
						return isDone(s) || s.State == status.Holding && strings.Contains(s.Reason, "many")
					}
					run(t, f, w, j, end)
					s := study.Fold(j.all())
					i := slices.IndexFunc(s.Trials, func(tr study.Trial) bool { return tr.Outcome == ledger.OutcomeDiscarded })
					if i < 0 {
						t.Fatalf("want a discarded trial (got %q)", story(j.all()))
					}
					if got := s.Trials[i]; !strings.HasPrefix(got.Author, "kubectl-") || !strings.Contains(got.Reason, got.Author) {
						t.Errorf("want the author named (got author %q, reason %q)", got.Author, got.Reason)
					}
					if c.want == "" {
						if w.env["IO"] != "many" {
							t.Errorf("somebody else's value was overwritten with %q", w.env["IO"])
						}
						return
					}
					n := slices.IndexFunc(j.all(), func(r ledger.Record) bool { return r.Kind == ledger.Outside })
					if n < 0 {
						// The change was taken together with the trial's own end: the knob went back to what the incumbent was.
						t.Fatalf("want the change recorded")
					}
					if r := j.all()[n]; r.Point.Key() != c.want || !strings.HasPrefix(r.Author, "kubectl-") {
						t.Errorf("want %s by kubectl recorded (got %s by %s)", c.want, r.Point.Key(), r.Author)
					}
					agree(t, w, j)
				})
			})
		}
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Mode = config.Recommend
		w, j := newWorld(f.Space()), &journal{}
		broken := time.Now().Add(time.Minute)
		w.broken = func(space.Point) *apply.RolloutError {
			if time.Now().Before(broken) {
				return &apply.RolloutError{Class: apply.CrashLoop, Detail: "somebody else's rollout"}
			}
			return nil
		}
		_, s := run(t, f, w, j, func(s status.Snapshot) bool { return s.Next != nil })
		if s.Next.Env != "HEAP" || s.Next.New != "-Xms512m -Xmx512m" {
			t.Errorf("want the next step of the heap recommended (got %+v)", s.Next)
		}
		if len(w.patches) > 0 || len(w.events) > 0 || w.deletes > 0 {
			t.Errorf("mode recommend acted: %q, %v, %d times free to delete pods", w.patches, w.events, w.deletes)
		}
	})
}

func TestTakingBackOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		w.goodput = func(space.Point) float64 { return 1000 }
		var until time.Time
		w.down = func() error {
			tr := study.Fold(j.all()).Running()
			if tr != nil && tr.Phase == ledger.Judged && until.IsZero() {
				until = time.Now().Add(10 * time.Minute)
			}
			if time.Now().Before(until) {
				return errors.New("connection refused")
			}
			return nil
		}
		held := false
		run(t, f, w, j, func(s status.Snapshot) bool {
			held = held || s.State == status.Holding && strings.Contains(s.Reason, "take back trial 1: connection refused")
			return isDone(s)
		})
		agree(t, w, j)
		if !held {
			t.Error("want the state holding with its reason shown")
		}
	})
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    func(*config.File)
		trials int
		reason string
	}{
		"trials":   {func(f *config.File) { f.Budgets.Trials = 2 }, 2, "2 trials is spent"},
		"restarts": {func(f *config.File) { f.Budgets.Restarts = 4 }, 2, "4 restarts is spent"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				c.set(&f)
				w, j := newWorld(f.Space()), &journal{}
				_, s := run(t, f, w, j, isDone)
				searched := slices.DeleteFunc(slices.Clone(s.Trials), func(tr status.Trial) bool { return tr.Purpose != "" })
				if len(searched) != c.trials || !strings.Contains(s.Reason, c.reason) {
					t.Errorf("want %d trials and %q (got %d, %q)", c.trials, c.reason, len(searched), s.Reason)
				}
			})
		})
	}
}

func TestAnOldIncumbentIsMeasuredAgain(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		run(t, f, w, j, isDone)
		last, limit := time.Time{}, f.Windows.MaxAge
		for _, r := range j.all() {
			switch {
			case r.Kind == ledger.Measured || r.Phase == ledger.Kept:
				last = r.Time
			case r.Phase == ledger.Proposed && r.Time.Sub(last) > limit:
				t.Errorf("trial %d began %s after the incumbent was measured, the limit is %s", r.Trial, r.Time.Sub(last), limit)
			}
		}
	})
}

// A load that was started from cold feels its way up for minutes. The start is what it comes to, and not what it was on the way there, or everything
// that is tried later would look better.
func TestALoadThatStillMovesIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		load   func(since time.Duration) float64
		least  float64 // of 1,000 records/s
		most   time.Duration
		reason string
	}{
		"it comes to rest": {func(d time.Duration) float64 { return 1 - 0.5*math.Exp(-d.Seconds()/60) }, 940, 5 * time.Minute, "goodput is"},
		"it falls to rest": {func(d time.Duration) float64 { return 1 + 0.5*math.Exp(-d.Seconds()/60) }, 1000, 5 * time.Minute, "goodput is"},
		"it never does":    {func(d time.Duration) float64 { return math.Exp(0.2 * d.Minutes()) }, 1500, 8 * time.Minute, "still moves: +"},
		"it never moved":   {func(time.Duration) float64 { return 1 }, 1000, 2 * time.Minute, "goodput is"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				f.Mode = config.Observe
				w, j := newWorld(f.Space()), &journal{}
				began := time.Now()
				w.goodput = func(space.Point) float64 { return 1000 }
				w.noise = func(now time.Time, _ string) float64 { return c.load(now.Sub(began)) }
				var first *ledger.Record
				run(t, f, w, j, func(status.Snapshot) bool {
					for _, r := range j.all() {
						if r.Kind == ledger.Measured {
							first = &r
							return true
						}
					}
					return false
				})
				got, took := judge.Median(first.Windows, judge.Goodput), first.Time.Sub(began)
				if got < c.least || c.load(took) >= 1 && c.load(took) < 1.2 && got > 1100 || took > c.most || len(first.Windows) != f.Windows.Count || !strings.Contains(first.Reason, c.reason) {
					t.Errorf("got %.0f/s in %d windows after %s: %s", got, len(first.Windows), took, first.Reason)
				}
			})
		})
	}
}

func TestEventsSayWhatHappened(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		run(t, f, w, j, isDone)
		want := map[string]string{"TuningAttempted": "IO 2 → 4", "TuningKept": "IO 2 → 4: kept, effect +1", "TuningReverted": "HEAP -Xms256m -Xmx256m → -Xms512m -Xmx512m: reverted"}
		for reason, text := range want {
			if !slices.ContainsFunc(slices.Collect(maps.Values(w.events)), func(e apply.Event) bool { return e.Reason == reason && strings.Contains(e.Message, text) }) {
				t.Errorf("want a %s with %q (got %+v)", reason, text, w.events)
			}
		}
	})
}

func TestEndsSoonInEveryPhase(t *testing.T) {
	t.Parallel()
	for _, phase := range ledger.Phases() {
		t.Run(string(phase), func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				o := open(t, f, newWorld(f.Space()), &journal{})
				for !slices.ContainsFunc(o.board.Snapshot().Trials, func(tr status.Trial) bool { return tr.Phase == string(phase) || tr.Ended != nil }) {
					time.Sleep(100 * time.Millisecond)
				}
				start := time.Now()
				o.stop()
				if took := time.Since(start); took > time.Second {
					t.Errorf("took %s to end", took)
				}
			})
		})
	}
}

// TestAnotherModeDuringATrial: a tuner that is killed in any phase and started in a mode that does not act ends the trial where it is, and records
// what others do from then on.
func TestAnotherModeDuringATrial(t *testing.T) {
	t.Parallel()
	for _, mode := range []config.Mode{config.Observe, config.Recommend} {
		for i, phase := range ledger.Phases() {
			if phase.Done() {
				continue
			}
			t.Run(string(mode)+" after "+string(phase), func(t *testing.T) {
				in(t, func(t *testing.T) {
					f := testFile(t)
					w, j := newWorld(f.Space()), &journal{dieAt: i + 3, after: true} // a session and a measurement come first
					w.goodput = func(space.Point) float64 { return 1000 }            // nothing is kept
					if run(t, f, w, j, isDone); j.all()[len(j.all())-1].Phase != phase {
						t.Fatalf("it was meant to be killed in phase %s", phase)
					}
					patched, left := len(w.patches), w.env["HEAP"]
					f.Mode, j.dieAt = mode, 0
					run(t, f, w, j, func(s status.Snapshot) bool { return s.Trial == nil && s.State != status.Holding })
					agree(t, w, j)
					tr := study.Fold(j.all()).Trials[0]
					if tr.Outcome != ledger.OutcomeDiscarded || tr.Failure != "mode-changed" || !strings.Contains(tr.Reason, string(mode)) {
						t.Errorf("want it discarded for the mode (got %s %q: %s)", tr.Outcome, tr.Failure, tr.Reason)
					}
					if stays := left != "-Xms256m -Xmx256m"; strings.Contains(tr.Reason, left) != stays {
						t.Errorf("the target holds %s (got the reason %s)", left, tr.Reason)
					}
					w.env["IO"], w.authors["IO"] = "8", apply.Author{Manager: "agent", Time: time.Now()}
					_, s := run(t, f, w, j, func(s status.Snapshot) bool { return *s.Knobs[1].Desired == 8 })
					if c := s.Changes[len(s.Changes)-1]; c.Author != "agent" || c.Knob != "io" {
						t.Errorf("want what the agent did recorded (got %+v)", c)
					}
					theirs := func(r ledger.Record) bool { return r.Kind == ledger.Outside || r.Purpose == ledger.Scored }
					if i := slices.IndexFunc(j.all(), theirs); i < 0 || j.all()[i].Author != "agent" {
						t.Errorf("want nobody blamed for the tuner's own value (got record %d of %+v)", i, j.all())
					}
					if len(w.patches) != patched || w.deletes > 0 {
						t.Errorf("mode %s acted: %q", mode, w.patches[patched:])
					}
				})
			})
		}
	}
}

// TestAnotherObjective: a search that ended is made again when what decides is another, with its budgets, and only then.
func TestAnotherObjective(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		w.goodput = func(space.Point) float64 { return 1000 }
		run(t, f, w, j, isDone)
		tried := len(study.Fold(j.all()).Trials)
		f.Digest, f.Budgets.Trials = "links", tried
		if run(t, f, w, j, isDone); len(study.Fold(j.all()).Trials) != tried {
			t.Errorf("want nothing tried again for another link (got %q)", story(j.all()))
		}
		f.Digest, f.Objective.Margin = "margin", 0.5
		_, s := run(t, f, w, j, isDone)
		if len(s.Trials) != 2*tried || s.Budget.TrialsUsed != tried {
			t.Errorf("want the %d trials made again within their budget (got %d, used %d)", tried, len(s.Trials), s.Budget.TrialsUsed)
		}
		agree(t, w, j)
	})
}
