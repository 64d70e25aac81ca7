package trial_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/tuner/study"
)

// TestKilledAnywhere runs a whole study for every record that is written and for every patch, dies there, starts again, and compares.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	var want []string
	var patches []string
	records, sets, events := 0, 0, 0
	blocks, last := map[int]int{}, 0 // of records, in a trial that is measured in several
	in(t, func(t *testing.T) {
		f := testFile(t)
		w, j := newWorld(f.Space()), &journal{}
		run(t, f, w, j, isDone)
		agree(t, w, j)
		for _, r := range j.all() {
			blocks[int(r.Seq)], last = r.Block, max(last, r.Block)
		}
		want, patches, records, sets, events = story(j.all()), w.patches, len(j.all()), w.sets, len(w.events)
	})
	t.Logf("%d records, %d patches: %q", records, sets, want)
	if len(want) < 4 || !slices.ContainsFunc(want, func(s string) bool { return s == "2 io 2→4 kept " }) {
		t.Fatalf("want a study with several trials in which more I/O threads are kept (got %q)", want)
	}
	check := func(name string, die func(*world, *journal)) {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{}
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
	for n := 1; n <= records; n++ {
		if blocks[n] > 3 && blocks[n] < last {
			continue // a block is like the one before it
		}
		check(fmt.Sprintf("before record %d", n), func(_ *world, j *journal) { j.dieAt = n })
		check(fmt.Sprintf("after record %d", n), func(_ *world, j *journal) { j.dieAt, j.after = n, true })
	}
	for n := 1; n <= sets; n++ {
		check(fmt.Sprintf("after patch %d arrived", n), func(w *world, j *journal) { w.killSet = n })
	}
}
