// Package schedule says when each record is meant to be sent, however late the sender is.
//
// It promises that a record's time follows from its number alone (the n-th record of a constant rate is due at n/rate after the origin, to
// the nanosecond, be n a trillion), so nothing is rounded twice and any number of senders that agree on a Config and an origin make one
// schedule between them: record i belongs to share i mod n, and what the shares add up to is exactly what one sender would have sent. That a
// change of rate neither drops nor bunches records: the fraction of an interval that had passed is kept, and records that were due before
// the change keep their times. And that every record is either taken or skipped, exactly once. Poisson arrivals have no numbers, so there
// each share is a process of its own; their sum is again Poisson.
//
// It knows no clock: times are durations on a clock of the caller's. It leaves out locking and waiting.
package schedule

import (
	"fmt"
	"math"
	"time"
)

// Never is the time of a record that is not going to come.
const Never = time.Duration(math.MaxInt64)

// Schedule is one share of the intended times. The zero value is not ready: use New.
type Schedule struct {
	config    Config
	origin    time.Duration
	share, of uint64
	curve     curve     // of the whole; nil for a closed loop
	random    *arrivals // nil unless poisson
	issued    uint64    // records taken or skipped
	next      time.Duration
}

// New is share number share, from 0, of a schedule that of senders make together. It begins at origin, which may have passed, may be to
// come, or be Never. seed tells one course of chance from another; all shares have the same.
func New(c Config, origin time.Duration, share, of int, seed uint64) (*Schedule, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if of < 1 || share < 0 || share >= of {
		return nil, fmt.Errorf("share: must be 0 to one less than the number of shares, which is at least 1 (got %d of %d)", share, of)
	}
	s := &Schedule{config: c, origin: origin, share: uint64(share), of: uint64(of), curve: c.curve()}
	if c.Shape == Poisson {
		s.random = newArrivals(share, of, seed)
	}
	s.next = s.upcoming()
	return s, nil
}

// position is where the first record neither taken nor skipped is on the curve.
func (s *Schedule) position() pair {
	if s.random != nil {
		return s.random.next.at
	}
	return whole(s.share + s.issued*s.of)
}

// upcoming is the time of the first record neither taken nor skipped.
func (s *Schedule) upcoming() time.Duration {
	var at time.Duration // closed: as soon as there is a slot
	switch {
	case s.curve != nil:
		at = s.curve.at(s.position())
	case s.InFlight() == 0:
		at = Never
	}
	return after(s.origin, at)
}

// Next is the intended time of the next record, Never when none will come. In a closed loop it is the origin: the earliest a record may go.
func (s *Schedule) Next() time.Duration { return s.next }

// Take returns the intended time of the next record and moves on, if it is due by now. In a closed loop that is now itself: the caller
// takes when it has a free slot, and not before.
func (s *Schedule) Take(now time.Duration) (at time.Duration, ok bool) {
	at = s.next
	if at > now || at == Never {
		return 0, false
	}
	s.issued++
	if s.config.Shape == Closed {
		return now, true
	}
	if s.random != nil {
		s.random.next.step()
	}
	s.next = s.upcoming()
	return at, true
}

// Due is the number of records with an intended time up to t that were neither taken nor skipped. In a closed loop nothing waits: 0.
func (s *Schedule) Due(t time.Duration) uint64 {
	t = min(t, Never-1)
	if s.next > t || s.config.Shape == Closed {
		return 0
	}
	if s.random != nil {
		return s.random.due(s.curve, s.since(t))
	}
	all := due(s.curve, s.since(t)) // more than share + issued × of, for the next is due
	return (all-s.share+s.of-1)/s.of - s.issued
}

// since is the time from the origin to t, which is not before it.
func (s *Schedule) since(t time.Duration) time.Duration {
	if s.origin < 0 && t >= Never-1+s.origin {
		return Never - 1
	}
	return t - s.origin
}

// Skip gives up every record with an intended time up to t and returns how many.
func (s *Schedule) Skip(t time.Duration) uint64 {
	n := s.Due(t)
	if n == 0 {
		return 0
	}
	s.issued += n
	if s.random != nil {
		s.random.next = s.random.ahead
	}
	s.next = s.upcoming()
	return n
}

// Issued is the number of records taken or skipped.
func (s *Schedule) Issued() uint64 { return s.issued }

// InFlight is how many records this share of a closed loop has under way at once, 0 for every other shape.
func (s *Schedule) InFlight() int {
	return int((uint64(s.config.InFlight) + s.of - 1 - s.share) / s.of)
}

// RateAt is the intended rate of the whole schedule at t in records/s, by what is known of it now. See Config.RateAt.
func (s *Schedule) RateAt(t time.Duration) float64 {
	if t < s.origin {
		return 0
	}
	if list, ok := s.settable(); ok {
		return list.when(s.since(t)).rate
	}
	return s.config.RateAt(s.since(t))
}

// SetRate changes the rate of the whole schedule, from now on. All shares stay parts of one schedule if each is told the same with the same
// now. A time before the origin or an earlier change counts as that. Only the shapes constant and poisson have a rate that can be changed.
func (s *Schedule) SetRate(now time.Duration, rate float64) error {
	list, ok := s.settable()
	if !ok {
		return fmt.Errorf("shape: must be %s or %s for the rate to be changed (got %s)", Constant, Poisson, s.config.Shape)
	}
	if err := between("rate", rate, true, MaxRate); err != nil {
		return err
	}
	list.set(s.since(max(now, s.origin)), rate)
	list.forget(s.position())
	s.next = s.upcoming()
	return nil
}

func (s *Schedule) settable() (*stretches, bool) {
	list, ok := s.curve.(*stretches)
	return list, ok && s.config.Shape != Steps
}
