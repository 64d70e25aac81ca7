package gp_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/search/gp"
)

var prior = gp.Prior{Length: -0.5, LengthDev: 1, Noise: 2 * math.Log(0.1), NoiseDev: 1, MixDev: 1}

func truth(x []float64) float64 { return 2*math.Sin(3*x[0]) + x[1] - 1 }

// sampled measures the truth at random places; the third column does nothing.
func sampled(n int, noise float64) gp.Data {
	r := rand.New(rand.NewPCG(1, 2))
	d := gp.Data{Groups: []int{0, 1, 2}}
	for range n {
		x := []float64{r.Float64(), r.Float64(), r.Float64()}
		d.X = append(d.X, x)
		d.Y = append(d.Y, truth(x)+noise*r.NormFloat64())
	}
	return d
}

// off is the root of the mean squared error on a grid.
func off(m *gp.Model) float64 {
	sum, n := 0.0, 0.0
	for a := 0.05; a < 1; a += 0.1 {
		for b := 0.05; b < 1; b += 0.1 {
			mean, _ := m.Predict([]float64{a, b, 0.5})
			d := mean - truth([]float64{a, b})
			sum, n = sum+d*d, n+1
		}
	}
	return math.Sqrt(sum / n)
}

func fit(t *testing.T, d gp.Data, doubt gp.Doubt) *gp.Model {
	t.Helper()
	m, err := gp.Fit(d, gp.Config{Prior: prior, Starts: 3, Doubt: doubt})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAFunctionIsLearnedFromAFewPoints(t *testing.T) {
	m := fit(t, sampled(30, 0.02), gp.Low)
	if e := off(m); e > 0.1 {
		t.Errorf("want an error of at most 0.1 (got %.3f)", e)
	}
	if l := m.Lengths(); l[2] < 2*l[0] {
		t.Errorf("want a longer length where nothing happens (got %v)", l)
	}
}

func TestNoiseIsEstimated(t *testing.T) {
	for _, noise := range []float64{0.05, 0.3} {
		if got := fit(t, sampled(80, noise), gp.Nothing).Noise(); got < noise/2 || got > noise*2 {
			t.Errorf("want about %g (got %g)", noise, got)
		}
	}
}

func TestAnOutlierBendsNothing(t *testing.T) {
	d := sampled(30, 0.02)
	d.Y[7] -= 6
	if plain, robust := off(fit(t, d, gp.Nothing)), off(fit(t, d, gp.Low)); robust > 0.15 || robust > plain/2 {
		t.Errorf("want an error of at most 0.15, and half of what it is without care (got %.3f and %.3f)", robust, plain)
	}
}

func TestADiscoveryIsNotDoubted(t *testing.T) {
	d := sampled(30, 0.02)
	d.Y[7] += 6
	m := fit(t, d, gp.Low)
	if mean, _ := m.Predict(d.X[7]); mean < d.Y[7]-3 {
		t.Errorf("want a value far above the others to be believed (got %.2f for %.2f)", mean, d.Y[7])
	}
	if got := m.Doubt()[7]; got != 1 {
		t.Errorf("want no more noise than the others have (got %g times)", got)
	}
}

func TestAMeanOfManyIsTrustedMore(t *testing.T) {
	d := gp.Data{X: [][]float64{{0}, {0.5}, {1}}, Groups: []int{0}, Y: []float64{0, 1, 0}, Weight: []float64{1, 1, 1}}
	once, _ := fit(t, d, gp.Nothing).Predict([]float64{0.5})
	d.Weight[1] = 50
	often, _ := fit(t, d, gp.Nothing).Predict([]float64{0.5})
	if often <= once {
		t.Errorf("want it nearer to 1 (got %g once, %g often)", once, often)
	}
}

func TestSamplesAreLikeThePrediction(t *testing.T) {
	m := fit(t, sampled(20, 0.3), gp.Nothing)
	s, err := m.Sample(rand.New(rand.NewPCG(3, 4)), 4000)
	if err != nil {
		t.Fatal(err)
	}
	x := []float64{0.3, 0.9, 0.1}
	means, devs := s.Elsewhere([][]float64{x})
	sum, squares := 0.0, 0.0
	for k := range s.At {
		v := means.At(0, k)
		sum, squares = sum+v, squares+v*v
	}
	n := float64(len(s.At))
	mean := sum / n
	variance := squares/n - mean*mean + devs[0]*devs[0]
	wantMean, wantVariance := m.Predict(x)
	if math.Abs(mean-wantMean) > 0.05 || math.Abs(variance/wantVariance-1) > 0.15 {
		t.Errorf("want mean %.3f and variance %.4f (got %.3f and %.4f)", wantMean, wantVariance, mean, variance)
	}
}

func TestNothingCannotBeLearned(t *testing.T) {
	if _, err := gp.Fit(gp.Data{}, gp.Config{Prior: prior}); err == nil {
		t.Error("a fit of nothing was taken")
	}
}

// In eight dimensions forty points are far from each other: only because the parts add up can they tell of one another.
func TestWhatAddsUpIsLearnedFromAFewPoints(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	sum := func(x []float64) (v float64) {
		for i, xi := range x {
			v += math.Sin(3*xi+float64(i)) / 2
		}
		return v
	}
	draw := func() []float64 {
		x := make([]float64, 8)
		for i := range x {
			x[i] = r.Float64()
		}
		return x
	}
	d := gp.Data{Groups: []int{0, 1, 2, 3, 4, 5, 6, 7}}
	for range 40 {
		x := draw()
		d.X, d.Y = append(d.X, x), append(d.Y, sum(x))
	}
	m := fit(t, d, gp.Nothing)
	off, all := 0.0, 0.0
	for range 200 {
		x := draw()
		e := m.Mean(x) - sum(x)
		off, all = off+e*e, all+sum(x)*sum(x)
	}
	if part := math.Sqrt(off / all); part > 0.15 {
		t.Errorf("want at most 15 %% of it not explained (got %.0f %%)", 100*part)
	}
}

func TestABlurredPointBendsNothing(t *testing.T) {
	d := sampled(30, 0.02)
	d.Y[7] += 6
	d.Blur = make([]float64, len(d.Y))
	for i := range d.Blur {
		d.Blur[i] = 1
	}
	d.Blur[7] = 1e5
	if e := off(fit(t, d, gp.Nothing)); e > 0.15 {
		t.Errorf("want an error of at most 0.15 (got %.3f)", e)
	}
}

func TestManyPointsAtOnceAreAsEachAlone(t *testing.T) {
	m := fit(t, sampled(20, 0.1), gp.Nothing)
	xs := [][]float64{{0.1, 0.2, 0.3}, {0.9, 0.5, 0}, {0.5, 0.5, 0.5}}
	means, devs := m.Everywhere(xs)
	for i, x := range xs {
		if mean, variance := m.Predict(x); math.Abs(mean-means[i]) > 1e-9 || math.Abs(math.Sqrt(variance)-devs[i]) > 1e-6 {
			t.Errorf("%v: want %g ± %g (got %g ± %g)", x, mean, math.Sqrt(variance), means[i], devs[i])
		}
	}
}

func TestWhatIsPlausibleGetsLessWithEachPoint(t *testing.T) {
	spread := func(n int) float64 {
		least, most := math.Inf(1), 0.0
		for _, m := range fit(t, sampled(n, 0.05), gp.Nothing).Plausible(rand.New(rand.NewPCG(7, 8)), 12) {
			least, most = min(least, m.Lengths()[0]), max(most, m.Lengths()[0])
		}
		return most / least
	}
	if few, many := spread(8), spread(60); few < 1.5 || many > few {
		t.Errorf("want lengths that differ by half after 8 points, and less after 60 (got %.2f and %.2f times)", few, many)
	}
}
