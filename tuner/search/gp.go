package search

import (
	"cmp"
	"math"
	"slices"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// gpSearch models what was measured by Gaussian processes and tries what promises the greatest gain: constrained noisy expected improvement
// inside a trust region, after a few trials that are spread over the space.
type gpSearch struct {
	Config
	t *table
}

func (s *gpSearch) Suggest(history []Trial) (Suggestion, bool) {
	if len(history) == 0 {
		return Suggestion{s.Start, "the start"}, true
	}
	earlier := s.transferred(history)
	if len(history)+len(earlier) < s.screening() {
		if p, ok := s.apart(history); ok {
			return Suggestion{p, "far from what was tried, to see what matters"}, true
		}
	}
	m, err := s.believe(append(earlier, history...))
	if err != nil {
		return s.otherwise(history)
	}
	return s.acquire(m, history)
}

// otherwise is for when no model can be made.
func (s *gpSearch) otherwise(history []Trial) (Suggestion, bool) {
	p, ok := fresh(s.t, s.Seed, history)
	if !ok {
		return Suggestion{Reason: "everything was tried"}, false
	}
	return Suggestion{p, "drawn at random, since no model fits"}, true
}

// screening is how many trials are spread before there is a model.
func (s *gpSearch) screening() int {
	return min(max(len(s.Space.Knobs)+1, 4), 8)
}

// apart draws a few points and takes the one that is farthest from all that were tried. Of many it would always be a corner of the space, where most knobs are at
// their ends and much is broken.
func (s *gpSearch) apart(history []Trial) (space.Point, bool) {
	r := rng(s.Seed, "apart", len(history))
	tried := make([][]float64, len(history))
	for i, h := range history {
		tried[i] = s.t.encode(h.Point)
	}
	var best space.Point
	farthest := 0.0
	for range 6 {
		p, ok := s.t.randomly(r)
		if !ok {
			return nil, false
		}
		x := s.t.encode(p)
		nearest := math.Inf(1)
		for _, other := range tried {
			d := 0.0
			for c := range x {
				d += math.Abs(x[c] - other[c])
			}
			nearest = min(nearest, d)
		}
		if nearest > farthest {
			best, farthest = p, nearest
		}
	}
	return best, best != nil
}

// candidate is a point that may be tried next.
type candidate struct {
	point space.Point
	x     []float64
}

// most candidates are looked at, and fewer once there are so many trials that each takes long.
func most(history []Trial) int {
	if len(history) > settled {
		return 500
	}
	return 4000
}

// candidates are points that were not tried, with their columns: all there are, or the neighbours of the best and others at random.
func (s *gpSearch) candidates(history []Trial) []candidate {
	r := rng(s.Seed, "candidates", len(history))
	tried := map[string]bool{}
	for _, h := range history {
		tried[h.Point.Key()] = true
	}
	var out []candidate
	add := func(p space.Point) {
		key := p.Key()
		if tried[key] {
			return
		}
		tried[key] = true
		if i, known := s.t.known[key]; known {
			out = append(out, candidate{p, s.t.coded[i]})
			return
		}
		out = append(out, candidate{p, s.t.encode(p)})
	}
	limit := most(history)
	if len(s.t.pool) > 0 && len(s.t.pool) <= limit {
		for i, p := range s.t.pool {
			if !tried[s.t.keys[i]] {
				out = append(out, candidate{p, s.t.coded[i]})
			}
		}
		return out
	}
	top := slices.Clone(history)
	slices.SortStableFunc(top, func(a, b Trial) int {
		return cmp.Or(cmp.Compare(s.breach(a), s.breach(b)), cmp.Compare(s.sign()*b.Value, s.sign()*a.Value))
	})
	for _, h := range top[:min(4, len(top))] {
		for i := range s.Space.Knobs {
			for _, p := range s.t.line(h.Point, i) {
				add(p)
			}
		}
	}
	for range limit {
		if p, ok := s.t.randomly(r); ok {
			add(p)
		}
		if len(out) >= limit {
			break
		}
	}
	return out
}

func (s *gpSearch) sign() float64 {
	if s.Minimize {
		return -1
	}
	return 1
}
