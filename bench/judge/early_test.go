package judge_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

type decider func(judge.Config, *cluster, effects) (judge.Verdict, time.Duration)

// campaign tries candidates one after the other and keeps what decide keeps. It returns the true figure it ends with, as part of the best that there was,
// and the time it measured.
func campaign(seed uint64, w world, decide decider) (quality float64, took time.Duration) {
	const trials = 25
	r := rand.New(rand.NewPCG(seed, 13))
	c := w.cluster(seed + 3e6)
	incumbent := math.Log(0.5) // of the optimum
	best := incumbent
	for i := range trials {
		candidate := -0.3 * r.ExpFloat64()
		best = max(best, candidate)
		v, t := decide(config(seed*trials+uint64(i)), c, constant(candidate-incumbent))
		took += t
		if v.Decision == judge.Better {
			incumbent = candidate
		}
	}
	return math.Exp(incumbent - best), took
}

// toTheEnd measures ten blocks of each side in turn, whatever they show, and then compares the blocks by ranks.
func toTheEnd(c judge.Config, w *cluster, e effects) (judge.Verdict, time.Duration) {
	values := map[judge.Side][]judge.Window{}
	var took time.Duration
	for i := range 20 {
		side := []judge.Side{judge.Incumbent, judge.Candidate, judge.Candidate, judge.Incumbent}[i%4]
		b := w.block(side, e(side))
		took += b.Took
		values[side] = append(values[side], judge.Window{Goodput: judge.Median(b.Windows, judge.Goodput), P99: judge.Median(b.Windows, judge.P99)})
	}
	v, err := judge.Compare(values[judge.Incumbent], values[judge.Candidate], c.Rules)
	if err != nil {
		panic(err)
	}
	return v, took
}

// saved is the part of the measuring time that deciding early saves, and the part of the quality that it costs.
func saved(w world, campaigns int) (part, loss float64) {
	var early, late time.Duration
	var found, possible float64
	for i := range campaigns {
		q, t := campaign(uint64(i), w, compare)
		found, early = found+q, early+t
		q, t = campaign(uint64(i), w, toTheEnd)
		possible, late = possible+q, late+t
	}
	return 1 - early.Seconds()/late.Seconds(), 1 - found/possible
}

func TestEarlyStopping(t *testing.T) {
	part, loss := saved(world{windows: 8, noise: 0.05, correlated: 0.5, deployment: 0.02}, 15)
	if part < 0.5 || loss > 0.01 {
		t.Errorf("want half of the time saved at a loss of at most 1 %% (got %.0f %%, %.1f %%)", part*100, loss*100)
	}
}

func BenchmarkEarlyStopping(b *testing.B) {
	for _, w := range worlds()[5:8] {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				part, loss := saved(w.world, 20)
				b.ReportMetric(part*100, "%saved")
				b.ReportMetric(loss*100, "%lost")
			}
		})
	}
}
