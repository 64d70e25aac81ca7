package gp

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// learning is the search for the hyperparameters: squared distances are computed once.
type learning struct {
	m      *Model
	prior  Prior
	n      int
	apart  []float64 // √5 × the distance of each pair i < j, one value per group
	k      *mat.SymDense
	slopes []float64 // of each pair and group: derivative of the kernel's logarithm by that of the length
	bends  []float64 // of each pair: by that of the mix
	inv    mat.SymDense
	chol   mat.Cholesky
	// Of the last theta that was evaluated, for its gradient.
	last, alpha []float64
}

// learn sets theta by some of the points and conditions on all. It starts from where it was, if it was anywhere.
func (m *Model) learn(c Config, some []int, from []float64) error {
	l := newLearning(m.part(some), c.Prior)
	starts := l.starts(c.Starts)
	if len(some) < len(m.data.Y) {
		starts = starts[:1] // with so many points there is one answer
	}
	if from != nil {
		starts = [][]float64{from}
	}
	best, worth := starts[0], math.Inf(-1)
	for _, s := range starts {
		theta, value := l.climb(s)
		if value > worth {
			best, worth = theta, value
		}
	}
	m.theta = best
	return m.condition()
}

// part is a model of some of the points.
func (m *Model) part(some []int) *Model {
	out := &Model{data: Data{Groups: m.data.Groups}, groups: m.groups}
	for _, i := range some {
		out.data.X = append(out.data.X, m.data.X[i])
		out.data.Y = append(out.data.Y, m.data.Y[i])
		out.extra = append(out.extra, m.extra[i])
	}
	return out
}

func newLearning(m *Model, prior Prior) *learning {
	n := len(m.data.Y)
	l := &learning{m: m, prior: prior, n: n, k: mat.NewSymDense(n, nil)}
	l.apart = make([]float64, n*(n-1)/2*m.groups)
	l.slopes = make([]float64, len(l.apart))
	l.bends = make([]float64, n*(n-1)/2)
	at := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			for c, g := range m.data.Groups {
				d := m.data.X[i][c] - m.data.X[j][c]
				l.apart[at+g] += 5 * d * d
			}
			for g := range m.groups {
				l.apart[at+g] = math.Sqrt(l.apart[at+g])
			}
			at += m.groups
		}
	}
	return l
}

// starts are spread over what the priors hold for likely.
func (l *learning) starts(n int) [][]float64 {
	out := make([][]float64, 0, n)
	for i := range max(n, 1) {
		theta := make([]float64, l.m.groups+3)
		for g := range l.m.groups {
			theta[g] = l.prior.Length + []float64{0, -0.8, 0.8, -1.5}[i%4]
		}
		theta[l.m.groups+1] = l.prior.Noise + []float64{0, 1, -2, 2}[i%4]
		theta[l.m.groups+2] = l.prior.Mix
		out = append(out, theta)
	}
	return out
}

const signalDev = 0.7

