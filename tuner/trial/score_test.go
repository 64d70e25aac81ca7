package trial_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metrics "github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// writes is somebody else who writes variables, all in one patch.
func (w *world) writes(author string, values map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for variable, value := range values {
		w.env[variable] = value
		w.authors[variable] = apply.Author{Manager: author, Time: time.Now().Truncate(time.Second)}
	}
	w.generation++
	w.rolls++
	w.lives = apply.Life{Pod: w.lives.Pod + "+"}
	w.past = append(w.past, moment{time.Now(), w.now()})
}

// watches opens a tuner in mode observe.
func watches(t *testing.T, set func(*config.File, *world)) *office {
	t.Helper()
	f := testFile(t)
	f.Mode = config.Observe
	slow(&f)
	w := newWorld(f.Space())
	set(&f, w)
	return open(t, f, w, &journal{})
}

// measured waits until what runs is known.
func (o *office) measured() {
	o.t.Helper()
	o.until(func(s status.Snapshot) bool { return s.State == status.Observing && s.Goal.Incumbent != nil })
}

// scores waits until so many changes are scored, and gives the last one.
func (o *office) scores(n int) status.Trial {
	o.t.Helper()
	return o.until(func(s status.Snapshot) bool { return len(s.Trials) >= n && s.Trials[n-1].Ended != nil }).Trials[n-1]
}

// tells fails the test unless the one scored change is in the ledger, the metrics and the Events with its author and outcome.
func (o *office) tells(author string, outcome ledger.Outcome) {
	o.t.Helper()
	for _, r := range o.j.all() {
		if named := r.Phase == ledger.Proposed || r.Phase == ledger.Judged || r.Phase.Done(); named && r.Author != author {
			o.t.Errorf("want each record put down to %s (got %+v)", author, r)
		}
	}
	registry := metrics.NewPedanticRegistry()
	registry.MustRegister(status.NewCollector(o.board))
	families, err := registry.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == "tuner_change_timestamp_seconds" && labels["author"] == author && labels["outcome"] == string(outcome) && labels["trial"] == "1" {
				n++
			}
		}
	}
	s := o.board.Snapshot()
	if want := len(s.Trials[0].Changes); n != want {
		o.t.Errorf(`want %d samples of tuner_change_timestamp_seconds{author="%s", outcome="%s"} (got %d)`, want, author, outcome, n)
	}
	if s.Budget.TrialsUsed+s.Budget.RestartsUsed != 0 {
		o.t.Errorf("want nothing of it in the tuner's budgets (got %+v)", s.Budget)
	}
	events := slices.Collect(maps.Values(o.w.events))
	if len(events) != 1 || events[0].Reason != "ChangeScored" || events[0].Warning != (outcome == ledger.OutcomeWorse) || !strings.Contains(events[0].Message, ", by "+author+": "+string(outcome)) {
		o.t.Errorf("want one Event about it (got %+v)", events)
	}
}

// told is what a ledger says of the changes of others, without times.
func told(records []ledger.Record) []string {
	var out []string
	for _, c := range study.Fold(records).Changes {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %d→%d %s %s", c.Trial, c.Knob, c.Old, c.New, c.Author, c.Outcome)))
	}
	return out
}

