package search_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/search"
)

const second = time.Second

func config(k kind, measure time.Duration) search.Config {
	return search.Config{SLO: k.slo, Min: 10, Max: 200_000, Start: 50, Warmup: 10 * second, Measure: measure}
}

func mustFind(t testing.TB, k kind, c search.Config, seed uint64) search.Result {
	t.Helper()
	r, err := search.Run(t.Context(), c, trial(k, c, rand.New(rand.NewPCG(seed, 7))))
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != search.Found || len(r.Trials) > 12 {
		t.Errorf("seed %d: got %v, want a rate in 12 trials", seed, r)
	}
	return r
}

// The knees come from runs of twenty minutes, which BenchmarkTruth repeats. The spread is (highest − lowest)/median of five searches that
// differ in their chance only.
func TestSearchFindsTheKneeOfEveryKindOfServer(t *testing.T) {
	var mu sync.Mutex
	searches, held, off := 0, 0, 0.0
	t.Run("kind", func(t *testing.T) {
		for _, k := range kinds() {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				var rates []float64
				for seed := range uint64(5) {
					r := mustFind(t, k, config(k, 120*second), seed)
					rates = append(rates, r.Rate)
					if math.Abs(r.Rate/k.knee-1) > 0.05 {
						t.Errorf("seed %d: got %v, want within 5%% of %.0f/s", seed, r, k.knee)
					}
					mu.Lock()
					searches++
					off += r.Rate/k.knee - 1
					if r.Low <= k.knee && k.knee <= r.High {
						held++
					}
					mu.Unlock()
				}
				slices.Sort(rates)
				spread := (rates[4] - rates[0]) / rates[2]
				if spread > 0.03 {
					t.Errorf("got %.1f, want a spread of at most 3%% (it is %.2f%%)", rates, spread*100)
				}
				t.Logf("knee %.1f/s, found %.1f, spread %.2f%%", k.knee, rates, spread*100)
			})
		}
	})
	if held*10 < searches*9 {
		t.Errorf("the interval held the truth in %d of %d searches, want at least nine in ten", held, searches)
	}
	if off /= float64(searches); math.Abs(off) > 0.003 {
		t.Errorf("got rates that are %.2f%% off on average, want at most 0.3%%", off*100)
	}
	t.Logf("the interval held the truth in %d of %d searches, the rates are %.2f%% off on average", held, searches, off*100)
}

// Over 200 searches, with trials that are short, so that the interval is wide and has to be right.
func BenchmarkIntervalHoldsTheTruth(b *testing.B) {
	for b.Loop() {
		searches, held := 0, 0
		for _, k := range kinds() {
			for seed := range uint64(23) {
				searches++
				if r := mustFind(b, k, config(k, 40*second), 100+seed); r.Low <= k.knee && k.knee <= r.High {
					held++
				}
			}
		}
		if held*10 < searches*9 {
			b.Errorf("the interval held the truth in %d of %d searches, want at least nine in ten", held, searches)
		}
		b.ReportMetric(float64(held)/float64(searches), "held/search")
	}
}

func BenchmarkTruth(b *testing.B) {
	for b.Loop() {
		for _, k := range kinds() {
			if got := truth(k, 1200); math.Abs(got/k.knee-1) > 0.005 {
				b.Errorf("%s: got a knee of %.1f/s, want %.1f/s", k.name, got, k.knee)
			}
		}
	}
}
