package trial_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// slow is a guard about the latency, as a file would have it.
func slow(f *config.File) {
	f.Guards = append(f.Guards, config.Guard{
		Name: "slow", Query: "p99", Max: status.Ptr(1.0), Breach: config.BreachWorse, For: 10 * time.Second, Grace: 15 * time.Second,
	})
}

// bound is how soon after a breach began its revert must begin: two scrapes and 30 s.
func bound(f config.File) time.Duration { return 2*f.Prometheus.ScrapeInterval + 30*time.Second }

// back is when the I/O threads were set back to 2.
func (w *world) back() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, m := range w.past {
		if i > 0 && m.point["io"] == 2 && w.past[i-1].point["io"] == 4 {
			return m.at
		}
	}
	return time.Time{}
}

// came is when the I/O threads were set to 4, the first time and the last time before they were set back.
func (w *world) came() (first, last time.Time) {
	for i, m := range w.past {
		if m.point["io"] == 4 && (i == 0 || w.past[i-1].point["io"] != 4) {
			last = m.at
		}
		if m.point["io"] == 4 && first.IsZero() {
			first = m.at
		}
		if m.point["io"] == 2 && !first.IsZero() {
			break
		}
	}
	return first, last
}

// fourIsBad makes four I/O threads breach the guard from so long after they were first set. They are the best by goodput.
func fourIsBad(w *world, after time.Duration) {
	w.guard = func(p space.Point, at time.Time) (float64, error) {
		if first, _ := w.came(); p["io"] == 4 && at.Sub(first) >= after {
			return 9, nil
		}
		return 0, nil
	}
	w.goodput = func(p space.Point) float64 { return 1000 + 300*float64(p["io"]%8) }
}

// TestABreachIsTakenBack: twenty breaches that begin at all moments of a trial and after it. Each revert starts in time, and none is left applied.
func TestABreachIsTakenBack(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for n := range 24 {
		after, runs := time.Duration(n)*15*time.Second, ""
		if n >= 20 { // of a change that restarts nothing, and is measured in turns
			after, runs = time.Duration(n-20)*40*time.Second, "IO"
		}
		t.Run(after.String()+runs, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				slow(&f)
				w, j := newWorld(f.Space()), &journal{}
				w.runs = runs
				fourIsBad(w, after)
				run(t, f, w, j, isDone)
				agree(t, w, j)
				if w.back().IsZero() || w.point()["io"] == 4 {
					t.Fatalf("want it taken back (got %q)", story(j.all()))
				}
				first, _ := w.came()
				for i, m := range w.past {
					// A rollout takes 5 s, and 15 s more are borne with.
					began := m.at.Add(20 * time.Second)
					if breach := first.Add(after); breach.After(began) {
						began = breach
					}
					if m.point["io"] != 4 || i+1 == len(w.past) || w.past[i+1].at.Before(began) {
						continue
					}
					late := w.past[i+1].at.Sub(began)
					if late > bound(f) {
						t.Errorf("%s stayed for %s after its breach began, the bound is %s: %q", m.point.Key(), late, bound(f), story(j.all()))
					}
					took = append(took, late)
				}
				if !strings.Contains(strings.Join(reasons(j.all()), "\n"), "guard slow: want at most 1 (got 9)") {
					t.Errorf("want the guard named (got %q)", reasons(j.all()))
				}
			})
		})
	}
	slices.Sort(took)
	if n := len(took); n < 24 {
		t.Errorf("want at least twenty-four breaches (got %d)", n)
	} else {
		t.Logf("%d breaches, from the beginning to the start of the revert: median %s, p95 %s, longest %s; bound 34s", n, took[n/2], took[n*95/100], took[n-1])
	}
}

func reasons(records []ledger.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, r.Reason)
	}
	return out
}

