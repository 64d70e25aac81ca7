package gp_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/search/gp"
)

var prior = gp.Prior{Length: -0.5, LengthDev: 1, Noise: 2 * math.Log(0.1), NoiseDev: 1}

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
	means, devs, err := s.Elsewhere([][]float64{x})
	if err != nil {
		t.Fatal(err)
	}
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
