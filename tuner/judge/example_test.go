package judge_test

import (
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

// A caller deploys what it is asked for, measures it, and hands it in, until the judge has decided.
func Example() {
	j, err := judge.New(judge.Config{
		Rules:  judge.Rules{Margin: 0.03, Alpha: 0.05, SLO: 0.2, Tolerance: 0.2},
		Rounds: 4, Budget: time.Hour, Noise: 0.05, Seed: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	goodput := map[judge.Side]float64{judge.Incumbent: 1000, judge.Candidate: 1200}
	for step, more := j.Next(); more; step, more = j.Next() {
		// Deploy step.Side here, anew if step.Again, wait until it is warm, and measure.
		wobble := float64(step.Block % 3)
		block := judge.Block{Side: step.Side, Windows: []judge.Window{
			{Goodput: goodput[step.Side] + wobble, P99: 0.15}, {Goodput: goodput[step.Side] - 2*wobble, P99: 0.14},
		}, Took: 100 * time.Second}
		if err := j.Add(block); err != nil {
			fmt.Println(err)
			return
		}
	}
	v := j.Verdict()
	fmt.Println(v.Decision, v.Cause)
	fmt.Println(v.Reason)
	// Output:
	// better gain
	// goodput 999/s → 1200/s (+20.0 %), P99 145 ms → 145 ms, 10 blocks: a clear gain (p=0.014), and again in fresh deployments; the gain is from +19.9 to +20.2 %
}
