package search

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// random tries what it has not tried, in any order.
type random struct {
	Config
	t *table
}

func (s random) Suggest(history []Trial) (Suggestion, bool) {
	if len(history) == 0 {
		return Suggestion{s.Start, "the start"}, true
	}
	p, ok := fresh(s.t, s.Seed, history)
	if !ok {
		return Suggestion{Reason: "everything was tried"}, false
	}
	return Suggestion{p, "drawn at random"}, true
}

// fresh draws a point that was not tried.
func fresh(t *table, seed uint64, history []Trial) (space.Point, bool) {
	tried := map[string]bool{}
	for _, h := range history {
		tried[h.Point.Key()] = true
	}
	r := rng(seed, "fresh", len(history))
	for range 200 {
		if p, ok := t.randomly(r); ok && !tried[p.Key()] {
			return p, true
		}
	}
	var left []space.Point
	for _, p := range t.pool {
		if !tried[p.Key()] {
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		return nil, false
	}
	return left[r.IntN(len(left))], true
}

// grid goes from coarse to fine: the ends of every knob first, then the middles, and so on.
type grid struct {
	Config
	t *table
}

func (s grid) Suggest(history []Trial) (Suggestion, bool) {
	if len(history) == 0 {
		return Suggestion{s.Start, "the start"}, true
	}
	points := s.t.pool
	if points == nil {
		points = s.t.coarse(len(history) + 1)
	}
	type ranked struct {
		p          space.Point
		depth, tie int
	}
	r := rng(s.Seed, "grid", 0)
	order := make([]ranked, len(points))
	for i, p := range points {
		order[i] = ranked{p, s.t.depth(p), r.IntN(1 << 30)}
	}
	slices.SortFunc(order, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.tie, b.tie)) })
	tried := map[string]bool{}
	for _, h := range history {
		tried[h.Point.Key()] = true
	}
	for _, o := range order {
		if !tried[o.p.Key()] {
			return Suggestion{o.p, fmt.Sprintf("next of the grid, %d halvings deep", o.depth)}, true
		}
	}
	return Suggestion{Reason: "the grid was tried"}, false
}

// depth is how often the range must be halved until the grid has the point.
func (t *table) depth(p space.Point) int {
	deepest := 0
	for i, k := range t.space.Knobs {
		at := slices.Index(t.levels[i], p[k.Name])
		if last := len(t.levels[i]) - 1; at > 0 && at < last && !k.Named() {
			// The first halving that hits the level, of as many as the levels need.
			d := 1
			for d < bits.Len(uint(last)) && !hits(at, last, d) {
				d++
			}
			deepest = max(deepest, d)
		}
	}
	return deepest
}

func hits(at, last, depth int) bool {
	parts := 1 << depth
	for i := range parts + 1 {
		if (i*last+parts/2)/parts == at {
			return true
		}
	}
	return false
}

// coarse are at least n points of the space, the coarsest first.
func (t *table) coarse(n int) []space.Point {
	const most = 4096
	var out []space.Point
	r := rng(0, "coarse", 0)
	seen := map[string]bool{}
	for range most {
		if p, ok := t.randomly(r); ok && !seen[p.Key()] {
			seen[p.Key()] = true
			out = append(out, p)
		}
		if len(out) >= 8*n {
			break
		}
	}
	return out
}

// oneKnob follows one knob after the other: all of its values with the others as they are best, then on from the best.
type oneKnob struct {
	Config
	t *table
}

func (s oneKnob) Suggest(history []Trial) (Suggestion, bool) {
	if len(history) == 0 {
		return Suggestion{s.Start, "the start"}, true
	}
	seen := map[string]Trial{}
	for _, h := range history {
		if _, twice := seen[h.Point.Key()]; !twice {
			seen[h.Point.Key()] = h
		}
	}
	round := 0
	for from := 0; from < 2*len(history)+2; from++ {
		start := history[0].Point
		if from > 0 { // nothing next to the best was better: on from somewhere else
			p, ok := s.t.randomly(rng(s.Seed, "somewhere", from))
			if !ok {
				break
			}
			start = p
		}
		if _, known := seen[start.Key()]; !known {
			return Suggestion{start, "no single change helps; somewhere else"}, true
		}
		best := seen[start.Key()]
		for before := ""; best.Point.Key() != before; round++ {
			before = best.Point.Key()
			for _, i := range rng(s.Seed, "order", round).Perm(len(s.t.space.Knobs)) {
				next, ask := s.sweep(best, i, seen)
				if ask != nil {
					return Suggestion{ask, "one value of " + s.t.space.Knobs[i].Name + " after the other"}, true
				}
				best = next
			}
		}
	}
	p, ok := fresh(s.t, s.Seed, history)
	if !ok {
		return Suggestion{Reason: "everything was tried"}, false
	}
	return Suggestion{p, "drawn at random"}, true
}

// sweep is the best on a knob's line, or a point of it that is to be tried first.
func (s oneKnob) sweep(best Trial, knob int, seen map[string]Trial) (Trial, space.Point) {
	line := s.t.line(best.Point, knob)
	for _, p := range line {
		if _, known := seen[p.Key()]; !known {
			return best, p
		}
	}
	for _, p := range line {
		if h := seen[p.Key()]; s.better(h, best) {
			best = h
		}
	}
	return best, nil
}