// TestOthersAreScored: what somebody else changed is measured, judged and recorded with the author, and stays as it is.
func TestOthersAreScored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set     func(*config.File, *world)
		values  map[string]string
		outcome ledger.Outcome
		failure string
		effect  float64
		reason  string
	}{
		"a gain is better":                     {nil, map[string]string{"IO": "4"}, ledger.OutcomeBetter, "", 0.17, "goodput"},
		"a loss is worse":                      {nil, map[string]string{"IO": "1"}, ledger.OutcomeWorse, "", -0.08, "goodput"},
		"no difference is not better":          {func(_ *config.File, w *world) { w.goodput = func(space.Point) float64 { return 1000 } }, map[string]string{"IO": "4"}, ledger.OutcomeNotBetter, "", 0, "within the noise"},
		"what restarts nothing, likewise":      {func(_ *config.File, w *world) { w.runs = "IO" }, map[string]string{"IO": "4"}, ledger.OutcomeBetter, "", 0.17, "goodput"},
		"several knobs at once are one change": {nil, map[string]string{"IO": "8", "HEAP": "-Xms512m -Xmx512m"}, ledger.OutcomeBetter, "", 0.42, "goodput"},
		"what the brokers do not run with is worse": {func(_ *config.File, w *world) {
			w.broken = func(p space.Point) *apply.RolloutError {
				if p["io"] == 4 {
					return &apply.RolloutError{Class: apply.CrashLoop, Detail: "seen in the test"}
				}
				return nil
			}
		}, map[string]string{"IO": "4"}, ledger.OutcomeWorse, "crash-loop", 0, "seen in the test"},
		"what has no effect is not better": {func(_ *config.File, w *world) { w.ignores = "io" }, map[string]string{"IO": "4"}, ledger.OutcomeNotBetter, "read-back", 0, "no effect"},
		"what breaches a guard is worse":   {func(_ *config.File, w *world) { fourIsBad(w, 0) }, map[string]string{"IO": "4"}, ledger.OutcomeWorse, "guard:slow", 0, "guard slow: want at most 1 (got 9)"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				if c.set == nil {
					c.set = func(*config.File, *world) {}
				}
				o := watches(t, c.set)
				o.measured()
				o.w.writes("vibectl", c.values)
				got := o.scores(1)
				o.stop()
				agree(t, o.w, o.j)
				if got.Author != "vibectl" || got.Purpose != "scored" || got.Outcome != string(c.outcome) || got.Failure != c.failure || !strings.Contains(got.Reason, c.reason) {
					t.Errorf("want %s %q by vibectl for %q (got %+v)", c.outcome, c.failure, c.reason, got)
				}
				if c.effect != 0 && (got.Effect == nil || *got.Effect < c.effect-0.02 || *got.Effect > c.effect+0.02) {
					t.Errorf("want an effect of %+.2f (got %v)", c.effect, got.Effect)
				}
				if len(o.w.patches) > 0 || o.w.deletes > 0 {
					t.Errorf("mode observe acted: %q", o.w.patches)
				}
				o.tells("vibectl", c.outcome)
			})
		})
	}
}

// TestAnotherHandInBetween: a change that is followed by another before it could be measured is discarded, and the next is measured together with what is left of it.
func TestAnotherHandInBetween(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		o := watches(t, func(*config.File, *world) {})
		o.measured()
		o.w.writes("vibectl", map[string]string{"IO": "4"})
		o.until(func(s status.Snapshot) bool { return s.Trial != nil && s.Trial.Phase == string(ledger.Measuring) })
		o.w.writes("kubectl-patch", map[string]string{"HEAP": "-Xms512m -Xmx512m"})
		first, second := o.scores(1), o.scores(2)
		o.stop()
		agree(t, o.w, o.j)
		if first.Outcome != string(ledger.OutcomeDiscarded) || first.Author != "vibectl" || first.DisturbedBy != "kubectl-patch" {
			t.Errorf("want the first discarded for the second (got %+v)", first)
		}
		if second.Outcome != string(ledger.OutcomeBetter) || second.Author != "kubectl-patch" || !strings.Contains(second.Reason, "goodput") || len(second.Changes) != 2 {
			t.Errorf("want both measured together (got %+v)", second)
		}
		want := []string{
			"1 io 2→4 vibectl attempted", "1 io 2→4 vibectl inconclusive",
			"2 heap 256→512 kubectl-patch attempted", "2 io 2→4 kubectl-patch attempted", "2 heap 256→512 kubectl-patch better", "2 io 2→4 kubectl-patch better",
		}
		if diff := cmp.Diff(want, told(o.j.all())); diff != "" {
			t.Errorf("the changes (-want +got):\n%s", diff)
		}
	})
}

// TestTakenBackIfToldTo: a breach is ended in time when the file says so, however it came and whoever wants it otherwise, and nothing else is touched.
func TestTakenBackIfToldTo(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		after := time.Duration(n) * 15 * time.Second
		t.Run(after.String(), func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := watches(t, func(f *config.File, w *world) { f.Revert, w.contested = true, "IO"; fourIsBad(w, after) })
				o.measured()
				o.w.writes("vibectl", map[string]string{"IO": "4"})
				o.until(func(s status.Snapshot) bool { return *s.Knobs[1].Desired == 2 && s.Trial == nil && len(s.Trials) > 0 })
				o.stop()
				agree(t, o.w, o.j)
				first, _ := o.w.came()
				began := first.Add(max(after, 20*time.Second)) // a rollout takes 5 s, and 15 s more are borne with
				if late := o.w.back().Sub(began); o.w.back().IsZero() || late > bound(o.f) {
					t.Errorf("it stayed for %s after its breach began, the bound is %s: %q", late, bound(o.f), told(o.j.all()))
				}
				if got := study.Fold(o.j.all()).Trials[0]; got.By != "vibectl" || got.Outcome != ledger.OutcomeReverted && got.Outcome != ledger.OutcomeBetter {
					t.Errorf("want it put down to vibectl (got %+v)", got)
				}
			})
		})
	}
}

