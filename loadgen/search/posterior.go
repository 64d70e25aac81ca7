package search

import (
	"math"
	"slices"
	"sync"
)

// evidence is what one trial says, as a point of ln(P99/SLO) over ln(rate).
type evidence struct {
	x      float64 // ln(rate)
	z      float64 // ln(P99/SLO), within floor..roof; a value at either end says no more than that it was there or beyond
	spread float64 // how much less certain than an ordinary trial
	plain  bool    // far from the objective, or overloaded: not by chance
}

const (
	// Far from the objective a percentile says on which side it is and little else: far below, other things than queueing make the latency;
	// far above, it depends on how long the trial was.
	floor = -0.9
	roof  = 0.7

	// One trial in so many is met by something that has nothing to do with its rate.
	freak = 0.01

	// No server follows the curve exactly, so a trial counts for a little less than it would if one did.
	trust = 0.7

	// A trial whose side is plain to see is no nearer to the knee than this part of the rate, give or take.
	obvious = 0.003
)

// The curve is that of a queue near its capacity, over a latency that does not depend on load:
//
//	P99/SLO = base + (1 − base)/(1 − bend·(rate/knee − 1))
//
// It is 1 at the knee whatever the rest, grows without limit just above it, and is noisier where it is higher: a long queue takes long to
// change. Nothing is assumed about base, bend and noise but their orders of magnitude; all of them are averaged over.
var (
	bends  = geometric(8, 400, 7)
	bases  = [...]float64{0, 0.35, 0.6}
	noises = geometric(0.03, 0.4, 5)
	// Made when a search first asks: it is a third of the work of starting, which every command would pay.
	calms = sync.OnceValue(func() []float64 { return calmer(noises) })
)

const cells = 72 // steps of the knee in one pass

func geometric(from, to float64, n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = from * math.Pow(to/from, float64(i)/float64(n-1))
	}
	return s
}

// calmer is by how much ln(P99) of a trial is typically below that of a long run, for each noise. The bad moments that make the long run's P99
// are in a few trials only. With a tail that falls exponentially, a trial of P99 = e^d times the SLO has the part 0.01^(e^−d) of its records
// above the SLO; in the mean over all trials that is 0.01 at the knee.
func calmer(noises []float64) []float64 {
	calm := make([]float64, len(noises))
	for i, noise := range noises {
		low, high := 0.0, 5.0
		for range 40 {
			mid := (low + high) / 2
			over, all := 0.0, 0.0
			for d := -12.0; d <= 12; d += 0.01 {
				over += logistic(d) * math.Pow(0.01, math.Exp(mid-noise*d))
				all += logistic(d)
			}
			if over > 0.01*all {
				low = mid
			} else {
				high = mid
			}
		}
		calm[i] = low
	}
	return calm
}

// posterior is what is known about ln(knee): probabilities of equal steps.
type posterior struct {
	from, step float64
	mass       []float64 // sums to 1
}

// learn weighs every knee between two rates by the evidence and, when it is not 0, by what was served under overload.
func learn(points []evidence, from, to, capacity float64) posterior {
	p := posterior{from: from, step: (to - from) / cells}
	for {
		p.weigh(points, capacity)
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

func (p *posterior) weigh(all []evidence, capacity float64) {
	var plain, subtle []evidence
	for _, e := range all {
		if e.plain {
			plain = append(plain, e)
		} else {
			subtle = append(subtle, e)
		}
	}
	logs := make([]float64, cells)
	model := make([]expected, len(subtle))
	terms := make([]float64, 0, len(bends)*len(bases)*len(noises))
	for i := range logs {
		knee := p.at(float64(i) + 0.5)
		terms = terms[:0]
		sided := 0.0
		for _, e := range plain {
			sided += math.Log((1-freak)*cumulative(math.Copysign(1, e.z)*(e.x-knee)/obvious) + freak*0.5)
		}
		for _, bend := range bends {
			for _, base := range bases {
				for k, e := range subtle {
					p := curve(e.x-knee, bend, base)
					long := min(max(p, 0.25), 4)
					model[k] = expected{math.Log(p), e.spread * math.Sqrt(long), min(long, 1)}
				}
				for n, noise := range noises {
					terms = append(terms, likelihood(subtle, model, noise, calms()[n]))
				}
			}
		}
		logs[i] = logSum(terms) + sided
		if capacity > 0 {
			logs[i] += math.Log(plausible(knee-math.Log(capacity)) + 1e-4)
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

// plausible is how likely the logarithm of knee over capacity is. What a server does in time is rarely more than what it does at all, and
// seldom much less.
func plausible(x float64) float64 {
	return logistic((x+0.07)/0.1) * cumulative((0.01-x)/0.008)
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

// expected is what a curve says of a trial: its ln(P99/SLO) in a long run, and, relative to a
// trial at the knee, how much it varies and how far it usually stays below.
type expected struct{ z, spread, calm float64 }

// likelihood is the logarithm of how likely the evidence is, noise being logistic: its tails are heavier than the normal distribution's.
func likelihood(points []evidence, model []expected, noise, calm float64) float64 {
	log, product := 0.0, 1.0
	for k, e := range points {
		scale := noise * model[k].spread
		d := (e.z - model[k].z + calm*model[k].calm) / scale
		var like float64
		switch {
		case e.z <= floor:
			like = cumulative(d)
		case e.z >= roof:
			like = cumulative(-d)
		default:
			like = logistic(d) / scale
		}
		product *= (1-freak)*like + freak*0.5
		if product < 1e-200 || product > 1e200 {
			log, product = log+math.Log(product), 1
		}
	}
	return trust * (log + math.Log(product))
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
