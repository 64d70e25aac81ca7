package verify_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/verify"
)

// after is a number of records of a stream within which a consequence comes.
func (w *world) after(t *turn) uint64 { return t.n + 1 + w.r.Uint64N(behind/2) }

// lose: the broker forgets the record. The first of another run is spared: nobody can miss it.
func lose(w *world, t *turn) {
	if t.n == 0 && t.s.copy > 0 {
		return
	}
	t.dropped = true
	w.fault(verify.Lost, t.p, -1, t.s, t.n)
}

// duplicate: it is written again, at once or after others.
func duplicate(w *world, t *turn) {
	value := t.value
	t.s.later = append(t.s.later, later{at: w.after(t) - 1, value: &value, kind: verify.Duplicated, number: t.n})
}

// reorder: it is written after later ones.
func reorder(w *world, t *turn) {
	if t.n == 0 && t.s.copy > 0 {
		return
	}
	value := t.value
	t.dropped = true
	t.s.later = append(t.s.later, later{at: w.after(t), value: &value, kind: verify.Reordered, number: t.n})
}

// corrupt: one byte of it changes, in the stamp or in the body.
func corrupt(w *world, t *turn) {
	t.value[w.r.IntN(valueSize)] ^= byte(1 + w.r.IntN(255))
	t.kind = verify.Corrupted
}

// leak: its transaction is aborted, and the reader gets it all the same.
func leak(w *world, t *turn) {
	if t.s.copy > 0 {
		return // what others abort they alone know by name
	}
	if w.r.IntN(2) == 0 {
		w.v.Aborted(t.p.n, t.s.producer, t.n)
		t.kind = verify.Uncommitted
		return
	}
	p, s, n := t.p, t.s, t.n
	s.later = append(s.later, later{at: n + 1, before: func() {
		w.fault(verify.Uncommitted, p, -1, s, n)
		w.v.Aborted(p.n, s.producer, n)
	}})
}

// No fault from here on.

// abort: its transaction is aborted, and no reader gets it.
func abort(w *world, t *turn) {
	w.made["aborted"]++
	t.dropped = true
	w.giveUp(t, t.n+1, w.v.Aborted)
}

// fail: the producer gives it up, and it is not in the log or, one time in four, it is.
func fail(w *world, t *turn) {
	w.made["failed"]++
	if t.n > 0 {
		t.dropped = w.r.IntN(4) > 0
	}
	w.giveUp(t, w.after(t), w.v.Failed)
}

func (w *world) giveUp(t *turn, at uint64, tell func(int32, uint32, uint64)) {
	p, s, n := t.p, t.s, t.n
	s.later = append(s.later, later{at: at, before: func() {
		s.failed++
		if s.copy == 0 {
			tell(p.n, s.producer, n)
		}
	}})
}

func TestEveryInjectedFaultIsFoundAndNamed(t *testing.T) {
	for name, c := range map[string]struct {
		partitions, producers, records, phases int
		rate                                   float64
	}{
		"one in a million of ten million records":  {64, 16, 10_000_000, 6, 1e-6},
		"one in a thousand of a million records":   {16, 8, 1_000_000, 24, 1e-3},
		"one in thirty of two hundred thousand":    {3, 5, 200_000, 9, 1. / 30},
		"one in a thousand of a million, 64 a log": {4, 64, 1_000_000, 6, 1e-3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 7, c.partitions, c.producers, c.rate, lose, duplicate, reorder, corrupt, leak, abort, fail)
			w.live(c.records, c.phases)
			w.compare(t)
			t.Logf("made %v, read again %d", w.made, w.redelivered)
			for _, kind := range []string{verify.Lost, verify.Duplicated, verify.Reordered, verify.Corrupted, verify.Uncommitted,
				"aborted", "failed", "killed", "came back", "handed over"} {
				if w.made[kind] == 0 {
					t.Errorf("never: %s", kind)
				}
			}
		})
	}
}

// compare holds what was found against what was made, name by name.
func (w *world) compare(t testing.TB) {
	t.Helper()
	missed, invented := maps.Clone(w.want), maps.Clone(w.got)
	differ := func(f finding, n int) bool { return w.want[f] == w.got[f] }
	maps.DeleteFunc(missed, differ)
	maps.DeleteFunc(invented, differ)
	for name, set := range map[string]map[finding]int{"made": missed, "found": invented} {
		for i, f := range slices.SortedFunc(maps.Keys(set), func(a, b finding) int { return int(a.sequence) - int(b.sequence) }) {
			if i < 10 {
				t.Errorf("%s %d times, but made %d and found %d: %+v", name, set[f], w.want[f], w.got[f], f)
			}
		}
	}
	count := map[string]uint64{}
	for f, n := range w.want {
		count[f.kind] += uint64(n)
	}
	want := verify.Counts{Lost: count[verify.Lost], Duplicated: count[verify.Duplicated], Reordered: count[verify.Reordered],
		Corrupted: count[verify.Corrupted], Uncommitted: count[verify.Uncommitted], Redelivered: w.redelivered}
	if w.counts != want {
		t.Errorf("got %+v, want %+v", w.counts, want)
	}
}