// felt makes four I/O threads breach the guard from when they are set until so long after they are gone.
func felt(w *world, after time.Duration) {
	w.guard = func(_ space.Point, at time.Time) (float64, error) {
		for i, m := range w.past {
			gone := at
			if i+1 < len(w.past) {
				gone = w.past[i+1].at
			}
			if m.point["io"] == 4 && !m.at.After(at) && at.Sub(gone) < after {
				return 9, nil
			}
		}
		return 0, nil
	}
}

// gauge is the value of a metric without labels.
func (o *office) gauge(name string) float64 {
	o.t.Helper()
	registry := metrics.NewPedanticRegistry()
	registry.MustRegister(status.NewCollector(o.board))
	families, err := registry.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	o.t.Fatalf("there is no %s", name)
	return 0
}

// TestTakenBackHoweverOften: whoever puts back at once what was taken back for its harm does not get it to stay. Ten times in an hour it goes as soon as the
// first time; then it has to wait, also when the tuner is started anew, and people are told who does it.
func TestTakenBackHoweverOften(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		o := watches(t, func(f *config.File, w *world) {
			f.Revert = true
			w.contested = "IO"
			felt(w, 20*time.Second)
		})
		o.measured()
		back := func(status.Snapshot) bool { return o.w.point()["io"] == 2 }
		for n := 1; n <= 10; n++ {
			made := time.Now()
			o.w.writes("vibectl", map[string]string{"IO": "4"})
			o.until(back)
			// A rollout takes 5 s, and 15 s more are borne with.
			if took := time.Since(made) - 20*time.Second; took > bound(o.f) {
				t.Fatalf("time %d: it stayed for %s after its breach began, the bound is %s: %q", n, took, bound(o.f), told(o.j.all()))
			}
		}
		if got := o.gauge("tuner_contested"); got != 0 {
			t.Errorf("want nothing said so far (got %g)", got)
		}
		o.w.writes("vibectl", map[string]string{"IO": "4"})
		const why = "heap=256 io=4 was taken back 10 times within an hour, and vibectl puts it back each time"
		s := o.until(func(s status.Snapshot) bool {
			return s.State == status.Holding && strings.HasPrefix(s.Reason, why+"; trial 11 takes it back at ")
		})
		if got := o.gauge("tuner_contested"); got != 1 || s.Contested != why {
			t.Errorf("want it told (got %g, %q)", got, s.Contested)
		}
		o.stop()
		o.start()
		o.until(back)
		trials := study.Fold(o.j.all()).Trials
		if waited := time.Since(trials[9].Ended); waited < time.Minute || waited > time.Minute+10*time.Second {
			t.Errorf("want a minute between the last two times (got %s)", waited)
		}
		time.Sleep(2 * time.Hour)
		if s := o.board.Snapshot(); s.Contested != "" || len(s.Trials) != 11 {
			t.Errorf("want it forgotten, and nothing more done (got %q, %d trials)", s.Contested, len(s.Trials))
		}
		o.stop()
		agree(t, o.w, o.j)
		if o.w.point()["io"] != 2 {
			t.Errorf("it was left applied: %q", told(o.j.all()))
		}
		for n, tr := range study.Fold(o.j.all()).Trials {
			if tr.By != "vibectl" || tr.Outcome != ledger.OutcomeReverted || tr.Failure != "guard:slow" {
				t.Errorf("trial %d: want it put down to vibectl (got %+v)", n+1, tr)
			}
		}
		events := map[string]int{}
		for _, e := range o.w.events {
			events[e.Reason]++
			if e.Reason == "TuningContested" && (!e.Warning || e.Message != "trial 11: "+why) {
				t.Errorf("got the Event %+v", e)
			}
		}
		if diff := cmp.Diff(map[string]int{"TuningReverted": 11, "TuningContested": 1}, events); diff != "" {
			t.Errorf("the Events (-want +got):\n%s", diff)
		}
	})
}

