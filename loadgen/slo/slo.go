// Package slo holds the rate at the highest value at which the 99th percentile of end-to-end latency meets a target.
//
// It promises: a fast climb from a low start; a cut within a second once records pile up, before they show in the percentile (a record that
// is stuck is in no histogram yet); a rate held within a few per cent afterwards; renewed, slow probing, so that a gain in capacity is found
// within half a minute; and a short stall or an outage that is not mistaken for a loss of capacity. It aims below the SLO, because a
// percentile over a longer window also contains the moments in which the limit was found.
//
// It is a pure function of what it is told: no clock, no goroutines. It leaves out measuring.
package slo

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Config bounds the search. All fields but Target are required.
type Config struct {
	SLO    time.Duration // P99 that must be met
	Target float64       // part of the SLO to aim at; default 0.85
	Start  float64       // records/s
	Min    float64       // never below: without records there is nothing to measure
	Max    float64       // never above
}

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if c.SLO <= 0 {
		errs = append(errs, fmt.Errorf("slo: must be above 0 (got %v)", c.SLO))
	}
	if !(c.Target > 0 && c.Target <= 1) {
		errs = append(errs, fmt.Errorf("target: must be above 0 and at most 1 (got %v)", c.Target))
	}
	if !(c.Min > 0 && c.Min <= c.Start && c.Start <= c.Max) || math.IsInf(c.Max, 1) {
		errs = append(errs, fmt.Errorf("rates: must be 0 < min <= start <= max (got min %v, start %v, max %v)", c.Min, c.Start, c.Max))
	}
	return errors.Join(errs...)
}

// Observation is what is known at one moment. Consumed is a total since any start.
type Observation struct {
	Now         time.Duration
	Outstanding uint64 // intended so far, and neither consumed nor given up
	Consumed    uint64
	// P99 of the records consumed after since; samples is their number.
	P99 func(since time.Duration) (p99 time.Duration, samples uint64)
}

// State is what the controller is doing.
type State string

// The states. Climb: no limit known yet, doubling. Hold: at the limit, adjusting by per cents. Drain: too much was offered, waiting for the
// backlog to go. Outage: nothing arrives at all.
const (
	Climb  State = "climb"
	Hold   State = "hold"
	Drain  State = "drain"
	Outage State = "outage"
)

const (
	// Window is over how long the percentile is taken: at 1000 records/s some 25 of them are beyond it.
	Window = 2500 * time.Millisecond
	// Tick is how often Step is meant to be called.
	Tick = 250 * time.Millisecond

	minSamples  = 100                     // fewer leave the percentile to a single record
	servedOver  = time.Second             // over which the consumed rate is taken
	stalled     = 1500 * time.Millisecond // nothing consumed for so long, with records due, is an outage
	persist     = 750 * time.Millisecond  // a backlog older than this is overload; a shorter one is a pause (garbage collection, a slow fsync)
	ceilingLife = 20 * time.Second        // how long a limit that was found is believed
	easyFor     = 5 * time.Second         // and how long when nothing confirms it

	doubling   = 0.7  // of ln(rate) per second while climbing: doubles each second
	probe      = 0.01 // of ln(rate) per second while holding
	probeMax   = 0.3  // after long success
	hasten     = 0.35 // of ln(probing speed) per second while far below the target
	creep      = 0.004
	maxDescent = 0.08
)

// Controller finds and holds the rate.
type Controller struct {
	c      Config
	target float64 // seconds

	state     State
	capacity  float64 // records/s held when nothing disturbs
	rate      float64
	probing   float64
	ceiling   float64 // a rate that was too much, 0 when none is believed
	ceilingAt time.Duration

	last     time.Duration
	fresh    time.Duration // the percentile counts records consumed after this only
	since    time.Duration // when the present state began
	pressed  time.Duration // since when the backlog has been too high; negative: it is not
	moved    time.Duration // when Consumed last grew
	consumed uint64
	history  []point       // of the last servedOver
	strikes  int           // limits met while climbing
	easy     time.Duration // since when the percentile has been far below the target
	started  bool
}

type point struct {
	at       time.Duration
	consumed uint64
}

