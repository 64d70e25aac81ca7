package judge_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

func config() judge.Config { return judge.Config{Rules: rules(), Rounds: 4, Noise: 0.05, Seed: 3} }

// source says what the n-th block of a side shows in goodput and P99.
type source func(s judge.Side, n int) (goodput, p99 float64)

// sides is a source of two sides that hardly waver.
func sides(incumbent, incumbentP99, candidate, candidateP99 float64) source {
	return func(s judge.Side, n int) (float64, float64) {
		waver := 1 + 0.002*math.Sin(float64(n*n))
		if s == judge.Candidate {
			return candidate * waver, candidateP99 * waver
		}
		return incumbent / waver, incumbentP99 / waver
	}
}

func run(t *testing.T, j *judge.Judge, from source) judge.Verdict {
	t.Helper()
	n := map[judge.Side]int{}
	for step, more := j.Next(); more; step, more = j.Next() {
		goodput, p99 := from(step.Side, n[step.Side])
		n[step.Side]++
		b := judge.Block{Side: step.Side, Windows: []judge.Window{{Goodput: goodput, P99: p99}}, Took: 100 * time.Second}
		if err := j.Add(b); err != nil {
			t.Fatal(err)
		}
	}
	return j.Verdict()
}

func newJudge(t *testing.T, c judge.Config) *judge.Judge {
	t.Helper()
	j, err := judge.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestVerdict(t *testing.T) {
	noise := rand.New(rand.NewPCG(5, 5))
	for name, c := range map[string]struct {
		from   source
		want   judge.Decision
		cause  judge.Cause
		blocks int // at most
		reason string
	}{
		"a clear gain":                  {sides(1000, 0.1, 1200, 0.1), judge.Better, judge.Gain, 10, "+20"},
		"a small gain, clearly":         {sides(1000, 0.1, 1050, 0.1), judge.Better, judge.Gain, 10, "+5"},
		"a gain below the margin":       {sides(1000, 0.1, 1010, 0.1), judge.NotBetter, judge.Margin, 20, "below the margin of 3.0 %"},
		"a loss that jumps to the eye":  {sides(1000, 0.1, 600, 0.1), judge.Worse, judge.Loss, 4, "-40"},
		"a small loss":                  {sides(1000, 0.1, 960, 0.1), judge.Worse, judge.Loss, 8, "a clear loss"},
		"nothing moves any more":        {sides(1000, 0.1, 0, 0.1), judge.Worse, judge.Loss, 4, "-100"},
		"nothing moves on either side":  {sides(0, 0.1, 0, 0.1), judge.NotBetter, judge.Futile, 16, "improbable"},
		"no difference":                 {sides(1000, 0.1, 1000, 0.1), judge.NotBetter, judge.Futile, 16, "improbable"},
		"a gain that breaks the SLO":    {sides(1000, 0.1, 2000, 0.5), judge.Worse, judge.Breach, 4, "breaks the SLO of 200 ms"},
		"a P99 within the tolerance":    {sides(1000, 0.1, 1200, 0.23), judge.Better, judge.Gain, 10, "+20"},
		"a P99 just over the tolerance": {sides(1000, 0.1, 1200, 0.25), judge.Worse, judge.Breach, 20, "breaks the SLO of 200 ms"},
		"the way back under the SLO":    {sides(1000, 0.5, 1000, 0.1), judge.Better, judge.Gain, 12, "back under the SLO"},
		"back, at a price":              {sides(1000, 0.5, 500, 0.1), judge.Worse, judge.Loss, 8, "-50"},
		"both break it, one less":       {sides(1000, 0.5, 500, 0.4), judge.Better, judge.Gain, 10, "nearer to the SLO"},
		"both break it, one more":       {sides(1000, 0.5, 2000, 0.9), judge.Worse, judge.Loss, 8, "a clear loss in P99"},
		"a deployment that is not like the others": {func(s judge.Side, n int) (float64, float64) {
			if s == judge.Candidate && n == 2 {
				return 700, 0.1
			}
			return sides(1000, 0.1, 1300, 0.1)(s, n)
		}, judge.Worse, judge.Unstable, 8, "fell 46 % below the others"},
		"an incumbent's deployment that is not like the others": {func(s judge.Side, n int) (float64, float64) {
			if s == judge.Incumbent && n == 2 {
				return 500, 0.1
			}
			return sides(1000, 0.1, 1300, 0.1)(s, n)
		}, judge.Better, judge.Gain, 12, "again in fresh deployments"},
		"a gain that does not show again": {func(s judge.Side, n int) (float64, float64) {
			if s == judge.Candidate && n < 2 {
				return 1200, 0.1
			}
			return 1000 + 5*noise.Float64(), 0.1
		}, judge.NotBetter, judge.Futile, 20, "improbable"},
	} {
		t.Run(name, func(t *testing.T) {
			v := run(t, newJudge(t, config()), c.from)
			if v.Decision != c.want || v.Cause != c.cause || v.Blocks > c.blocks || !strings.Contains(v.Reason, c.reason) {
				t.Errorf("want %s by %s within %d blocks with %q (got %+v)", c.want, c.cause, c.blocks, c.reason, v)
			}
			for name, f := range map[string]float64{"effect": v.Effect, "p": v.P, "standard error": v.StdErr, "noise": v.Noise, "P99": v.CandidateP99} {
				if math.IsNaN(f) || math.IsInf(f, 0) {
					t.Errorf("%s is %g, which no ledger can hold", name, f)
				}
			}
			if v.Decision == judge.Better && (v.Recheck == nil || v.Interval == nil) {
				t.Errorf("want a gain with its re-check and its interval (got %+v)", v)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	c := config()
	c.Budget = 12 * 100 * time.Second
	noise := rand.New(rand.NewPCG(5, 6))
	v := run(t, newJudge(t, c), func(s judge.Side, _ int) (float64, float64) {
		gain := 1.
		if s == judge.Candidate {
			gain = 1.03
		}
		return 1000 * gain * (1 + 0.05*noise.NormFloat64()), 0.1
	})
	if v.Cause != judge.Deadline || v.Blocks != 12 || !strings.Contains(v.Reason, "20m0s") {
		t.Errorf("want it to end after the 12 blocks that 20 minutes have (got %+v)", v)
	}
}

// TestOrders: the plan is balanced, different for each seed, the same for the same seed, and says when to deploy the same side again.
func TestOrders(t *testing.T) {
	sequence := func(seed uint64) (sides string, again int) {
		c := config()
		c.Seed = seed
		j := newJudge(t, c)
		run(t, j, func(s judge.Side, n int) (float64, float64) {
			step, _ := j.Next()
			if len(sides) > 0 && step.Again != (sides[len(sides)-1] == s[0]) {
				t.Errorf("after %q comes %s: again is %t", sides, s, step.Again)
			}
			sides += string(s[0])
			return 1000 * (1 + 0.1*math.Sin(float64(7*len(sides)*len(sides)))), 0.1
		})
		return sides, again
	}
	seen := map[string]bool{}
	for seed := range uint64(100) {
		s, _ := sequence(seed)
		if again, _ := sequence(seed); again != s {
			t.Fatalf("want the same plan for the same seed (got %s and %s)", s, again)
		}
		for _, end := range []int{8, 12, 16, 20} {
			if len(s) >= end && strings.Count(s[:end], "i") != end/2 {
				t.Errorf("want as many blocks of each side in the first %d of %s", end, s)
			}
		}
		seen[s[:4]] = true
	}
	if len(seen) < 14 {
		t.Errorf("want all kinds of orders (got %d)", len(seen))
	}
}

// TestResume: a judge that is given the same blocks again is where the first one was.
func TestResume(t *testing.T) {
	first := newJudge(t, config())
	var blocks []judge.Block
	for step, more := first.Next(); more; step, more = first.Next() {
		b := judge.Block{Side: step.Side, Windows: windows(0.1, 1000+float64(17*len(blocks)%90), 990, 1010), Took: time.Minute}
		blocks = append(blocks, b)
		if err := first.Add(b); err != nil {
			t.Fatal(err)
		}
		second := newJudge(t, config())
		for _, b := range blocks {
			if err := second.Add(b); err != nil {
				t.Fatal(err)
			}
		}
		a, moreA := first.Next()
		b2, moreB := second.Next()
		if a != b2 || moreA != moreB || !reflect.DeepEqual(first.Verdict(), second.Verdict()) {
			t.Fatalf("after %d blocks: want %+v (got %+v)", len(blocks), first.Verdict(), second.Verdict())
		}
	}
}

func TestMistakes(t *testing.T) {
	_, err := judge.New(judge.Config{Rules: judge.Rules{Margin: -1, Alpha: 0, SLO: math.NaN(), Tolerance: -1}, Rounds: 9, Noise: 0, Budget: -1})
	if err == nil {
		t.Fatal("want an error")
	}
	for _, field := range []string{"margin", "alpha", "slo", "tolerance", "rounds", "noise", "budget"} {
		if !strings.Contains(err.Error(), field+": want") {
			t.Errorf("want %s in the error (got %v)", field, err)
		}
	}
	j := newJudge(t, config())
	step, _ := j.Next()
	other := judge.Incumbent
	if step.Side == other {
		other = judge.Candidate
	}
	for name, b := range map[string]judge.Block{
		"the other side": {Side: other, Windows: windows(0.1, 1)},
		"no windows":     {Side: step.Side},
		"no number":      {Side: step.Side, Windows: windows(0.1, math.NaN())},
		"infinite":       {Side: step.Side, Windows: windows(math.Inf(1), 1)},
		"negative":       {Side: step.Side, Windows: windows(0.1, -1)},
	} {
		if j.Add(b) == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	if again, _ := j.Next(); again != step {
		t.Errorf("want what was refused asked for again (got %+v)", again)
	}
	run(t, j, sides(1000, 0.1, 1200, 0.1))
	if j.Add(judge.Block{Side: step.Side, Windows: windows(0.1, 1)}) == nil {
		t.Error("want an error for a block after the decision")
	}
}

// TestExact: whatever was measured, if it does not depend on the order, at most alpha of all orders lead to a gain. This is counted, not sampled.
func TestExact(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	walk := 0.
	for name, figures := range map[string]func(i int) (goodput, p99 float64){
		"noise":               func(int) (float64, float64) { return 1000 * math.Exp(0.05*r.NormFloat64()), 0.1 },
		"heavy tails":         func(int) (float64, float64) { return 1000 * math.Exp(0.05/r.NormFloat64()), 0.1 },
		"a drift":             func(i int) (float64, float64) { return 1000 + 50*float64(i) + 10*r.NormFloat64(), 0.1 },
		"a step":              func(i int) (float64, float64) { return 1000 * float64(1+i/6), 0.1 },
		"a random walk":       func(int) (float64, float64) { walk += 0.05 * r.NormFloat64(); return 1000 * math.Exp(walk), 0.1 },
		"two values":          func(i int) (float64, float64) { return 1000 + 100*float64(i*i%3), 0.1 },
		"one block that fell": func(i int) (float64, float64) { return 1000 - 900*float64(i/5%2*(i%5/4)) + r.Float64(), 0.1 },
		"P99 about the limit": func(int) (float64, float64) {
			return 1000 * math.Exp(0.05*r.NormFloat64()), 0.24 * math.Exp(0.1*r.NormFloat64())
		},
		"P99 over the limit": func(int) (float64, float64) { return 1000, 0.5 * math.Exp(0.1*r.NormFloat64()) },
		"P99 about the limit, bimodal": func(int) (float64, float64) {
			return 1000 * math.Exp(0.05*r.NormFloat64()), 0.1 + 0.3*float64(r.IntN(2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := config()
			c.Rounds, c.Noise, c.Margin = 2, 0.3, 0 // so much noise is expected that hardly anything is given up
			if name == "P99 about the limit" {
				c.Rounds = 3
			}
			var goodput, p99 [16]float64
			for i := range goodput {
				goodput[i], p99[i] = figures(i)
			}
			gains, all := 0, 0
			each(c.Rounds, func(orders []int) {
				j := newJudge(t, c)
				j.Draw(orders)
				for step, more := j.Next(); more; step, more = j.Next() {
					w := judge.Window{Goodput: goodput[step.Block], P99: p99[step.Block]}
					if err := j.Add(judge.Block{Side: step.Side, Windows: []judge.Window{w}}); err != nil {
						t.Fatal(err)
					}
				}
				all++
				if j.Gained() {
					gains++
				}
			})
			if float64(gains) > c.Alpha*float64(all) {
				t.Errorf("want at most %g of all orders to lead to a gain (got %d of %d)", c.Alpha, gains, all)
			}
		})
	}
}

// each visits all orders of the rounds.
func each(rounds int, visit func([]int)) {
	var extend func([]int)
	extend = func(orders []int) {
		if len(orders) == rounds {
			visit(orders)
			return
		}
		for o := range judge.Orders(len(orders)) {
			extend(append(slices.Clone(orders), o))
		}
	}
	extend(nil)
}
