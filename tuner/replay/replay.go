// Package replay runs whole studies on a recorded surface: what a search would have tried, measured with noise, and how good the best of it
// really is.
//
// It promises that a run follows from its seed, that a search sees only what a measurement would show it, and that all algorithms have the same
// start, the same noise and the same rows to choose from. It leaves out what a real study has besides: judging, guards, and time.
package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// Config of a replay.
type Config struct {
	Surface   *Surface
	Algorithm string
	Trials    int
	Seeds     int     // 1 to Seeds are run
	Noise     float64 // relative standard deviation of a measurement
	Outliers  float64 // probability that a measurement is disturbed: 30 to 70 % of what it would be, and bounds the worse for it
	Progress  func(done, all int)
}

// Result of a replay.
type Result struct {
	Algorithm string     `json:"algorithm"`
	Noise     float64    `json:"noise"`
	Outliers  float64    `json:"outliers"`
	Rows      int        `json:"rows"`
	Objective string     `json:"objective"`
	Optimum   Optimum    `json:"optimum"`
	Summary   []Fraction `json:"summary"` // after each trial, over the seeds
	Runs      []Run      `json:"runs"`
}

// Optimum is the best row that holds the constraints.
type Optimum struct {
	Value         float64        `json:"value"`
	Configuration map[string]any `json:"configuration"`
}

// Fraction of the optimum that the best feasible trial so far truly has.
type Fraction struct {
	Trials int     `json:"trials"`
	Mean   float64 `json:"mean"`
	P10    float64 `json:"p10"`
	Median float64 `json:"median"`
}

// Run is one seed's study.
type Run struct {
	Seed     uint64    `json:"seed"`
	Trials   []Trial   `json:"trials"`
	Fraction []float64 `json:"fraction"` // of the optimum, after each trial; 0 until one is feasible
}

// Trial is one measurement.
type Trial struct {
	Trial         int                `json:"trial"`
	Configuration map[string]any     `json:"configuration"`
	Measured      map[string]float64 `json:"measured"`
	True          map[string]float64 `json:"true"`
	Feasible      bool               `json:"feasible"` // truly
	Failed        bool               `json:"failed,omitempty"`
	Reason        string             `json:"reason"`
}

// Do runs every seed.
func Do(ctx context.Context, c Config) (Result, error) {
	s := c.Surface
	out := Result{
		Algorithm: c.Algorithm, Noise: c.Noise, Outliers: c.Outliers, Rows: len(s.Pool), Objective: s.Objective,
		Optimum: Optimum{s.Optimum, s.configuration(s.Pool[s.Best])}, Runs: make([]Run, c.Seeds),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	finished := make(chan struct{}, c.Seeds)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		done := 0
		for range finished {
			done++
			if c.Progress != nil {
				c.Progress(done, c.Seeds)
			}
		}
	}()
	for i := range c.Seeds {
		group.Go(func() (err error) {
			out.Runs[i], err = c.run(ctx, uint64(i+1))
			finished <- struct{}{}
			return err
		})
	}
	err := group.Wait()
	close(finished)
	<-reported
	if err != nil {
		return Result{}, err
	}
	for n := range c.Trials {
		out.Summary = append(out.Summary, summary(out.Runs, n))
	}
	return out, nil
}

func (c Config) run(ctx context.Context, seed uint64) (Run, error) {
	s := c.Surface
	algorithm, err := search.New(c.Algorithm, search.Config{
		Space: s.Space, Pool: s.Pool, Start: s.Start, Minimize: s.Minimize, Bounds: s.Bounds, Seed: seed, RestartCost: s.RestartCost,
	})
	if err != nil {
		return Run{}, err
	}
	run := Run{Seed: seed}
	var history []search.Trial
	best := 0.0
	for n := range c.Trials {
		if ctx.Err() != nil {
			return Run{}, ctx.Err()
		}
		next, more := algorithm.Suggest(history)
		if !more {
			break
		}
		at, there := s.index[next.Point.Key()]
		if !there {
			return Run{}, fmt.Errorf("replay: want a configuration of the surface (got %s from %s)", next.Point.Key(), c.Algorithm)
		}
		truth := s.truth[at]
		measured := c.measure(truth, seed, n)
		history = append(history, measured)
		feasible := s.feasible(truth)
		if feasible {
			best = max(best, s.Fraction(truth.Value))
		}
		run.Trials = append(run.Trials, Trial{
			Trial: n + 1, Configuration: s.configuration(truth.Point), Measured: s.figures(measured), True: s.figures(truth),
			Feasible: feasible, Failed: truth.Failed, Reason: next.Reason,
		})
		run.Fraction = append(run.Fraction, best)
	}
	return run, nil
}

// measure is the truth with the noise of the seed's nth trial.
func (c Config) measure(t search.Trial, seed uint64, n int) search.Trial {
	r := rand.New(rand.NewPCG(seed, uint64(n)+1<<32))
	out := search.Trial{Point: t.Point, Failed: t.Failed, Bounds: slices.Clone(t.Bounds)}
	noisy := func(v float64) float64 { return v * max(1+c.Noise*r.NormFloat64(), 0.05) }
	out.Value = noisy(t.Value)
	for i := range out.Bounds {
		out.Bounds[i] = noisy(t.Bounds[i])
	}
	if r.Float64() < c.Outliers {
		by := 0.3 + 0.4*r.Float64()
		worse := func(v float64, larger bool) float64 {
			if larger {
				return v * by
			}
			return v / by
		}
		out.Value = worse(out.Value, !c.Surface.Minimize)
		for i, b := range c.Surface.Bounds {
			out.Bounds[i] = worse(out.Bounds[i], b.AtLeast)
		}
	}
	return out
}

func (s *Surface) figures(t search.Trial) map[string]float64 {
	out := map[string]float64{}
	if t.Failed {
		return out
	}
	out[s.Objective] = t.Value
	for i, b := range s.Bounds {
		out[b.Name] = t.Bounds[i]
	}
	return out
}

func (s *Surface) configuration(p space.Point) map[string]any {
	out := map[string]any{}
	for _, k := range s.Space.Knobs {
		switch v := p[k.Name]; k.Type {
		case space.Categorical:
			out[k.Name] = k.Text(v)
		case space.Bool:
			out[k.Name] = v != 0
		default:
			out[k.Name] = json.Number(k.Text(v))
		}
	}
	return out
}

// summary is over the seeds; a search that ended earlier keeps what it had.
func summary(runs []Run, n int) Fraction {
	var values []float64
	for _, r := range runs {
		if len(r.Fraction) > 0 {
			values = append(values, r.Fraction[min(n, len(r.Fraction)-1)])
		}
	}
	slices.Sort(values)
	f := Fraction{Trials: n + 1}
	for _, v := range values {
		f.Mean += v / float64(len(values))
	}
	if len(values) > 0 {
		f.P10, f.Median = quantile(values, 0.1), quantile(values, 0.5)
	}
	return f
}

func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-math.Floor(at))*(sorted[low+1]-sorted[low])
}

// Write prints the result as JSON.
func (r Result) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
