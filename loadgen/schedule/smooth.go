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
	knots   [knots + 1]float64 // x at equal steps of angle, bounds and a start for what lies between
}

const knots = 1024

func newSine(c Config) *sine {
	s := &sine{period: float64(c.Period), records: c.Rate * c.Period.Seconds(), swing: c.Amplitude / c.Rate}
	for i := range s.knots {
		angle := 2 * math.Pi * float64(i) / knots
		low, high := max(0, angle-2*s.swing), min(2*math.Pi, angle)
		s.knots[i] = s.solve(angle, low, high, (low+high)/2)
	}
	return s
}

// at finds x, the part of the period in radians, from angle, the part of the period's records likewise. It depends on r alone, so that all
// shares find the same.
func (s *sine) at(r pair) time.Duration {
	part := r.float() / s.records * knots
	i := min(int(part), knots-1)
	low, high := s.knots[i], s.knots[i+1]
	x := s.solve(2*math.Pi/knots*part, low, high, low+(high-low)*(part-float64(i)))
	return time.Duration(math.Round(x / (2 * math.Pi) * s.period))
}

// solve finds x between low and high with x + swing·(1 − cos x) = angle, beginning at x. That is Kepler's equation and has no closed form.
// Halley's steps are kept within the bounds that all evaluations so far have set, because they overshoot where the rate touches zero.
func (s *sine) solve(angle, low, high, x float64) float64 {
	for range 64 { // one, nearly always; halving alone would need 53
		sin, cos := math.Sincos(x)
		off, slope := x+s.swing*(1-cos)-angle, 1+s.swing*sin
		if off == 0 {
			break
		}
		if off > 0 {
			high = x
		} else {
			low = x
		}
		step := -2 * off * slope / (2*slope*slope - off*s.swing*cos)
		if x+step >= low && x+step <= high {
			x += step
		} else {
			step = (low+high)/2 - x
			x = (low + high) / 2
		}
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
