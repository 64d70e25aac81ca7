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

	lengthMean, lengthDev float64
	starts                int
}

func newGP(c Config, t *table) *gpSearch {
	d := float64(len(c.Space.Knobs))
	return &gpSearch{Config: c, t: t, lengthMean: 0.5*math.Log(d) - 0.5, lengthDev: 1, starts: 3}
}

func (s *gpSearch) Suggest(history []Trial) (Suggestion, bool) {
	if len(history) == 0 {
		return Suggestion{s.Start, "the start"}, true
	}
	if len(history) < s.screening() {
		if p, ok := s.apart(history); ok {
			return Suggestion{p, "far from what was tried, to see what matters"}, true
		}
	}
	m, err := s.believe(append(slices.Clone(s.Earlier), history...))
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

// apart draws some points and takes the one that is farthest from all that were tried.
func (s *gpSearch) apart(history []Trial) (space.Point, bool) {
	r := rng(s.Seed, "apart", len(history))
	tried := make([][]float64, len(history))
	for i, h := range history {
		tried[i] = s.t.encode(h.Point)
	}
	var best space.Point
	farthest := 0.0
	for range 60 {
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

const draws = 64 // of functions, for the noisy improvement

// acquire is the candidate with the greatest expected improvement.
func (s *gpSearch) acquire(m *model, history []Trial) (Suggestion, bool) {
	r := rng(s.Seed, "acquire", len(history))
	candidates := s.candidates(m, history)
	if len(candidates) == 0 {
		return Suggestion{Reason: "everything was tried"}, false
	}
	xs := make([][]float64, len(candidates))
	for i, c := range candidates {
		xs[i] = s.t.encode(c)
	}
	objective, err := m.objective.Sample(r, draws)
	if err != nil {
		return s.otherwise(history)
	}
	means, devs, err := objective.Elsewhere(xs)
	if err != nil {
		return s.otherwise(history)
	}
	inside := make([][]bool, draws) // of each draw: the tried points that hold the bounds
	for k := range inside {
		inside[k] = make([]bool, len(m.points))
		for i := range inside[k] {
			inside[k][i] = true
		}
	}
	feasible := make([][]float64, len(candidates)) // of each candidate and draw
	for i := range feasible {
		feasible[i] = make([]float64, draws)
		for k := range draws {
			feasible[i][k] = 1
		}
	}
	for _, b := range m.bounds {
		drawn, err := b.Sample(r, draws)
		if err != nil {
			return s.otherwise(history)
		}
		for k, values := range drawn.At {
			for i, v := range values {
				inside[k][i] = inside[k][i] && v <= b.edge
			}
		}
		mean, dev, err := drawn.Elsewhere(xs)
		if err != nil {
			return s.otherwise(history)
		}
		for i := range candidates {
			for k := range draws {
				feasible[i][k] *= normal((b.edge - mean.At(i, k)) / dev[i])
			}
		}
	}
	low := slices.Min(m.objective.Values()) - 1
	gains := make([]float64, len(candidates))
	for k := range draws {
		best := low
		for i, v := range objective.At[k] {
			if inside[k][i] {
				best = max(best, v)
			}
		}
		for i := range candidates {
			gains[i] += improvement(means.At(i, k)-best, devs[i]) * feasible[i][k] / draws
		}
	}
	last := history[len(history)-1].Point
	for i, c := range candidates {
		if s.RestartCost > 0 && s.restarts(last, c) {
			gains[i] /= 1 + s.RestartCost
		}
	}
	at := slices.Index(gains, slices.Max(gains))
	return Suggestion{candidates[at], "promises most"}, true
}

func (s *gpSearch) restarts(from, to space.Point) bool {
	return slices.ContainsFunc(s.Space.Knobs, func(k space.Knob) bool { return !k.IsDynamic() && from[k.Name] != to[k.Name] })
}

func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// improvement is the expected value above 0 of a normal.
func improvement(mean, dev float64) float64 {
	z := mean / dev
	return mean*normal(z) + dev*math.Exp(-0.5*z*z)/math.Sqrt(2*math.Pi)
}

const most = 1500 // candidates that are looked at

// candidates are points that were not tried: all there are, or the neighbours of the best and others at random.
func (s *gpSearch) candidates(m *model, history []Trial) []space.Point {
	r := rng(s.Seed, "candidates", len(history))
	tried := map[string]bool{}
	for _, h := range history {
		tried[h.Point.Key()] = true
	}
	var out []space.Point
	add := func(p space.Point) {
		if key := p.Key(); !tried[key] {
			tried[key] = true
			out = append(out, p)
		}
	}
	if len(s.t.pool) > 0 && len(s.t.pool) <= most {
		for _, p := range s.t.pool {
			add(p)
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
	for range most {
		if p, ok := s.t.randomly(r); ok {
			add(p)
		}
		if len(out) >= most {
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
