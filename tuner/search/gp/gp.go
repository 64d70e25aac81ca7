// Package gp is Gaussian process regression for few and dear measurements.
//
// The kernel is Matérn 5/2 with one length per group of columns (a knob is a group: one column for a number, one per choice for a category, one
// more for each value that stands for something else). Noise is per point. The hyperparameters maximise the marginal likelihood times their
// priors, from several starts. A measurement on the doubted side that the others make very unlikely is given more noise (Student's t by
// reweighting), so that an outlier bends nothing.
//
// It is pure: the same data give the same model. It leaves out where to measure next.
package gp

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Data is what was measured. Y should be about standardised: the priors are made for that.
type Data struct {
	X      [][]float64 // one row per point
	Groups []int       // of each column: whose length it shares, 0…
	Y      []float64
	Weight []float64 // how many measurements a value is the mean of; nil: one each
	Blur   []float64 // by which its noise is multiplied besides; nil: 1 each
}

// Prior is of logarithms: normal with these means and deviations.
type Prior struct {
	Length, LengthDev float64
	Noise, NoiseDev   float64 // of the noise's variance
	Mix, MixDev       float64 // see kernel
}

// Config of a fit.
type Config struct {
	Prior  Prior
	Starts int // of the hyperparameters' search, at least 1
	Doubt  Doubt
}

// Doubt says which measurements may be disturbed when the others make them very unlikely.
type Doubt int

// What is doubted. A disturbance makes a system slower, hardly ever faster: a value that is too good to be expected is a discovery.
const (
	Nothing Doubt = 0
	Low     Doubt = -1
	High    Doubt = 1
)

// Model is a fitted process.
type Model struct {
	data   Data
	groups int
	theta  []float64 // logarithms: lengths, signal variance, noise variance, mix
	extra  []float64 // by which each point's noise is multiplied
	prior  Prior
	mean   float64

	chol  mat.Cholesky
	alpha []float64
}

