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

func mustFind(t *testing.T, k kind, c search.Config, seed uint64) search.Result {
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

// The truth is a run of twenty minutes. The spread is (highest − lowest)/median of five searches that differ in their chance only.
func TestSearchFindsTheKneeOfEveryKindOfServer(t *testing.T) {
	var all, held int
	var mu sync.Mutex
	t.Run("kind", func(t *testing.T) {
		for _, k := range kinds() {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				knee := truth(k, 1200)
				var rates []float64
				for seed := range uint64(5) {
					r := mustFind(t, k, config(k, 120*second), seed)
					rates = append(rates, r.Rate)
					if math.Abs(r.Rate/knee-1) > 0.05 {
						t.Errorf("seed %d: got %v, want within 5%% of %.0f/s", seed, r, knee)
					}
				}
				slices.Sort(rates)
				spread := (rates[4] - rates[0]) / rates[2]
				if spread > 0.03 {
					t.Errorf("got %.0f, want a spread of at most 3%% (it is %.1f%%)", rates, spread*100)
				}
				// Whether the interval holds is best seen where trials are short, so that it is wide.
				covered := 0
				const searches = 23
				for seed := range uint64(searches) {
					if r := mustFind(t, k, config(k, 40*second), 100+seed); r.Low <= knee && knee <= r.High {
						covered++
					}
				}
				t.Logf("knee %.1f/s, found %.1f, spread %.2f%%, interval held %d of %d times", knee, rates, spread*100, covered, searches)
				mu.Lock()
				defer mu.Unlock()
				all += searches
				held += covered
			})
		}
	})
	if held*10 < all*9 {
		t.Errorf("the interval held the truth in %d of %d searches, want at least nine in ten", held, all)
	}
	t.Logf("the interval held the truth in %d of %d searches", held, all)
}
