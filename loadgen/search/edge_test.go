package search_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/search"
)

const ms = time.Millisecond

// simple is a server without chance that does so many records a second and no more.
func simple(capacity float64) func(rate float64) search.Outcome {
	return func(rate float64) search.Outcome {
		served := min(rate, capacity)
		o := search.Outcome{Offered: rate, Acked: served, Consumed: served, P99: 30 * second, Samples: uint64(served * 20), Steady: rate < capacity}
		if rate < capacity {
			o.P99 = 5*ms + time.Duration(5e9/(capacity-rate))
		}
		return o
	}
}

func plainly() search.Config {
	return search.Config{SLO: 100 * ms, Min: 10, Max: 10_000, Start: 100, Warmup: 5 * second, Measure: 20 * second}
}

func mustRun(t *testing.T, c search.Config, server func(rate float64) search.Outcome) search.Result {
	t.Helper()
	r, err := search.Run(t.Context(), c, func(_ context.Context, rate float64) (search.Outcome, error) { return server(rate), nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Trials) > 12 {
		t.Errorf("got %d trials, want at most 12", len(r.Trials))
	}
	for _, trial := range r.Trials {
		if trial.Rate < c.Min || trial.Rate > c.Max {
			t.Errorf("got a trial at %v/s, want none outside %v..%v", trial.Rate, c.Min, c.Max)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("got %v, want a result that can be written as JSON", err)
	}
	return r
}

// A server of 1000/s meets 100 ms up to 947/s.
func TestSearchAnswersWhateverTheTrialsSay(t *testing.T) {
	const knee = 1000 - 5/0.095
	server := simple(1000)
	for name, tc := range map[string]struct {
		change     func(c *search.Config)
		server     func(n int, rate float64) search.Outcome
		kind       search.Kind
		rate       float64 // within 3 %
		loose      bool    // 6 %, since trials were lost to it
		low, high  float64 // of AtLeast and Below, exactly
		trials     int     // at most; 0 for 12
		why        string
		verdicts   map[int]search.Verdict // of trials by number
		whyOfTrial map[int]string
	}{
		"a server without noise is found": {kind: search.Found, rate: knee, why: "known within"},
		"the lowest rate breaches": {
			change: func(c *search.Config) { c.Min, c.Start = 2000, 2000 },
			kind:   search.Below, high: 2000, trials: 3, why: "the lowest rate to try, 2000/s, breaches",
		},
		"the start breaches, the knee is far below": {
			change: func(c *search.Config) { c.Start = 10_000 },
			kind:   search.Found, rate: knee,
		},
		"the highest rate meets": {
			change: func(c *search.Config) { c.Max = 600 },
			kind:   search.AtLeast, rate: 600, low: 600, trials: 4, why: "the highest rate to try, 600/s, meets",
		},
		"one rate only, which meets": {
			change: func(c *search.Config) { c.Min, c.Start, c.Max = 500, 500, 500 },
			kind:   search.AtLeast, rate: 500, low: 500, trials: 3,
		},
		"records fail above 700/s": {
			server: func(_ int, rate float64) search.Outcome {
				o := server(rate)
				if rate > 700 {
					o.Errors = 3
				}
				return o
			},
			kind: search.Found, rate: 700, verdicts: map[int]search.Verdict{2: search.Breaches}, whyOfTrial: map[int]string{2: "3 records failed"},
		},
		"every record fails": {
			server: func(_ int, rate float64) search.Outcome {
				return search.Outcome{Offered: rate, Errors: uint64(rate * 20), Steady: true}
			},
			kind: search.Below, high: 10, why: "the lowest rate to try, 10/s, breaches",
		},
		"records fail once, for a reason that is not the rate": {
			server: func(n int, rate float64) search.Outcome {
				o := server(rate)
				if n == 2 {
					o.Errors = 10
				}
				return o
			},
			kind: search.Found, rate: knee,
		},
		"one trial is slow, for a reason that is not the rate": {
			server: func(n int, rate float64) search.Outcome {
				o := server(rate)
				if n == 5 {
					o.P99 = 3 * second
				}
				return o
			},
			kind: search.Found, rate: knee, loose: true,
		},
		"the generator ends at 600/s": {
			server: func(_ int, rate float64) search.Outcome {
				o := server(min(rate, 600))
				o.GeneratorLimited = rate > 600
				return o
			},
			kind: search.AtLeast, rate: 600, why: "the generator was the limit", verdicts: map[int]search.Verdict{2: search.Nothing},
		},
		"the generator is slow where Kafka is fast enough all the same": {
			server: func(_ int, rate float64) search.Outcome {
				o := server(rate)
				o.GeneratorLimited = true
				return o
			},
			kind: search.AtLeast, rate: knee,
		},
		"the generator was disturbed once": {
			server: func(n int, rate float64) search.Outcome {
				o := server(rate)
				if n == 7 {
					o.GeneratorLimited, o.Offered, o.P99 = true, rate/2, second
				}
				return o
			},
			kind: search.Found, rate: knee, verdicts: map[int]search.Verdict{7: search.Nothing},
		},
		"the generator cannot even do the lowest rate": {
			server: func(_ int, rate float64) search.Outcome {
				return search.Outcome{Offered: rate / 2, Acked: rate / 2, Consumed: rate / 2, P99: ms, Samples: 1000, Steady: true}
			},
			kind: search.Unknown, why: "said anything", verdicts: map[int]search.Verdict{1: search.Nothing}, whyOfTrial: map[int]string{1: "only 50/s were offered"},
		},
		"latency falls with load before it rises": {
			server: func(_ int, rate float64) search.Outcome {
				o := server(rate)
				o.P99 += time.Duration(20 / rate * 1e9) // twenty records make a batch
				return o
			},
			kind: search.Found, rate: 929,
		},
		"consumers fall behind without being slow yet": {
			server: func(_ int, rate float64) search.Outcome {
				o := simple(10_000)(rate)
				o.P99, o.Consumed = 5*ms, min(rate, 5000)
				return o
			},
			change: func(c *search.Config) { c.Max = 100_000 },
			kind:   search.Found, rate: 5150, whyOfTrial: map[int]string{3: "5000/s consumed"},
		},
		"no trial is steady": {
			server: func(_ int, rate float64) search.Outcome {
				o := server(rate)
				o.Steady = false
				return o
			},
			kind: search.Found, rate: knee, whyOfTrial: map[int]string{1: "latency was still changing"},
		},
		"three trials": {change: func(c *search.Config) { c.Trials = 3 }, kind: search.Found, rate: 568, trials: 3, why: "all 3 trials were made"},
	} {
		t.Run(name, func(t *testing.T) {
			c := plainly()
			if tc.change != nil {
				tc.change(&c)
			}
			n := 0
			r := mustRun(t, c, func(rate float64) search.Outcome {
				n++
				if tc.server == nil {
					return server(rate)
				}
				return tc.server(n, rate)
			})
			for _, trial := range r.Trials {
				t.Log(trial)
			}
			t.Log(r)
			if r.Kind != tc.kind || !strings.Contains(r.Why, tc.why) {
				t.Errorf("got %v (%s), want %s because %q", r, r.Kind, tc.kind, tc.why)
			}
			within := 0.03
			if tc.loose {
				within = 0.06
			}
			if math.Abs(r.Rate-tc.rate) > within*tc.rate {
				t.Errorf("got a rate of %.1f/s, want %.1f/s within %.0f%%", r.Rate, tc.rate, within*100)
			}
			if r.Kind == search.Found && !(r.Low <= r.Rate && r.Rate <= r.High) {
				t.Errorf("got an interval of %v to %v, want it around %v", r.Low, r.High, r.Rate)
			}
			if r.Kind != search.Found && tc.low != 0 && r.Low != tc.low || tc.high != 0 && r.High != tc.high {
				t.Errorf("got %v to %v, want %v to %v", r.Low, r.High, tc.low, tc.high)
			}
			if tc.trials != 0 && len(r.Trials) > tc.trials {
				t.Errorf("got %d trials, want at most %d", len(r.Trials), tc.trials)
			}
			for n, want := range tc.verdicts {
				if got := r.Trials[n-1]; got.Verdict != want {
					t.Errorf("got %v, want that it %s", got, want)
				}
			}
			for n, want := range tc.whyOfTrial {
				if got := r.Trials[n-1]; !strings.Contains(got.Why, want) {
					t.Errorf("got %v, want it to say %q", got, want)
				}
			}
		})
	}
}

func TestTheEndOfTheContextLeavesTheResultSoFar(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	r, err := search.Run(ctx, plainly(), func(ctx context.Context, rate float64) (search.Outcome, error) {
		if n++; n == 5 {
			cancel(errors.New("asked to end"))
			return search.Outcome{}, ctx.Err()
		}
		return simple(1000)(rate), nil
	})
	if err != nil || len(r.Trials) != 4 || r.Kind != search.Found || !strings.Contains(r.Why, "ended during trial 5: asked to end") {
		t.Errorf("got %v (%v), want what four trials told", r, err)
	}
	r, err = search.Run(ctx, plainly(), nil)
	if err != nil || r.Kind != search.Unknown || !strings.Contains(r.Why, "ended before trial 1") {
		t.Errorf("got %v (%v), want nothing known and no error", r, err)
	}
}

func TestATrialThatCannotBeRunEndsTheSearch(t *testing.T) {
	broken := errors.New("topic is gone")
	n := 0
	r, err := search.Run(t.Context(), plainly(), func(_ context.Context, rate float64) (search.Outcome, error) {
		if n++; n == 3 {
			return search.Outcome{}, broken
		}
		return simple(1000)(rate), nil
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "run trial 3 at ") {
		t.Errorf("got error %v, want which trial failed, and %v", err, broken)
	}
	if len(r.Trials) != 2 || r.Why != err.Error() {
		t.Errorf("got %v, want the two trials before and the reason", r)
	}
}

func TestProgressTellsOfEveryTrial(t *testing.T) {
	c := plainly()
	var lines []string
	c.Progress = func(t search.Trial) { lines = append(lines, t.String()) }
	r := mustRun(t, c, simple(1000))
	if len(lines) != len(r.Trials) {
		t.Errorf("got %d lines, want %d", len(lines), len(r.Trials))
	}
	if want := "trial 1 of at most 12: 100/s, P99 10.6 ms, meets"; lines[0] != want {
		t.Errorf("got %q, want %q", lines[0], want)
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *search.Config)
		want   []string
	}{
		"nothing set":             {func(c *search.Config) { *c = search.Config{} }, []string{"slo: must be above 0 (got 0s)", "min: must be", "measure: must be above 0 (got 0s)"}},
		"a highest below lowest":  {func(c *search.Config) { c.Max = 5 }, []string{"max: must be a finite number of records per second, at least min 10 (got 5)"}},
		"an endless highest":      {func(c *search.Config) { c.Max = math.Inf(1) }, []string{"max: must be a finite"}},
		"no number":               {func(c *search.Config) { c.Min = math.NaN() }, []string{"min: must be a finite"}},
		"a start outside":         {func(c *search.Config) { c.Start = 9 }, []string{"start: must be within min 10 and max 10000", "got 9"}},
		"too few trials":          {func(c *search.Config) { c.Trials = 2 }, []string{"trials: must be within 3..1000", "got 2"}},
		"a warm-up below zero":    {func(c *search.Config) { c.Warmup = -second }, []string{"warmup: must be 0 or more (got -1s)"}},
		"too few records for P99": {func(c *search.Config) { c.Min = 4; c.Start = 10 }, []string{"min: must be at least 5/s", "got 4"}},
		"an impossible precision": {func(c *search.Config) { c.Within = 1 }, []string{"within: must be", "got 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := plainly()
			tc.change(&c)
			_, err := search.Run(t.Context(), c, nil)
			for _, want := range tc.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}
