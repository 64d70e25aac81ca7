package search

import (
	"math"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// race is the tried configuration whose next measurement is worth most: by how much the choice of the best is expected to get better by it.
func (s *gpSearch) race(m *model, history []Trial) (space.Point, float64) {
	type runner struct{ mean, dev float64 }
	var field []runner
	var points []space.Point
	seen := map[string]bool{}
	noise := m.objective.Noise() * m.objective.Noise()
	for _, h := range history {
		if seen[h.Point.Key()] || h.Failed {
			continue
		}
		seen[h.Point.Key()] = true
		x := s.t.encode(h.Point)
		if m.over(x) > 0 {
			continue
		}
		mean, variance := m.objective.Predict(x)
		field = append(field, runner{mean, variance / math.Sqrt(variance+noise)})
		points = append(points, h.Point)
	}
	best, worth := s.Start, 0.0
	for i, r := range field {
		other := math.Inf(-1)
		for j, o := range field {
			if j != i {
				other = max(other, o.mean)
			}
		}
		if gain := improvement(-math.Abs(r.mean-other), r.dev); gain > worth && r.dev > 0 {
			best, worth = points[i], gain
		}
	}
	return best, worth
}

// enough is the gain below which the best is not measured again once everything was tried, in deviations of a measurement.
const enough = 0.02
