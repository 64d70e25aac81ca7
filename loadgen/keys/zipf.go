package keys

import (
	"math"
	"math/rand/v2"
)

// zipf draws ranks 1 to n in proportion to h(x) = 1/x^s, exactly and without a table, by rejection-inversion (Hörmann and Derflinger, 1996).
// Unlike the standard library's it takes every s above 0; s of 1 and less is what stores and caches are usually tested with.
//
// The area under h is cut into one piece for each rank, a point is drawn evenly from the area, and the rank whose piece it falls into is
// taken if the point lies within a bar of height h(rank); few do not.
type zipf struct {
	n, s       float64
	left       float64 // the area up to the piece of rank 1, of which only the width that makes it h(1) is used
	right      float64 // the area up to n + 1/2
	shortcut   float64 // a point so close below its rank, or closer, lies within the bar whatever the rank
	oneMinusS  float64
	byOneMinus float64 // 1/(1−s), 0 when s is 1
}

func newZipf(n int, s float64) zipf {
	z := zipf{n: float64(n), s: s, oneMinusS: 1 - s}
	if s != 1 {
		z.byOneMinus = 1 / z.oneMinusS
	}
	z.left = z.area(1.5) - 1
	z.right = z.area(z.n + 0.5)
	z.shortcut = 2 - z.inverse(z.area(2.5)-z.h(2))
	return z
}

func (z *zipf) h(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// area is the integral of h from 1 to x.
func (z *zipf) area(x float64) float64 {
	if z.byOneMinus == 0 {
		return math.Log(x)
	}
	return math.Expm1(z.oneMinusS*math.Log(x)) * z.byOneMinus
}

// inverse is the x with the given area.
func (z *zipf) inverse(area float64) float64 {
	if z.byOneMinus == 0 {
		return math.Exp(area)
	}
	// Rounding can bring a point beyond the whole of the area, where x is endless.
	return math.Exp(math.Log1p(max(z.oneMinusS*area, -1)) * z.byOneMinus)
}

func (z *zipf) draw(r *rand.Rand) uint64 {
	for {
		point := z.right + r.Float64()*(z.left-z.right)
		x := z.inverse(point)
		rank := min(max(math.Floor(x+0.5), 1), z.n)
		if rank-x <= z.shortcut || point >= z.area(rank+0.5)-z.h(rank) {
			return uint64(rank)
		}
	}
}
