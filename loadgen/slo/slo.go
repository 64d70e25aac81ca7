// Package slo holds the rate at the highest value at which the 99th percentile of end-to-end latency meets a target.
//
// It promises: a fast climb from a low start; a cut within a second once records pile up, before they show in the percentile (a record that
// is stuck is in no histogram yet); a rate held within a few per cent afterwards; renewed probing, slow near the last limit and fast beyond
// it, so that a gain in capacity is filled within a quarter of a minute; and a short stall or an outage that is not mistaken for a loss of
// capacity. It aims below the SLO, because a
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
	ceilingLife = 8 * time.Second         // how long a limit that was found is believed
	easyFor     = 3 * time.Second         // and how long when latency is far below the target
	drainFor    = 10 * time.Second        // at most

	// Speeds are of ln(rate) per second.
	doubling = 0.7   // while climbing: doubles each second
	creep    = 0.001 // while a limit is believed
	probe    = 0.02  // at most, up to a little beyond the last limit
	probeMax = 0.2   // at most, where no limit was ever seen
	beyond   = 1.03  // times the last limit: well past it
	quicken  = 0.25  // of ln(speed) per second once the limit is no longer believed
	hasten   = 1.0   // the same where latency is far below the target
	far      = 0.35  // part of the target: so far below

	// Pressure is the queue above what is always there, as a part of the room there is for it under the target.
	calm     = 0.5  // more holds the rate back
	hush     = 0.3  // by this part for each further 1
	leak     = 0.08 // of ln(rate) per second for each further 1, for good
	piled    = 0.6  // more ends a climb
	overload = 1.25 // more is not chance
	drained  = 0.3
	restSeen = 0.5  // seconds in which a shorter queue counts as what is always there
	restFor  = 50.0 // seconds in which a queue that does not go counts as always there

	settle = 0.04 // part of the rate taken back below what was overload
	cut    = 0.02 // part of the rate taken back when the percentile is just above the target
	cutBy  = 0.04 // and in proportion to how far above
	cutMax = 0.08 // at most at once
	// A percentile of few records varies by chance: with n of them beyond it, by this part over the root of n.
	chance = 0.35
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
	rest     float64       // seconds: the queue that is there without load
	begun    time.Duration
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
		c.started, c.consumed = true, o.Consumed
		c.last, c.begun, c.moved, c.fresh, c.since, c.easy = o.Now, o.Now, o.Now, o.Now, o.Now, o.Now
	}
	dt := (o.Now - c.last).Seconds()
	c.last = o.Now
	served := c.observe(o)
	queue := float64(o.Outstanding) / max(served, c.capacity/10, 1) // seconds it takes to serve what is due (Little's law)
	pressure := c.press(queue, dt, o.Now)
	p99, samples := o.P99(max(c.fresh, o.Now-Window))

	switch {
	case c.state != Outage && o.Outstanding > 0 && o.Now-c.moved > stalled:
		c.enter(Outage, o.Now)
	case c.state == Outage:
		c.outage(o)
	case c.state == Climb:
		c.climb(dt, pressure, served, p99, samples, o.Now)
	case c.state == Drain:
		c.drain(pressure, o.Now)
	default:
		c.hold(dt, queue, pressure, served, p99, samples, o.Now)
	}
	c.capacity = min(max(c.capacity, c.c.Min), c.c.Max)
	c.rate = min(max(c.capacity*c.damping(pressure), c.c.Min), c.c.Max)
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

// press is the pressure of a queue of so many seconds. Records under way make a queue even when none waits, as long as latency is without
// load: that part of it is the shortest queue lately.
func (c *Controller) press(queue, dt float64, now time.Duration) float64 {
	switch {
	case now-c.begun <= servedOver: // the consumed rate is not known yet
		c.rest = queue
	case c.state == Outage || c.state == Drain || now-c.since < 2*servedOver: // it is that of another time
	case queue < c.rest:
		c.rest += (queue - c.rest) * dt / restSeen
	default:
		c.rest += (queue - c.rest) * dt / restFor
	}
	c.rest = min(c.rest, 0.8*c.target)
	return (queue - c.rest) / (c.target - c.rest)
}

