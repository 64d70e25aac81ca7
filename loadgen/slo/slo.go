// Package slo holds the rate at the highest value at which the 99th percentile of end-to-end latency meets a target.
//
// It promises: a fast climb from a low start; a cut within two seconds once more is offered than the server can do, before that shows in the
// percentile (a record that is stuck is in no histogram yet), to what the server was seen to do; a rate held within a few per cent
// afterwards; renewed probing, slow near the last limit and fast beyond it, so that a gain in capacity is filled within a quarter of a minute.
// It aims below the SLO, because a percentile over a longer window also contains the moments in which the limit was found.
//
// A server that stands still, as one does whose memory is collected, makes the records of that moment late at any rate. The rate is therefore
// that of the typical moment: the highest at which the 99th percentile over a Window meets the SLO more often than not. A pause that is followed
// by recovery at the same rate leaves the rate as it was; pauses that fill most of the time lower it. What they do to the percentile over a longer
// time is for others to measure and report: a rate at which they are rare enough for that too may exist, but finding it to a tenth takes a hundred
// pauses.
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

// The states. Climb: no limit known yet, doubling. Hold: at the limit, adjusting by per cents. Drain: too much was offered, or the server stood
// still; waiting for the backlog to go. Outage: nothing arrives at all.
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

	minSamples = 100             // fewer leave the percentile to a single record
	recent     = 7.0             // seconds over which late moments are weighed: the window in which a short pause shows is less than half of them
	outage     = 3 * time.Second // nothing consumed for so long, with records due: a restart; collectors pause for less
	still      = 0.5             // a server that does less than this part of the rate in a tick stands still for much of it
	persist    = time.Second     // of work on a backlog shows how much the server can do
	drainFor   = 5 * time.Second // the longest pause of a collector, and as long again for what it leaves

	// Speeds are of ln(rate) per second.
	doubling = 0.7   // while climbing: doubles each second
	creep    = 0.001 // just after a limit was found
	probe    = 0.02  // at most, up to a little beyond the last limit
	probeMax = 0.2   // at most, where no limit was ever seen: more overshoots before the percentile tells
	quicken  = 0.25  // of ln(speed) per second where latency is at 1/e of the target: more would take the calm between two bad moments for room

	step = 0.04 // part of the rate that makes a clear difference: taken back from what was too much, and added to a limit to be well past it
	// A percentile of few records varies by chance: with n of them beyond it, by this part over the root of n.
	chance = 0.35

	// Pressure is the queue above what is always there, as a part of the room there is for it under the target.
	calm     = 0.5  // more holds the rate back
	hush     = 0.3  // by this part for each further 1
	leak     = 0.06 // of ln(rate) per second for each further 1, or where all of the recent past was late, for good
	overload = 1.25 // more is a backlog
	restSeen = 0.5  // seconds in which a shorter queue counts as what is always there
	restFor  = 50.0 // seconds in which a queue that does not go counts as always there
)

// Controller finds and holds the rate.
type Controller struct {
	c      Config
	target float64 // seconds

	state    State
	next     State   // after Drain
	capacity float64 // records/s held when nothing disturbs
	rate     float64
	speed    float64 // at which the capacity grows
	ceiling  float64 // the rate that was too much last

	started  bool
	last     time.Duration
	consumed uint64
	moved    time.Duration // when consumed last grew
	since    time.Duration // when the present state began
	before   uint64        // consumed by then
	fresh    time.Duration // the percentile counts records consumed after this only
	lateness float64       // part of the recent past in which it was too high, or a backlog drained
	rest     float64       // seconds: the queue that is there without load
	stood    bool          // the server stood still in the last tick
	worked   float64       // seconds of work on the present backlog
	done     float64       // records consumed in them
}

