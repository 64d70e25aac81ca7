package gp

import "math"

// kernel is how alike two points are. Of each group it is Matérn 5/2 by itself; together they are the product of (1 + mix × κ) / (1 + mix), which multiplied
// out is every group alone, every two together, and so on: with a small mix what the groups do adds up, with a large one only points that are near in
// all of them tell of each other.
type kernel struct {
	groups      []int     // of each column
	inverse     []float64 // of each group's length
	signal, mix float64
}

func (m *Model) kernel() kernel {
	k := kernel{groups: m.data.Groups, inverse: make([]float64, m.groups), signal: m.signal(), mix: math.Exp(m.theta[m.groups+2])}
	for g := range k.inverse {
		k.inverse[g] = math.Exp(-m.theta[g])
	}
	return k
}

func (k kernel) at(a, b []float64) float64 {
	product := k.signal
	for c := 0; c < len(k.groups); {
		g, square := k.groups[c], 0.0
		for ; c < len(k.groups) && k.groups[c] == g; c++ {
			d := a[c] - b[c]
			square += d * d
		}
		if square > 0 {
			product *= (1 + k.mix*matern(math.Sqrt(5*square)*k.inverse[g])) / (1 + k.mix)
		}
	}
	return product
}

func (k kernel) row(x []float64, points [][]float64, out []float64) {
	for i, p := range points {
		out[i] = k.at(x, p)
	}
}

func matern(r float64) float64 { return (1 + r + r*r/3) * math.Exp(-r) }
