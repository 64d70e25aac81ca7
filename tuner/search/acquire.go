package search

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/kafkalab/kafkalab/tuner/search/gp"
	"github.com/kafkalab/kafkalab/tuner/space"
)

const (
	draws = 64 // of functions, for the noisy improvement
	// plausible models share the draws, while there are so few trials that one model would be too sure of itself.
	plausible = 8
	settled   = 64
	shortlist = 100 // candidates that are looked at closely
)

// drawn is what some functions that the measurements leave possible say of the tried points and of the candidates.
type drawn struct {
	tried [][]float64 // of each draw, at each tried point
	means *mat.Dense  // of each candidate, in each draw
	devs  *mat.Dense  // likewise
}

// draw asks every process at once: the objective first, then the bounds.
func (s *gpSearch) draw(m *model, xs [][]float64, trials int) ([]drawn, error) {
	processes := []*gp.Model{m.objective}
	for _, b := range m.bounds {
		processes = append(processes, b.Model)
	}
	out, errs := make([]drawn, len(processes)), make([]error, len(processes))
	var group sync.WaitGroup
	for i, p := range processes {
		group.Go(func() { out[i], errs[i] = drawFrom(p, rng(s.Seed+uint64(i), "draw", trials), xs, trials) })
	}
	group.Wait()
	return out, errors.Join(errs...)
}

func drawFrom(p *gp.Model, r *rand.Rand, xs [][]float64, trials int) (drawn, error) {
	models := []*gp.Model{p}
	if trials <= settled {
		models = p.Plausible(r, plausible)
	}
	out := drawn{means: mat.NewDense(len(xs), draws, nil), devs: mat.NewDense(len(xs), draws, nil)}
	each := draws / len(models)
	for k, model := range models {
		samples, err := model.Sample(r, each)
		if err != nil {
			return drawn{}, err
		}
		means, devs := samples.Elsewhere(xs)
		out.tried = append(out.tried, samples.At...)
		for x := range xs {
			for j := range each {
				out.means.Set(x, k*each+j, means.At(x, j))
				out.devs.Set(x, k*each+j, devs[x])
			}
		}
	}
	return out, nil
}

// acquire is the candidate with the greatest expected improvement. What was tried is not measured again while there is anything new: whoever judges the
// winner measures it against the start as often as that takes, and a trial that finds nothing is lost.
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
	last := history[len(history)-1].Point
	candidates = s.promising(m, candidates, last)
	all, err := s.draw(m, encoded(candidates), len(history))
	if err != nil {
		return s.otherwise(history)
	}
	gains := m.gains(all)
	s.charge(gains, candidates, last)
	return Suggestion{candidates[slices.Index(gains, slices.Max(gains))].point, "promises most, given the bounds"}, true
}

func encoded(candidates []candidate) [][]float64 {
	xs := make([][]float64, len(candidates))
	for i, c := range candidates {
		xs[i] = c.x
	}
	return xs
}

// charge divides the gains by what it costs to get there.
func (s *gpSearch) charge(gains []float64, candidates []candidate, last space.Point) {
	for i, c := range candidates {
		if s.RestartCost > 0 && s.restarts(last, c.point) {
			gains[i] /= 1 + s.RestartCost
		}
	}
}

// promising are the candidates that the most likely model alone expects most of.
func (s *gpSearch) promising(m *model, candidates []candidate, last space.Point) []candidate {
	if len(candidates) <= shortlist {
		return candidates
	}
	best := slices.Min(m.objective.Values()) - 1
	for _, x := range m.data.X {
		if m.over(x) == 0 {
			best = max(best, m.objective.Mean(x))
		}
	}
	xs := encoded(candidates)
	means, devs := m.objective.Everywhere(xs)
	worth := make([]float64, len(candidates))
	for i := range worth {
		worth[i] = improvement(means[i]-best, devs[i])
	}
	for _, b := range m.bounds {
		means, devs := b.Everywhere(xs)
		for i := range worth {
			worth[i] *= normal((b.edge - means[i]) / devs[i])
		}
	}
	s.charge(worth, candidates, last)
	order := make([]int, len(candidates))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(worth[b], worth[a]) })
	out := make([]candidate, shortlist)
	for i := range out {
		out[i] = candidates[order[i]]
	}
	return out
}

// gains are the candidates' expected improvements on the best that holds the bounds. Which one that is and how good is not known, since it was
// measured with noise: it is asked of every draw. Where no tried point holds them, what is sought is anything that does.
func (m *model) gains(all []drawn) []float64 {
	objective, bounds := all[0], all[1:]
	low := slices.Min(m.objective.Values()) - 1
	n, _ := objective.devs.Dims()
	gains := make([]float64, n)
	for k := range draws {
		best := low
		for i, v := range objective.tried[k] {
			if v > best && m.inside(bounds, k, i) {
				best = v
			}
		}
		for i := range gains {
			gain := improvement(objective.means.At(i, k)-best, objective.devs.At(i, k))
			if gain < 1e-12 {
				continue
			}
			for b, d := range bounds {
				gain *= normal((m.bounds[b].edge - d.means.At(i, k)) / d.devs.At(i, k))
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
