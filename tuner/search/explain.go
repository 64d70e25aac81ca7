package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// Importance is how much a knob matters to the objective over the whole space: the part of the variance that is gone when everything but the
// knob is known (its total effect, Sobol), on a logarithmic scale where the model has one.
type Importance struct {
	Knob  string
	Total float64
	// Low and High hold the total in 9 of 10 functions that the measurements leave possible.
	Low, High float64
}

const (
	effectSamples = 256 // of configurations, for the total effect
	effectDraws   = 32  // of functions, for its interval
)

// Explain says what matters, the most important first.
func Explain(c Config, history []Trial) ([]Importance, error) {
	s, m, err := understand(c, history)
	if err != nil {
		return nil, err
	}
	r := rng(c.Seed, "explain", len(history))
	knobs := len(c.Space.Knobs)
	var xs [][]float64 // a base, then the same with each knob taken from elsewhere
	for range effectSamples {
		a, okA := s.t.freely(r)
		b, okB := s.t.freely(r)
		if !okA || !okB {
			return nil, fmt.Errorf("explain: want configurations inside the limits (got none)")
		}
		xs = append(xs, s.t.encode(a))
		for _, k := range c.Space.Knobs {
			xs = append(xs, s.t.encode(c.Space.Canonical(a.With(k.Name, b[k.Name]))))
		}
	}
	drawn, err := m.objective.Sample(r, effectDraws)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	draws, _ := drawn.Elsewhere(xs)
	mean := make([]float64, len(xs))
	for i, x := range xs {
		mean[i] = m.objective.Mean(x)
	}
	out := make([]Importance, knobs)
	centre := effects(func(i int) float64 { return mean[i] }, knobs)
	spread := make([][]float64, knobs)
	for k := range effectDraws {
		for i, v := range effects(func(i int) float64 { return draws.At(i, k) }, knobs) {
			spread[i] = append(spread[i], v)
		}
	}
	for i, k := range c.Space.Knobs {
		slices.Sort(spread[i])
		out[i] = Importance{Knob: k.Name, Total: centre[i], Low: spread[i][effectDraws/20], High: spread[i][effectDraws-1-effectDraws/20]}
	}
	slices.SortStableFunc(out, func(a, b Importance) int { return cmp.Compare(b.Total, a.Total) })
	return out, nil
}

// effects are Jansen's estimates of the total effects.
func effects(at func(int) float64, knobs int) []float64 {
	sum, squares := 0.0, 0.0
	out := make([]float64, knobs)
	for n := range effectSamples {
		base := at(n * (knobs + 1))
		sum, squares = sum+base, squares+base*base
		for i := range knobs {
			d := base - at(n*(knobs+1)+1+i)
			out[i] += d * d / 2
		}
	}
	variance := squares - sum*sum/effectSamples
	for i := range out {
		if variance > 0 {
			out[i] /= variance
		}
	}
	return out
}

// understand fits the model of a history.
func understand(c Config, history []Trial) (*gpSearch, *model, error) {
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	t, err := newTable(c)
	if err != nil {
		return nil, nil, err
	}
	s := &gpSearch{c, t}
	m, err := s.believe(history)
	if err != nil {
		return nil, nil, fmt.Errorf("explain: %w", err)
	}
	return s, m, nil
}

// Smallest is the configuration with the fewest changes from the start that keeps the gain of best, as far as the model knows: a knob goes back
// where that costs at most the given part of the gain, all together, and holds every bound at least as surely as best or in 9 of 10 cases.
func Smallest(c Config, history []Trial, best space.Point, part float64) (space.Point, error) {
	s, m, err := understand(c, history)
	if err != nil {
		return nil, err
	}
	value := func(p space.Point) float64 { return m.objective.Mean(s.t.encode(p)) }
	least := value(best) - part*math.Abs(value(best)-value(c.Start))
	sure := min(m.holds(s.t.encode(best)), 0.9)
	for at := best; ; {
		next, top := space.Point(nil), math.Inf(-1)
		for _, k := range c.Space.Knobs {
			if at[k.Name] == c.Start[k.Name] {
				continue
			}
			p, ok := s.t.allowed(at.With(k.Name, c.Start[k.Name]))
			if !ok || p.Key() == at.Key() {
				continue
			}
			x := s.t.encode(p)
			if v := m.objective.Mean(x); v >= least && v > top && m.holds(x) >= sure {
				next, top = p, v
			}
		}
		if next == nil {
			return at, nil
		}
		at = next
	}
}

// holds is how likely every bound holds.
func (m *model) holds(x []float64) float64 {
	p := 1.0
	for _, b := range m.bounds {
		mean, variance := b.Predict(x)
		p *= normal((b.edge - mean) / math.Sqrt(variance))
	}
	return p
}

// over is by how much the bounds are expected to be broken.
func (m *model) over(x []float64) float64 {
	sum := 0.0
	for _, b := range m.bounds {
		sum += max(b.Mean(x)-b.edge, 0)
	}
	return sum
}
