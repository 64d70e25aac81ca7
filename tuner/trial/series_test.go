package trial_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// confirming is the trial that measures the winner against the start in turns.
func confirming(t *testing.T, j *journal) study.Trial {
	t.Helper()
	trials := study.Fold(j.all()).Trials
	i := slices.IndexFunc(trials, func(tr study.Trial) bool { return tr.Series != nil && tr.Purpose == ledger.Confirm })
	if i < 0 {
		t.Fatalf("want one measured in turns (got %q)", story(j.all()))
	}
	return trials[i]
}

// TestTheWinnerIsMeasuredInTurns: each block is a deployment of its own, every restart is counted, and the interval holds the truth.
func TestTheWinnerIsMeasuredInTurns(t *testing.T) {
	t.Parallel()
	for name, runs := range map[string]string{"with restarts": "", "of a running broker": "IO"} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{}
				w.runs = runs
				pods := map[int]string{}
				w.onLook = func(w *world) {
					if tr := study.Fold(j.all()).Running(); tr != nil && tr.Series != nil && tr.Phase == ledger.Measuring {
						pods[tr.Block] = string(w.lives.Pod)
					}
				}
				_, s := run(t, f, w, j, isDone)
				agree(t, w, j)
				tr := confirming(t, j)
				sides := map[judge.Side]int{}
				for _, b := range tr.Blocks {
					sides[b.Side]++
				}
				if len(tr.Blocks) < 10 || sides[judge.Candidate] < 6 || sides[judge.Incumbent] < 4 {
					t.Errorf("want blocks of both sides (got %v)", sides)
				}
				v, truth := tr.Verdict, w.goodput(tr.Candidate)/w.goodput(tr.Before)-1
				if tr.Outcome != ledger.OutcomeReverted || v == nil || v.Decision != judge.Worse || v.Interval == nil || v.Interval.Low > truth || v.Interval.High < truth || v.Interval.High > -0.25 {
					t.Errorf("want the start to be clearly worse, by a third (got %s, %+v)", tr.Outcome, v)
				}
				if !strings.Contains(s.Reason, "io 2 → 8: goodput +50 % against the start") || w.point()["io"] != 8 {
					t.Errorf("want the winner to stay (got %s, %q)", w.point().Key(), s.Reason)
				}
				if s.Budget.RestartsUsed != w.rolls {
					t.Errorf("want every restart counted (got %d, there were %d)", s.Budget.RestartsUsed, w.rolls)
				}
				seen := map[string]bool{}
				for _, pod := range pods {
					seen[pod] = true
				}
				if runs == "" && len(seen) != len(tr.Blocks) {
					t.Errorf("want %d deployments (got %d)", len(tr.Blocks), len(seen))
				}
				if n := len(study.Fold(j.all()).Windows); n != 2*sides[judge.Candidate] {
					t.Errorf("want what stays to be known by all its blocks (got %d windows)", n)
				}
			})
		})
	}
}

