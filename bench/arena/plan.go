package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan says who does what for how long. What it holds decides what may be compared, so results of another plan are never mixed in.
type plan struct {
	Entrants []string      `json:"entrants"`
	Repeats  int           `json:"repeats"`
	Budget   time.Duration `json:"budget_ns"`
	Settle   time.Duration `json:"settle_ns"`
	Window   time.Duration `json:"window_ns"`
	Workload string        `json:"workload"`
	Seed     uint64        `json:"seed"`
}

func (p plan) validate() error {
	var errs []error
	bad := func(bad bool, field, want string, got any) {
		if bad {
			errs = append(errs, fmt.Errorf("%s: want %s (got %v)", field, want, got))
		}
	}
	bad(len(p.Entrants) == 0, "entrants", "one at least", "none")
	for i, e := range p.Entrants {
		bad(entrants[e] == nil, "entrants", "of "+strings.Join(entrantNames(), ", "), e)
		bad(slices.Contains(p.Entrants[:i], e), "entrants", "each once", e+" twice")
	}
	bad(p.Repeats < 1, "repeats", "1 at least", p.Repeats)
	bad(p.Budget < time.Minute, "budget", "1m at least", p.Budget)
	bad(p.Settle < 0, "settle", "0 or more", p.Settle)
	bad(p.Window < 10*time.Second, "window", "10s at least: five scrapes", p.Window)
	return errors.Join(errs...)
}

// turn is one entrant's one run.
type turn struct {
	Entrant string `json:"entrant"`
	Repeat  int    `json:"repeat"` // from 1
}

// turns are all of them: a repeat is a round in which each entrant has its turn, in an order of its own.
func (p plan) turns() []turn {
	var all []turn
	for n := range p.Repeats {
		order := rand.New(rand.NewPCG(p.Seed, uint64(n))).Perm(len(p.Entrants))
		for _, i := range order {
			all = append(all, turn{p.Entrants[i], n + 1})
		}
	}
	return all
}

// next is the first turn without a result, and how many there are.
func (p plan) next(done []result) (next turn, left int) {
	for _, t := range slices.Backward(p.turns()) {
		if !slices.ContainsFunc(done, func(r result) bool { return r.turn == t }) {
			next, left = t, left+1
		}
	}
	return next, left
}

// lasts is how long a run takes, about.
func (p plan) lasts() time.Duration { return time.Minute + 2*(p.Settle+p.Window) + p.Budget }
