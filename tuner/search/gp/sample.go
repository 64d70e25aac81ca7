package gp

import (
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// Samples are functions that the data leave possible, known at the data's points, and what follows from each for other points.
type Samples struct {
	m *Model
	// At holds each sample's values at the data's points.
	At     [][]float64
	alpha  *mat.Dense // inverse of the noise-free covariance times the samples, a column each
	chol   mat.Cholesky
	signal float64
}

// Sample draws n functions.
func (m *Model) Sample(rng *rand.Rand, n int) (*Samples, error) {
	size := len(m.data.Y)
	prior := mat.NewSymDense(size, nil)
	cov, signal, noise := m.kernel(), m.signal(), m.noise()
	for i := range size {
		for j := i; j < size; j++ {
			prior.SetSym(i, j, cov.at(m.data.X[i], m.data.X[j]))
		}
	}
	// The posterior at the points: K − K (K+N)⁻¹ K, which is N − N (K+N)⁻¹ N, better conditioned that way.
	var inv mat.SymDense
	if err := m.chol.InverseTo(&inv); err != nil {
		return nil, errSingular
	}
	post := mat.NewSymDense(size, nil)
	n2 := func(i int) float64 { return noise*m.extra[i] + jitter*signal }
	for i := range size {
		for j := i; j < size; j++ {
			v := -n2(i) * inv.At(i, j) * n2(j)
			if i == j {
				v += n2(i) + 1e-9*signal
			}
			post.SetSym(i, j, v)
		}
	}
	var root mat.Cholesky
	if !root.Factorize(post) {
		return nil, errSingular
	}
	var lower mat.TriDense
	root.LTo(&lower)

	s := &Samples{m: m, signal: signal, At: make([][]float64, n)}
	centred := mat.NewDense(size, n, nil)
	z, v := mat.NewVecDense(size, nil), mat.NewVecDense(size, nil)
	for k := range n {
		for i := range size {
			z.SetVec(i, rng.NormFloat64())
		}
		v.MulVec(&lower, z)
		s.At[k] = make([]float64, size)
		for i := range size {
			value := m.data.Y[i] - n2(i)*m.alpha[i] + v.AtVec(i)
			s.At[k][i] = value
			centred.Set(i, k, value-m.mean)
		}
	}
	for i := range size {
		prior.SetSym(i, i, signal*(1+sampleJitter))
	}
	if !s.chol.Factorize(prior) {
		return nil, errSingular
	}
	s.alpha = mat.NewDense(size, n, nil)
	if err := s.chol.SolveTo(s.alpha, centred); err != nil {
		return nil, errSingular
	}
	return s, nil
}

const sampleJitter = 1e-4

// Elsewhere gives each sample's mean at x, one per sample, and the deviation that all have there in common.
func (s *Samples) Elsewhere(xs [][]float64) (means *mat.Dense, devs []float64) {
	cross := mat.NewDense(len(xs), len(s.m.data.X), nil)
	cov := s.m.kernel()
	for i, x := range xs {
		cov.row(x, s.m.data.X, cross.RawRowView(i))
	}
	means = mat.NewDense(len(xs), len(s.At), nil)
	means.Mul(cross, s.alpha)
	means.Apply(func(_, _ int, v float64) float64 { return v + s.m.mean }, means)
	return means, deviations(&s.chol, cross, s.signal)
}
