package judge

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// center is the Hodges-Lehmann estimate: the median of the means of all pairs. It is nearly as exact as the mean, and up to 29 % outliers cannot
// carry it away.
func center(values []float64) float64 {
	means := make([]float64, 0, len(values)*(len(values)+1)/2)
	for i, a := range values {
		for _, b := range values[i:] {
			means = append(means, (a+b)/2)
		}
	}
	return median(means)
}

// median sorts the values.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// least keeps logarithms finite: a side that moves nothing is bad beyond measure as it is.
const least = 1e-6

func value(b Block, of func(Window) float64) float64 {
	logs := make([]float64, len(b.Windows))
	for i, w := range b.Windows {
		logs[i] = math.Log(max(of(w), least))
	}
	return center(logs)
}

const (
	clipAt    = 3.5   // times the median deviation: 2.4 standard deviations of normal noise
	leastTurn = 0.001 // a median deviation of less is the measurement's resolution
)

// series is one metric of the rounds complete so far, higher is better, as logarithms. What it holds does not depend on who was measured when.
type series struct {
	values  []float64 // each block's; what lies far from its round is drawn nearer
	turn    float64   // median deviation from the round's middle
	slope   float64   // Σ place · value
	squares float64   // Σ place²
	rest    float64   // Σ (value − the round's mean)²
}

func newSeries(raw []float64) series {
	s := series{values: make([]float64, len(raw))}
	middles := make([]float64, len(raw))
	deviations := make([]float64, len(raw))
	for r := range complete(len(raw)) {
		from, to := bounds(r)
		middle := median(slices.Clone(raw[from:to]))
		for i := from; i < to; i++ {
			middles[i], deviations[i] = middle, math.Abs(raw[i]-middle)
		}
	}
	s.turn = max(median(deviations), leastTurn)
	for i, v := range raw {
		s.values[i] = middles[i] + min(max(v-middles[i], -clipAt*s.turn), clipAt*s.turn)
		s.slope += place(i) * s.values[i]
		s.squares += place(i) * place(i)
	}
	for r := range complete(len(raw)) {
		from, to := bounds(r)
		mean := stat.Mean(s.values[from:to], nil)
		for _, v := range s.values[from:to] {
			s.rest += (v - mean) * (v - mean)
		}
	}
	return s
}

// effect of the candidate, adjusted for a drift within rounds that is the same in all of them. Its variance is a block's, divided by weight.
func (s series) effect(sum, placed float64) (effect, weight float64) {
	weight = float64(len(s.values))/4 - placed*placed/s.squares
	return (sum - placed*s.slope/s.squares) / weight, weight
}

// raw is the difference of the sides' means.
func (s series) raw(sum float64) float64 { return sum / (float64(len(s.values)) / 4) }

// spread is a standard deviation and the degrees of freedom with which it is known.
type spread struct{ sd, df float64 }

// noise of one block: what rounds, drift and effect leave.
func (s series) noise(sum, placed float64) spread {
	effect, weight := s.effect(sum, placed)
	rest := s.rest - effect*effect*weight - s.slope*s.slope/s.squares
	df := float64(len(s.values)-complete(len(s.values))) - 2
	return spread{math.Sqrt(max(rest, 0) / df), df}
}

// with takes both for measurements of the same.
func (s spread) with(o spread) spread {
	df := s.df + o.df
	return spread{math.Sqrt((s.df*s.sd*s.sd + o.df*o.sd*o.sd) / df), df}
}

func quantile(p, df float64) float64 { return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(p) }

// data is what was measured in the complete rounds.
type data struct {
	goodput series
	latency series   // −log P99
	sums    [][]sums // of each round in each of its orders
	drawn   sums     // of the orders that were in fact drawn
}

func newData(goodput, latency []float64, drawn []int) data {
	d := data{goodput: newSeries(goodput), latency: newSeries(latency)}
	for r := range complete(len(goodput)) {
		from, to := bounds(r)
		var round []sums
		for _, o := range orders(r) {
			var s sums
			for i := from; i < to; i++ {
				sign := float64(o>>(i-from)&1) - 0.5
				s = s.plus(sums{sign * d.goodput.values[i], sign * d.latency.values[i], sign * place(i)})
			}
			round = append(round, s)
		}
		d.sums = append(d.sums, round)
		d.drawn = d.drawn.plus(round[drawn[r]])
	}
	return d
}

// score is an effect in units of its noise, up to a factor that is the same for all orders.
func score(s series, sum, placed float64) float64 {
	effect, weight := s.effect(sum, placed)
	return effect * math.Sqrt(weight) / s.turn
}

// measure is one metric's effect, as logarithm.
type measure struct {
	effect float64
	weight float64 // in blocks: the effect's variance is a block's, divided by it
	noise  spread  // of one block
}

func (m measure) err() float64 { return m.noise.sd / math.Sqrt(m.weight) }

// most is what the effect does not exceed, with probability p in a normal model.
func (m measure) most(p float64) float64 { return m.effect + quantile(p, m.noise.df)*m.err() }

func (d data) measure(s series, sum float64) measure {
	effect, weight := s.effect(sum, d.drawn.place)
	return measure{effect, weight, s.noise(sum, d.drawn.place)}
}
