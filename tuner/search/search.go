// Package search chooses the next configuration to try.
//
// Every algorithm has one method, Suggest, which is given all trials so far and keeps nothing of its own: the same configuration, seed and
// history give the same suggestion, so a search that was killed goes on as if it had not been, and the ledger is its only memory. The first
// suggestion is the start, so that everything is compared with it. Suggestions are inside every range and limit.
//
// GP is the one to use; OneKnob, Random and Grid are what it is compared with. Next is the careful person's search that the loop uses, which
// knows nothing of measured values, only of verdicts. The package leaves out measuring, judging and applying.
package search

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// Trial is a configuration that was tried, with what was measured.
type Trial struct {
	Point  space.Point
	Value  float64   // of the objective
	Bounds []float64 // of what is bounded, in the order of Config.Bounds
	Failed bool      // the configuration cannot run; nothing was measured
}

// Bound is a constraint on something measured: at most Limit, or at least.
type Bound struct {
	Name    string
	Limit   float64
	AtLeast bool
}

// Holds says whether a value is inside.
func (b Bound) Holds(v float64) bool {
	if b.AtLeast {
		return v >= b.Limit
	}
	return v <= b.Limit
}

// Config is what a search is about.
type Config struct {
	Space    space.Space
	Pod      space.Pod
	Pool     []space.Point // the only configurations that there are; nil: all of the space
	Start    space.Point
	Minimize bool
	Bounds   []Bound
	Seed     uint64
	// RestartCost is what a restart costs, in measurements: a trial that needs one must promise so much more.
	RestartCost float64
	// Earlier are trials of an earlier study of something similar; they guide, and count as nothing tried.
	Earlier []Trial
}

// Suggestion is the next configuration to try.
type Suggestion struct {
	Point  space.Point
	Reason string
}

// Algorithm suggests what to try after the history, or nothing more: then the reason says why.
type Algorithm interface {
	Suggest(history []Trial) (Suggestion, bool)
}

// The algorithms' names.
const (
	NameGP      = "gp"
	NameOneKnob = "one-knob"
	NameRandom  = "random"
	NameGrid    = "grid"
)

// Names lists the algorithms, the one to use first.
func Names() []string { return []string{NameGP, NameOneKnob, NameRandom, NameGrid} }

// New is the algorithm of the name.
func New(name string, c Config) (Algorithm, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t, err := newTable(c)
	if err != nil {
		return nil, err
	}
	switch name {
	case NameGP:
		return &gpSearch{c, t}, nil
	case NameOneKnob:
		return oneKnob{c, t}, nil
	case NameRandom:
		return random{c, t}, nil
	case NameGrid:
		return grid{c, t}, nil
	}
	return nil, fmt.Errorf("new search: want one of %s (got %q)", strings.Join(Names(), ", "), name)
}

func (c Config) check() error {
	var errs []error
	if len(c.Space.Knobs) == 0 {
		errs = append(errs, errors.New("new search: want at least one knob (got none)"))
	}
	for _, k := range c.Space.Knobs {
		if _, has := c.Start[k.Name]; !has {
			errs = append(errs, fmt.Errorf("new search: want a start with a value of %s (got none)", k.Name))
		}
	}
	if c.RestartCost < 0 || math.IsNaN(c.RestartCost) {
		errs = append(errs, fmt.Errorf("new search: want a restart's cost of at least 0 (got %g)", c.RestartCost))
	}
	return errors.Join(errs...)
}

// better orders trials as a study ends: what holds every bound comes first, then the value, then the least breach.
func (c Config) better(a, b Trial) bool {
	breachA, breachB := c.breach(a), c.breach(b)
	if breachA > 0 || breachB > 0 {
		return breachA < breachB
	}
	if c.Minimize {
		return a.Value < b.Value
	}
	return a.Value > b.Value
}

// breach is by how much the worst bound is broken, relative to its limit; 0 when all hold.
func (c Config) breach(t Trial) float64 {
	if t.Failed {
		return math.Inf(1)
	}
	worst := 0.0
	for i, b := range c.Bounds {
		if !b.Holds(t.Bounds[i]) {
			worst = max(worst, math.Abs(t.Bounds[i]-b.Limit)/max(math.Abs(b.Limit), 1e-12))
		}
	}
	return worst
}

// Best is the trial that a study would end with as measured, or false when none holds the bounds.
func (c Config) Best(history []Trial) (Trial, bool) {
	if len(history) == 0 {
		return Trial{}, false
	}
	best := slices.MinFunc(history, func(a, b Trial) int {
		switch {
		case c.better(a, b):
			return -1
		case c.better(b, a):
			return 1
		}
		return 0
	})
	return best, c.breach(best) == 0
}
