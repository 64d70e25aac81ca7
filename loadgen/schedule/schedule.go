// Package schedule says when each record is meant to be sent, however late the sender is.
//
// It promises that record i of a stretch of constant rate is due at start + i/rate, computed from i and so without accumulated rounding;
// that a change of rate neither drops nor bunches records (the fraction of an interval that had passed is kept, and records that were due
// before the change keep their times); and that every record is either taken or skipped, exactly once. It knows no clock: times are
// durations since an epoch of the caller's. It leaves out locking and waiting.
package schedule

import (
	"fmt"
	"math"
	"time"
)

// Never is the time of a record that is not due at the present rate, which is zero.
const Never = time.Duration(math.MaxInt64)

// stretch is a time of constant rate. Record i of it, i ≥ first, is due at from + (lead + i − first)/rate.
type stretch struct {
	from  time.Duration
	first uint64
	lead  float64 // records' worth of waiting before the first, 0..1
	rate  float64 // records/s
}

func (s stretch) at(i uint64) time.Duration {
	if s.rate == 0 {
		return Never
	}
	after := (s.lead + float64(i-s.first)) / s.rate * 1e9
	if after >= float64(math.MaxInt64-s.from) {
		return Never
	}
	return s.from + time.Duration(math.Round(after))
}

// due is the index of the first record after t: records before it are due.
func (s stretch) due(t time.Duration) uint64 {
	if t < s.from || s.rate == 0 {
		return s.first
	}
	i := s.first + uint64(max(0, math.Floor(float64(t-s.from)/1e9*s.rate-s.lead)+1))
	for i > s.first && s.at(i-1) > t { // the floor of a rounded product can be one off either way
		i--
	}
	for s.at(i) <= t {
		i++
	}
	return i
}

// Schedule is a sequence of intended times. The zero value is not ready: use New.
type Schedule struct {
	stretches []stretch // at least one; a later one's first record ends the one before
	next      uint64    // index of the first record neither taken nor skipped
}

// New begins at start with the given rate in records per second. offset, 0 to 1, shifts the first record by that part of an interval, so
// that several schedules can share one rate evenly.
func New(start time.Duration, rate, offset float64) (*Schedule, error) {
	if err := check(rate); err != nil {
		return nil, err
	}
	if !(offset >= 0 && offset <= 1) {
		return nil, fmt.Errorf("offset: must be within 0..1 (got %v)", offset)
	}
	return &Schedule{stretches: []stretch{{from: start, lead: offset, rate: rate}}}, nil
}

func check(rate float64) error {
	if !(rate >= 0) || math.IsInf(rate, 1) {
		return fmt.Errorf("rate: must be a finite number of records per second, 0 or more (got %v)", rate)
	}
	return nil
}

// Rate is the rate set last.
func (s *Schedule) Rate() float64 { return s.stretches[len(s.stretches)-1].rate }

// SetRate changes the rate from now on. A time before an earlier change counts as the time of that change.
func (s *Schedule) SetRate(now time.Duration, rate float64) error {
	if err := check(rate); err != nil {
		return err
	}
	last := s.stretches[len(s.stretches)-1]
	if rate == last.rate {
		return nil
	}
	now = max(now, last.from)
	first := last.due(now)
	passed := float64(now-last.from) / 1e9 * last.rate
	lead := float64(first-last.first) + last.lead - passed
	next := stretch{from: now, first: first, lead: min(max(lead, 0), 1), rate: rate}
	if first == last.first {
		s.stretches[len(s.stretches)-1] = next // the last stretch came to no record
		return nil
	}
	s.stretches = append(s.stretches, next)
	return nil
}

// Next is the intended time of the next record, Never when the rate is zero.
func (s *Schedule) Next() time.Duration {
	for len(s.stretches) > 1 && s.next >= s.stretches[1].first {
		s.stretches = s.stretches[1:]
	}
	return s.stretches[0].at(s.next)
}

// Take returns the intended time of the next record and moves on, if it is due by now.
func (s *Schedule) Take(now time.Duration) (at time.Duration, ok bool) {
	at = s.Next()
	if at > now {
		return 0, false
	}
	s.next++
	return at, true
}

// Due is the number of records with an intended time up to t that were neither taken nor skipped.
func (s *Schedule) Due(t time.Duration) uint64 {
	end := s.next
	for i, st := range s.stretches {
		if st.from > t {
			break
		}
		due := st.due(t)
		if i+1 < len(s.stretches) {
			due = min(due, s.stretches[i+1].first)
		}
		end = max(end, due)
	}
	return end - s.next
}

// Skip gives up every record with an intended time up to t and returns how many.
func (s *Schedule) Skip(t time.Duration) uint64 {
	n := s.Due(t)
	s.next += n
	return n
}

// Issued is the number of records taken or skipped.
func (s *Schedule) Issued() uint64 { return s.next }
