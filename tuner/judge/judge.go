// Package judge decides from measurements whether a candidate configuration replaces the incumbent.
//
// # How it is used
//
// A Judge says which side to measure next, is given what was measured, and says when it has decided (see the example). Measurements come in
// blocks. A block is one deployment of one side: brought up anew, warmed up, measured in one or several windows. The first eight blocks, four of each side,
// are a round, and each four after them. The next side is measured in a fresh deployment even if the same side runs already (Step.Again): two
// deployments of one configuration differ by more than two windows of one deployment do, so windows replicate nothing but the deployment they were taken in.
// Where a change needs no restart there is nothing to bring up, and Again may be ignored. A block that could not be measured is not added; Next asks
// for it again. Everything follows from Config, its Seed included, and the blocks added so far: a caller that was killed adds the recorded
// blocks to a new Judge and goes on.
//
// # What it promises
//
//   - Two sides that are the same are told apart in favour of the candidate with a probability of at most Alpha over the whole comparison,
//     though it is looked at after every round and stopped as soon as it is clear. This needs no model: the order within each round is drawn at random, so under
//     this hypothesis the measured values would have been the same in any other order, and the judge counts in how many of all orders
//     (70, 420, 2,520, 15,120 after 8, 12, 16, 20 blocks) the candidate would have looked as good. Drift, autocorrelation, outliers and differences
//     between deployments of any size and shape change nothing about this. It holds with blocks as described; a caller that leaves out the redeployment of
//     Again has it only as nearly as deployments are alike (bench/JUDGE.md says how nearly).
//   - It ends early: a clear gain after 8 blocks, and 2 more that confirm it, at the earliest; a clear loss after a block of each side; what cannot become a gain any more, in view of the
//     noise, after 4 blocks. Ending without a gain costs no part of Alpha. It ends at the latest after Config.Rounds, or when the next round would not
//     fit into Config.Budget.
//   - A gain is not kept on the data that made it look like one: the blocks after those in which the candidate was first ahead, fresh deployments, must show
//     it ahead by themselves (Verdict.Recheck). It is not kept before it was deployed 6 times, and not if one of these deployments fell far below
//     the others. The last of them is what runs then.
//   - Feasibility comes before goodput, see Compare.
//   - Verdict.Interval holds the effect, at every look at once, with a probability of 1 − 2·Alpha (1 − Alpha for each bound).
//
// # What it leaves out
//
// It measures nothing, has no clock, and is not given missing data: complete windows only. An effect that differs from one time of
// the day to another is not seen in half an hour. Alpha is for one comparison, not for a study of many.
//
// # Where it comes from
//
// Randomisation tests: Fisher, The Design of Experiments (1935); permuted blocks: Matts and Lachin, Controlled Clinical Trials 9 (1988).
// Spending Alpha over looks: Lan and DeMets, Biometrika 70 (1983), with the power family of Kim and DeMets, Biometrika 74 (1987); intervals by inverting the
// test at each look: Jennison and Turnbull, Controlled Clinical Trials 5 (1984). Adjustment for time: Tukey, Controlled Clinical Trials 14 (1993).
// A block's value: Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963). Futility: predictive power, Spiegelhalter, Freedman and Blackburn,
// Controlled Clinical Trials 7 (1986). Deployments as the unit of replication, unstable configurations: TUNA, EuroSys (2025).
package judge

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Window is what was measured in one window.
type Window struct {
	Goodput float64 `json:"goodput"` // acknowledged records per second
	P99     float64 `json:"p99"`     // seconds, end to end
}

// Rules of the judgement.
type Rules struct {
	Margin    float64 `json:"margin"`    // least relative gain that is worth a restart, for example 0.03
	Alpha     float64 `json:"alpha"`     // probability of a false gain in one comparison, for example 0.05
	SLO       float64 `json:"slo"`       // seconds
	Tolerance float64 `json:"tolerance"` // by which the typical P99 may exceed the SLO, for example 0.2: a load held at the SLO swings about it
}

// Decision of a comparison.
type Decision string

// The decisions.
const (
	Better    Decision = "better"
	NotBetter Decision = "not-better"
	Worse     Decision = "worse"
)

// Cause of a decision, for tables and metrics; Verdict.Reason says it in words.
type Cause string

// The causes.
const (
	Gain     Cause = "gain"     // clear, and confirmed by fresh deployments
	Loss     Cause = "loss"     // clear
	Breach   Cause = "breach"   // the candidate breaks the SLO, the incumbent does not
	Unstable Cause = "unstable" // some deployment of the candidate fell far below its others
	Futile   Cause = "futile"   // a gain has become improbable
	Margin   Cause = "margin"   // a clear gain, too small to be worth it
	Faded    Cause = "faded"    // a gain that fresh deployments did not show again
	Noise    Cause = "noise"    // all rounds measured, nothing clear
	Deadline Cause = "deadline" // the budget ended before anything was clear
)

// Interval is a range of relative effects.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Verdict is a decision with its evidence.
type Verdict struct {
	Decision     Decision  `json:"decision"` // empty: not decided yet
	Cause        Cause     `json:"cause,omitempty"`
	Effect       float64   `json:"effect"`             // candidate's goodput ÷ incumbent's − 1
	Interval     *Interval `json:"interval,omitempty"` // of Effect; absent while the rounds are too few for one
	Recheck      *float64  `json:"recheck,omitempty"`  // Effect in the rounds after the candidate was first ahead
	StdErr       float64   `json:"std_err,omitempty"`  // of Effect, approximate
	Noise        float64   `json:"noise,omitempty"`    // relative, of one block: what Config.Noise of the next comparison may be
	P            float64   `json:"p"`                  // of the test that decided
	Blocks       int       `json:"blocks,omitempty"`   // measured, both sides
	Incumbent    float64   `json:"incumbent"`
	Candidate    float64   `json:"candidate"`
	IncumbentP99 float64   `json:"incumbent_p99"`
	CandidateP99 float64   `json:"candidate_p99"`
	Reason       string    `json:"reason"`
}

