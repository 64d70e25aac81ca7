package trial_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// office is a runner that runs, and can be given orders.
type office struct {
	*trial.Runner
	t     *testing.T
	f     config.File
	w     *world
	j     *journal
	board *status.Board
	done  chan error
	stop  func()
}

func open(t *testing.T, f config.File, w *world, j *journal) *office {
	t.Helper()
	o := &office{t: t, f: f, w: w, j: j}
	o.start()
	return o
}

func (o *office) start() {
	ctx, cancel := context.WithCancel(o.t.Context())
	o.w.kill = cancel
	o.Runner, o.board = newRunner(o.t, o.f, o.w, o.j)
	o.done = make(chan error, 1)
	go func() { o.done <- o.Run(ctx) }()
	o.stop = func() {
		cancel()
		if err := <-o.done; err != nil {
			o.t.Errorf("the runner ended with %v", err)
		}
	}
}

func (o *office) until(end func(status.Snapshot) bool) status.Snapshot {
	o.t.Helper()
	for range 24 * 3600 {
		if s := o.board.Snapshot(); end(s) {
			return s
		}
		time.Sleep(time.Second)
	}
	o.t.Fatalf("not there after a day: %+v", o.board.Snapshot())
	return status.Snapshot{}
}

func (o *office) order(c orders.Order) {
	o.t.Helper()
	c.By = "sre"
	if err := o.Order(c); err != nil {
		o.t.Errorf("%s: %v", c.Command, err)
	}
}

func (o *office) refused(c orders.Order, want string) {
	o.t.Helper()
	if err := o.Order(c); err == nil || !strings.Contains(err.Error(), want) {
		o.t.Errorf("%s: want it refused with %q (got %v)", c.Command, want, err)
	}
}

func awaits(s status.Snapshot) bool { return s.State == status.Awaiting }
func trying(s status.Snapshot) bool { return s.Trial != nil && s.Trial.Phase == "measuring" }

func TestApproval(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Mode = config.Approve
		o := open(t, f, newWorld(f.Space()), &journal{})
		s := o.until(awaits)
		if s.Next == nil || s.Next.Trial != 1 || len(o.w.made()) > 0 || s.Trial != nil {
			t.Fatalf("want trial 1 to wait (got %+v, %q)", s.Next, o.w.made())
		}
		time.Sleep(time.Hour)
		o.refused(orders.Order{Command: orders.Approve, Trial: 2}, "trial 2 does not wait for approval")
		o.refused(orders.Order{Command: orders.Abort}, "does not run")
		o.order(orders.Order{Command: orders.Reject, Trial: 1})
		first := s.Next.New
		s = o.until(func(s status.Snapshot) bool { return awaits(s) && s.Next.New != first })
		o.order(orders.Order{Command: orders.Approve, Trial: 1})
		o.stop() // an approval outlives the tuner
		o.start()
		o.until(func(s status.Snapshot) bool { return s.Trial != nil })
		second := o.until(awaits)
		if second.Next.Trial != 2 || len(o.w.made()) == 0 {
			t.Errorf("want one trial made and the next one to wait (got %+v, %q)", second.Next, o.w.made())
		}
		for range 40 {
			if s = o.until(func(s status.Snapshot) bool { return awaits(s) || isDone(s) }); isDone(s) {
				break
			}
			if s.Next.New == first && *s.Knobs[1].Desired == 2 {
				t.Fatalf("what was rejected is proposed again: %+v", s.Next)
			}
			o.order(orders.Order{Command: orders.Approve, Trial: s.Next.Trial})
			o.until(func(s status.Snapshot) bool { return !awaits(s) })
		}
		o.stop()
		agree(t, o.w, o.j)
		if o.w.point()["io"] != 8 {
			t.Errorf("want 8 threads in the end (got %q)", story(o.j.all()))
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		o := open(t, f, newWorld(f.Space()), &journal{})
		o.until(trying)
		o.order(orders.Order{Command: orders.Pause, Reason: "a release"})
		s := o.until(func(s status.Snapshot) bool { return s.State == status.Paused })
		if s.Trial != nil || len(s.Trials) != 1 || s.Reason != "by sre: a release" || s.Pause == nil {
			t.Errorf("want the trial ended and the pause told (got %+v, %q)", s.Trial, s.Reason)
		}
		entries := s.Ledger
		o.order(orders.Order{Command: orders.Pause})
		o.stop()
		o.start()
		time.Sleep(time.Hour)
		if s := o.board.Snapshot(); s.State != status.Paused || len(s.Trials) != 1 || s.Ledger != entries+1 {
			t.Errorf("want the pause to outlive the tuner, and to be in the ledger once (got %s, %d trials, %d records)", s.State, len(s.Trials), s.Ledger)
		}
		o.order(orders.Order{Command: orders.Resume})
		o.until(isDone)
		o.stop()
		agree(t, o.w, o.j)
	})
}

