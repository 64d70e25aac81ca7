package search

import (
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/kafkalab/kafkalab/tuner/search/gp"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// model is what is believed after some trials: the objective, larger being better, and of each bound by how much it is broken. Where anything failed,
// whether a configuration runs at all is one bound more.
type model struct {
	points    []space.Point // that were tried, each once
	data      gp.Data       // X, Groups, Weight
	ran       []float64     // of each point, how many of its trials did
	objective *gp.Model
	bounds    []bounded
}

// bounded is a bound's process with where it ends: a value below edge is inside.
type bounded struct {
	*gp.Model
	edge float64
}

// part is what one process is fitted to.
type part struct {
	data  gp.Data
	prior gp.Prior
	doubt gp.Doubt
	edge  float64
}

// believe fits the processes.
func (s *gpSearch) believe(history []Trial) (*model, error) {
	logarithm := s.scales(history)
	m, columns := s.gather(history, logarithm)
	blur := make([]float64, len(m.points))
	for i := range blur {
		blur[i] = 1
		if m.ran[i] == 0 {
			blur[i] = unmeasured
		}
	}
	away := slices.Clone(blur)
	parts := []part{{}}
	for i := range s.Bounds {
		parts = append(parts, s.bound(m, columns[i+1], logarithm[i+1], blur, away))
	}
	parts[0] = s.gain(m, columns[0], logarithm[0], away)
	if slices.Contains(m.ran, 0) {
		parts = append(parts, s.runs(m))
	}
	fitted, errs := make([]*gp.Model, len(parts)), make([]error, len(parts))
	var group sync.WaitGroup
	for k, p := range parts {
		group.Go(func() { fitted[k], errs[k] = gp.Fit(p.data, gp.Config{Prior: p.prior, Starts: starts, Doubt: p.doubt}) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.objective = fitted[0]
	for k, p := range parts[1:] {
		m.bounds = append(m.bounds, bounded{fitted[k+1], p.edge})
	}
	return m, nil
}

const (
	starts     = 3   // of the search for hyperparameters
	unmeasured = 1e4 // times the noise: what failed has no values
	// elsewhere is how far outside of a bound, in spreads, a configuration's noise counts twice for the objective. What becomes of it where everything
	// has broken down says little about how it is inside, and the fall between the two must not bend what is.
	elsewhere = 0.5
)

// gather puts the trials of each point together: columns are the means of the objective and of the bounds, as they are modelled.
func (s *gpSearch) gather(history []Trial, logarithm []bool) (m *model, columns [][]float64) {
	m = &model{data: gp.Data{Groups: s.t.groups}}
	index := map[string]int{}
	columns = make([][]float64, 1+len(s.Bounds))
	for _, h := range history {
		key := h.Point.Key()
		i, known := index[key]
		if !known {
			i = len(m.points)
			index[key] = i
			m.points = append(m.points, h.Point)
			m.data.X = append(m.data.X, s.t.encode(h.Point))
			m.data.Weight = append(m.data.Weight, 1)
			m.ran = append(m.ran, 0)
			for k := range columns {
				columns[k] = append(columns[k], 0)
			}
		}
		if h.Failed {
			continue
		}
		m.ran[i]++
		m.data.Weight[i] = m.ran[i]
		for k, v := range s.figures(h, logarithm) {
			columns[k][i] += (v - columns[k][i]) / m.ran[i]
		}
	}
	return m, columns
}

// gain is the objective: how bad the bad ones are teaches nothing about the best.
func (s *gpSearch) gain(m *model, y []float64, logarithm bool, blur []float64) part {
	center, spread := tame(m.measured(y))
	p := part{data: m.data, prior: s.prior(logarithm, spread), doubt: gp.Low}
	p.data.Blur = blur
	p.data.Y = make([]float64, len(y))
	for i, v := range y {
		if m.ran[i] > 0 {
			p.data.Y[i] = squeeze((v - center) / spread)
		}
	}
	return p
}

// bound is by how much one is broken. It adds to away what that makes the objective there worth.
func (s *gpSearch) bound(m *model, y []float64, logarithm bool, blur, away []float64) part {
	center, spread := tame(m.measured(y))
	p := part{data: m.data, prior: s.prior(logarithm, spread), doubt: gp.High, edge: -center / spread}
	p.data.Blur = blur
	p.data.Y = make([]float64, len(y))
	for i, v := range y {
		if m.ran[i] == 0 {
			continue
		}
		over := v / spread
		p.data.Y[i] = p.edge + level(over)
		if over > 0 {
			away[i] += over * over / (elsewhere * elsewhere)
		}
	}
	return p
}

// runs is whether a configuration does: 1 when it fails, -1 when it does not.
func (s *gpSearch) runs(m *model) part {
	p := part{data: m.data, prior: s.prior(false, 1)}
	p.data.Y, p.data.Weight = make([]float64, len(m.points)), nil
	for i, n := range m.ran {
		p.data.Y[i] = -1
		if n == 0 {
			p.data.Y[i] = 1
		}
	}
	return p
}

// relative is the noise that measurements of a running system have, as a part of the value: what is expected before there is any evidence.
const relative = 0.07

// prior of a process of values with the given spread.
func (s *gpSearch) prior(logarithm bool, spread float64) gp.Prior {
	p := gp.Prior{Length: 0, LengthDev: 1, Noise: 2 * math.Log(0.2), NoiseDev: 1.5, Mix: 1 - math.Log(float64(len(s.Space.Knobs))), MixDev: 2}
	if logarithm {
		p.Noise, p.NoiseDev = 2*math.Log(min(max(relative/spread, 0.02), 0.7)), 1.2
	}
	return p
}

// measured are the values of what ran.
func (m *model) measured(y []float64) []float64 {
	var out []float64
	for i, v := range y {
		if m.ran[i] > 0 {
			out = append(out, v)
		}
	}
	return out
}