// New makes a controller at the start rate.
func New(c Config) (*Controller, error) {
	if c.Target == 0 {
		c.Target = 0.85
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Controller{c: c, target: c.SLO.Seconds() * c.Target, state: Climb, capacity: c.Start, rate: c.Start, probing: probe, pressed: -1}, nil
}

// State is what the controller is doing.
func (c *Controller) State() State { return c.state }

// Rate is the rate that Step returned last.
func (c *Controller) Rate() float64 { return c.rate }

// Step takes an observation and returns the rate to offer from now on.
func (c *Controller) Step(o Observation) float64 {
	if !c.started {
		c.started, c.last, c.moved, c.fresh, c.since, c.easy, c.consumed = true, o.Now, o.Now, o.Now, o.Now, o.Now, o.Consumed
	}
	dt := (o.Now - c.last).Seconds()
	c.last = o.Now
	served := c.observe(o)
	queue := float64(o.Outstanding) / max(served, c.capacity/10, 1) // seconds it takes to serve what is due (Little's law)
	p99, samples := o.P99(max(c.fresh, o.Now-Window))

	switch {
	case c.state != Outage && o.Outstanding > 0 && o.Now-c.moved > stalled:
		c.enter(Outage, o.Now)
	case c.state == Outage:
		c.outage(o)
	case c.state == Climb:
		c.climb(dt, queue, served, p99, samples, o.Now)
	case c.state == Drain:
		c.drain(queue, o.Now)
	default:
		c.hold(dt, queue, served, p99, samples, o.Now)
	}
	c.capacity = min(max(c.capacity, c.c.Min), c.c.Max)
	c.rate = min(max(c.capacity*c.damping(queue), c.c.Min), c.c.Max)
	return c.rate
}

// observe keeps the recent past and returns the rate at which records were consumed in it.
func (c *Controller) observe(o Observation) float64 {
	if o.Consumed > c.consumed {
		c.consumed, c.moved = o.Consumed, o.Now
	}
	c.history = append(c.history, point{o.Now, o.Consumed})
	for len(c.history) > 2 && o.Now-c.history[1].at >= servedOver {
		c.history = c.history[1:]
	}
	first := c.history[0]
	if o.Now <= first.at {
		return 0
	}
	return float64(o.Consumed-first.consumed) / (o.Now - first.at).Seconds()
}

func (c *Controller) moving(now time.Duration) bool { return now-c.moved <= 2*Tick }

func (c *Controller) enter(s State, now time.Duration) {
	c.state, c.since, c.pressed = s, now, -1
}

// overloaded notes a limit that was found by a backlog and lets the backlog go.
func (c *Controller) overloaded(served float64, now time.Duration) {
	c.capacity = min(c.capacity*0.97, max(served*0.95, c.capacity*0.5))
	c.ceiling, c.ceilingAt = c.capacity, now
	c.probing = probe
	c.enter(Drain, now)
}

// climb doubles until a limit shows. One sign of it may be a pause or a cold start, so after the first the climb goes on, more slowly.
func (c *Controller) climb(dt, queue, served float64, p99 time.Duration, samples uint64, now time.Duration) {
	late := samples >= minSamples && p99.Seconds() > c.target
	piling := queue > 0.6*c.target && now-c.since > servedOver
	switch {
	case piling && !c.moving(now):
	case piling && c.strikes > 0:
		c.overloaded(served, now)
	case piling:
		c.strikes++
		c.capacity = max(served, 0.7*c.capacity)
		c.enter(Drain, now)
	case late && c.pressed < 0:
		c.pressed = now
	case late && now-c.pressed > Window+servedOver: // not only what has been in the window since one bad moment
		c.capacity *= 0.9
		c.ceiling, c.ceilingAt = c.capacity, now
		c.strikes++
		c.enter(Hold, now)
	case late:
	default:
		c.pressed = -1
		c.capacity *= math.Exp(doubling / float64(1+c.strikes) * dt)
	}
}

// drain waits for the backlog to go; what was consumed meanwhile says nothing about the rate that is tried next.
func (c *Controller) drain(queue float64, now time.Duration) {
	if queue < 0.3*c.target || now-c.since > 10*time.Second {
		next := Hold
		if c.strikes == 1 && c.ceiling == 0 {
			next = Climb
		}
		c.enter(next, now)
		c.fresh = now + time.Duration(c.target*float64(time.Second))
	}
}

// outage ends with the first record; the rate then starts lower, since whatever comes back comes back cold.
func (c *Controller) outage(o Observation) {
	if o.Now-c.moved > Tick {
		return
	}
	c.capacity *= 0.7
	c.probing = probeMax / 2
	c.ceiling = 0
	c.strikes++
	c.enter(Drain, o.Now)
}

func (c *Controller) hold(dt, queue, served float64, p99 time.Duration, samples uint64, now time.Duration) {
	if queue > c.target {
		if c.pressed < 0 {
			c.pressed = now
		}
		// A server that stands still is not overloaded: how much it can do is unknown until it moves.
		if now-c.pressed > persist && c.moving(now) {
			c.overloaded(served, now)
		}
		return
	}
	c.pressed = -1
	if samples < minSamples || now-c.fresh < Window/2 {
		return
	}
	x := p99.Seconds() / c.target
	if x > 1 {
		c.ceiling, c.ceilingAt = c.capacity, now
		c.probing, c.easy = probe, now
		c.capacity *= math.Exp(-dt * min(maxDescent, 0.02+0.04*(x-1)))
		return
	}
	if x > 0.5 {
		c.easy = now
	}
	if now-c.ceilingAt > ceilingLife || now-c.easy > easyFor {
		c.ceiling = 0
	}
	c.capacity *= math.Exp(dt * c.growth(x, dt))
}

// growth is the upward speed of ln(rate) for a percentile at the part x of the target.
func (c *Controller) growth(x, dt float64) float64 {
	if c.ceiling > 0 && c.capacity > 0.97*c.ceiling {
		c.probing = probe
		return creep * max(0, 1-x)
	}
	if x < 0.5 {
		c.probing = min(c.probing*math.Exp(hasten*dt), probeMax)
		return c.probing
	}
	c.probing = probe
	return probe * min(1, 4*(1-x))
}

// damping holds back while records pile up, at once and in proportion, and lets go as they drain.
func (c *Controller) damping(queue float64) float64 {
	switch c.state {
	case Drain:
		return 0.5
	case Climb, Outage:
		return 1
	}
	return 1 - 0.5*min(max(queue/c.target-0.5, 0), 1)
}