func TestAbort(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		o := open(t, f, newWorld(f.Space()), &journal{})
		s := o.until(func(s status.Snapshot) bool { return trying(s) && s.Trial.Knob == "io" })
		at := time.Now()
		o.order(orders.Order{Command: orders.Abort, Reason: "not now"})
		o.until(func(s status.Snapshot) bool { return s.Trial == nil || s.Trial.Number != 2 })
		if late := o.w.back().Sub(at); late < 0 || late > 10*time.Second {
			t.Errorf("want it taken back at once (got it after %s)", late)
		}
		tr := study.Fold(o.j.all()).Trials[s.Trial.Number-1]
		if tr.Outcome != ledger.OutcomeDiscarded || tr.Failure != "aborted" || tr.Author != "sre" || !strings.Contains(tr.Reason, "not now") {
			t.Errorf("want it attributed (got %+v)", tr)
		}
		o.until(isDone)
		o.stop()
		agree(t, o.w, o.j)
	})
}

func TestProposeAndRollBack(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		o := open(t, f, newWorld(f.Space()), &journal{})
		o.until(isDone)
		best := o.w.point().Key()
		o.refused(orders.Order{Command: orders.Propose, Point: space.Point{"io": 99}}, "knobs.io: want 1..8 threads (got 99)")
		o.refused(orders.Order{Command: orders.Propose, Point: space.Point{"gc": 1}}, "knobs.gc: there is no such knob")
		o.refused(orders.Order{Command: orders.Rollback, Trial: 99}, "there is no trial 99 that has ended")
		n := len(o.board.Snapshot().Trials)
		o.order(orders.Order{Command: orders.Propose, Point: space.Point{"io": 3, "heap": 300}, Reason: "a hunch"})
		s := o.until(func(s status.Snapshot) bool { return isDone(s) && len(s.Trials) > n })
		tr := s.Trials[n]
		if tr.Purpose != "asked" || tr.Summary() != "heap 256 → 300, io 8 → 3" || tr.Outcome != "reverted" || !strings.Contains(tr.Reason, "goodput") {
			t.Errorf("want both knobs tried at once and taken back (got %+v)", tr)
		}
		if got := o.w.point().Key(); got != best {
			t.Errorf("want %s again (got %s)", best, got)
		}
		o.order(orders.Order{Command: orders.Rollback, Trial: 0, Reason: "enough"})
		s = o.until(func(s status.Snapshot) bool { return isDone(s) && len(s.Trials) > n+1 })
		if got := o.w.point().Key(); got != "heap=256 io=2" || s.Trials[n+1].Purpose != "rollback" {
			t.Errorf("want the start again (got %s, %+v)", got, s.Trials[n+1])
		}
		time.Sleep(time.Hour)
		o.stop()
		if got := o.w.point().Key(); got != "heap=256 io=2" {
			t.Errorf("want it to stay there (got %s)", got)
		}
		agree(t, o.w, o.j)
	})
}

func TestOrdersWhereNothingIsChanged(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Mode = config.Observe
		o := open(t, f, newWorld(f.Space()), &journal{})
		o.until(func(s status.Snapshot) bool { return s.State == status.Observing })
		for _, c := range []orders.Command{orders.Approve, orders.Abort, orders.Rollback, orders.Propose} {
			if err := o.Order(orders.Order{Command: c}); !errors.Is(err, trial.ErrConflict) || !strings.Contains(err.Error(), "mode observe") {
				t.Errorf("%s: want it refused for the mode (got %v)", c, err)
			}
		}
		o.stop()
	})
}

