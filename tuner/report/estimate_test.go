package report

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The bounds are those of the tables of the Mann-Whitney test, two-sided at 5 %: the largest U that is significant, and one more.
func TestRankBound(t *testing.T) {
	for _, c := range []struct{ n1, n2, want int }{{3, 3, 0}, {1, 8, 0}, {4, 4, 1}, {5, 5, 3}, {8, 8, 14}, {10, 10, 24}, {7, 12, 19}, {100, 100, 4198}} {
		if got := rankBound(c.n1, c.n2); got != c.want {
			t.Errorf("%d and %d: want %d (got %d)", c.n1, c.n2, c.want, got)
		}
	}
}

// TestTheIntervalHoldsWhatItPromises: in 19 of 20 studies, and not in all of them.
func TestTheIntervalHoldsWhatItPromises(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(middle float64) []float64 {
		out := make([]float64, 8)
		for i := range out {
			out[i] = middle * math.Exp(0.1*random.NormFloat64())
		}
		return out
	}
	const studies, gain = 4000, 0.3
	holds := 0
	for range studies {
		if e := change(draw(1000), draw(1000*(1+gain))); *e.Low <= gain && gain <= *e.High {
			holds++
		}
	}
	if share := float64(holds) / studies; share < 0.945 || share > 0.975 {
		t.Errorf("want it to hold in 95 %% of the studies, as the discrete test allows (got %.1f %%)", share*100)
	}
}

func TestNothingToCompare(t *testing.T) {
	for name, c := range map[string][2][]float64{"none before": {nil, {1}}, "none after": {{1}, nil}, "a zero": {{0, 1}, {1, 2}}} {
		if e := change(c[0], c[1]); e != nil {
			t.Errorf("%s: want no estimate (got %+v)", name, e)
		}
	}
}
