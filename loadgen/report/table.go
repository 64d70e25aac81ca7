package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Table writes the report for a console.
func (r *Report) Table(out io.Writer) error {
	s := r.Summary()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	t := table{w}
	t.line("%s", r.headline(s))
	t.line("limit: %s", s.Verdict.Limit)
	t.items(s.Verdict.Reasons)
	t.search(r.Search)
	t.records(r, s)
	t.latency(s)
	t.section("errors", errorLines(r.Errors))
	t.section("faults by name", r.Faults.Named)
	if len(r.Faults.Named) == MaxNamed {
		t.line("  no more than %d are named here; the log has others", MaxNamed)
	}
	t.section("warnings", s.Warnings)
	t.section("client settings", settingLines(r.Settings))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}

// headline says in one sentence what was run.
func (r *Report) headline(s Summary) string {
	text := fmt.Sprintf("workload %s, topic %s, %s mode, %.1f s", r.Workload.Name, r.Topic, r.Mode, s.Seconds)
	switch {
	case s.Phase != "measured":
		text += " of warm-up"
	case r.Warmup > 0:
		text += fmt.Sprintf(" after %s of warm-up", seconds(r.Warmup))
	}
	if n := len(r.Generators); n > 1 {
		text += fmt.Sprintf(", %d processes", n)
	}
	return text
}

// table writes through a tabwriter. Errors are its Flush's.
type table struct{ w io.Writer }

func (t table) line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t table) items(items []string) {
	for _, i := range items {
		t.line("  %s", i)
	}
}

func (t table) section(name string, items []string) {
	if len(items) > 0 {
		t.line("\n%s", name)
		t.items(items)
	}
}

// row is a counter with its rate and, where it has one, its number of bytes a second.
type row struct {
	Name      string
	Total     uint64
	PerSecond float64
	Bytes     float64
}

// rows are the counters of the phase shown, and the faults of the whole run.
func (r *Report) rows(s Summary) (counters, faults []row) {
	p, _, _ := r.shown()
	per := s.PerSecond
	counters = []row{
		{"offered", p.Offered, per.Offered, 0}, {"acknowledged", p.Acked, per.Acked, per.AckedBytes}, {"failed", p.Failed, per.Failed, 0},
	}
	if r.Settings[SettingRetries] != RetriesUnseen {
		counters = append(counters, row{"retried", p.Retried, per.Retried, 0})
	}
	counters = append(counters, row{"consumed", p.Consumed, per.Consumed, per.ConsumedBytes})
	if p.Aborted > 0 {
		counters = append(counters, row{"aborted", p.Aborted, per.Aborted, 0})
	}
	f := r.Faults
	found := []row{{Name: "lost", Total: f.Lost}, {Name: "duplicated", Total: f.Duplicated}, {Name: "reordered", Total: f.Reordered}, {Name: "corrupted", Total: f.Corrupted}}
	if p.Aborted > 0 || f.Uncommitted > 0 {
		found = append(found, row{Name: "uncommitted", Total: f.Uncommitted})
	}
	if n := r.Unverified(); n > 0 {
		found = append(found, row{Name: "not known", Total: n})
	}
	return counters, found
}

// Retries of transactional clients are made where nobody sees them: what is not known is left out of the table.
const (
	SettingRetries = "producer.retries"
	RetriesUnseen  = "by the client, not counted"
)

func (t table) records(r *Report, s Summary) {
	counters, faults := r.rows(s)
	t.line("\nrecords\ttotal\tper second\tMB/s")
	for _, c := range counters {
		mb := ""
		if c.Bytes > 0 {
			mb = fmt.Sprintf("%.2f", c.Bytes/1e6)
		}
		t.line("%s\t%d\t%.1f\t%s", c.Name, c.Total, c.PerSecond, mb)
	}
	for _, f := range faults {
		t.line("%s\t%d\t\t", f.Name, f.Total)
	}
}

func (t table) latency(s Summary) {
	t.line("\nlatency\tP50\tP90\tP99\tP99.9\tmax")
	for _, n := range names() {
		f, there := s.Latency[n]
		if !there {
			t.line("%s\tnone\tnone\tnone\tnone\tnone", title(n))
			continue
		}
		cells := []string{title(n)}
		for _, v := range []float64{f.P50, f.P90, f.P99, f.P999, f.Max} {
			cells = append(cells, milliseconds(v))
		}
		t.line("%s", strings.Join(cells, "\t"))
	}
	t.line("(percentiles are PromQL's, right to 1.1 %%; max is exact)")
}

func (t table) search(s *Search) {
	if s == nil {
		return
	}
	t.line("\ntrial\trate\tacknowledged\tP99\tsamples\tverdict")
	for i, trial := range s.Trials {
		t.line("%d\t%s\t%s\t%s\t%d\t%s", i+1, rate(trial.Rate), rate(trial.Acked), milliseconds(trial.P99), trial.Samples, trial.Said())
	}
	t.line("%s", s.Why)
}

// Said is the trial's verdict with its reason.
func (t Trial) Said() string {
	if t.Why == "" {
		return t.Verdict
	}
	return t.Verdict + ": " + t.Why
}

func errorLines(errors map[string]uint64) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(errors)) {
		out = append(out, fmt.Sprintf("%s times: %s", count(errors[k]), k))
	}
	return out
}

func settingLines(settings map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		out = append(out, fmt.Sprintf("%s = %s", k, settings[k]))
	}
	return out
}
