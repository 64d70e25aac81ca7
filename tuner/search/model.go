package search

import (
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/kafkalab/kafkalab/tuner/search/gp"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// model is what is believed after some trials: the objective, larger being better, and each bound's value, at most 0 being inside.
type model struct {
	points    []space.Point // that were tried, each once
	index     map[string]int
	data      gp.Data // X, Groups, Weight; Y is the objective's
	objective *gp.Model
	bounds    []bounded
}

// bounded is a bound's process with where it ends: a value below edge is inside.
type bounded struct {
	*gp.Model
	edge float64
}

// relative is the noise that measurements of a running system have, as a part of the value: what is expected before there is any evidence.
const relative = 0.07

// believe fits the processes.
func (s *gpSearch) believe(history []Trial) (*model, error) {
	m := &model{index: map[string]int{}, data: gp.Data{Groups: s.t.groups}}
	var sums [][]float64 // per point: objective, bounds
	scale := s.scales(history)
	worst := s.worst(history, scale)
	for _, h := range history {
		key := h.Point.Key()
		i, known := m.index[key]
		if !known {
			i = len(m.points)
			m.index[key] = i
			m.points = append(m.points, h.Point)
			m.data.X = append(m.data.X, s.t.encode(h.Point))
			m.data.Weight = append(m.data.Weight, 0)
			sums = append(sums, make([]float64, 1+len(s.Bounds)))
		}
		m.data.Weight[i]++
		values := worst
		if !h.Failed {
			values = s.figures(h, scale)
		}
		for k, v := range values {
			sums[i][k] += v
		}
	}
	columns := make([][]float64, 1+len(s.Bounds))
	for i, sum := range sums {
		for k, v := range sum {
			columns[k] = append(columns[k], v/m.data.Weight[i])
		}
	}
	fitted, edges, errs := make([]*gp.Model, len(columns)), make([]float64, len(columns)), make([]error, len(columns))
	var group sync.WaitGroup
	for k := range columns {
		group.Go(func() { fitted[k], edges[k], errs[k] = s.process(m.data, columns[k], scale[k], k > 0) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.objective = fitted[0]
	for k := range s.Bounds {
		m.bounds = append(m.bounds, bounded{fitted[k+1], edges[k+1]})
	}
	return m, nil
}

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

// worst is what is put in for a configuration that cannot run: the worst that was seen of each, and outside of every bound.
func (s *gpSearch) worst(history []Trial, logarithm []bool) []float64 {
	out := make([]float64, 1+len(s.Bounds))
	first := true
	for _, h := range history {
		if h.Failed {
			continue
		}
		for i, v := range s.figures(h, logarithm) {
			switch {
			case first:
				out[i] = v
			case i == 0:
				out[i] = min(out[i], v)
			default:
				out[i] = max(out[i], v)
			}
		}
		first = false
	}
	for i := 1; i < len(out); i++ {
		out[i] = max(out[i], 0.1)
	}
	return out
}

// process standardises, tames the far end that does not matter, and fits.
func (s *gpSearch) process(d gp.Data, y []float64, logarithm, bound bool) (*gp.Model, float64, error) {
	center, spread := tame(y)
	d.Y = make([]float64, len(y))
	for i, v := range y {
		z := (v - center) / spread
		if bound {
			z = -squeeze(-z)
		} else {
			z = squeeze(z)
		}
		d.Y[i] = z
	}
	prior := gp.Prior{Length: s.lengthMean, LengthDev: s.lengthDev, Noise: 2 * math.Log(0.2), NoiseDev: 1.5}
	if logarithm {
		prior.Noise, prior.NoiseDev = 2*math.Log(min(max(relative/spread, 0.02), 0.7)), 1.2
	}
	doubt := gp.Low
	if bound {
		doubt = gp.High
	}
	m, err := gp.Fit(d, gp.Config{Prior: prior, Starts: s.starts, Doubt: doubt})
	edge := (0 - center) / spread
	if bound {
		edge = -squeeze(-edge)
	}
	return m, edge, err
}

// tame is a centre and a spread that a few extreme values do not move much.
func tame(y []float64) (center, spread float64) {
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

// squeeze leaves what is good or usual and draws what is far below together: how bad the bad ones are teaches nothing about the best.
func squeeze(z float64) float64 {
	const from = -1.5
	if z < from {
		return from - math.Log1p(from-z)
	}
	return z
}
