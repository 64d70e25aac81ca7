package judge_test

import (
	"math/rand/v2"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

func TestMoving(t *testing.T) {
	for name, c := range map[string]struct {
		slope, noise float64 // a part per window
		least, most  int     // of 1,000 rows of eight windows are found to move
	}{
		"steady":                        {0, 0.05, 0, 120},
		"steady, with hardly any noise": {0, 0.001, 0, 0}, // less than the margin is no matter
		"rising by 3 % a window":        {0.03, 0.05, 850, 1000},
		"falling by 3 % a window":       {-0.03, 0.05, 850, 1000},
		"rising by 3 % without noise":   {0.03, 0, 1000, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			found := 0
			for range 1000 {
				var windows []judge.Window
				for i := range 8 {
					windows = append(windows, judge.Window{Goodput: 1000 * (1 + c.slope*float64(i)) * (1 + c.noise*r.NormFloat64())})
				}
				if _, moving := judge.Moving(windows, 0.03); moving {
					found++
				}
			}
			if found < c.least || found > c.most {
				t.Errorf("got %d, want %d to %d", found, c.least, c.most)
			}
		})
	}
	if _, moving := judge.Moving([]judge.Window{{Goodput: 1}, {Goodput: 2}, {Goodput: 3}}, 0.03); moving {
		t.Error("got a trend of three windows")
	}
}