// TestWithoutARestartBothAreMeasuredInTurns: what costs no restart is measured in turns with what it is to replace, so that what changes with time
// decides nothing; what restarts brokers is measured once.
func TestWithoutARestartBothAreMeasuredInTurns(t *testing.T) {
	t.Parallel()
	drift := func(began time.Time) func(time.Time, string) float64 {
		return func(now time.Time, _ string) float64 { return math.Exp(0.01 * now.Sub(began).Minutes()) }
	}
	for name, c := range map[string]struct {
		goodput func(space.Point) float64
		io      int64 // in the end
		first   ledger.Outcome
		blocks  int // of the first trial of 4 threads, at most
	}{
		"a gain is kept":                      {func(p space.Point) float64 { return 1000 + 100*float64(p["io"]) }, 8, ledger.OutcomeKept, 12},
		"a loss is seen after two blocks":     {func(p space.Point) float64 { return 1000 / float64(p["io"]) }, 1, ledger.OutcomeReverted, 2},
		"a drift is no gain":                  {func(space.Point) float64 { return 1000 }, 2, ledger.OutcomeReverted, 20},
		"nor is it when what is tried is bad": {func(p space.Point) float64 { return 1000 - 20*math.Abs(float64(p["io"]-2)) }, 2, ledger.OutcomeReverted, 20},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{}
				w.runs, w.goodput, w.noise = "IO", c.goodput, drift(time.Now())
				run(t, f, w, j, isDone)
				agree(t, w, j)
				for _, tr := range study.Fold(j.all()).Trials {
					if inTurns := tr.Series != nil; tr.Purpose == "" && inTurns != (tr.Change.Knob == "io") {
						t.Errorf("trial %d of %s: want only what needs no restart measured in turns", tr.Number, tr.Change.Knob)
					}
					if tr.Change.Knob == "io" && tr.Purpose == "" && tr.Before["io"] == 2 && tr.Candidate["io"] == 4 && (tr.Outcome != c.first || len(tr.Blocks) < 2 || len(tr.Blocks) > c.blocks) {
						t.Errorf("want it %s after 2 to %d blocks (got %s after %d: %s)", c.first, c.blocks, tr.Outcome, len(tr.Blocks), tr.Reason)
					}
				}
				if w.point()["io"] != c.io {
					t.Errorf("want %d threads in the end (got %d): %q", c.io, w.point()["io"], story(j.all()))
				}
			})
		})
	}
}

// TestOneSideFails while the two are measured in turns.
func TestOneSideFails(t *testing.T) {
	t.Parallel()
	inBlock := func(j *journal, side judge.Side) bool {
		tr := study.Fold(j.all()).Running()
		return tr != nil && tr.Series != nil && tr.Side == side && tr.Phase != ledger.Judged
	}
	crashes := func(side judge.Side) func(*world, *journal) {
		return func(w *world, j *journal) {
			w.broken = func(space.Point) *apply.RolloutError {
				if inBlock(j, side) {
					return &apply.RolloutError{Class: apply.CrashLoop, Detail: "seen in the test"}
				}
				return nil
			}
		}
	}
	for name, c := range map[string]struct {
		world   func(*world, *journal)
		outcome ledger.Outcome
		failure string
		io      int64
	}{
		"the start crashes":  {crashes(judge.Incumbent), ledger.OutcomeReverted, "crash-loop", 8},
		"the winner crashes": {crashes(judge.Candidate), ledger.OutcomeKept, "crash-loop", 2},
		"the winner breaches a guard": {func(w *world, j *journal) {
			w.guard = func(p space.Point, _ time.Time) (float64, error) {
				if p["io"] == 8 && inBlock(j, judge.Candidate) {
					return 9, nil
				}
				return 0, nil
			}
		}, ledger.OutcomeKept, "guard:slow", 2},
		"somebody else changes something": {func(w *world, j *journal) {
			done := false
			w.onLook = func(w *world) {
				if !done && inBlock(j, judge.Incumbent) && study.Fold(j.all()).Running().Phase == ledger.Measuring {
					done = true
					thereAndBack(w)
				}
			}
		}, ledger.OutcomeDiscarded, "outside-change", 8},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				slow(&f)
				w, j := newWorld(f.Space()), &journal{}
				c.world(w, j)
				run(t, f, w, j, isDone)
				agree(t, w, j)
				if tr := confirming(t, j); tr.Outcome != c.outcome || tr.Failure != c.failure || tr.After["io"] != c.io {
					t.Errorf("want %s, %s and %d threads (got %s, %s and %s: %s)", c.outcome, c.failure, c.io, tr.Outcome, tr.Failure, tr.After.Key(), tr.Reason)
				}
				if slices.ContainsFunc(j.all(), func(r ledger.Record) bool { return r.Kind == ledger.Outside }) || w.point()["io"] != c.io {
					t.Errorf("want the tuner to have brought it there (got %s)", w.point().Key())
				}
			})
		})
	}
}

