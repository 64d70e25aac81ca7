// Package search finds the highest rate at which a latency objective is met, in a few trials, and says how sure it is.
//
// It promises: at most Config.Trials trials, each of them a fresh measurement at one rate; an estimate that uses every trial and that one bad
// trial cannot overturn; an interval that holds the truth 95 times in 100 as long as the trials are alike; trials in which the generator was
// the bottleneck never count against the server; and a result whatever happens, with the reason when it is only a bound.
//
// It is a pure function of what the trials report. It leaves out measuring: warm-up, fresh histograms and the drain between two trials
// belong to the function that runs a trial.
package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Config says what is looked for, and where. SLO, Min, Max, Warmup and Measure are required.
type Config struct {
	SLO     time.Duration // P99 of end-to-end latency that must be met
	Min     float64       // records/s, the lowest rate worth knowing about
	Max     float64       // records/s, the highest rate to try
	Start   float64       // records/s, where to begin; default Min. The closer to the knee, the fewer trials go into finding its neighbourhood
	Trials  int           // at most so many; default 12
	Within  float64       // ends early once the interval reaches no further than this part of the rate to either side; default 0.01
	Warmup  time.Duration // of each trial, not measured
	Measure time.Duration // of each trial, after its warm-up
	// Progress, when set, is called after each trial.
	Progress func(Trial)
}

const (
	// DefaultTrials is how many trials there are at most when the configuration does not say.
	DefaultTrials = 12
	// DefaultWithin is how exact the result is wanted when the configuration does not say.
	DefaultWithin = 0.01
)

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, field, want string, got any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %s (got %v)", field, want, got))
		}
	}
	need(c.SLO > 0, "slo", "must be above 0", c.SLO)
	need(c.Min > 0 && !math.IsInf(c.Min, 1), "min", "must be a finite number of records per second above 0", c.Min)
	if c.Min > 0 && c.Measure > 0 {
		n := c.Min * c.Measure.Seconds()
		need(n >= fewest, "min", fmt.Sprintf("must be at least %.3g/s, or measure longer: a P99 takes %d records", fewest/c.Measure.Seconds(), fewest), c.Min)
	}
	need(c.Max >= c.Min && !math.IsInf(c.Max, 1), "max", fmt.Sprintf("must be a finite number of records per second, at least min %v", c.Min), c.Max)
	need(c.Start == 0 || c.Start >= c.Min && c.Start <= c.Max, "start", fmt.Sprintf("must be within min %v and max %v, or 0 for min", c.Min, c.Max), c.Start)
	need(c.Trials == 0 || c.Trials >= 3 && c.Trials <= 1000, "trials", "must be within 3..1000, or 0 for 12", c.Trials)
	need(c.Within >= 0 && c.Within < 1, "within", "must be a part of the rate, above 0 and below 1, or 0 for 0.01", c.Within)
	need(c.Warmup >= 0, "warmup", "must be 0 or more", c.Warmup)
	need(c.Measure > 0, "measure", "must be above 0", c.Measure)
	return errors.Join(errs...)
}

// Outcome is what one trial measured.
type Outcome struct {
	Offered  float64       `json:"offered"`  // records/s intended within the measured time
	Acked    float64       `json:"acked"`    // records/s acknowledged within it, whenever they were intended
	Consumed float64       `json:"consumed"` // records/s consumed within it, whenever they were intended
	P99      time.Duration `json:"p99"`      // ns, end to end from the intended time, so that a late schedule is part of it
	Samples  uint64        `json:"samples"`  // records that P99 is taken from
	Errors   uint64        `json:"errors"`   // records that failed
	// GeneratorLimited tells that the generator could not keep its schedule for reasons of its own.
	GeneratorLimited bool `json:"generator_limited"`
	// Steady tells that neither latency nor backlog was still changing while it was measured: its first and second half agree.
	Steady bool `json:"steady"`
}

// Measure runs one trial: warms up at the rate, measures with fresh histograms, and drains.
type Measure func(ctx context.Context, rate float64) (Outcome, error)

// Run searches until the rate is known well enough or the trials are used up. When ctx ends, the result is what is known by then, and no
// error. An error of measure other than that ends the search, and comes with the result so far.
func Run(ctx context.Context, c Config, measure Measure) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, err
	}
	if c.Start == 0 {
		c.Start = c.Min
	}
	if c.Trials == 0 {
		c.Trials = DefaultTrials
	}
	if c.Within == 0 {
		c.Within = DefaultWithin
	}
	s := &search{c: c}
	for {
		rate, why := s.next()
		if why != "" {
			return s.result(why), nil
		}
		if ctx.Err() != nil {
			return s.result(fmt.Sprintf("ended before trial %d: %v", len(s.trials)+1, context.Cause(ctx))), nil
		}
		o, err := measure(ctx, rate)
		switch {
		case ctx.Err() != nil:
			return s.result(fmt.Sprintf("ended during trial %d: %v", len(s.trials)+1, context.Cause(ctx))), nil
		case err != nil:
			err = fmt.Errorf("run trial %d at %s/s: %w", len(s.trials)+1, figure(rate), err)
			return s.result(err.Error()), err
		}
		s.note(rate, o)
		if c.Progress != nil {
			c.Progress(s.trials[len(s.trials)-1])
		}
	}
}
