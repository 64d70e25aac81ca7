package search

import (
	"math"
	"slices"
)

// scales says of the objective and each bound whether its logarithm is modelled: it is where all values are positive, since what settings do to a
// rate or a time is a factor, and so is the noise.
func (s *gpSearch) scales(history []Trial) []bool {
	out := make([]bool, 1+len(s.Bounds))
	for i := range out {
		out[i] = true
	}
	for i, b := range s.Bounds {
		out[i+1] = b.Limit > 0
	}
	for _, h := range history {
		if h.Failed {
			continue
		}
		out[0] = out[0] && h.Value > 0
		for i, v := range h.Bounds {
			out[i+1] = out[i+1] && v > 0
		}
	}
	return out
}

// figures are a trial's values as they are modelled.
func (s *gpSearch) figures(h Trial, logarithm []bool) []float64 {
	out := make([]float64, 1+len(s.Bounds))
	take := func(i int, v float64) float64 {
		if logarithm[i] {
			return math.Log(v)
		}
		return v
	}
	out[0] = take(0, h.Value)
	if s.Minimize {
		out[0] = -out[0]
	}
	for i, b := range s.Bounds {
		out[i+1] = take(i+1, h.Bounds[i]) - take(i+1, b.Limit)
		if b.AtLeast {
			out[i+1] = -out[i+1]
		}
	}
	return out
}

// tame is a centre and a spread that a few extreme values do not move much.
func tame(y []float64) (center, spread float64) {
	if len(y) == 0 {
		return 0, 1
	}
	sorted := slices.Sorted(slices.Values(y))
	center = sorted[len(sorted)/2]
	for _, v := range y {
		d := v - center
		spread += d * d
	}
	spread = math.Sqrt(spread / float64(len(y)))
	deviations := make([]float64, len(y))
	for i, v := range y {
		deviations[i] = math.Abs(v - center)
	}
	slices.Sort(deviations)
	if mad := 1.4826 * deviations[len(deviations)/2]; mad > 0.01*spread {
		spread = min(spread, 2.5*mad)
	}
	return center, max(spread, 1e-6)
}

// squeeze leaves what is good or usual and draws what is far below together.
func squeeze(z float64) float64 {
	const from = -1.5
	if z < from {
		return from - math.Log1p(from-z)
	}
	return z
}

// level draws together what is far from a bound's edge, at 0: where the edge is matters, not how far behind it everything breaks down.
func level(over float64) float64 {
	const near, inside = 0.5, -1.0
	switch {
	case over > near:
		return near + math.Log1p(over-near)
	case over < inside:
		return inside - math.Log1p(inside-over)
	}
	return over
}
