package drive

import "time"

// Clock counts from the start of a run on the monotonic clock. Wall time is the start's plus what has passed since, so that a step of the
// system clock during a run moves no latency.
type Clock struct {
	base time.Time
	wall int64 // of base, nanoseconds since 1970
}

// NewClock starts now.
func NewClock() Clock {
	now := time.Now()
	return Clock{base: now, wall: now.UnixNano()}
}

// Now is the time since the start.
func (c Clock) Now() time.Duration { return time.Since(c.base) }

// Wall converts to nanoseconds since 1970.
func (c Clock) Wall(d time.Duration) int64 { return c.wall + int64(d) }

// Since converts from nanoseconds since 1970.
func (c Clock) Since(wall int64) time.Duration { return time.Duration(wall - c.wall) }

// Start is when the clock began.
func (c Clock) Start() time.Time { return c.base }
