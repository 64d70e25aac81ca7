package drive

import "time"

// Clock counts from the start of a run on the monotonic clock. Wall time is the start's plus what has passed since, so that a step of the
// system clock during a run moves no latency.
type Clock struct{ base time.Time }

// NewClock starts now.
func NewClock() Clock { return Clock{base: time.Now()} }

// Now is the time since the start.
func (c Clock) Now() time.Duration { return time.Since(c.base) }

// Wall converts to nanoseconds since 1970.
func (c Clock) Wall(d time.Duration) int64 { return c.base.UnixNano() + int64(d) }

// Start is when the clock began.
func (c Clock) Start() time.Time { return c.base }