// TestTakenBackWhileItIsFelt: what is put back while the guards still feel what it did the last time passes for nothing that was always so.
func TestTakenBackWhileItIsFelt(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		o := watches(t, func(f *config.File, w *world) {
			f.Revert = true
			felt(w, 5*time.Minute)
		})
		o.measured()
		for n := 1; n <= 3; n++ {
			made := time.Now()
			o.w.writes("vibectl", map[string]string{"IO": "4"})
			o.until(func(status.Snapshot) bool { return o.w.point()["io"] == 2 })
			// A rollout takes 5 s, and 15 s more are borne with.
			if took := time.Since(made) - 20*time.Second; took > bound(o.f) {
				t.Fatalf("time %d: it stayed for %s after its breach began, the bound is %s: %q", n, took, bound(o.f), told(o.j.all()))
			}
			time.Sleep(3 * time.Minute)
		}
		o.stop()
		agree(t, o.w, o.j)
	})
}

// TestAQuarrelWhileItMayNotAct: the switch holds back also what is left to be taken back when somebody has done a part of it by hand.
func TestAQuarrelWhileItMayNotAct(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		o := watches(t, func(f *config.File, w *world) {
			f.Revert = true
			felt(w, 20*time.Second)
		})
		o.measured()
		both := map[string]string{"IO": "4", "HEAP": "-Xms512m -Xmx512m"}
		for range 10 {
			o.w.writes("vibectl", both)
			o.until(func(status.Snapshot) bool { return o.w.point().Key() == "heap=256 io=2" })
		}
		o.w.writes("vibectl", both)
		o.until(func(s status.Snapshot) bool {
			return s.State == status.Holding && strings.Contains(s.Reason, "trial 11 takes it back at")
		})
		o.w.lock(func() { o.w.off = "the switch is off" })
		o.w.writes("kubectl-edit", map[string]string{"HEAP": "-Xms1024m -Xmx1024m"})
		before := o.w.made()
		time.Sleep(10 * time.Minute)
		if s := o.board.Snapshot(); len(o.w.made()) != len(before) || s.State != status.Paused || s.Reason != "the switch is off" {
			t.Errorf("want nothing done, and told why (got %q, %s, %q)", o.w.made()[len(before):], s.State, s.Reason)
		}
		o.w.lock(func() { o.w.off = "" })
		o.scores(12) // of the heap
		o.stop()
		agree(t, o.w, o.j)
		if o.w.point().Key() != "heap=1024 io=2" {
			t.Errorf("want the rest taken back (got %s): %q", o.w.point().Key(), told(o.j.all()))
		}
	})
}

// TestTakenBackHoweverItIsSpelled: what counts is the value, not its text, and it is said to be taken back once it was.
func TestTakenBackHoweverItIsSpelled(t *testing.T) {
	t.Parallel()
	for name, written := range map[string]map[string]string{
		"a zero in front": {"IO": "04"},
		"spaces":          {"IO": " 4 ", "HEAP": "-Xms512m  -Xmx512m"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := watches(t, func(f *config.File, w *world) {
					f.Revert = true
					f.Guards[len(f.Guards)-1].For = 0
					fourIsBad(w, 0)
				})
				o.measured()
				o.w.writes("vibectl", written)
				time.Sleep(5 * time.Minute)
				o.stop()
				agree(t, o.w, o.j)
				trials := study.Fold(o.j.all()).Trials
				if o.w.point().Key() != "heap=256 io=2" || len(o.w.made()) != len(written) || len(trials) != 1 || trials[0].Outcome != ledger.OutcomeReverted {
					t.Errorf("want it taken back, once (got %s by %q): %q", o.w.point().Key(), o.w.made(), told(o.j.all()))
				}
			})
		})
	}
}

