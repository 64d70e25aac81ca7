package lag

import "time"

// drainOver is the time over which it is seen how fast a group catches up: long enough to see several commits, short enough to follow it.
const drainOver = 5 * time.Minute

// Drain tells how long a group will take to catch up if it goes on as in the last minutes. The zero value knows nothing.
type Drain struct{ seen []point }

type point struct {
	at  time.Time
	lag int64
}

// Observe notes the lag.
func (d *Drain) Observe(at time.Time, lag int64) {
	if n := len(d.seen); n > 0 && !at.After(d.seen[n-1].at) {
		return
	}
	for len(d.seen) > 1 && at.Sub(d.seen[1].at) >= drainOver {
		d.seen = d.seen[1:]
	}
	d.seen = append(d.seen, point{at, lag})
}

// Left is the time until the lag is 0, and whether there will be such a time: not while it does not fall.
func (d *Drain) Left() (time.Duration, bool) {
	n := len(d.seen)
	if n == 0 {
		return 0, false
	}
	first, last := d.seen[0], d.seen[n-1]
	if last.lag == 0 {
		return 0, true
	}
	fell := float64(first.lag - last.lag)
	if fell <= 0 {
		return 0, false
	}
	return time.Duration(float64(last.lag) / fell * float64(last.at.Sub(first.at))), true
}
