package schedule

import (
	"math"
	"math/big"
	"strconv"
)

// pair is the sum of two floats of which hi is the nearest to it: some 106 bits, of which a float has 53. A record's time is a product of
// a count and an interval; in floats it is off by a nanosecond after some weeks, and the intervals of 10¹² records do not add up to a day.
type pair struct{ hi, lo float64 }

// exactly is the decimal number that a rate was written as: a tenth is no float, but stages of ten seconds at 0.1/s hold one record each.
func exactly(f float64) *big.Rat {
	r, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	return r
}

// nearest is the pair nearest to r.
func nearest(r *big.Rat) pair {
	hi, _ := r.Float64()
	if math.IsInf(hi, 0) {
		return pair{hi: math.MaxFloat64}
	}
	lo, _ := new(big.Rat).Sub(r, new(big.Rat).SetFloat64(hi)).Float64()
	return pair{hi, lo}
}

func whole(i uint64) pair {
	high, low := float64(i>>32)*(1<<32), float64(i&math.MaxUint32)
	hi := high + low
	return pair{hi, low - (hi - high)}
}

// join adds two floats of which hi is the larger.
func join(hi, lo float64) pair {
	sum := hi + lo
	return pair{sum, lo - (sum - hi)}
}

func (p pair) plus(q pair) pair {
	sum := p.hi + q.hi
	part := sum - p.hi
	rest := (p.hi - (sum - part)) + (q.hi - part)
	return join(sum, rest+(p.lo+q.lo))
}

func (p pair) minus(q pair) pair { return p.plus(pair{-q.hi, -q.lo}) }

func (p pair) times(q pair) pair {
	product := p.hi * q.hi
	return join(product, math.FMA(p.hi, q.hi, -product)+(p.hi*q.lo+p.lo*q.hi))
}

func (p pair) less(q pair) bool { return p.hi < q.hi || p.hi == q.hi && p.lo < q.lo }

// float is the float nearest to p.
func (p pair) float() float64 { return p.hi + p.lo }

// floor and round are for p from 0 to below 2⁶⁴, and 2⁶³.
func (p pair) floor() uint64 {
	down := math.Floor(p.hi)
	return uint64(down) + uint64(int64(math.Floor((p.hi-down)+p.lo)))
}

func (p pair) ceil() uint64 {
	up := math.Ceil(p.hi)
	return uint64(up) + uint64(int64(math.Ceil((p.hi-up)+p.lo)))
}

func (p pair) round() int64 {
	down := math.Floor(p.hi)
	return int64(down) + int64(math.Floor((p.hi-down)+p.lo+0.5))
}
