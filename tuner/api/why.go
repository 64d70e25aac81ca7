package api

import (
	"fmt"
	"strings"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// whyTrial says why a trial was made and why it ended as it did.
func whyTrial(t status.Trial) string {
	var b strings.Builder
	fmt.Fprintf(&b, "trial %d: %s", t.Number, t.Summary())
	if t.Purpose != "" {
		fmt.Fprintf(&b, " (%s)", t.Purpose)
	}
	if t.Outcome == "" {
		fmt.Fprintf(&b, "\nis %s: %s\n", t.Phase, t.Reason)
		return b.String()
	}
	fmt.Fprintf(&b, "\n%s", t.Outcome)
	if t.Failure != "" {
		fmt.Fprintf(&b, " (%s)", t.Failure)
	}
	fmt.Fprintf(&b, ", because: %s\n", t.Reason)
	if t.Effect != nil && t.P != nil {
		fmt.Fprintf(&b, "effect on goodput %+.1f %%, p = %.3g", *t.Effect*100, *t.P)
		if t.Goodput != nil && t.P99 != nil {
			fmt.Fprintf(&b, "; measured %.0f records/s at a P99 of %.0f ms", *t.Goodput, *t.P99)
		}
		b.WriteByte('\n')
	}
	if t.DisturbedBy != "" {
		fmt.Fprintf(&b, "by %s\n", t.DisturbedBy)
	}
	if t.Violation > 0 {
		fmt.Fprintf(&b, "a guard was breached for %.0f s\n", t.Violation)
	}
	return b.String()
}

// whyNow says what the tuner is doing and why the target is configured as it is.
func whyNow(s status.Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "state %s", s.State)
	if s.Reason != "" {
		fmt.Fprintf(&b, ": %s", s.Reason)
	}
	b.WriteByte('\n')
	if s.Trial != nil {
		b.WriteString(whyTrial(*s.Trial))
	}
	if s.Next != nil {
		fmt.Fprintf(&b, "proposes trial %d: %s %s → %s: %s\n", s.Next.Trial, s.Next.Env, s.Next.Old, s.Next.New, s.Next.Reason)
	}
	for _, o := range s.Queue {
		fmt.Fprintf(&b, "next, as proposed by %s: %s", o.By, space.Point(o.Knobs).Key())
		if o.Held != "" {
			fmt.Fprintf(&b, "; it waits: %s", o.Held)
		}
		b.WriteByte('\n')
	}
	for _, k := range s.Knobs {
		fmt.Fprintf(&b, "%s is %s: %s\n", k.Name, number(k.Desired), because(s, k))
	}
	return b.String()
}

// because is the last change that made the knob what it is.
func because(s status.Snapshot, k status.Knob) string {
	undone := -1 // the trial whose change was taken back
	for i := len(s.Changes) - 1; i >= 0; i-- {
		c := s.Changes[i]
		if c.Outcome == string(ledger.OutcomeReverted) {
			undone = c.Trial
		}
		theirs := c.Author != study.Author
		if c.Knob != k.Name || c.Trial == undone || !theirs && c.Outcome != string(ledger.OutcomeKept) {
			continue
		}
		switch {
		case !theirs:
			return fmt.Sprintf("trial %d changed it from %s, since %s", c.Trial, c.Old, c.Reason)
		case c.Trial == 0 || c.Outcome == study.Attempted:
			return fmt.Sprintf("%s changed it from %s", c.Author, c.Old)
		}
		return fmt.Sprintf("%s changed it from %s, which was scored in trial %d: %s: %s", c.Author, c.Old, c.Trial, c.Outcome, c.Reason)
	}
	return "as it was found"
}

func number(v *int64) string {
	if v == nil {
		return "not known"
	}
	return fmt.Sprint(*v)
}