// TestTheEndOfASearch: the winner is measured against the start once more, a knob that need not have moved goes back, and what was good already stays.
func TestTheEndOfASearch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		goodput func(space.Point) float64
		want    string
		reason  string
		trials  []string // that close it
	}{
		"nothing helps": {func(space.Point) float64 { return 1000 }, "heap=256 io=2", "already good: it stays as it was", nil},
		"one knob helps": {func(p space.Point) float64 { return 1000 + 100*float64(p["io"]) }, "heap=256 io=8",
			"io 2 → 8: goodput +50 % against the start, measured again at the end", []string{"confirm reverted"}},
		"a knob helped only on the way": {func(p space.Point) float64 {
			return map[string]float64{"heap=256 io=2": 1000, "heap=512 io=2": 1100, "heap=512 io=4": 1500, "heap=256 io=4": 1500}[p.Key()]
		}, "heap=256 io=4", "io 2 → 4: goodput +", []string{"simplify kept", "confirm reverted"}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{}
				w.goodput = func(p space.Point) float64 { return max(c.goodput(p), 500) }
				_, s := run(t, f, w, j, isDone)
				agree(t, w, j)
				if got := w.point().Key(); got != c.want || !strings.Contains(s.Reason, c.reason) {
					t.Errorf("want %s and %q (got %s and %q): %q", c.want, c.reason, got, s.Reason, story(j.all()))
				}
				var closing []string
				for _, tr := range s.Trials {
					if tr.Purpose != "" {
						closing = append(closing, tr.Purpose+" "+tr.Outcome)
					}
				}
				if !slices.Equal(closing, c.trials) {
					t.Errorf("want it closed by %q (got %q)", c.trials, closing)
				}
			})
		})
	}
}

// TestAWinnerByLuck: what was better once and is not when measured again does not stay.
func TestAWinnerByLuck(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		lucky := true
		w.goodput = func(p space.Point) float64 {
			if p["io"] == 4 && lucky {
				return 1500
			}
			return 1000
		}
		run(t, f, w, j, func(s status.Snapshot) bool { return len(s.Trials) > 2 })
		lucky = false
		_, s := run(t, f, w, j, isDone)
		agree(t, w, j)
		if got := w.point().Key(); got != "heap=256 io=2" || !strings.Contains(s.Reason, "already good") {
			t.Errorf("want the start again (got %s, %q): %q", got, s.Reason, story(j.all()))
		}
	})
}

// TestAStepAtATime: no trial moves a knob farther than the file allows, and the search gets there nevertheless.
func TestAStepAtATime(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Budgets.Steps = 1
		w, j := newWorld(f.Space()), &journal{}
		_, s := run(t, f, w, j, isDone)
		agree(t, w, j)
		for _, tr := range s.Trials {
			if tr.Purpose == "" && (tr.Knob == "heap" && tr.Old == 256 && tr.New == 1024 || tr.Knob == "io" && tr.New == 8 && tr.Old != 4) {
				t.Errorf("trial %d goes too far: %s", tr.Number, tr.Summary())
			}
		}
		if w.point()["io"] != 8 {
			t.Errorf("want 8 threads in the end (got %q)", story(j.all()))
		}
	})
}

// TestAllKnobsAtOnce: the search by a model finds what no single step leads to, inside the budget, and ends with the same after a kill.
func TestAllKnobsAtOnce(t *testing.T) {
	t.Parallel()
	study := func(t *testing.T, dieAt int) (got string, told []string) {
		f := testFile(t)
		f.Search.Algorithm = config.ByGP
		w, j := newWorld(f.Space()), &journal{dieAt: dieAt}
		w.goodput = func(p space.Point) float64 {
			if p["heap"] > 256 && p["io"] > 2 { // neither helps alone
				return 1000 + 100*float64(p["io"])
			}
			return 1000 - 10*float64(p["io"])
		}
		run(t, f, w, j, isDone)
		if dieAt > 0 {
			j.dieAt = 0
			run(t, f, w, j, isDone)
		}
		agree(t, w, j)
		return w.point().Key(), story(j.all())
	}
	in(t, func(t *testing.T) {
		got, want := study(t, 0)
		if got != "heap=512 io=8" && got != "heap=1024 io=8" {
			t.Errorf("want both knobs moved (got %s: %q)", got, want)
		}
		for _, n := range []int{9, 25, 40} {
			// A measurement that is made again has other noise, so the way may be another.
			if again, way := study(t, n); again != got {
				t.Errorf("killed at record %d: want %s after %q (got %s after %q)", n, got, want, again, way)
			}
		}
	})
}