// TestWhatHappensToTheIncumbent while something is measured in turns with it says nothing for that, and nothing against it.
func TestWhatHappensToTheIncumbent(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		slow(&f)
		w, j := newWorld(f.Space()), &journal{}
		w.runs = "IO"
		w.guard = func(space.Point, time.Time) (float64, error) {
			if tr := study.Fold(j.all()).Running(); tr != nil && tr.Number == 2 && tr.Side == judge.Incumbent && tr.Phase != ledger.Judged {
				return 9, nil
			}
			return 0, nil
		}
		run(t, f, w, j, isDone)
		agree(t, w, j)
		trials := study.Fold(j.all()).Trials
		if tr := trials[1]; tr.Series == nil || tr.Outcome != ledger.OutcomeInconclusive || tr.Failure != "guard:slow" || tr.After["io"] != 2 {
			t.Errorf("want it inconclusive (got %s, %s and %s: %s)", tr.Outcome, tr.Failure, tr.After.Key(), tr.Reason)
		}
		if w.point()["io"] != 8 {
			t.Errorf("want it tried once more, and 8 threads in the end (got %q)", story(j.all()))
		}
	})
}

// TestEachRestartIsBorneWith: a guard's grace holds after every deployment, not after the first only.
func TestEachRestartIsBorneWith(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		slow(&f)
		w, j := newWorld(f.Space()), &journal{}
		w.guard = func(_ space.Point, at time.Time) (float64, error) {
			if since := at.Sub(w.restarted); since >= 0 && since < 16*time.Second { // a rollout takes 5 s, and the guard bears with 10 s and then 15 s more
				return 9, nil
			}
			return 0, nil
		}
		run(t, f, w, j, isDone)
		agree(t, w, j)
		if tr := confirming(t, j); tr.Outcome != ledger.OutcomeReverted || tr.Verdict == nil || len(tr.Blocks) < 10 {
			t.Errorf("want all blocks measured (got %d, %s: %s)", len(tr.Blocks), tr.Outcome, tr.Reason)
		}
	})
}

// TestNothingIsBorneWithWhereNothingRestarts: the grace is for restarts, so a breach right after a later block was set counts.
func TestNothingIsBorneWithWhereNothingRestarts(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		slow(&f)
		w, j := newWorld(f.Space()), &journal{}
		w.runs = "IO"
		w.guard = func(p space.Point, at time.Time) (float64, error) {
			if n := len(w.past); n > 4 && p["io"] == 4 && at.Sub(w.past[n-1].at) < 14*time.Second {
				return 9, nil
			}
			return 0, nil
		}
		run(t, f, w, j, func(s status.Snapshot) bool { return len(s.Trials) > 2 })
		if got := story(j.all())[1]; got != "2 io 2→4 reverted guard:slow" {
			t.Errorf("want the breach to count (got %q)", got)
		}
	})
}

// TestOnceIsEnough where there are no restarts or no time for more, or nobody wants more.
func TestOnceIsEnough(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*config.File){
		"it is switched off": func(f *config.File) { f.Budgets.Recheck = 0 },
		"no time":            func(f *config.File) { f.Budgets.Recheck = 5 * time.Minute },
		"few restarts":       func(f *config.File) { f.Budgets.Restarts = 16 },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				set(&f)
				w, j := newWorld(f.Space()), &journal{}
				_, s := run(t, f, w, j, isDone)
				agree(t, w, j)
				trials := study.Fold(j.all()).Trials
				last := trials[len(trials)-1]
				if last.Purpose != ledger.Confirm || last.Series != nil || !strings.Contains(s.Reason, "measured again at the end") {
					t.Errorf("want the start measured once more (got %+v, %q)", last, s.Reason)
				}
				if s.Budget.RestartsUsed > f.Budgets.Restarts {
					t.Errorf("want at most %d restarts (got %d)", f.Budgets.Restarts, s.Budget.RestartsUsed)
				}
			})
		})
	}
}

