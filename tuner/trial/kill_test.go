package trial_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// TestKilledAnywhere runs a whole study for every record that is written and for every patch, dies there, starts again, and compares.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	t.Run("with restarts", func(t *testing.T) { killedAnywhere(t, "", 0) })
	t.Run("in a trial of a running broker", func(t *testing.T) { killedAnywhere(t, "IO", 2) }) // the first that is measured in turns; it ends the search
}

// killedAnywhere is about one trial of a study in which a variable restarts nothing, or about all (0).
func killedAnywhere(t *testing.T, runs string, only int) {
	file := func(t *testing.T) config.File {
		f := testFile(t)
		if only > 0 {
			f.Budgets.Trials = only
		}
		return f
	}
	var want, patches []string
	var deaths []int // the records at which to die
	events, sets, first := 0, 0, 0
	in(t, func(t *testing.T) {
		f := file(t)
		w, j := newWorld(f.Space()), &journal{}
		w.runs = runs
		w.onLook = func(w *world) {
			switch tr := study.Fold(j.all()).Running(); {
			case only == 0 || tr != nil && tr.Number == only:
				sets = w.sets
			case tr == nil && len(study.Fold(j.all()).Trials) < only:
				first = w.sets
			}
		}
		run(t, f, w, j, isDone)
		agree(t, w, j)
		last := map[int]int{} // block of each trial
		for _, r := range j.all() {
			last[r.Trial] = max(last[r.Trial], r.Block)
		}
		for _, r := range j.all() {
			if (only == 0 || r.Trial == only) && (r.Block <= 3 || r.Block == last[r.Trial]) { // a block is like the one before it
				deaths = append(deaths, int(r.Seq))
			}
		}
		want, patches, events = story(j.all()), w.patches, len(w.events)
	})
	t.Logf("dies at %d records and at patches %d to %d: %q", len(deaths), first+1, sets, want)
	if len(want) < 3 || !slices.ContainsFunc(want, func(s string) bool { return s == "2 io 2→4 kept " }) {
		t.Fatalf("want a study with several trials in which more I/O threads are kept (got %q)", want)
	}
	check := func(name string, die func(*world, *journal)) {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := file(t)
				w, j := newWorld(f.Space()), &journal{}
				w.runs = runs
				die(w, j)
				died, _ := run(t, f, w, j, isDone)
				if !died {
					t.Fatal("it was meant to be killed")
				}
				j.dieAt, w.killSet = 0, 0
				run(t, f, w, j, isDone)
				agree(t, w, j)
				if diff := cmp.Diff(want, story(j.all())); diff != "" {
					t.Errorf("another story than without the kill (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(patches, w.patches); diff != "" {
					t.Errorf("other patches than without the kill (-want +got):\n%s", diff)
				}
				if n := study.Fold(j.all()).Restarts; n != w.rolls {
					t.Errorf("want every restart counted once (got %d, there were %d)", n, w.rolls)
				}
				if len(w.events) != events {
					t.Errorf("want %d events (got %d)", events, len(w.events))
				}
			})
		})
	}
	for _, n := range deaths {
		check(fmt.Sprintf("before record %d", n), func(_ *world, j *journal) { j.dieAt = n })
		check(fmt.Sprintf("after record %d", n), func(_ *world, j *journal) { j.dieAt, j.after = n, true })
	}
	for n := first + 1; n <= sets; n++ {
		check(fmt.Sprintf("after patch %d arrived", n), func(w *world, _ *journal) { w.killSet = n })
	}
}