// TestTakenBackThroughOthers: a breach stays put down to its change when another change follows at once, and when nobody watched while it was made.
func TestTakenBackThroughOthers(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*office){
		"another change follows": func(o *office) {
			o.w.writes("vibectl", map[string]string{"IO": "4"})
			time.Sleep(43 * time.Second)
			o.w.writes("kubectl-patch", map[string]string{"HEAP": "-Xms512m -Xmx512m"})
		},
		"another change follows what was found good": func(o *office) {
			o.w.writes("vibectl", map[string]string{"IO": "4"})
			o.w.lock(func() {
				first, _ := o.w.came()
				o.w.guard = func(p space.Point, at time.Time) (float64, error) {
					if p["io"] == 4 && at.Sub(first) > 200*time.Second {
						return 9, nil
					}
					return 0, nil
				}
			})
			time.Sleep(205 * time.Second)
			o.w.writes("kubectl-patch", map[string]string{"HEAP": "-Xms512m -Xmx512m"})
		},
		"something else is changed": func(o *office) {
			o.w.writes("vibectl", map[string]string{"IO": "4"})
			time.Sleep(43 * time.Second)
			o.w.lock(func() { restarts(o.w) })
		},
		"the tuner was away": func(o *office) {
			o.stop()
			o.w.writes("vibectl", map[string]string{"IO": "4"})
			time.Sleep(time.Hour)
			o.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := watches(t, func(f *config.File, w *world) { f.Revert = true; fourIsBad(w, 40*time.Second) })
				o.measured()
				act(o)
				acted := time.Now()
				o.until(func(s status.Snapshot) bool { return s.Trial == nil && o.w.point().Key() == "heap=256 io=2" })
				o.stop()
				agree(t, o.w, o.j)
				if breached := study.Fold(o.j.all()).Trials[0].Violation; name == "the tuner was away" && breached < 3000 {
					t.Errorf("want the hour in which nobody watched counted (got %.0f s)", breached)
				}
				// A rollout takes 5 s, and 15 s more are borne with, once for each change.
				if late := o.w.back().Sub(acted); late > bound(o.f)+40*time.Second {
					t.Errorf("it stayed for %s: %q", late, told(o.j.all()))
				}
			})
		})
	}
}

// restarts is kubectl rollout restart; called with the lock held.
func restarts(w *world) {
	w.rest += "+"
	w.generation++
	w.newest = apply.Author{Manager: "kubectl-rollout", Time: time.Now()}
}

// TestNothingEndsAWayBack: what was found good and does harm later goes for good, whatever happens while it is taken back, and the tuner never sets it.
func TestNothingEndsAWayBack(t *testing.T) {
	t.Parallel()
	again := "3 io 2→4 vibectl reverted"
	for name, c := range map[string]struct {
		found func(*office) // when it was found good
		while func(*office) // when it was set back, and the brokers are still waited for
		after func(*office) // when it was taken back, and what is in force is not measured yet
		last  string        // what the ledger says of the last change of the knobs
	}{
		"it is put back meanwhile": {while: func(o *office) { o.w.writes("vibectl", map[string]string{"IO": "4"}) }, last: again},
		"it is put back then":      {after: func(o *office) { o.w.writes("vibectl", map[string]string{"IO": "4"}) }, last: again},
		"it is put back with something else": {after: func(o *office) {
			o.w.lock(func() { restarts(o.w) })
			o.w.writes("vibectl", map[string]string{"IO": "4"})
		}, last: again},
		"something else is changed": {while: func(o *office) { o.w.lock(func() { restarts(o.w) }) }, last: "0  0→0 kubectl-rollout outside"},
		"it is refused for long": {found: func(o *office) {
			o.w.lock(func() { o.w.refuses = "2" })
			time.Sleep(time.Hour)
			if s := o.board.Snapshot(); s.State != status.Holding || !strings.Contains(s.Reason, "outside the policy") {
				t.Errorf("want it told (got %s, %q)", s.State, s.Reason)
			}
			o.w.lock(func() { o.w.refuses = "" })
		}, last: "2 io 4→2 kafkalab-tuner kept"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := watches(t, func(f *config.File, w *world) { f.Revert = true; fourIsBad(w, 250*time.Second) })
				act := func(what func(*office)) {
					if what != nil {
						what(o)
					}
				}
				o.measured()
				o.w.writes("vibectl", map[string]string{"IO": "4"})
				if got := o.scores(1); got.Outcome != string(ledger.OutcomeBetter) {
					t.Fatalf("want it found better before it breaches a guard (got %+v)", got)
				}
				act(c.found)
				o.until(func(s status.Snapshot) bool {
					return s.Trial != nil && s.Trial.Purpose == "rollback" && o.w.point()["io"] == 2
				})
				act(c.while)
				o.scores(2)
				act(c.after)
				acted := time.Now()
				o.until(func(s status.Snapshot) bool { return s.Trial == nil && o.w.point()["io"] == 2 })
				// A rollout takes 5 s, once each way, and 15 s more are borne with.
				if took := time.Since(acted); took > bound(o.f)+25*time.Second {
					t.Errorf("it stayed for %s: %q", took, told(o.j.all()))
				}
				time.Sleep(time.Hour)
				o.stop()
				agree(t, o.w, o.j)
				changes := told(o.j.all())
				if o.w.point()["io"] != 2 || slices.Contains(o.w.made(), "IO=4") || changes[len(changes)-1] != c.last {
					t.Errorf("want it gone for good, by %q (got %s by %q): %q", c.last, o.w.point().Key(), o.w.made(), changes)
				}
			})
		})
	}
}

