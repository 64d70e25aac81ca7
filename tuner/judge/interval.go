package judge

import "math"

const (
	widest   = 3.   // logarithmic distance from the estimate at which a bound is taken for none
	bisected = 1e-4 // logarithmic exactness of a bound
)

// interval holds the effects that the rounds do not rule out: an effect is ruled out when, with the candidate's values corrected by it, the difference
// that is left would count as a gain, or as a loss, at this or an earlier look.
func (j *Judge) interval() *Interval {
	n := len(j.blocks)
	if j.clear > 0 {
		n = j.clear // what confirms a gain has no counterpart
	}
	rounds := complete(n)
	if rounds < MinRounds(j.config.Alpha) {
		return nil
	}
	goodput := j.goodput[:planned(rounds)]
	low, ok := j.bound(goodput)
	if !ok {
		return nil
	}
	negative := make([]float64, len(goodput))
	for i, v := range goodput {
		negative[i] = -v
	}
	high, ok := j.bound(negative)
	if !ok {
		return nil
	}
	return &Interval{Low: math.Expm1(low), High: math.Expm1(-high)}
}

// bound is the least effect that is not ruled out.
func (j *Judge) bound(values []float64) (float64, bool) {
	d := newData(values, values, j.orders)
	effect, _ := d.goodput.effect(d.drawn.goodput, d.drawn.place)
	out, in := effect-widest, effect
	if !j.ruledOut(values, out) {
		return 0, false
	}
	for in-out > bisected {
		if middle := (in + out) / 2; j.ruledOut(values, middle) {
			out = middle
		} else {
			in = middle
		}
	}
	return out, true
}

func (j *Judge) ruledOut(values []float64, effect float64) bool {
	shifted := make([]float64, len(values))
	for i, v := range values {
		shifted[i] = v
		if j.side(i) == Candidate {
			shifted[i] -= effect
		}
	}
	t := newTest(j.config.Alpha, j.config.Rounds)
	for r := range complete(len(shifted)) {
		_, n := bounds(r)
		d := newData(shifted[:n], shifted[:n], j.orders)
		if t.look(j.orders[r], d.sums, func(s sums) float64 { return score(d.goodput, s.goodput, s.place) }) {
			return true
		}
	}
	return false
}