func (c *Controller) moving(now time.Duration) bool { return now-c.moved <= 2*Tick }

func (c *Controller) enter(s State, now time.Duration) {
	c.state, c.since, c.pressed = s, now, -1
}

// overloaded notes a limit that was found by a backlog and lets the backlog go.
func (c *Controller) overloaded(served float64, now time.Duration) {
	c.limit(min(c.capacity, max(served, c.capacity*0.5)), now)
	c.capacity = (1 - settle) * c.ceiling
	c.enter(Drain, now)
}

// climb doubles until a limit shows. One sign of it may be a pause or a cold start, so after the first the climb goes on, more slowly.
func (c *Controller) climb(dt, pressure, served float64, p99 time.Duration, samples uint64, now time.Duration) {
	late := samples >= minSamples && p99.Seconds() > c.target
	piling := pressure > piled && now-c.since > servedOver
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
		c.limit(c.capacity, now)
		c.capacity *= 1 - cutMax
		c.strikes++
		c.enter(Hold, now)
	case late:
	default:
		c.pressed = -1
		c.capacity *= math.Exp(doubling / float64(1+c.strikes) * dt)
	}
}

// drain waits for the backlog to go; what was consumed meanwhile says nothing about the rate that is tried next.
func (c *Controller) drain(pressure float64, now time.Duration) {
	if pressure < drained || now-c.since > drainFor {
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
	c.ceiling, c.easy = 0, o.Now-easyFor
	c.strikes++
	c.enter(Drain, o.Now)
}

// hold adjusts by little: the queue tells of too much at once, the percentile later and for certain.
func (c *Controller) hold(dt, queue, pressure, served float64, p99 time.Duration, samples uint64, now time.Duration) {
	if pressure > overload {
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
	if over := pressure - calm; over > 0 {
		c.limit(c.capacity, now)
		c.capacity *= math.Exp(-dt * leak * over)
		return
	}
	x := p99.Seconds() / c.target
	if x > 1+chance/math.Sqrt(0.01*float64(samples)) {
		c.limit(c.capacity, now)
		c.capacity *= 1 - min(cutMax, cut+cutBy*(x-1))
		c.fresh = now + time.Duration(queue*float64(time.Second)) // what is slow already says nothing about the new rate
		return
	}
	if p99.Seconds()-c.rest > far*(c.target-c.rest) {
		c.easy = now
	}
	c.grow(x, dt, now)
}

// limit notes a rate that was too much.
func (c *Controller) limit(rate float64, now time.Duration) {
	c.ceiling, c.ceilingAt, c.easy = rate, now, now
	c.probing = creep
}

// grow raises the rate while latency is at the part x of the target: slowly while a limit is believed, then ever faster.
func (c *Controller) grow(x, dt float64, now time.Duration) {
	easy := now-c.easy > easyFor
	switch {
	case easy && c.capacity > beyond*c.ceiling:
		c.probing = min(max(c.probing, probe)*math.Exp(hasten*dt), probeMax)
	case easy:
		c.probing = min(max(c.probing, creep)*math.Exp(hasten*dt), probe)
	case now-c.ceilingAt > ceilingLife:
		c.probing = min(c.probing*math.Exp(quicken*dt), probe)
	default:
		c.probing = min(c.probing, probe)
	}
	c.capacity *= math.Exp(dt * c.probing * min(1, 4*(1-x)))
}

// damping holds back while records pile up, at once and in proportion, and lets go as they drain.
func (c *Controller) damping(pressure float64) float64 {
	switch c.state {
	case Drain:
		return max(0.5, 1-hush*max(pressure, 0))
	case Climb, Outage:
		return 1
	}
	return 1 - hush*min(max(pressure-calm, 0), 1.5)
}