// TestPlainCasesTakeFewerWindows: a gain of a half is kept after half of them, and what is not plain gets all.
func TestPlainCasesTakeFewerWindows(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		f := testFile(t)
		f.Windows.Count = 8
		w, j := newWorld(f.Space()), &journal{}
		w.goodput = func(p space.Point) float64 {
			return map[int64]float64{1: 500, 2: 1000, 4: 1500, 8: 1520}[p["io"]]
		}
		run(t, f, w, j, isDone)
		agree(t, w, j)
		seen := map[string]int{}
		for _, tr := range study.Fold(j.all()).Trials {
			if tr.Purpose == "" && tr.Change.Knob == "io" {
				seen[tr.Change.OldText+"→"+tr.Change.NewText+" "+string(tr.Outcome)] = len(tr.Windows)
			}
		}
		if seen["2→4 kept"] != 4 || seen["4→8 reverted"] != 8 {
			t.Errorf("want 4 windows where it is plain and 8 where it is not (got %v)", seen)
		}
	})
}

// noisy is a cluster whose windows are correlated, whose deployments differ and whose machine drifts.
func noisy(seed uint64) func(time.Time, string) float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	began, before := time.Now(), 0.0
	return func(now time.Time, pod string) float64 {
		before = 0.5*before + math.Sqrt(1-0.25)*0.05*r.NormFloat64()
		h := fnv.New64a()
		h.Write([]byte(pod))
		deployment := rand.New(rand.NewPCG(seed, h.Sum64())).NormFloat64() * 0.02
		return math.Exp(before + deployment + 0.01*now.Sub(began).Hours())
	}
}

// studies is how many TestManyStudies makes of each kind; another number by STUDIES in the environment.
const studies = 6

// TestManyStudies: of studies in which nothing helps at most one in twenty ends anywhere but at the start; a gain of a fifth is always kept.
func TestManyStudies(t *testing.T) {
	t.Parallel()
	n := studies
	if wanted, err := strconv.Atoi(os.Getenv("STUDIES")); err == nil {
		n = wanted
	}
	ends := func(t *testing.T, goodput func(space.Point) float64, seed uint64) (moved bool, at space.Point, told []string) {
		in(t, func(t *testing.T) {
			f := testFile(t)
			f.Search.Seed = seed
			w, j := newWorld(f.Space()), &journal{}
			w.goodput, w.noise = goodput, noisy(seed)
			run(t, f, w, j, func(s status.Snapshot) bool { return isDone(s) })
			agree(t, w, j)
			at = w.point()
			for _, tr := range study.Fold(j.all()).Counted() {
				told = append(told, fmt.Sprintf("%s %s %s: %s", tr.Purpose, tr.Candidate.Key(), tr.Outcome, tr.Reason))
			}
			moved = slices.ContainsFunc(study.Fold(j.all()).Trials, func(tr study.Trial) bool { return tr.Purpose == "" && tr.Outcome == ledger.OutcomeKept })
		})
		return moved, at, told
	}
	moved, wrong, found := 0, 0, 0
	for seed := range uint64(n) {
		m, at, told := ends(t, func(space.Point) float64 { return 1000 }, seed)
		if m {
			moved++
		}
		if at.Key() != "heap=256 io=2" {
			wrong++
			t.Logf("seed %d: ends at %s: %s", seed, at.Key(), told)
		}
		if _, at, _ := ends(t, func(p space.Point) float64 { return 1000 * math.Pow(1.2, float64(p["io"]/4)) }, seed); at["io"] == 8 || at["io"] == 4 {
			found++
		}
	}
	t.Logf("%d studies: where nothing helps, something was kept for a while in %d and to the end in %d; a gain was found in %d", n, moved, wrong, found)
	if most := float64(n) / 20; float64(wrong) > most+2*math.Sqrt(most) || found < n-n/20 { // two standard deviations
		t.Errorf("want 5 %% kept where nothing helps, and gains found (got %d and %d of %d)", wrong, found, n)
	}
}
