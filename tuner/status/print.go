package status

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

const lastChanges = 6 // what fits at a glance

// Print writes the snapshot for a terminal.
func (s Snapshot) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	state := string(s.State)
	if s.Reason != "" {
		state += " (" + s.Reason + ")"
	}
	fmt.Fprintf(w, "state\t%s, mode %s, trials %d of %d\n", state, s.Mode, s.Budget.TrialsUsed, s.Budget.Trials)
	if t := s.Trial; t != nil {
		fmt.Fprintf(w, "trial %d\t%s, %s for %s\n", t.Number, t.Summary(), t.Phase, s.Time.Sub(t.Since).Round(time.Second))
	}
	fmt.Fprintf(w, "load\toffered %s, acknowledged %s, consumed %s records/s\n", whole(s.Live.Offered), whole(s.Live.Acked), whole(s.Live.Consumed))
	fmt.Fprintf(w, "P99\t%s, SLO %.0f ms\n", s.p99(), s.SLO)
	fmt.Fprintf(w, "goodput\tstart %s, best %s records/s%s\n", whole(s.Goal.Baseline), whole(s.Goal.Best), s.ratio())
	for _, k := range s.Knobs {
		fmt.Fprintf(w, "%s\tdesired %s, effective %s, best %s %s\n", k.Name, integer(k.Desired), integer(k.Effective), integer(k.Best), k.Unit)
	}
	for i := len(s.Changes) - 1; i >= max(0, len(s.Changes)-lastChanges); i-- {
		c := s.Changes[i]
		effect := ""
		if c.Effect != nil {
			effect = fmt.Sprintf(", %+.1f %%", *c.Effect*100)
		}
		fmt.Fprintf(w, "%s\t%s by %s: %s %s → %s%s: %s\n", c.Time.Format(time.TimeOnly), c.Outcome, c.Author, c.Knob, c.Old, c.New, effect, c.Reason)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	return nil
}

func (s Snapshot) p99() string {
	if s.Live.P99 == nil {
		return NotKnown + ": " + s.Live.Missing["p99"]
	}
	return fmt.Sprintf("%.2f ms", *s.Live.P99)
}

func (s Snapshot) ratio() string {
	if s.Goal.Ratio == nil {
		return ""
	}
	return fmt.Sprintf(" (%.2f ×)", *s.Goal.Ratio)
}

func whole(v *float64) string {
	if v == nil {
		return NotKnown
	}
	return fmt.Sprintf("%.0f", *v)
}

func integer(v *int64) string {
	if v == nil {
		return NotKnown
	}
	return fmt.Sprint(*v)
}