// Side of a comparison.
type Side string

// The sides.
const (
	Incumbent Side = "incumbent"
	Candidate Side = "candidate"
)

// Step is what to measure next.
type Step struct {
	Side  Side `json:"side"`
	Again bool `json:"again"` // the side that runs already: to be deployed anew nevertheless
	Block int  `json:"block"` // from 0
}

// Block is what was measured in one deployment.
type Block struct {
	Side    Side          `json:"side"`
	Windows []Window      `json:"windows"`
	Took    time.Duration `json:"took"` // with everything: rollout, warm-up, windows; for Config.Budget only
}

// Config of a comparison.
type Config struct {
	Rules
	Rounds int           `json:"rounds"` // at most; 4 are 10 blocks a side
	Budget time.Duration `json:"budget"` // of the blocks' times together; 0: no limit
	Noise  float64       `json:"noise"`  // relative, expected of one block, for example 0.05; steers when to give up, not what counts as a gain
	Seed   uint64        `json:"seed"`   // of the order
}

// MaxRounds is how many rounds the orders can be counted for.
const MaxRounds = 5

func (c Config) validate() error {
	var all []error
	bad := func(field, want string, got any) {
		all = append(all, fmt.Errorf("%s: want %s (got %v)", field, want, got))
	}
	within := func(field string, v, low, high float64) {
		if !(v >= low && v <= high) {
			bad(field, fmt.Sprintf("a number from %g to %g", low, high), v)
		}
	}
	within("margin", c.Margin, 0, 1)
	within("alpha", c.Alpha, 0.0001, 0.25)
	within("tolerance", c.Tolerance, 0, 10)
	within("noise", c.Noise, 0.001, 1)
	if !(c.SLO > 0) || math.IsInf(c.SLO, 0) {
		bad("slo", "seconds above 0", c.SLO)
	}
	if least := MinRounds(c.Alpha); c.Rounds < least || c.Rounds > MaxRounds {
		bad("rounds", fmt.Sprintf("from %d, the fewest that reach alpha, to %d", least, MaxRounds), c.Rounds)
	}
	if c.Budget < 0 {
		bad("budget", "a duration of at least 0", c.Budget)
	}
	return errors.Join(all...)
}

// Judge compares two sides. It is not safe for concurrent use.
type Judge struct {
	config  Config
	orders  []int // one of each round
	blocks  []Block
	goodput []float64 // each block's value as logarithm
	latency []float64 // −log P99, so that higher is better
	spent   time.Duration
	verdict Verdict
	test    *test
	ahead   int    // the number of blocks after which the candidate was first ahead; 0: not yet
	clear   int    // the number of blocks after which its gain was clear; 0: not yet
	gain    string // in words
}

// New makes a Judge.
func New(c Config) (*Judge, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("configure judge: %w", err)
	}
	return &Judge{config: c, orders: draw(c.Seed, c.Rounds), test: newTest(c.Alpha, c.Rounds)}, nil
}

// Next is what to measure; false when the comparison is decided.
func (j *Judge) Next() (Step, bool) {
	if j.verdict.Decision != "" {
		return Step{}, false
	}
	n := len(j.blocks)
	return Step{Side: j.side(n), Again: n > 0 && j.side(n) == j.side(n-1), Block: n}, true
}

func (j *Judge) side(block int) Side {
	if j.clear > 0 && block >= j.clear {
		return Candidate
	}
	for r, drawn := range j.orders {
		if from, to := bounds(r); block < to && orders(r)[drawn]>>(block-from)&1 == 1 {
			return Candidate
		} else if block < to {
			break
		}
	}
	return Incumbent
}

// Add takes the block that Next asked for.
func (j *Judge) Add(b Block) error {
	step, more := j.Next()
	if !more {
		return fmt.Errorf("add block: decided already (%s)", j.verdict.Decision)
	}
	if b.Side != step.Side {
		return fmt.Errorf("add block %d: want side %s (got %q)", step.Block, step.Side, b.Side)
	}
	if len(b.Windows) == 0 {
		return fmt.Errorf("add block %d: want windows (got none)", step.Block)
	}
	for _, w := range b.Windows {
		if !(w.Goodput >= 0 && w.P99 >= 0) || math.IsInf(w.Goodput, 0) || math.IsInf(w.P99, 0) {
			return fmt.Errorf("add block %d: want finite figures of at least 0 (got %+v)", step.Block, w)
		}
	}
	j.blocks = append(j.blocks, b)
	j.goodput = append(j.goodput, value(b, Goodput))
	j.latency = append(j.latency, -value(b, P99))
	j.spent += b.Took
	j.decide()
	return nil
}

// Verdict is the state of the comparison: decided once its Decision is set, and a preview of the figures before.
func (j *Judge) Verdict() Verdict {
	v := j.verdict
	v.Interval = j.interval()
	if v.Interval != nil {
		v.Reason += fmt.Sprintf("; the gain is from %+.1f to %+.1f %%", v.Interval.Low*100, v.Interval.High*100)
	}
	return v
}