// TestScoringIsNoAct: the switch, which keeps the tuner from acting, does not keep it from measuring, but from taking anything back.
func TestScoringIsNoAct(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		io      string
		outcome ledger.Outcome
		reason  string
	}{
		"a gain":   {"8", ledger.OutcomeBetter, "goodput"},
		"a breach": {"4", ledger.OutcomeWorse, "; not taken back: the switch is off"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := watches(t, func(f *config.File, w *world) {
					f.Revert = true
					as := w.goodput
					fourIsBad(w, 40*time.Second)
					w.goodput = as
				})
				o.measured()
				o.w.lock(func() { o.w.off = "the switch is off" })
				o.w.writes("vibectl", map[string]string{"IO": c.io})
				got := o.scores(1)
				time.Sleep(time.Hour)
				o.stop()
				agree(t, o.w, o.j)
				if got.Outcome != string(c.outcome) || !strings.Contains(got.Reason, c.reason) || len(o.w.patches) > 0 {
					t.Errorf("want %s for %q, and nothing done (got %+v, %q)", c.outcome, c.reason, got, o.w.patches)
				}
			})
		})
	}
}

// TestABreachWhileItMayNotAct: as long as the switch keeps the tuner from ending a breach it says so and looks no oftener than else; then it ends it.
func TestABreachWhileItMayNotAct(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		looks, most := 0, 1000
		o := watches(t, func(f *config.File, w *world) {
			f.Revert, w.rollout = true, 0
			fourIsBad(w, 40*time.Second)
		})
		o.measured()
		o.w.lock(func() {
			o.w.off = "the switch is off"
			o.w.onLook = func(w *world) {
				if looks++; looks > most { // or it would look for ever, in no time
					w.off = ""
				}
			}
		})
		o.w.writes("vibectl", map[string]string{"IO": "4"})
		if got := o.scores(1); got.Outcome != string(ledger.OutcomeWorse) {
			t.Fatalf("want it left for now (got %+v)", got)
		}
		time.Sleep(5 * time.Minute)
		if s := o.board.Snapshot(); s.State != status.Paused || s.Reason != "the switch is off" || len(o.w.made()) > 0 {
			t.Errorf("want nothing done, and told why (got %s, %q, %q)", s.State, s.Reason, o.w.made())
		}
		o.w.lock(func() {
			if looks > most {
				t.Errorf("want a look every other second (got %d in some six minutes)", looks)
			}
			o.w.off = ""
		})
		o.until(func(s status.Snapshot) bool { return s.Trial == nil && o.w.point()["io"] == 2 })
		o.stop()
		agree(t, o.w, o.j)
	})
}

// TestScoredWhileAway: what is changed and put back while the tuner is down ends the measurement all the same, in whatever phase it was.
func TestScoredWhileAway(t *testing.T) {
	t.Parallel()
	for i, phase := range []ledger.Phase{ledger.Proposed, ledger.Verifying, ledger.Settling, ledger.Warming, ledger.Measuring} {
		t.Run(string(phase), func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := watches(t, func(*config.File, *world) {})
				o.measured()
				o.dies(len(o.j.all())+1+i, true)
				o.w.writes("vibectl", map[string]string{"IO": "4"})
				<-o.done
				if last := o.j.all()[len(o.j.all())-1]; last.Phase != phase {
					t.Fatalf("it was meant to die in phase %s (got %s)", phase, last.Phase)
				}
				o.dies(0, false)
				thereAndBack(o.w)
				o.start()
				first, second := o.scores(1), o.scores(2)
				o.stop()
				agree(t, o.w, o.j)
				if first.Outcome != string(ledger.OutcomeDiscarded) || first.DisturbedBy != "kubectl-set" || second.Outcome != string(ledger.OutcomeBetter) || second.Author != "vibectl" {
					t.Errorf("want the first discarded and the same change scored once more (got %+v and %+v)", first, second)
				}
			})
		})
	}
}

