package trial_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// thereAndBack is somebody who changes the target and puts it back, between two looks.
func thereAndBack(w *world) {
	w.generation += 2
	w.newest = apply.Author{Manager: "kubectl-set", Time: time.Now()}
}

// TestThereAndBack: the brokers were restarted for it, so the trial is worthless, although everything is as it was.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	discarded := func(t *testing.T, j *journal) {
		t.Helper()
		s := study.Fold(j.all())
		i := slices.IndexFunc(s.Trials, func(tr study.Trial) bool { return tr.Outcome == ledger.OutcomeDiscarded })
		if i < 0 {
			t.Fatalf("want a discarded trial (got %q)", story(j.all()))
		}
		if got := s.Trials[i]; got.Author != "kubectl-set" || got.Failure != "outside-change" || !strings.Contains(got.Reason, "kubectl-set changed something and put it back") {
			t.Errorf("want it attributed (got author %q, %s: %s)", got.Author, got.Failure, got.Reason)
		}
	}
	for _, phase := range []ledger.Phase{ledger.Preflight, ledger.Verifying, ledger.Settling, ledger.Warming, ledger.Measuring} {
		t.Run("while "+string(phase), func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{}
				done := false
				w.onLook = func(w *world) {
					if tr := study.Fold(j.all()).Running(); !done && tr != nil && tr.Phase == phase {
						done = true
						thereAndBack(w)
					}
				}
				run(t, f, w, j, isDone)
				agree(t, w, j)
				discarded(t, j)
			})
		})
	}
	for i, phase := range ledger.Phases() {
		if i < slices.Index(ledger.Phases(), ledger.Verifying) || i > slices.Index(ledger.Phases(), ledger.Measuring) {
			continue // before, nothing of the trial is at stake; after, it is judged
		}
		t.Run("while the tuner was away, in phase "+string(phase), func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{dieAt: i + 3, after: true} // a session and a measurement come first
				run(t, f, w, j, isDone)
				j.dieAt = 0
				thereAndBack(w)
				run(t, f, w, j, isDone)
				agree(t, w, j)
				discarded(t, j)
			})
		})
	}
	t.Run("between trials", func(t *testing.T) {
		in(t, func(t *testing.T) {
			f := testFile(t)
			f.Mode = config.Recommend
			w, j := newWorld(f.Space()), &journal{}
			done := false
			w.onLook = func(w *world) {
				if s := study.Fold(j.all()); !done && len(s.Windows) > 0 {
					done = true
					thereAndBack(w)
				}
			}
			run(t, f, w, j, func(s status.Snapshot) bool { return s.Next != nil && len(s.Changes) > 0 })
			var kinds []ledger.Kind
			for _, r := range j.all() {
				kinds = append(kinds, r.Kind)
				if r.Kind == ledger.Outside && (r.Author != "kubectl-set" || !strings.Contains(r.Reason, "put back")) {
					t.Errorf("want it attributed (got %+v)", r)
				}
			}
			if !slices.Equal(kinds, []ledger.Kind{ledger.Session, ledger.Measured, ledger.Outside, ledger.Measured}) {
				t.Errorf("want it recorded and the incumbent measured again (got %q)", kinds)
			}
		})
	})
}

// TestAControllerThatPutsItBack: the tuner says who it is, takes back what else the trial changed, and tries nothing more.
func TestAControllerThatPutsItBack(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		w.contested = "IO"
		o := open(t, f, w, j)
		s := o.until(func(s status.Snapshot) bool { return s.State == status.Holding && s.Trial == nil })
		if !strings.Contains(s.Reason, "argocd has done so 2 times") {
			t.Errorf("want to be told who (got %q)", s.Reason)
		}
		last := s.Trials[len(s.Trials)-1]
		if last.Knob != "io" || last.Outcome != "inconclusive" || last.Failure != "contested" {
			t.Errorf("want the trial to prove nothing (got %+v)", last)
		}
		time.Sleep(time.Hour)
		if now := o.board.Snapshot(); len(now.Trials) != len(s.Trials) || now.State != status.Holding {
			t.Errorf("want nothing tried any more (got %s, %d trials more)", now.State, len(now.Trials)-len(s.Trials))
		}
		o.stop()
		agree(t, w, j)
	})
}

// TestNoRights: which right is missing is said before anything is changed, and nothing is begun before it is given.
func TestNoRights(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		until := time.Now().Add(time.Hour)
		w.rights = func() error {
			if time.Now().Before(until) {
				return errors.New("no right to patch statefulsets.apps kafka in namespace kafka")
			}
			return nil
		}
		o := open(t, f, w, j)
		s := o.until(func(s status.Snapshot) bool { return s.State == status.Holding })
		if want := "trial 1 is not begun: no right to patch statefulsets.apps kafka in namespace kafka"; s.Reason != want {
			t.Errorf("want %q (got %q)", want, s.Reason)
		}
		time.Sleep(time.Until(until) - time.Second)
		if s := o.board.Snapshot(); len(s.Trials) > 0 || len(w.made()) > 0 {
			t.Errorf("want nothing begun (got %d trials, %q)", len(s.Trials), w.made())
		}
		o.until(isDone)
		o.stop()
		agree(t, w, j)
	})
}

// TestADynamicKnobCostsNoRestart: it is tried when no restarts are left, and counts none.
func TestADynamicKnobCostsNoRestart(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Budgets.Restarts = 2
		w, j := newWorld(f.Space()), &journal{}
		w.runs = "IO"
		_, s := run(t, f, w, j, isDone)
		agree(t, w, j)
		if w.point()["io"] != 8 || s.Budget.RestartsUsed != 2 || !strings.Contains(s.Reason, "the budget of 2 restarts is spent") {
			t.Errorf("want 8 threads by 2 restarts, of the heap (got %s, %d restarts, %q): %q", w.point().Key(), s.Budget.RestartsUsed, s.Reason, story(j.all()))
		}
		for _, r := range j.all() {
			if tr := study.Fold(j.all()[:r.Seq]).Running(); r.Restart && tr.Change.Knob != "heap" {
				t.Errorf("trial %d of %s is said to restart something", tr.Number, tr.Change.Knob)
			}
		}
	})
}

// TestWhenATrialBegan: queries that ask when the trial began to be measured get one moment for all windows of it, after warm-up.
func TestWhenATrialBegan(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Budgets.Recheck = 0
		w, j := newWorld(f.Space()), &journal{}
		run(t, f, w, j, isDone)
		windows := map[time.Time]int{}
		for _, s := range w.spans {
			if !s.Trial.IsZero() {
				windows[s.Trial]++
			}
			if s.From.Before(s.Trial) || !s.Trial.IsZero() && s.From.Sub(s.Trial)%f.Windows.Window != 0 {
				t.Errorf("a window begins at %s, the trial at %s", s.From, s.Trial)
			}
		}
		measured := 0
		for _, r := range j.all() {
			if r.Kind == ledger.Measured || r.Phase == ledger.Judged && len(r.Windows) > 0 {
				measured++
			}
		}
		if len(windows) != measured {
			t.Errorf("want %d measurements (got %d)", measured, len(windows))
		}
		for began, n := range windows {
			if n != f.Windows.Count {
				t.Errorf("want %d windows of the trial that began at %s (got %d)", f.Windows.Count, began, n)
			}
		}
	})
}
