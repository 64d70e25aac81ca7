package judge_test

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

// world is a simulated cluster under load. All figures are relative.
type world struct {
	windows    int     // a block; of 10 s
	noise      float64 // of a window, standard deviation
	correlated float64 // with the window before
	deployment float64 // what a deployment adds for as long as it lives, standard deviation
	drift      float64 // a block, in a straight line
	swing      float64 // amplitude of a wave of 12 blocks
	walk       float64 // step of a random walk, a block
	outliers   float64 // share of windows that come to a third
	stay       bool    // the side that runs already is not deployed anew
}

const (
	windowLength = 10 * time.Second
	restart      = 6 // windows between two deployments: rollout and warm-up
	waveLength   = 12
)

// cluster is a world with its state.
type cluster struct {
	world
	*rand.Rand
	before, walked, deployed float64
	running                  judge.Side
	blocks                   int
}

func (w world) cluster(seed uint64) *cluster {
	c := &cluster{world: w, Rand: rand.New(rand.NewPCG(seed, 7))}
	c.before = c.NormFloat64() * w.noise
	return c
}

// window is the next value of the noise, a process of first order.
func (c *cluster) window() float64 {
	c.before = c.correlated*c.before + math.Sqrt(1-c.correlated*c.correlated)*c.noise*c.NormFloat64()
	return c.before
}

// block measures a side that makes 1000 × e^effect in its typical deployment.
func (c *cluster) block(side judge.Side, effect float64) judge.Block {
	b := judge.Block{Side: side, Took: time.Duration(c.windows) * windowLength}
	if side != c.running || !c.stay {
		c.deployed, c.running = c.deployment*c.NormFloat64(), side
		for range restart {
			c.window()
		}
		b.Took += restart * windowLength
	}
	c.walked += c.walk * c.NormFloat64()
	place := c.drift*float64(c.blocks) + c.swing*math.Sin(float64(c.blocks)*2*math.Pi/waveLength) + c.walked
	c.blocks++
	for range c.windows {
		v := effect + place + c.deployed + c.window()
		if c.Float64() < c.outliers {
			v -= math.Log(3)
		}
		b.Windows = append(b.Windows, judge.Window{Goodput: 1000 * math.Exp(v), P99: 0.1 * math.Exp(c.NormFloat64()*0.1)})
	}
	return b
}

func config(seed uint64) judge.Config {
	rules := judge.Rules{Margin: 0.03, Alpha: 0.05, SLO: 0.2, Tolerance: 0.2}
	return judge.Config{Rules: rules, Rounds: 4, Noise: 0.05, Seed: seed}
}

// effects gives a side's effect in its next deployment.
type effects func(judge.Side) float64

func constant(effect float64) effects {
	return func(s judge.Side) float64 {
		if s == judge.Candidate {
			return effect
		}
		return 0
	}
}

// compare runs a comparison to its end and says how long it measured.
func compare(c judge.Config, w *cluster, e effects) (judge.Verdict, time.Duration) {
	j, err := judge.New(c)
	if err != nil {
		panic(err)
	}
	var took time.Duration
	for step, more := j.Next(); more; step, more = j.Next() {
		b := w.block(step.Side, e(step.Side))
		took += b.Took
		if err := j.Add(b); err != nil {
			panic(err)
		}
	}
	return j.Verdict(), took
}
