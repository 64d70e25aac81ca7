package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
)

const unknown = "–"

func whole(v float64) string { return fmt.Sprintf("%.0f", v) }

func tenth(v float64) string { return fmt.Sprintf("%.1f", v) }

func percent(v float64) string { return fmt.Sprintf("%+.1f %%", v*100) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func known(v *float64, show func(float64) string) string {
	if v == nil {
		return unknown
	}
	return show(*v)
}

// between is a relative change with its interval.
func between(e *Estimate) string {
	if e == nil {
		return unknown
	}
	if e.Low == nil {
		return percent(e.Value) + ", too few windows for an interval"
	}
	return fmt.Sprintf("%s, 95 %% interval %s to %s", percent(e.Value), percent(*e.Low), percent(*e.High))
}

// within is a figure with its interval.
func within(e Estimate, show func(float64) string) string {
	if e.Low == nil {
		return show(e.Value)
	}
	return fmt.Sprintf("%s (%s to %s)", show(e.Value), show(*e.Low), show(*e.High))
}

func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) }

func took(seconds float64) string {
	if seconds == 0 {
		return unknown
	}
	return (time.Duration(seconds) * time.Second).String()
}

func level(p *float64) string {
	switch {
	case p == nil:
		return unknown
	case *p < 0.001:
		return "<0.001"
	}
	return fmt.Sprintf("%.3f", *p)
}

func point(p map[string]int64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		out = append(out, fmt.Sprintf("%s %d", name, p[name]))
	}
	return strings.Join(out, ", ")
}

// JSON writes the report for programs.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Markdown writes the report for a README or a ticket.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Tuning report\n\n%s\n\n", line(r.Outcome))
	r.sides(&b)
	r.effects(&b)
	r.table(&b)
	c := r.Counts
	fmt.Fprintf(&b, "%s; %s, %s, %s by others; guards breached for %.0f s.\n\n", c.trials(), plural(c.Restarts, "restart"), plural(c.Sessions, "session"),
		plural(c.Others, "change"), c.Violation)
	fmt.Fprintf(&b, "From %s to %s UTC. Made from %s of the ledger, head `%s`.\n", stamp(r.From), stamp(r.To), plural(r.Ledger.Records, "record"), r.Ledger.Head)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (r *Report) sides(b *strings.Builder) {
	if r.Before == nil {
		return
	}
	fmt.Fprint(b, "| | configuration | goodput, records/s (95 % interval) | P99, ms (95 % interval) | windows |\n|---|---|---|---|---|\n")
	row := func(name string, s *Side) {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %d |\n", name, cell(point(s.Point)), within(s.Goodput, whole), within(s.P99, tenth), s.Goodput.Windows)
	}
	row("before", r.Before)
	if r.Goodput != nil {
		row("after", r.After)
		fmt.Fprintf(b, "| change | | %s | %s | |\n", between(r.Goodput), between(r.P99))
		if r.Again != nil {
			fmt.Fprintf(b, "| change, once more at the end | | %s | | |\n", between(r.Again))
		}
		fmt.Fprintf(b, "\n%s\n", r.Apart())
	}
	fmt.Fprintln(b)
}

func (r *Report) effects(b *strings.Builder) {
	if len(r.Knobs) == 0 {
		return
	}
	fmt.Fprint(b, "## Knobs\n\nGoodput after a change of this knob alone, against the incumbent of its time.\n\n")
	fmt.Fprint(b, "| knob | measured changes | lowest | highest | kept |\n|---|---|---|---|---|\n")
	for _, k := range r.Knobs {
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s |\n", cell(k.Name), k.Trials, percent(k.Lowest), percent(k.Most), percent(k.Kept))
	}
	fmt.Fprintln(b)
}

func (r *Report) table(b *strings.Builder) {
	if len(r.Trials) > 0 {
		fmt.Fprint(b, "## Trials\n\n| trial | change | outcome | effect | p | goodput | P99, ms | took | best so far | reason |\n|---|---|---|---|---|---|---|---|---|---|\n")
		best := map[int]*float64{}
		for _, s := range r.Convergence {
			best[s.Trial] = s.Best
		}
		for _, t := range r.Trials {
			fmt.Fprintf(b, "| %d | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", t.Number, cell(t.what()), t.Outcome, effect(t),
				level(t.P), known(t.Goodput, whole), known(t.P99, tenth), took(t.Seconds), known(best[t.Number], whole), cell(why(t)))
		}
		fmt.Fprintln(b)
	}
	r.orders(b)
	if len(r.Others) > 0 {
		fmt.Fprint(b, "## Changes by others\n\n| record | time (UTC) | author | change | what it meant |\n|---|---|---|---|---|\n")
		for _, c := range r.Others {
			fmt.Fprintf(b, "| %d | %s | %s | %s | %s |\n", c.Record, stamp(c.Time), cell(c.Author), cell(c.arrow()), cell(c.Reason))
		}
		fmt.Fprintln(b)
	}
}

func (r *Report) orders(b *strings.Builder) {
	if len(r.Orders) == 0 {
		return
	}
	fmt.Fprint(b, "## Orders\n\n| record | time (UTC) | author | order | reason |\n|---|---|---|---|---|\n")
	for _, o := range r.Orders {
		fmt.Fprintf(b, "| %d | %s | %s | %s | %s |\n", o.Record, stamp(o.Time), cell(o.Author), cell(o.Command), cell(o.Reason))
	}
	fmt.Fprintln(b)
}

func arrows(turned []Turned) string {
	var out []string
	for _, t := range turned {
		out = append(out, fmt.Sprintf("%s %s → %s", t.Knob, t.Old, t.New))
	}
	return strings.Join(out, ", ")
}

func (t Trial) what() string {
	switch t.Purpose {
	case "":
		return arrows(t.Changes)
	case string(ledger.Scored):
		return fmt.Sprintf("by %s: %s", t.By, arrows(t.Changes))
	}
	return t.Purpose + ": " + arrows(t.Changes)
}

// trials says how they came out.
func (c Counts) trials() string {
	text := fmt.Sprintf("%s: %d kept, %d reverted, %d inconclusive, %d discarded, %d running", plural(c.Trials, "trial"), c.Kept, c.Reverted, c.Inconclusive, c.Discarded, c.Running)
	if c.Better+c.NotBetter+c.Worse > 0 {
		text += fmt.Sprintf("; of others' changes %d better, %d not better, %d worse", c.Better, c.NotBetter, c.Worse)
	}
	return text
}

func effect(t Trial) string {
	if t.Effect == nil || t.Low == nil {
		return known(t.Effect, percent)
	}
	return fmt.Sprintf("%s (%s to %s)", percent(*t.Effect), percent(*t.Low), percent(*t.High))
}

func why(t Trial) string {
	text := t.Reason
	if t.Failure != "" {
		text = t.Failure + ": " + text
	}
	if t.Author != "" {
		text += " (by " + t.Author + ")"
	}
	if t.Violation > 0 {
		text += fmt.Sprintf("; guards breached for %.0f s", t.Violation)
	}
	return text
}

func (c Change) arrow() string {
	if c.Knob == "" {
		return unknown
	}
	return fmt.Sprintf("%s: %s → %s", c.Knob, c.Old, c.New)
}

// cell keeps what was written by others from ending a cell, or being read as markup.
func cell(s string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "`", "\\`").Replace(line(s))
}

func line(s string) string { return strings.Join(strings.Fields(s), " ") }
