package trial_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// asked are the trials that somebody proposed.
func asked(s status.Snapshot) []status.Trial {
	return slices.DeleteFunc(slices.Clone(s.Trials), func(tr status.Trial) bool { return tr.Purpose != "asked" })
}

// TestAProposalWaitsForItsBudget: what was taken while there was a budget for it, and is not begun before that is used up, waits and says why, until
// there is one again.
func TestAProposalWaitsForItsBudget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    func(*config.File, *world)
		more   func(*config.File)
		point  space.Point
		reason string // why it waits; empty: it does not
	}{
		"trials": {func(f *config.File, _ *world) { f.Budgets.Trials = 1 }, func(f *config.File) { f.Budgets.Trials = 25 },
			space.Point{"io": 8}, "the budget of 1 trials is spent"},
		"restarts": {func(f *config.File, _ *world) { f.Budgets.Restarts = 2 }, func(f *config.File) { f.Budgets.Restarts = 60 },
			space.Point{"io": 8}, "the budget of 2 restarts is spent"},
		"restarts, which it does not need": {func(f *config.File, w *world) { f.Budgets.Restarts, w.runs = 2, "IO" }, nil, space.Point{"io": 8}, ""},
		"seconds of breach": {func(f *config.File, w *world) {
			slow(f)
			f.Budgets.Violation = time.Second
			w.guard = func(p space.Point, _ time.Time) (float64, error) { return float64(p["heap"] / 256), nil }
		}, func(f *config.File) { f.Budgets.Violation = time.Hour }, space.Point{"io": 8}, "the budget of 1s in which a guard may be breached is spent"},
		"steps of a trial": {func(f *config.File, _ *world) { f.Budgets.Steps = 1 }, func(f *config.File) { f.Budgets.Steps = 2 },
			space.Point{"io": 8}, "io: want it moved by at most 1 steps a trial (got 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w := newWorld(f.Space())
				w.goodput = func(space.Point) float64 { return 1000 }
				c.set(&f, w)
				o := open(t, f, w, &journal{})
				o.until(func(s status.Snapshot) bool { return s.Trial != nil })
				o.order(orders.Order{Command: orders.Propose, Point: c.point, Reason: "a hunch"})
				s := o.until(isDone)
				if c.reason == "" {
					if len(asked(s)) != 1 || len(s.Queue) > 0 {
						t.Errorf("want it tried (got %+v, and %+v waits)", asked(s), s.Queue)
					}
					o.stop()
					return
				}
				if len(asked(s)) > 0 || len(s.Queue) != 1 || !strings.Contains(s.Queue[0].Held, c.reason) {
					t.Errorf("want it to wait, with %q (got %+v, and %+v waits)", c.reason, asked(s), s.Queue)
				}
				o.stop()
				c.more(&o.f)
				o.f.Digest = "more"
				o.start()
				if s = o.until(func(s status.Snapshot) bool { return len(asked(s)) > 0 }); len(s.Queue) > 0 {
					t.Errorf("want it tried (got %+v to wait)", s.Queue)
				}
				o.until(isDone)
				o.stop()
				agree(t, w, o.j)
			})
		})
	}
}

// TestTheOthersStayAsTheyAre: what a proposal does not name is what the running trial leaves behind, not what it tries.
func TestTheOthersStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(*office)
		while  func(status.Snapshot) bool
		want   string
	}{
		"a trial that is taken back": {func(*office) {}, func(s status.Snapshot) bool { return trying(s) && s.Trial.Knob == "heap" }, "heap=256 io=8"},
		"a way back": {func(o *office) {
			o.until(trying)
			o.order(orders.Order{Command: orders.Propose, Point: space.Point{"heap": 1024}})
			o.until(func(s status.Snapshot) bool {
				return len(asked(s)) > 0 && asked(s)[0].Outcome == "kept" && s.Trial == nil
			})
			o.order(orders.Order{Command: orders.Rollback, Trial: 0})
		}, func(s status.Snapshot) bool {
			return s.Trial != nil && s.Trial.Purpose == "rollback" && s.Trial.Phase == "verifying"
		}, "heap=256 io=8"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w := newWorld(f.Space())
				w.goodput = func(p space.Point) float64 { return 1000 + float64(p["heap"]/1024)*500 }
				o := open(t, f, w, &journal{})
				c.before(o)
				o.until(c.while)
				o.order(orders.Order{Command: orders.Propose, Point: space.Point{"io": 8}})
				if q := o.board.Snapshot().Queue; len(q) != 1 || space.Point(q[0].Knobs).Key() != c.want {
					t.Errorf("want %s proposed (got %+v)", c.want, q)
				}
				o.stop()
			})
		})
	}
}