// evaluate is the log posterior.
func (l *learning) evaluate(theta []float64) float64 {
	g := l.m.groups
	l.last = l.last[:0]
	for _, t := range theta {
		if math.Abs(t) > 12 || math.IsNaN(t) {
			return math.Inf(-1)
		}
	}
	inv := make([]float64, g)
	for i := range inv {
		inv[i] = math.Exp(-theta[i])
	}
	signal, noise, mix := math.Exp(theta[g]), math.Exp(theta[g+1]), math.Exp(theta[g+2])
	pair := 0
	for i := range l.n {
		l.k.SetSym(i, i, signal*(1+jitter)+noise*l.m.extra[i])
		for j := i + 1; j < l.n; j++ {
			product, bend := signal, 0.0
			for c, d := range l.apart[pair*g : pair*g+g] {
				if d == 0 {
					l.slopes[pair*g+c] = 0
					continue
				}
				r := d * inv[c]
				e := math.Exp(-r)
				part := mix * (1 + r + r*r/3) * e
				product *= (1 + part) / (1 + mix)
				l.slopes[pair*g+c] = mix * r * r * (1 + r) / 3 * e / (1 + part)
				bend += part/(1+part) - mix/(1+mix)
			}
			l.k.SetSym(i, j, product)
			l.bends[pair] = bend
			pair++
		}
	}
	if !l.chol.Factorize(l.k) {
		return math.Inf(-1)
	}
	y, one := mat.NewVecDense(l.n, nil), mat.NewVecDense(l.n, nil)
	for i := range l.n {
		one.SetVec(i, 1)
	}
	ones := mat.NewVecDense(l.n, nil)
	if l.chol.SolveVecTo(ones, one) != nil || l.chol.SolveVecTo(y, mat.NewVecDense(l.n, l.m.data.Y)) != nil {
		return math.Inf(-1)
	}
	mean := mat.Sum(y) / (mat.Sum(ones) + 1/meanVariance)
	alpha := make([]float64, l.n)
	fit := 0.0
	for i := range alpha {
		alpha[i] = y.AtVec(i) - mean*ones.AtVec(i)
		fit += alpha[i] * (l.m.data.Y[i] - mean)
	}
	l.last, l.alpha = append(l.last, theta...), alpha
	return -0.5*fit - 0.5*l.chol.LogDet() - 0.5*mean*mean/meanVariance + l.priors(theta, nil)
}

// gradient is that of evaluate. The search asks for it where it has just asked for the value.
func (l *learning) gradient(theta, grad []float64) {
	clear(grad)
	if !slices.Equal(l.last, theta) && math.IsInf(l.evaluate(theta), -1) {
		return
	}
	g, alpha := l.m.groups, l.alpha
	if l.chol.InverseTo(&l.inv) != nil {
		return
	}
	noise := math.Exp(theta[g+1])
	pair := 0
	for i := range l.n {
		own := alpha[i]*alpha[i] - l.inv.At(i, i)
		grad[g+1] += 0.5 * own * noise * l.m.extra[i]
		grad[g] += 0.5 * own * (l.k.At(i, i) - noise*l.m.extra[i])
		for j := i + 1; j < l.n; j++ {
			w := (alpha[i]*alpha[j] - l.inv.At(i, j)) * l.k.At(i, j)
			grad[g] += w
			grad[g+2] += w * l.bends[pair]
			for c, s := range l.slopes[pair*g : pair*g+g] {
				grad[c] += w * s
			}
			pair++
		}
	}
	l.priors(theta, grad)
}

func (l *learning) priors(theta, grad []float64) float64 {
	g, sum := l.m.groups, 0.0
	add := func(i int, mean, dev float64) {
		z := (theta[i] - mean) / dev
		sum -= 0.5 * z * z
		if grad != nil {
			grad[i] -= z / dev
		}
	}
	for i := range g {
		add(i, l.prior.Length, l.prior.LengthDev)
	}
	add(g, 0, signalDev)
	add(g+1, l.prior.Noise, l.prior.NoiseDev)
	add(g+2, l.prior.Mix, l.prior.MixDev)
	return sum
}

// climb maximises the posterior from a start.
func (l *learning) climb(from []float64) ([]float64, float64) {
	problem := optimize.Problem{
		Func: func(x []float64) float64 { return -l.evaluate(x) },
		Grad: func(into, x []float64) {
			l.gradient(x, into)
			for i := range into {
				into[i] = -into[i]
			}
		},
	}
	settings := &optimize.Settings{MajorIterations: climbs, GradientThreshold: 1e-3, Converger: &optimize.FunctionConverge{Absolute: 1e-3, Iterations: 3}}
	result, err := optimize.Minimize(problem, from, settings, &optimize.LBFGS{Store: 8})
	if result == nil || err != nil && math.IsInf(result.F, 0) {
		return from, l.evaluate(from)
	}
	return result.X, -result.F
}

const climbs = 40
