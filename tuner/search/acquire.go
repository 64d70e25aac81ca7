package search

import (
	"math"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/kafkalab/kafkalab/tuner/search/gp"
	"github.com/kafkalab/kafkalab/tuner/space"
)

const draws = 64 // of functions, for the noisy improvement

// drawn is what some functions that the measurements leave possible say of the tried points and of the candidates.
type drawn struct {
	tried [][]float64 // of each draw, at each tried point
	means *mat.Dense  // of each candidate, in each draw
	devs  []float64   // of each candidate, in every draw
}

// draw asks every process at once: the objective first, then the bounds.
func (s *gpSearch) draw(m *model, xs [][]float64, trials int) ([]drawn, bool) {
	processes := []*gp.Model{m.objective}
	for _, b := range m.bounds {
		processes = append(processes, b.Model)
	}
	out, errs := make([]drawn, len(processes)), make([]error, len(processes))
	var group sync.WaitGroup
	for i, p := range processes {
		group.Go(func() {
			samples, err := p.Sample(rng(s.Seed+uint64(i), "draw", trials), draws)
			if err != nil {
				errs[i] = err
				return
			}
			out[i].tried = samples.At
			out[i].means, out[i].devs, errs[i] = samples.Elsewhere(xs)
		})
	}
	group.Wait()
	return out, !slices.ContainsFunc(errs, func(err error) bool { return err != nil })
}

// acquire is the candidate with the greatest expected improvement.
func (s *gpSearch) acquire(m *model, history []Trial) (Suggestion, bool) {
	candidates := s.candidates(history)
	if len(candidates) == 0 {
		again, worth := s.race(m, history)
		if worth < enough*m.objective.Noise() {
			return Suggestion{Reason: "everything was tried, and the best is known well enough"}, false
		}
		return Suggestion{again, "measured again, to know which of the best is best"}, true
	}
	candidates = s.within(candidates, s.centre(m, history), s.reach(history), m.objective.Lengths())
	xs := make([][]float64, len(candidates))
	for i, c := range candidates {
		xs[i] = c.x
	}
	all, ok := s.draw(m, xs, len(history))
	if !ok {
		return s.otherwise(history)
	}
	gains := m.gains(all)
	last := history[len(history)-1].Point
	for i, c := range candidates {
		if s.RestartCost > 0 && s.restarts(last, c.point) {
			gains[i] /= 1 + s.RestartCost
		}
	}
	at := slices.Index(gains, slices.Max(gains))
	if again, worth := s.race(m, history); worth > gains[at] {
		return Suggestion{again, "measured again: nothing new promises as much as knowing which of the best is best"}, true
	}
	return Suggestion{candidates[at].point, "promises most, given the bounds"}, true
}

// gains are the candidates' expected improvements on the best that holds the bounds. Which one that is and how good is not known, since it was
// measured with noise: it is asked of every draw. Where no tried point holds them, what is sought is anything that does.
func (m *model) gains(all []drawn) []float64 {
	objective, bounds := all[0], all[1:]
	low := slices.Min(m.objective.Values()) - 1
	gains := make([]float64, len(objective.devs))
	for k := range draws {
		best := low
		for i, v := range objective.tried[k] {
			if v > best && m.inside(bounds, k, i) {
				best = v
			}
		}
		for i := range gains {
			gain := improvement(objective.means.At(i, k)-best, objective.devs[i])
			if gain < 1e-12 {
				continue
			}
			for b, d := range bounds {
				gain *= normal((m.bounds[b].edge - d.means.At(i, k)) / d.devs[i])
			}
			gains[i] += gain / draws
		}
	}
	return gains
}

// inside says whether a tried point holds every bound in a draw.
func (m *model) inside(bounds []drawn, draw, point int) bool {
	for b, d := range bounds {
		if d.tried[draw][point] > m.bounds[b].edge {
			return false
		}
	}
	return true
}

func (s *gpSearch) restarts(from, to space.Point) bool {
	return slices.ContainsFunc(s.Space.Knobs, func(k space.Knob) bool { return !k.IsDynamic() && from[k.Name] != to[k.Name] })
}

func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// improvement is the expected value above 0 of a normal.
func improvement(mean, dev float64) float64 {
	z := mean / dev
	if z < -8 {
		return 0
	}
	return mean*normal(z) + dev*math.Exp(-0.5*z*z)/math.Sqrt(2*math.Pi)
}
