package probe

import (
	"context"
	"time"
)

// paced calls do once for each moment of a schedule: at the moment or, while an earlier call still runs, as soon as that one has returned.
// It is always given the moment, so that what is measured from there has the wait in it. Moments that lie further back than the patience are
// left out and told: a machine that has slept owes no thousand records.
func paced(ctx context.Context, first time.Time, every, patience time.Duration, do func(due time.Time), leftOut func(n int)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := first; ; due = due.Add(every) {
		late := time.Since(due)
		if late > patience {
			n := int((late - patience + every - 1) / every)
			leftOut(n)
			due = due.Add(time.Duration(n) * every)
			late = time.Since(due)
		}
		if late < 0 {
			timer.Reset(-late)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		if ctx.Err() != nil {
			return
		}
		do(due)
	}
}
