package schedule

import (
	"math/big"
	"sort"
	"time"
)

// curve is a shape seen as the count of records intended since the origin, a real number that never falls. Record i is intended when the
// count leaves i behind: at the end of a time without records, not at its beginning.
type curve interface {
	// at is when the count has passed r, to the nearest nanosecond: Never when it never does. It does not fall as r grows.
	at(r pair) time.Duration
	// count is the number of records intended up to t; it may be off by the rounding of at.
	count(t time.Duration) pair
}

// due is how many records, counted from the first, are intended up to t.
func due(c curve, t time.Duration) uint64 {
	n := c.count(t).floor() + 1
	for n > 0 && c.at(whole(n-1)) > t { // what has been rounded can lie on the other side
		n--
	}
	for c.at(whole(n)) <= t {
		n++
	}
	return n
}

// after is t + d, Never when that is out of reach. d is not negative.
func after(t, d time.Duration) time.Duration {
	if d == Never || t > 0 && d > Never-t {
		return Never
	}
	return t + d
}

// multiple is n × d, Never when that is out of reach.
func multiple(n uint64, d time.Duration) time.Duration {
	if n > uint64(Never/d) {
		return Never
	}
	return time.Duration(n) * d
}

// curve is that of an open shape, nil for a closed loop.
func (c Config) curve() curve {
	switch c.Shape {
	case Constant, Poisson:
		return &stretches{newStretch(0, new(big.Rat), c.Rate)}
	case Ramp:
		return newRamp(c)
	case Steps:
		return newSteps(c)
	case Sine:
		return &periodic{newSine(c), c.Period, nearest(product(c.Rate, c.Period))}
	case Burst:
		return &bursts{
			size: uint64(c.Size), period: c.Period, between: nearest(product(c.Rate, c.Period)),
			base: newStretch(0, new(big.Rat), c.Rate),
		}
	}
	return nil
}

// product is how many records a rate comes to within d.
func product(rate float64, d time.Duration) *big.Rat {
	return new(big.Rat).Mul(exactly(rate), big.NewRat(int64(d), int64(time.Second)))
}

// stretch is a time of constant rate that begins at from.
type stretch struct {
	from   time.Duration
	first  pair // what is not below belongs to this stretch or a later one
	before pair // count at from
	rate   float64
	every  pair // ns per record
	each   pair // records per ns
}

func newStretch(from time.Duration, before *big.Rat, rate float64) stretch {
	s := stretch{from: from, first: nearest(before), before: nearest(before), rate: rate}
	if rate > 0 {
		s.every = nearest(new(big.Rat).Quo(big.NewRat(int64(time.Second), 1), exactly(rate)))
		s.each = nearest(new(big.Rat).Quo(exactly(rate), big.NewRat(int64(time.Second), 1)))
	}
	return s
}

func (s *stretch) at(r pair) time.Duration {
	if s.rate == 0 {
		return Never
	}
	wait := r.minus(s.before).times(s.every)
	if wait.hi >= float64(Never-s.from) {
		return Never
	}
	return s.from + time.Duration(wait.round())
}

func (s *stretch) count(t time.Duration) pair {
	return s.before.plus(s.each.times(whole(uint64(max(t-s.from, 0)))))
}

// stretches follow each other; there is at least one.
type stretches []stretch

func (s *stretches) at(r pair) time.Duration {
	list := *s
	if len(list) == 1 {
		return list[0].at(r)
	}
	i := sort.Search(len(list)-1, func(i int) bool { return r.less(list[i+1].first) })
	return list[i].at(r)
}

func (s *stretches) count(t time.Duration) pair { return s.when(t).count(t) }

func (s *stretches) when(t time.Duration) *stretch {
	list := *s
	return &list[sort.Search(len(list)-1, func(i int) bool { return list[i+1].from > t })]
}

// set begins a stretch of another rate. What is due by then, rounded as at does, keeps its time.
func (s *stretches) set(from time.Duration, rate float64) {
	last := (*s)[len(*s)-1]
	from = max(from, last.from)
	next := newStretch(from, new(big.Rat), rate)
	next.before = last.count(from)
	next.first = next.before.plus(last.each.times(pair{hi: 0.5}))
	if !last.first.less(next.first) {
		next.first = last.first
		*s = (*s)[:len(*s)-1] // nothing was due in the last stretch
	}
	*s = append(*s, next)
}

// forget drops the stretches that ended before r.
func (s *stretches) forget(r pair) {
	n := 0
	for n+1 < len(*s) && !r.less((*s)[n+1].first) {
		n++
	}
	*s = append((*s)[:0], (*s)[n:]...)
}

// newSteps is one round of the stages, or all there is when the last of them holds.
func newSteps(c Config) curve {
	var list stretches
	from, before := time.Duration(0), new(big.Rat)
	for _, s := range c.Stages {
		list = append(list, newStretch(from, before, s.Rate))
		from += s.Duration
		before = new(big.Rat).Add(before, product(s.Rate, s.Duration))
	}
	if c.cycle() == 0 {
		return &list
	}
	return &periodic{&list, c.cycle(), nearest(before)}
}

// periodic is a curve that begins anew after each period, in which it counts records.
type periodic struct {
	curve
	period  time.Duration
	records pair // above 0
}

// tie is how much of a count a pair may be off, and more. Ten rounds of 2.3 records are 23, and record 23 begins the eleventh: as a pair they
// may be a little more, and it would come at the end of the tenth, before the pause between them.
const tie = 1e-27

func (p *periodic) at(r pair) time.Duration {
	quotient := r.hi / p.records.hi
	if quotient*float64(p.period) >= float64(Never) {
		return Never
	}
	turns := uint64(quotient)
	rest := r.minus(p.records.times(whole(turns))).plus(pair{hi: tie * r.hi})
	for rest.hi < 0 { // the quotient was rounded
		turns--
		rest = rest.plus(p.records)
	}
	for !rest.less(p.records) {
		turns++
		rest = rest.minus(p.records)
	}
	return after(multiple(turns, p.period), p.curve.at(rest))
}

func (p *periodic) count(t time.Duration) pair {
	return p.records.times(whole(uint64(t / p.period))).plus(p.curve.count(t % p.period))
}

// bursts are size records at the beginning of every period, between which base goes on as if there were none.
type bursts struct {
	size    uint64
	period  time.Duration
	between pair // records of base in one period
	base    stretch
}

// first is the first record of burst k: what comes before are k bursts, and the records of base up to then.
func (b *bursts) first(k uint64) uint64 { return k*b.size + b.between.times(whole(k)).ceil() }

func (b *bursts) at(r pair) time.Duration {
	i := r.floor()
	k := uint64(r.hi / (float64(b.size) + b.between.hi))
	for k > 0 && b.first(k) > i {
		k--
	}
	for b.first(k+1) <= i {
		k++
	}
	if i >= b.first(k)+b.size {
		return b.base.at(whole(i - (k+1)*b.size))
	}
	return multiple(k, b.period)
}

func (b *bursts) count(t time.Duration) pair {
	return b.base.count(t).plus(whole((uint64(t/b.period) + 1) * b.size))
}