// TestOthersKeepWhatTheyHave: a tuner that acts takes back what it tries, and nothing that others have changed before, however it was found.
func TestOthersKeepWhatTheyHave(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		o := watches(t, func(_ *config.File, w *world) { fourIsBad(w, 150*time.Second) })
		o.measured()
		o.w.writes("vibectl", map[string]string{"IO": "4"})
		if got := o.scores(1); got.Outcome != string(ledger.OutcomeBetter) {
			t.Fatalf("want it found better before it breaches a guard (got %+v)", got)
		}
		o.stop()
		o.f.Mode = config.Auto
		o.start()
		s := o.until(isDone)
		o.stop()
		agree(t, o.w, o.j)
		if slices.ContainsFunc(s.Trials, func(tr status.Trial) bool { return tr.Purpose == string(ledger.Rollback) }) {
			t.Errorf("want no way back from it (got %q)", story(o.j.all()))
		}
	})
}

// TestOnlyWhatDoesHarmIsTakenBack: what was found good stays when a later change, made while the first is still watched, breaches a guard.
func TestOnlyWhatDoesHarmIsTakenBack(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		o := watches(t, func(f *config.File, w *world) {
			f.Revert = true
			w.guard = func(p space.Point, _ time.Time) (float64, error) { return float64(p["heap"]) / 256 / 2, nil } // 512 is still borne with
		})
		o.measured()
		o.w.writes("vibectl", map[string]string{"IO": "4"})
		o.scores(1)
		o.w.writes("kubectl-patch", map[string]string{"HEAP": "-Xms1024m -Xmx1024m"})
		o.scores(2)
		time.Sleep(time.Hour)
		o.stop()
		agree(t, o.w, o.j)
		want := []string{
			"1 io 2→4 vibectl attempted", "1 io 2→4 vibectl better",
			"2 heap 256→1024 kubectl-patch attempted", "2 heap 256→1024 kubectl-patch reverted",
		}
		if diff := cmp.Diff(want, told(o.j.all())); diff != "" {
			t.Errorf("the changes (-want +got):\n%s", diff)
		}
	})
}

// TestScoredThroughKills: killed at any record or patch, the tuner comes to the same scores and takes back the same.
func TestScoredThroughKills(t *testing.T) {
	t.Parallel()
	begun := 0 // records, when the first change is made
	play := func(t *testing.T, die func(*office)) *office {
		t.Helper()
		o := watches(t, func(f *config.File, w *world) {
			f.Revert = true
			as := w.goodput
			fourIsBad(w, 0)
			w.goodput = as
		})
		o.measured()
		begun = len(o.j.all())
		die(o)
		ended := func(trials int) {
			t.Helper()
			for range 3600 {
				time.Sleep(time.Second)
				synctest.Wait() // whoever is to die has died
				if s := study.Fold(o.j.all()); !o.died() && len(s.Trials) >= trials && s.Running() == nil {
					return
				}
			}
			t.Fatalf("trial %d has not ended after an hour: %q", trials, told(o.j.all()))
		}
		o.w.writes("vibectl", map[string]string{"IO": "4"})
		ended(1)
		o.w.writes("vibectl", map[string]string{"IO": "8"})
		ended(2)
		time.Sleep(time.Minute) // for what is told late
		o.stop()
		agree(t, o.w, o.j)
		return o
	}
	var want, patches []string
	records, events := 0, 0
	in(t, func(t *testing.T) {
		o := play(t, func(*office) {})
		want, patches, records, events = told(o.j.all()), o.w.patches, len(o.j.all()), len(o.w.events)
	})
	if !slices.Contains(want, "1 io 2→4 vibectl reverted") || !slices.Contains(want, "2 io 2→8 vibectl better") || events != 2 {
		t.Fatalf("want two scored changes with an event each (got %q, %d events)", want, events)
	}
	check := func(name string, die func(*office)) {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := play(t, die)
				if diff := cmp.Diff(want, told(o.j.all())); diff != "" {
					t.Errorf("other scores than without the kill (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(patches, o.w.patches); diff != "" {
					t.Errorf("other patches than without the kill (-want +got):\n%s", diff)
				}
				if len(o.w.events) != events {
					t.Errorf("want %d events (got %d)", events, len(o.w.events))
				}
			})
		})
	}
	for n := begun + 1; n <= records; n++ {
		check(fmt.Sprintf("before record %d", n), func(o *office) { o.dies(n, false) })
		check(fmt.Sprintf("after record %d", n), func(o *office) { o.dies(n, true) })
	}
	check("after the patch arrived", func(o *office) { o.w.lock(func() { o.w.killSet = 1 }) })
}