// TestKilledInABreach: the tuner dies at any moment of a breach, and is started again after a while: it takes the change back at once.
func TestKilledInABreach(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{time.Second, 30 * time.Second, time.Hour} {
		for n := range 8 {
			after := time.Duration(n) * 2 * time.Second // after the breach began
			t.Run(fmt.Sprintf("%s into it for %s", after, away), func(t *testing.T) {
				in(t, func(t *testing.T) {
					f := testFile(t)
					slow(&f)
					w, j := newWorld(f.Space()), &journal{}
					fourIsBad(w, 40*time.Second)
					o := open(t, f, w, j)
					for {
						w.mu.Lock()
						first, _ := w.came()
						w.mu.Unlock()
						if !first.IsZero() && time.Since(first) >= 40*time.Second+after {
							break
						}
						time.Sleep(100 * time.Millisecond)
					}
					o.stop()
					time.Sleep(away)
					started := time.Now()
					was := w.point()["io"] == 4
					run(t, f, w, j, isDone)
					agree(t, w, j)
					if w.point()["io"] == 4 {
						t.Fatal("the breach was left applied")
					}
					limit := bound(f)
					if away >= 30*time.Second {
						limit = 2 * f.Prometheus.ScrapeInterval // it has lasted long enough already
					}
					if late := w.back().Sub(started); was && late > limit {
						t.Errorf("the revert began %s after the start", late)
					}
				})
			})
		}
	}
}

// TestWhatWasKeptBreachesLater: nothing is left applied for having been judged already, also when the tuner was killed meanwhile.
func TestWhatWasKeptBreachesLater(t *testing.T) {
	t.Parallel()
	for name, killed := range map[string]bool{"while it runs": false, "while it was away": true} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				slow(&f)
				w, j := newWorld(f.Space()), &journal{}
				fourIsBad(w, 150*time.Second)
				kept := func(s status.Snapshot) bool {
					return slices.ContainsFunc(s.Trials, func(tr status.Trial) bool { return tr.Outcome == "kept" && tr.New == 4 })
				}
				run(t, f, w, j, kept)
				if killed {
					time.Sleep(5 * time.Minute)
				}
				run(t, f, w, j, isDone)
				agree(t, w, j)
				s := study.Fold(j.all())
				i := slices.IndexFunc(s.Trials, func(tr study.Trial) bool { return tr.Purpose == ledger.Rollback })
				if i < 0 || s.Trials[i].After["io"] != 2 || s.Incumbent["io"] == 4 {
					t.Errorf("want a way back to 2 threads (got %q)", story(j.all()))
				}
			})
		})
	}
}

// TestPutBackWhileItIsTakenBack: what the tuner takes back of its own is set again when somebody puts it back before the brokers run without it, and left to a
// controller that insists on it, who is named.
func TestPutBackWhileItIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, insists := range map[string]bool{"by a person": false, "by a controller": true} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				slow(&f)
				w, j := newWorld(f.Space()), &journal{}
				fourIsBad(w, 40*time.Second)
				o := open(t, f, w, j)
				o.until(func(status.Snapshot) bool { return !w.back().IsZero() })
				w.writes("argocd", map[string]string{"IO": "4"})
				if insists {
					w.lock(func() { w.contested = "IO" })
				}
				time.Sleep(30 * time.Second)
				if insists {
					const who = "argocd has done so 2 times"
					if s := o.board.Snapshot(); s.State != status.Holding || !strings.Contains(s.Reason, who) || !strings.Contains(s.Contested, who) || w.point()["io"] != 4 {
						t.Errorf("want it left and told (got %s, %q, %q, %s)", s.State, s.Reason, s.Contested, w.point().Key())
					}
					o.stop()
					return
				}
				if w.point()["io"] == 4 { // 2, or what is tried next
					t.Errorf("want it taken back again (got %s): %q", w.point().Key(), told(j.all()))
				}
				o.until(isDone)
				o.stop()
				agree(t, w, j)
				if changes := told(j.all()); strings.Contains(strings.Join(changes, "\n"), study.OutsideDone) {
					t.Errorf("want it no configuration to go on from (got %q)", changes)
				}
			})
		})
	}
}

func TestAGuardThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		slow(&f)
		w, j := newWorld(f.Space()), &journal{}
		w.guard = func(p space.Point, _ time.Time) (float64, error) {
			if p["io"] == 4 {
				return 0, errors.New("connection refused")
			}
			return 0, nil
		}
		f.Windows.SettleLimit, f.Windows.Settle = 10*time.Minute, 5*time.Minute
		run(t, f, w, j, isDone)
		agree(t, w, j)
		if !slices.Contains(story(j.all()), "2 io 2→4 inconclusive blind") || w.point()["io"] == 4 {
			t.Errorf("want it taken back, and nothing said against it (got %q)", story(j.all()))
		}
	})
}

