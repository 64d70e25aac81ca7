package observe

import "time"

// Shift sets the observer's clock apart from the machine's.
func (o *Observer) Shift(by time.Duration) { o.now = func() time.Time { return time.Now().Add(by) } }
