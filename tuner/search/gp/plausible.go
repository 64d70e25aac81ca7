package gp

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// Plausible are n models of the same data whose hyperparameters are drawn about the most likely ones, as the curvature of the posterior allows: a few
// measurements leave open which knob matters how much, and a search that takes one answer for certain looks in one place only.
func (m *Model) Plausible(rng *rand.Rand, n int) []*Model {
	root := m.spread()
	out := make([]*Model, 0, n)
	z, step := mat.NewVecDense(len(m.theta), nil), mat.NewVecDense(len(m.theta), nil)
	for range n {
		for i := range len(m.theta) {
			z.SetVec(i, rng.NormFloat64())
		}
		step.MulVec(root, z)
		other := *m
		other.theta = make([]float64, len(m.theta))
		for i, t := range m.theta {
			other.theta[i] = t + min(max(step.AtVec(i), -2), 2)
		}
		other.chol, other.alpha = mat.Cholesky{}, nil
		if other.condition() != nil {
			other = *m
		}
		out = append(out, &other)
	}
	return out
}

// spread is a root of the posterior's covariance at its top: of the inverse of its curvature.
func (m *Model) spread() *mat.Dense {
	l := newLearning(m.part(m.some()), m.prior)
	n := len(m.theta)
	curvature := mat.NewSymDense(n, nil)
	up, down := make([]float64, n), make([]float64, n)
	columns := make([][]float64, n)
	for i := range n {
		at := append([]float64(nil), m.theta...)
		const h = 1e-3
		at[i] += h
		l.gradient(at, up)
		at[i] -= 2 * h
		l.gradient(at, down)
		for j := range n {
			columns[i] = append(columns[i], -(up[j]-down[j])/(2*h))
		}
	}
	for i := range n {
		for j := i; j < n; j++ {
			curvature.SetSym(i, j, (columns[i][j]+columns[j][i])/2)
		}
	}
	root := mat.NewDense(n, n, nil)
	var eigen mat.EigenSym
	if !eigen.Factorize(curvature, true) {
		return root
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	for k, v := range eigen.Values(nil) {
		by := 1 / math.Sqrt(max(v, flattest))
		for i := range n {
			root.Set(i, k, vectors.At(i, k)*by)
		}
	}
	return root
}

// flattest is the least curvature: what the priors have by themselves.
const flattest = 0.5