// New makes a controller at the start rate.
func New(c Config) (*Controller, error) {
	if c.Target == 0 {
		c.Target = 0.85
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Controller{c: c, target: c.SLO.Seconds() * c.Target, state: Climb, capacity: c.Start, rate: c.Start, speed: probe}, nil
}

// State is what the controller is doing.
func (c *Controller) State() State { return c.state }

// Rate is the rate that Step returned last.
func (c *Controller) Rate() float64 { return c.rate }

// Step takes an observation and returns the rate to offer from now on.
func (c *Controller) Step(o Observation) float64 {
	if !c.started {
		c.started, c.last, c.consumed, c.moved = true, o.Now, o.Consumed, o.Now
		c.enter(Climb)
	}
	dt, did := (o.Now - c.last).Seconds(), float64(o.Consumed-c.consumed)
	c.last, c.consumed = o.Now, o.Consumed
	if did > 0 {
		c.moved = o.Now
	}
	pressure := c.press(float64(o.Outstanding)/c.capacity, dt, o.Now)

	x, known := c.judge(dt, o)
	switch {
	case c.state != Outage && o.Outstanding > 0 && o.Now-c.moved > outage:
		c.enter(Outage)
	case c.state == Outage:
		c.outage(did)
	case c.behind(pressure, dt, did):
	case c.state == Climb:
		c.climb(dt, x)
	default:
		c.hold(dt, pressure, x, known)
	}
	c.capacity = min(max(c.capacity, c.c.Min), c.c.Max)
	c.rate = min(max(c.capacity*c.damping(pressure), c.c.Min), c.c.Max)
	return c.rate
}

// press is the pressure of a queue of so many seconds of work. Records under way make a queue even when none waits, as long as latency is
// without load (Little's law): that part of it is the shortest queue lately.
func (c *Controller) press(queue, dt float64, now time.Duration) float64 {
	switch {
	case c.state == Climb && now-c.since < time.Second:
		c.rest = queue
	case c.state == Outage || c.state == Drain || now-c.since < 2*time.Second: // it is that of another time
	case queue < c.rest:
		c.rest += (queue - c.rest) * dt / restSeen
	default:
		c.rest += (queue - c.rest) * dt / restFor
	}
	c.rest = min(c.rest, 0.8*c.target)
	return (queue - c.rest) / (c.target - c.rest)
}

// enter begins a state: what was measured before says nothing about what comes.
func (c *Controller) enter(s State) {
	c.state, c.since, c.fresh, c.before = s, c.last, c.last, c.consumed
	c.worked, c.done = 0, 0
}

// drain lets a backlog go whose cause is known.
func (c *Controller) drain(next State) {
	c.next = next
	c.enter(Drain)
}

// behind deals with a backlog, and says whether there is one. All that the server can do is what it does while it works on one. If that is
// less than the rate, the rate is too high. If not, and the server has stood still, the backlog goes by itself: a pause is no matter of the
// rate, so the rate stays as it was, and the records that the pause made late are not judged.
func (c *Controller) behind(pressure, dt, did float64) bool {
	stands := did < still*c.rate*dt
	stood := stands || c.stood // of the tick in which it moves again it did not work all the time
	c.stood = stands
	switch {
	case c.state == Drain && pressure < calm:
		c.enter(c.next)
		return false
	case c.state == Drain && c.last-c.since > drainFor: // it does not go, whatever the server does meanwhile
		if can := float64(c.consumed-c.before) / (c.last - c.since).Seconds(); can < c.capacity && pressure > overload {
			c.overloaded(can)
			return true
		}
		c.enter(c.next)
		return false
	case c.state == Drain:
	case pressure <= overload:
		c.worked, c.done = 0, 0
		return false
	case stood:
		c.drain(c.state)
	}
	if stood {
		return true
	}
	c.worked += dt
	c.done += did
	if c.worked < persist.Seconds() {
		return true
	}
	can := c.done / c.worked
	c.worked, c.done = 0, 0
	if can < (1-step)*c.capacity && pressure > overload {
		c.overloaded(can)
	}
	return true
}

// overloaded takes the rate to what the server can do, and lets the backlog go.
func (c *Controller) overloaded(can float64) {
	c.ceiling, c.speed, c.lateness = can, creep, 0
	c.capacity = (1 - step) * can
	c.drain(Hold)
}

// judge says by what part of the target the percentile is, if enough was measured to know, and weighs this moment: late or not.
func (c *Controller) judge(dt float64, o Observation) (x float64, known bool) {
	p99, samples := o.P99(o.Now - Window)
	late := c.state == Drain || samples >= minSamples && p99.Seconds()/c.target > 1+chance/math.Sqrt(0.01*float64(samples))
	c.lateness *= math.Exp(-dt / recent)
	if late {
		c.lateness += 1 - math.Exp(-dt/recent)
	}
	p99, samples = o.P99(max(c.fresh, o.Now-Window))
	return p99.Seconds() / c.target, samples >= minSamples && o.Now-c.fresh >= Window/2
}

// climb doubles until a limit shows.
func (c *Controller) climb(dt, x float64) {
	switch {
	case c.lateness > 0.5:
		c.enter(Hold)
	case x <= 1:
		c.capacity *= math.Exp(doubling * dt)
	}
}

// outage ends with the first record; the rate then starts lower, since whatever comes back comes back cold.
func (c *Controller) outage(did float64) {
	if did == 0 {
		return
	}
	c.capacity *= 0.7
	c.ceiling, c.speed = 0, probeMax/2
	c.drain(Hold)
}

// hold adjusts by little: the queue tells of too much at once, the percentile later and for certain.
func (c *Controller) hold(dt, pressure, x float64, known bool) {
	over := max(pressure-calm, 2*c.lateness-1)
	switch {
	case over > 0:
		c.ceiling = c.capacity
		c.speed = max(creep, c.speed*math.Exp(-dt)) // not at once: a moment of it may be chance
		c.capacity *= math.Exp(-dt * leak * over)
	case known && x < 1:
		c.grow(x, dt)
	}
}

// grow raises the rate while latency is at the part x of the target, the faster the longer and the farther it is below.
func (c *Controller) grow(x, dt float64) {
	most := probe
	if c.capacity > (1+step)*c.ceiling {
		most = probeMax
	}
	part := max((x*c.target-c.rest)/(c.target-c.rest), 0) // of the room above what latency is without load
	far := max(math.Log(part), -2)
	c.speed = min(c.speed*math.Exp(dt*quicken*far*far), most)
	c.capacity *= math.Exp(dt * c.speed * min(1, 4*(1-x))) // ever slower on the last quarter of the way
}

// damping holds back while records pile up, at once and in proportion, and lets go as they drain.
func (c *Controller) damping(pressure float64) float64 {
	if c.state == Climb || c.state == Outage {
		return 1
	}
	return max(0.5, 1-hush*max(pressure-calm, 0))
}
