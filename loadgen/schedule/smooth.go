package schedule

import (
	"math"
	"time"
)

// ramp is a rate that changes evenly within over, and then holds.
type ramp struct {
	from, to float64 // records per ns
	over     time.Duration
	records  pair // until over
	hold     stretch
}

func newRamp(c Config) *ramp {
	total := product(c.Rate, c.Over)
	total.Add(total, product(c.To, c.Over))
	total.Quo(total, exactly(2))
	return &ramp{from: c.Rate / 1e9, to: c.To / 1e9, over: c.Over, records: nearest(total), hold: newStretch(c.Over, total, c.To)}
}

// at solves from·t + (to−from)·t²/(2·over) = r. A falling ramp is seen from its end, where it rises: from the beginning the rate at r is
// the small difference of two large numbers.
func (m *ramp) at(r pair) time.Duration {
	if !r.less(m.records) {
		return m.hold.at(r)
	}
	if m.to < m.from {
		return m.over - m.rising(m.to, m.records.minus(r).float())
	}
	return m.rising(m.from, r.float())
}

// rising is how long a ramp takes to n records that begins at the rate low.
func (m *ramp) rising(low, n float64) time.Duration {
	if n == 0 {
		return 0
	}
	growth := math.Abs(m.to-m.from) / float64(m.over)
	t := 2 * n / (low + math.Sqrt(low*low+2*growth*n))
	if t >= float64(m.over) {
		return m.over
	}
	return time.Duration(math.Round(t))
}

func (m *ramp) count(t time.Duration) pair {
	if t >= m.over {
		return m.hold.count(t)
	}
	x := float64(t)
	return pair{hi: x * (m.from + (m.to-m.from)*x/(2*float64(m.over)))}
}

// sine is one period of rate × (1 + swing × sin).
type sine struct {
	period  float64 // ns
	records float64
	swing   float64            // amplitude ÷ mean, 0 to 1
	knots   [knots + 1]float64 // x at equal steps of angle, to begin with between them
}

const knots = 1024

func newSine(c Config) *sine {
	s := &sine{period: float64(c.Period), records: c.Rate * c.Period.Seconds(), swing: c.Amplitude / c.Rate}
	for i := range s.knots {
		angle := 2 * math.Pi * float64(i) / knots
		s.knots[i] = s.solve(angle, angle-s.swing)
	}
	return s
}

// at finds x, the part of the period in radians, from angle, the part of the period's records likewise. It depends on r alone, so that all
// shares find the same.
func (s *sine) at(r pair) time.Duration {
	part := r.float() / s.records * knots
	i := min(int(part), knots-1)
	x := s.knots[i] + (s.knots[i+1]-s.knots[i])*(part-float64(i))
	return time.Duration(math.Round(s.solve(2*math.Pi/knots*part, x) / (2 * math.Pi) * s.period))
}

// solve finds x with x + swing·(1 − cos x) = angle by Halley's method, beginning at x. That is Kepler's equation and has no closed form.
// From the middle of where x can be it takes 13 steps at most, next to where a rate touches zero, and one from between the knots.
func (s *sine) solve(angle, x float64) float64 {
	for range 64 {
		sin, cos := math.Sincos(x)
		off, slope := x+s.swing*(1-cos)-angle, 1+s.swing*sin
		if off == 0 {
			break // where the rate is zero there is no step to compute
		}
		step := 2 * off * slope / (2*slope*slope - off*s.swing*cos)
		x -= step
		// What is left is in proportion to the third power.
		if cubed := math.Abs(step * step * step); cubed <= 1e-16*slope*slope {
			break
		}
	}
	return x
}

func (s *sine) count(t time.Duration) pair {
	x := 2 * math.Pi * (float64(t) / s.period)
	return pair{hi: s.records * ((x + s.swing*(1-math.Cos(x))) / (2 * math.Pi))}
}
