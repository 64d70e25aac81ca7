package search

import (
	"math"
	"slices"
)

// evidence is what one trial says, as a point of ln(P99/SLO) over ln(rate).
type evidence struct {
	x      float64 // ln(rate)
	z      float64 // ln(P99/SLO), within floor..roof; a value at either end says no more than that it was there or beyond
	spread float64 // how much less certain than an ordinary trial
}

const (
	// Far from the objective a percentile says on which side it is and little else: far below, other things than queueing make the latency;
	// far above, it depends on how long the trial was.
	floor = -0.9
	roof  = 0.7

	// One trial in so many is met by something that has nothing to do with its rate.
	freak = 0.03
)

// The curve is that of a queue near its capacity, over a latency that does not depend on load:
//
//	P99/SLO = base + (1 − base)/(1 − bend·(rate/knee − 1))
//
// It is 1 at the knee whatever the rest, grows without limit just above it, and is noisier where it is higher: a long queue takes long to
// change. Nothing is assumed about base, bend and noise but their orders of magnitude; all of them are averaged over.
var (
	bends  = geometric(0.5, 400, 12)
	bases  = [...]float64{0, 0.4, 0.75}
	noises = geometric(0.03, 0.6, 6)
)

const cells = 96 // steps of the knee in one pass

func geometric(from, to float64, n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = from * math.Pow(to/from, float64(i)/float64(n-1))
	}
	return s
}

// posterior is what is known about ln(knee): probabilities of equal steps.
type posterior struct {
	from, step float64
	mass       []float64 // sums to 1
}

// learn weighs every knee between two rates by the evidence. hint, when not NaN, is a knee that an overload made likely.
func learn(points []evidence, from, to, hint float64) posterior {
	p := posterior{from: from, step: (to - from) / cells}
	for {
		p.weigh(points, hint)
		low, high := p.support()
		if high-low > cells/3 {
			return p
		}
		// All of the probability is in a few steps: look closer.
		from := p.from + float64(max(low-1, 0))*p.step
		to := p.from + float64(min(high+2, cells))*p.step
		if (to-from)/cells < 1e-5 {
			return p
		}
		p = posterior{from: from, step: (to - from) / cells}
	}
}

func (p *posterior) weigh(points []evidence, hint float64) {
	logs := make([]float64, cells)
	model := make([]float64, len(points))
	terms := make([]float64, 0, len(bends)*len(bases)*len(noises))
	for i := range logs {
		knee := p.at(float64(i) + 0.5)
		terms = terms[:0]
		for _, bend := range bends {
			for _, base := range bases {
				for k, e := range points {
					model[k] = curve(e.x-knee, bend, base)
				}
				for _, noise := range noises {
					terms = append(terms, likelihood(points, model, noise))
				}
			}
		}
		logs[i] = logSum(terms)
		if !math.IsNaN(hint) {
			logs[i] += math.Log(logistic((knee-hint)/0.12) + 1e-3)
		}
	}
	top := slices.Max(logs)
	p.mass = logs
	sum := 0.0
	for i, l := range logs {
		p.mass[i] = math.Exp(l - top)
		sum += p.mass[i]
	}
	for i := range p.mass {
		p.mass[i] /= sum
	}
}

// curve is P99/SLO at ln(rate/knee), no more than what roof can tell from infinite.
func curve(above, bend, base float64) float64 {
	const most = 20
	left := 1 - bend*math.Expm1(above)
	if left <= 1.0/most {
		return most
	}
	return base + (1-base)/left
}

// likelihood is the logarithm of how likely the evidence is, noise being logistic: its tails are heavier than the normal distribution's.
func likelihood(points []evidence, model []float64, noise float64) float64 {
	total := 1.0 // product; a dozen factors of 1e-2 or more do not underflow
	log := 0.0
	for k, e := range points {
		scale := noise * e.spread * min(max(model[k], 0.5), 2)
		d := (e.z - math.Log(model[k])) / scale
		var like float64
		switch {
		case e.z <= floor:
			like = cumulative(d)
		case e.z >= roof:
			like = cumulative(-d)
		default:
			like = logistic(d) / scale
		}
		total *= (1-freak)*like + freak*0.5
		if total < 1e-200 || total > 1e200 {
			log, total = log+math.Log(total), 1
		}
	}
	return log + math.Log(total)
}

func cumulative(d float64) float64 { return 1 / (1 + math.Exp(-d)) }

// logistic is the density of the logistic distribution.
func logistic(d float64) float64 {
	e := math.Exp(-math.Abs(d))
	return e / ((1 + e) * (1 + e))
}

func logSum(logs []float64) float64 {
	top := slices.Max(logs)
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - top)
	}
	return top + math.Log(sum)
}

func (p *posterior) at(cell float64) float64 { return p.from + cell*p.step }

// support is the first and last step that hold a probability worth looking at.
func (p *posterior) support() (low, high int) {
	top := slices.Max(p.mass)
	counts := func(m float64) bool { return m > 1e-4*top }
	low = slices.IndexFunc(p.mass, counts)
	for high = len(p.mass) - 1; high > low && !counts(p.mass[high]); high-- {
	}
	return low, high
}

// quantile is the ln(knee) that is below the truth with probability 1 − q.
func (p *posterior) quantile(q float64) float64 {
	sum := 0.0
	for i, m := range p.mass {
		if sum+m >= q && m > 0 {
			return p.at(float64(i) + (q-sum)/m)
		}
		sum += m
	}
	return p.at(float64(len(p.mass)))
}

// above is the probability that the knee is above x.
func (p *posterior) above(x float64) float64 {
	sum := 0.0
	for i, m := range p.mass {
		sum += m * min(max((p.at(float64(i+1))-x)/p.step, 0), 1)
	}
	return sum
}