// TestTheStartBreachesAGuard: it can only get better, and is made better.
func TestTheStartBreachesAGuard(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		slow(&f)
		w, j := newWorld(f.Space()), &journal{}
		w.guard = func(p space.Point, _ time.Time) (float64, error) { return 8 / float64(p["io"]), nil }
		run(t, f, w, j, isDone)
		agree(t, w, j)
		if w.point()["io"] != 8 {
			t.Errorf("want 8 threads, which end the breach (got %q)", story(j.all()))
		}
	})
}

func TestTheSwitch(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		measuring := func(s status.Snapshot) bool {
			return s.Trial != nil && s.Trial.Phase == "measuring" && s.Trial.Knob == "io"
		}
		o := open(t, f, w, j)
		o.until(measuring)
		w.mu.Lock()
		w.off = "the switch is off"
		w.mu.Unlock()
		at := time.Now()
		o.until(func(s status.Snapshot) bool { return s.State == status.Paused && s.Reason == "the switch is off" })
		if late := w.back().Sub(at); late < 0 || late > 10*time.Second {
			t.Errorf("want the change taken back at once (got it after %s: %q)", late, story(j.all()))
		}
		patches := w.made()
		time.Sleep(time.Hour)
		if now := w.made(); len(now) != len(patches) {
			t.Errorf("it acted while its switch was off: %q", now[len(patches):])
		}
		w.mu.Lock()
		w.off = ""
		w.mu.Unlock()
		o.until(isDone)
		o.stop()
		agree(t, w, j)
	})
}

func TestBudgetsOfSafety(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    func(*config.File, *world)
		reason string
	}{
		"violation": {func(f *config.File, w *world) { f.Budgets.Violation = 20 * time.Second; fourIsBad(w, 0) }, "the budget of 20s in which a guard may be breached is spent"},
		"fruitless": {func(f *config.File, w *world) {
			f.Budgets.Fruitless = 3
			w.goodput = func(space.Point) float64 { return 1000 }
		}, "the last 3 trials did not help"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				slow(&f)
				w, j := newWorld(f.Space()), &journal{}
				c.set(&f, w)
				_, s := run(t, f, w, j, isDone)
				if !strings.Contains(s.Reason, c.reason) {
					t.Errorf("want %q (got %q, %q)", c.reason, s.Reason, story(j.all()))
				}
				agree(t, w, j)
			})
		})
	}
}

// TestTheLoadShifts: a search that has ended begins anew when the load is another one, not before its rest is over, and each time later when nothing
// helps.
func TestTheLoadShifts(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Again = config.Again{Shift: 0.3, Rest: 10 * time.Minute, MaxRest: time.Hour}
		w, j := newWorld(f.Space()), &journal{}
		load := 1000.0
		w.goodput = func(space.Point) float64 { return load }
		o := open(t, f, w, j)
		o.until(isDone)
		first := len(o.board.Snapshot().Trials)
		time.Sleep(3 * time.Hour)
		if n := len(o.board.Snapshot().Trials); n != first {
			t.Errorf("want nothing tried while the load stays (got %d more trials)", n-first)
		}
		for i, rest := range []time.Duration{0, 40 * time.Minute, time.Hour, time.Hour} {
			o.until(isDone)
			ended := time.Now()
			w.mu.Lock()
			load *= 2
			w.mu.Unlock()
			o.until(func(s status.Snapshot) bool { return !isDone(s) })
			if waited := time.Since(ended); waited < rest-10*time.Second || waited > rest+3*time.Minute {
				t.Errorf("shift %d: want it to rest for %s (got %s)", i, rest, waited)
			}
		}
		o.stop()
		if s := study.Fold(j.all()); !slices.ContainsFunc(j.all(), func(r ledger.Record) bool {
			return r.Kind == ledger.Shifted && strings.Contains(r.Reason, "goodput was")
		}) {
			t.Errorf("want the shift told (got %+v)", s.Finished)
		}
	})
}