// Fit finds the hyperparameters and conditions on the data.
func Fit(d Data, c Config) (*Model, error) {
	if len(d.X) == 0 || len(d.X) != len(d.Y) {
		return nil, fmt.Errorf("fit: want as many values as points, at least one (got %d and %d)", len(d.Y), len(d.X))
	}
	m := &Model{data: d, extra: make([]float64, len(d.Y)), prior: c.Prior}
	for _, g := range d.Groups {
		m.groups = max(m.groups, g+1)
	}
	for i := range m.extra {
		m.extra[i] = 1
		if d.Weight != nil {
			m.extra[i] = 1 / d.Weight[i]
		}
		if d.Blur != nil {
			m.extra[i] *= d.Blur[i]
		}
	}
	some := m.some()
	if err := m.learn(c, some, nil); err != nil {
		return nil, err
	}
	if c.Doubt != Nothing && m.reweigh(c.Doubt) {
		if err := m.learn(c, some, m.theta); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// enough points say what the hyperparameters are; more only take time, with the third power.
const enough = 64

// some are the points that the hyperparameters are learned from: all, or the best third and as many of the others, evenly.
func (m *Model) some() []int {
	n := len(m.data.Y)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if n <= enough {
		return order
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(m.data.Y[b], m.data.Y[a]) })
	out := slices.Clone(order[:enough/3])
	rest := order[enough/3:]
	slices.Sort(rest)
	more := enough - len(out)
	for i := range more {
		out = append(out, rest[i*len(rest)/more])
	}
	return out
}

// Student's degrees of freedom, and from how many deviations on a point counts as unlikely.
const (
	freedom  = 4
	unlikely = 3
)

// reweigh gives the points that the others make unlikely more noise, and says whether there are any.
func (m *Model) reweigh(doubt Doubt) bool {
	n := len(m.data.Y)
	if n < 6 {
		return false
	}
	var inv mat.SymDense
	if m.chol.InverseTo(&inv) != nil {
		return false
	}
	found := false
	for i := range n {
		variance := 1 / inv.At(i, i)
		z2 := m.alpha[i] * m.alpha[i] * variance
		if z2 > unlikely*unlikely && m.alpha[i]*float64(doubt) > 0 {
			m.extra[i] *= (freedom + z2) / (freedom + 1) * (1 + z2)
			found = true
		}
	}
	return found
}

var errSingular = errors.New("fit: the points' covariance is not positive definite")

// condition computes what predictions need at theta.
func (m *Model) condition() error {
	n := len(m.data.Y)
	k := mat.NewSymDense(n, nil)
	cov, signal, noise := m.kernel(), m.signal(), m.noise()
	for i := range n {
		for j := i; j < n; j++ {
			k.SetSym(i, j, cov.at(m.data.X[i], m.data.X[j]))
		}
		k.SetSym(i, i, k.At(i, i)+noise*m.extra[i]+jitter*signal)
	}
	if !m.chol.Factorize(k) {
		return errSingular
	}
	var ones, v mat.VecDense
	unit := mat.NewVecDense(n, nil)
	for i := range n {
		unit.SetVec(i, 1)
	}
	if m.chol.SolveVecTo(&ones, unit) != nil || m.chol.SolveVecTo(&v, mat.NewVecDense(n, m.data.Y)) != nil {
		return errSingular
	}
	// The mean's own prior keeps it near 0 while there are few points.
	m.mean = mat.Sum(&v) / (mat.Sum(&ones) + 1/meanVariance)
	m.alpha = make([]float64, n)
	for i := range n {
		m.alpha[i] = v.AtVec(i) - m.mean*ones.AtVec(i)
	}
	return nil
}

const (
	jitter       = 1e-6
	meanVariance = 1.0
)

func (m *Model) signal() float64 { return math.Exp(m.theta[m.groups]) }
func (m *Model) noise() float64  { return math.Exp(m.theta[m.groups+1]) }

// Noise is the standard deviation of one measurement, as estimated.
func (m *Model) Noise() float64 { return math.Sqrt(m.noise()) }

// Lengths are the groups' lengths: a short one belongs to a knob that matters.
func (m *Model) Lengths() []float64 {
	out := make([]float64, m.groups)
	for g := range out {
		out[g] = math.Exp(m.theta[g])
	}
	return out
}

// Doubt is by how much each point's noise was raised for being unlikely or lowered for being a mean.
func (m *Model) Doubt() []float64 { return m.extra }

// Predict is the mean and the variance of the value itself, without a measurement's noise.
func (m *Model) Predict(x []float64) (mean, variance float64) {
	k := mat.NewVecDense(len(m.data.Y), m.covariances(x))
	mean = m.mean
	for i, a := range m.alpha {
		mean += k.AtVec(i) * a
	}
	var v mat.VecDense
	if m.chol.SolveVecTo(&v, k) != nil {
		return mean, m.signal()
	}
	return mean, max(m.signal()-mat.Dot(k, &v), 1e-12)
}

// Everywhere is the mean and the deviation at many points.
func (m *Model) Everywhere(xs [][]float64) (means, devs []float64) {
	size := len(m.data.X)
	cross := mat.NewDense(len(xs), size, nil)
	cov := m.kernel()
	for i, x := range xs {
		cov.row(x, m.data.X, cross.RawRowView(i))
	}
	means = make([]float64, len(xs))
	for i := range xs {
		means[i] = m.mean + floats.Dot(cross.RawRowView(i), m.alpha)
	}
	return means, deviations(&m.chol, cross, cov.signal)
}

// deviations are what is not known at points with these covariances with what is.
func deviations(chol *mat.Cholesky, cross *mat.Dense, signal float64) []float64 {
	rows, size := cross.Dims()
	var lower mat.TriDense
	chol.LTo(&lower)
	solved := mat.NewDense(size, rows, nil)
	solved.Copy(cross.T())
	devs := make([]float64, rows)
	if lower.SolveTo(solved, false, solved) != nil {
		for i := range devs {
			devs[i] = math.Sqrt(signal)
		}
		return devs
	}
	for i := range devs {
		variance := signal
		for k := range size {
			v := solved.At(k, i)
			variance -= v * v
		}
		devs[i] = math.Sqrt(max(variance, 1e-8*signal))
	}
	return devs
}

func (m *Model) covariances(x []float64) []float64 {
	out := make([]float64, len(m.data.X))
	m.kernel().row(x, m.data.X, out)
	return out
}

// Values are what was measured, as given.
func (m *Model) Values() []float64 { return m.data.Y }

// Mean is Predict's mean, for a fraction of its price.
func (m *Model) Mean(x []float64) float64 {
	cov, mean := m.kernel(), m.mean
	for i, p := range m.data.X {
		mean += m.alpha[i] * cov.at(x, p)
	}
	return mean
}
