package lag

import (
	"slices"
	"time"
)

// drainOver is the time over which it is seen how fast a group catches up: long enough to see several commits, short enough to follow it.
const drainOver = 5 * time.Minute

// drainStep is how far apart what is remembered lies: what a group does in one minute is told as well by four observations as by sixty.
const drainStep = drainOver / 20

// Drain tells how long a group will take to catch up if it goes on as in the last minutes. The zero value knows nothing.
type Drain struct {
	seen []point // at least drainStep apart
	last point
}

// point is a lag at a time in nanoseconds since 1970.
type point struct{ at, lag int64 }

// Observe notes the lag.
func (d *Drain) Observe(at time.Time, lag int64) {
	now, n := point{at.UnixNano(), lag}, len(d.seen)
	if n > 0 && now.at <= d.last.at {
		return
	}
	d.last = now
	old := 0
	for old+1 < n && now.at-d.seen[old+1].at >= int64(drainOver) {
		old++
	}
	d.seen = slices.Delete(d.seen, 0, old)
	if n = len(d.seen); n == 0 || now.at-d.seen[n-1].at >= int64(drainStep) {
		d.seen = append(d.seen, now)
	}
}

// Left is the time until the lag is 0, and whether there will be such a time: not while it does not fall.
func (d *Drain) Left() (time.Duration, bool) {
	if len(d.seen) == 0 {
		return 0, false
	}
	first, last := d.seen[0], d.last
	if last.lag == 0 {
		return 0, true
	}
	fell := float64(first.lag - last.lag)
	if fell <= 0 {
		return 0, false
	}
	return time.Duration(float64(last.lag) / fell * float64(last.at-first.at)), true
}
