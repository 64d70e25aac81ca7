package search

import (
	"math"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// The trust region: how far from the best a search may go. It shrinks while nothing better is found, grows when something is, and starts anew
// with everything when it has become so small that there is hardly anything left in it.
const (
	wide     = 1.0 // everything
	narrow   = 0.15
	patience = 5 // trials without a gain until it shrinks; more with more knobs
	luck     = 2 // gains in a row until it grows
	clear    = 0.005
)

// reach is the region's half width after a history, as a part of each knob's range.
func (s *gpSearch) reach(history []Trial) float64 {
	width, gains, failures := wide, 0, 0
	allow := patience + len(s.Space.Knobs)/3
	best := history[0]
	for i, h := range history {
		if i == 0 {
			continue
		}
		won := s.better(h, best) && (s.breach(best) > 0 || math.Abs(h.Value-best.Value) > clear*math.Abs(best.Value))
		if s.better(h, best) {
			best = h
		}
		switch {
		case i < s.screening():
		case won:
			gains, failures = gains+1, 0
			if gains >= luck {
				width, gains = min(2*width, wide), 0
			}
		default:
			gains, failures = 0, failures+1
			if failures >= allow {
				width, failures = width/2, 0
			}
			if width < narrow {
				width = wide
			}
		}
	}
	return width
}

// within are the candidates inside the region about a point: its sides are longer for the knobs that matter less, and never so short that the
// next step is outside. Choices and special values are all inside.
func (s *gpSearch) within(candidates []candidate, centre space.Point, width float64, lengths []float64) []candidate {
	if width >= wide {
		return candidates
	}
	mean := 0.0
	for _, l := range lengths {
		mean += math.Log(l) / float64(len(lengths))
	}
	sides := make([]float64, len(lengths))
	for i := range sides {
		sides[i] = width * min(max(lengths[i]/math.Exp(mean), 0.5), 4)
		if n := len(s.t.levels[i]); n > 1 {
			sides[i] = max(sides[i], 1.01/float64(n-1))
		}
	}
	var out []candidate
	for _, c := range candidates {
		if s.inside(c.point, centre, sides) {
			out = append(out, c)
		}
	}
	if len(out) < fewCandidates {
		return candidates
	}
	return out
}

const fewCandidates = 8

func (s *gpSearch) inside(p, centre space.Point, sides []float64) bool {
	for i, k := range s.Space.Knobs {
		if k.Named() || k.Type == space.Bool {
			continue
		}
		if math.Abs(s.t.place(i, p[k.Name])-s.t.place(i, centre[k.Name])) > sides[i] {
			return false
		}
	}
	return true
}

// centre is what the model holds for the best of what was tried.
func (s *gpSearch) centre(m *model, history []Trial) space.Point {
	best, top := s.Start, math.Inf(-1)
	for _, h := range history {
		x := s.t.encode(h.Point)
		v := m.objective.Mean(x)
		v -= 10 * m.over(x) // none may hold: then the nearest to it
		if v > top {
			best, top = h.Point, v
		}
	}
	return best
}
