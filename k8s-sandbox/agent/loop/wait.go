package loop

import (
	"fmt"
	"time"
)

// notice is how long the tuner may take to see a change.
const notice = 10 * time.Second

// due says what the tuner has to finish before the model is asked, in a word or two that stay the same meanwhile, and why: a change that is made earlier gets no
// score of its own. Where changes are not scored it is nothing.
func (t telemetry) due(wrote time.Time) (what, why string) {
	switch {
	case t.Mode != "observe":
		return "", ""
	case t.Reference == nil:
		state := t.State
		if t.Reason != "" {
			state += ": " + t.Reason
		}
		return "measurement", fmt.Sprintf("the tuner has not measured what runs now, so a change now would be compared with nothing and get no score (it is %s)", state)
	case t.Trial != nil:
		return fmt.Sprintf("trial %d", t.Trial.Number), fmt.Sprintf("trial %d is not over (it is %s), so a change would end it before its score", t.Trial.Number, t.Trial.Phase)
	case t.Timestamp.Before(wrote.Add(notice)):
		return "look", "the tuner may not have seen the last change yet"
	}
	return "", ""
}

// held says for what the model is not asked now. It is one wait, whatever it is for in turn, and no longer than the loop's patience: a tuner that does not get on
// would hold the model up for ever.
func (l *Loop) held(t telemetry, now time.Time) (what, why string, overdue bool) {
	what, why = t.due(l.wrote)
	if l.waits == "" {
		l.since = now
	}
	l.waits = what
	overdue = what != "" && now.Sub(l.since) >= l.c.Patience
	if overdue {
		l.waits = ""
	}
	return what, why, overdue
}
