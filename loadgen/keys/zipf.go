package keys

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// zipf draws ranks 1 to n in proportion to h(rank) = 1/rank^s, exactly and in constant time. Unlike the standard library's it takes every s
// above 0; s of 1 and less is what stores and caches are usually tested with.
//
// The ranks are cut into blocks, each a sixty-fourth as wide as its first rank is large: a few hundred for a million ranks, since they
// become wider as h becomes flatter. A block is drawn as if all its ranks were as frequent as the first, by Walker's alias method, then a
// rank of it, evenly; that is kept with probability h(rank)/h(first), and otherwise everything is drawn again, about once in a hundred.
type zipf struct {
	s      float64
	blocks []block
}

type block struct {
	first, width uint64 // ranks first to first+width−1
	surely       uint64 // of 2^64: h(last)/h(first), up to which a rank is kept whichever it is
	own          uint64 // of 2^64: how much of this place in the alias table is the block's own
	other        int32  // whose the rest is
}

const blockWidth = 64

func newZipf(n int, s float64) zipf {
	z := zipf{s: s}
	var weights []float64
	for first := uint64(1); first <= uint64(n); {
		width := min(max(first/blockWidth, 1), uint64(n)-first+1)
		surely := part(math.Pow(float64(first)/float64(first+width-1), s))
		z.blocks = append(z.blocks, block{first: first, width: width, surely: surely})
		weights = append(weights, float64(width)*math.Pow(float64(first), -s))
		first += width
	}
	z.alias(weights)
	return z
}

// part is a probability as one of 2^64.
func part(p float64) uint64 {
	if p >= 1 {
		return math.MaxUint64
	}
	return uint64(p * (1 << 64))
}

// alias fills the table by Vose's method: each place has the same weight, of which a light block leaves a rest to one heavy block.
func (z *zipf) alias(weights []float64) {
	var sum float64
	for i := len(weights) - 1; i >= 0; i-- { // the small ones first
		sum += weights[i]
	}
	var light, heavy []int
	for i := range weights {
		weights[i] *= float64(len(weights)) / sum
		if weights[i] < 1 {
			light = append(light, i)
		} else {
			heavy = append(heavy, i)
		}
	}
	for len(light) > 0 && len(heavy) > 0 {
		l, h := light[len(light)-1], heavy[len(heavy)-1]
		light = light[:len(light)-1]
		z.blocks[l].own, z.blocks[l].other = part(weights[l]), int32(h)
		if weights[h] -= 1 - weights[l]; weights[h] < 1 {
			heavy = heavy[:len(heavy)-1]
			light = append(light, h)
		}
	}
	for _, i := range append(light, heavy...) { // full but for rounding
		z.blocks[i].own, z.blocks[i].other = math.MaxUint64, int32(i)
	}
}

func (z *zipf) draw(r *rand.PCG) uint64 {
	for {
		place, rest := bits.Mul64(r.Uint64(), uint64(len(z.blocks)))
		b := &z.blocks[place]
		if rest >= b.own {
			b = &z.blocks[b.other]
		}
		if b.width == 1 {
			return b.first
		}
		offset, chance := bits.Mul64(r.Uint64(), b.width)
		rank := b.first + offset
		if chance < b.surely || chance < part(math.Pow(float64(b.first)/float64(rank), z.s)) {
			return rank
		}
	}
}