// TestTheReferenceIsTold: what a change would be compared with is told as long as it would be, and by a tuner that has seen that it still runs.
func TestTheReferenceIsTold(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		o := watches(t, func(*config.File, *world) {})
		none := func(what string, state status.State) {
			t.Helper()
			if s := o.until(func(s status.Snapshot) bool { return s.State == state }); s.Reference != nil {
				t.Errorf("%s: want none told (got %+v)", what, s.Reference)
			}
		}
		compared := func(s status.Snapshot, goodput *float64) *status.Reference {
			t.Helper()
			if s.Reference == nil || goodput == nil || s.Reference.Goodput != *goodput || s.Reference.P99 != 150 {
				t.Fatalf("want the one of goodput %v and P99 150 told (got %+v)", goodput, s.Reference)
			}
			return s.Reference
		}
		none("before it is measured", status.Baseline)
		o.measured()
		s := o.board.Snapshot()
		first := compared(s, s.Goal.Incumbent)
		none("once it is too old", status.Baseline)
		o.measured()
		s = o.board.Snapshot()
		second := compared(s, s.Goal.Incumbent)
		if !second.Measured.After(first.Measured) {
			t.Errorf("want it measured again (got %s after %s)", second.Measured, first.Measured)
		}
		o.stop()
		o.w.lock(func() { o.w.down = func() error { return errors.New("connection refused") } })
		o.start()
		none("before the target was seen again", status.Holding)
		o.w.lock(func() { o.w.down = nil })
		s = o.until(func(s status.Snapshot) bool { return s.State == status.Observing })
		if again := compared(s, s.Goal.Incumbent); !again.Measured.Equal(second.Measured) {
			t.Errorf("want the same after a start (got %s, it was %s)", again.Measured, second.Measured)
		}
		o.w.writes("vibectl", map[string]string{"IO": "4"})
		s = o.until(func(s status.Snapshot) bool { return s.Trial != nil })
		if during := compared(s, s.Goal.Incumbent); !during.Measured.Equal(second.Measured) {
			t.Errorf("want the same while a change is scored (got %s, it was %s)", during.Measured, second.Measured)
		}
		scored := o.scores(1)
		compared(o.board.Snapshot(), scored.Goodput)
		o.stop()
		agree(t, o.w, o.j)
	})
}

// TestNotScored: what could not be told apart, or has nothing to be compared with, is recorded and not scored.
func TestNotScored(t *testing.T) {
	t.Parallel()
	io8 := map[string]string{"IO": "8"}
	for name, c := range map[string]struct {
		unloaded bool
		act      func(*office)
		reason   string
	}{
		"nothing could be measured before": {true, func(o *office) { o.w.writes("vibectl", io8) }, "not scored: what was before had not been measured; it is the new incumbent"},
		"more than the knobs was changed": {false, func(o *office) {
			o.w.lock(func() { o.w.rest = "other" })
			o.w.writes("vibectl", io8)
		}, "not scored: something other than the knobs was changed, too; it is the new incumbent"},
		"only something else was changed": {false, func(o *office) {
			o.w.lock(func() { o.w.rest, o.w.newest = "other", apply.Author{Manager: "vibectl", Time: time.Now()} })
		}, "something other than the knobs was changed; the incumbent is measured again"},
		"it was put back at once": {false, func(o *office) {
			o.w.lock(func() { thereAndBack(o.w); o.w.newest.Manager = "vibectl" })
		}, "something was changed and put back; the incumbent is measured again"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				o := watches(t, func(_ *config.File, w *world) { w.unloaded = c.unloaded })
				if c.unloaded {
					o.until(func(s status.Snapshot) bool {
						return s.State == status.Observing && strings.Contains(s.Reason, "no load")
					})
				} else {
					o.measured()
				}
				c.act(o)
				s := o.until(func(s status.Snapshot) bool { return len(s.Changes) > 0 })
				o.w.lock(func() { o.w.unloaded = false })
				o.measured()
				o.stop()
				agree(t, o.w, o.j)
				if got := s.Changes[0]; len(s.Trials) > 0 || got.Outcome != study.OutsideDone || got.Author != "vibectl" || got.Reason != c.reason {
					t.Errorf("want it recorded with %q (got %+v)", c.reason, s.Changes)
				}
			})
		})
	}
}

// dies lets the program die at a record.
func (o *office) dies(at int, after bool) {
	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	o.j.dieAt, o.j.after = at, after
}

// died says whether the program has died; it is started again then.
func (o *office) died() bool {
	select {
	case <-o.done:
		o.dies(0, false)
		o.w.lock(func() { o.w.killSet = 0 })
		o.start()
		return true
	default:
		return false
	}
}

func (w *world) lock(act func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	act()
}
