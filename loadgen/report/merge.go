package report

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Merge makes one report of those of the copies of one run: counts and buckets are added, series by the clock on the wall. Reports of
// different runs are refused, because their figures together would be those of neither.
func Merge(reports ...*Report) (*Report, error) {
	if len(reports) == 0 {
		return nil, errors.New("merge reports: at least one is needed (got none)")
	}
	m := *reports[0]
	m.Warnings, m.Generators, m.Faults.Named = slices.Clone(m.Warnings), slices.Clone(m.Generators), slices.Clone(m.Faults.Named)
	var found problems
	for i, r := range reports[1:] {
		before := len(found)
		m.same(r, fmt.Sprintf("report %d", i+2), &found)
		if len(found) == before {
			m.add(r)
		}
	}
	if err := errors.Join(found...); err != nil {
		return nil, fmt.Errorf("merge reports: %w", err)
	}
	return &m, nil
}

// same finds out whether r is a copy of the same run.
func (m *Report) same(r *Report, who string, found *problems) {
	need := func(ok bool, field string, want, got any) {
		found.need(ok, who+": "+field, fmt.Sprintf("must be that of the first report, %v", want), got)
	}
	need(r.Schema == m.Schema, "schema", m.Schema, r.Schema)
	need(r.Mode == m.Mode, "mode", m.Mode, r.Mode)
	need(r.Workload.Name == m.Workload.Name, "workload.name", m.Workload.Name, r.Workload.Name)
	if r.Workload.Name == m.Workload.Name && !r.Workload.equal(m.Workload) {
		at, want, got := difference(flat(m.Workload.Config), flat(r.Workload.Config))
		need(false, "workload.config."+at, want, got)
	}
	need(r.Topic == m.Topic, "topic", m.Topic, r.Topic)
	need(r.Partitions == m.Partitions, "partitions", m.Partitions, r.Partitions)
	need(r.SLO == m.SLO, "slo_p99_seconds", m.SLO, r.SLO)
	need(r.Warmup == m.Warmup, "warmup_seconds", m.Warmup, r.Warmup)
	need(r.Copies == m.Copies, "copies", m.Copies, r.Copies)
	need(r.Groups == m.Groups, "consumer_groups", m.Groups, r.Groups)
	need(r.ProduceOnly == m.ProduceOnly, "produce_only", m.ProduceOnly, r.ProduceOnly)
	need(r.Closed == m.Closed, "closed_loop", m.Closed, r.Closed)
	found.need(r.Mode != ModeSearch, who+": mode", "searches cannot be merged: each tries rates of its own", r.Mode)
	apart := r.Start.After(m.end()) || m.Start.After(r.end())
	found.need(!apart, who+": start", fmt.Sprintf("must be within the time of the first report, %s to %s, or it is another run", m.Start.Format(time.RFC3339), m.end().Format(time.RFC3339)),
		r.Start.Format(time.RFC3339))
	for _, g := range r.Generators {
		again := slices.ContainsFunc(m.Generators, func(o Generator) bool { return o.Run == g.Run })
		found.need(!again, who+": generators.run", "must differ from that of every other report, or a record would count twice", g.Run)
	}
}

func (m *Report) end() time.Time { return m.Start.Add(time.Duration(m.Lasted * 1e9)) }

// add takes in a copy of the same run.
func (m *Report) add(r *Report) {
	if m.Program != r.Program && !slices.Contains(strings.Split(m.Program, ", "), r.Program) {
		m.Program += ", " + r.Program
	}
	if off := r.Start.Sub(m.Start).Abs(); off > time.Second {
		m.Warnings = append(m.Warnings, fmt.Sprintf("the copies did not start together: %s and %s", m.Start.Format(time.RFC3339), r.Start.Format(time.RFC3339)))
	}
	start, end := m.Start, m.end()
	if r.Start.Before(start) {
		start = r.Start
	}
	if r.end().After(end) {
		end = r.end()
	}
	m.Start, m.Lasted = start, max(end.Sub(start).Seconds(), m.Lasted, r.Lasted)
	m.MaxRate += r.MaxRate
	m.WarmUp.add(r.WarmUp)
	m.Measured.add(r.Measured)
	m.Faults.Add(r.Faults)
	m.Errors = addCounts(m.Errors, r.Errors)
	for _, k := range slices.Sorted(maps.Keys(r.Settings)) {
		switch v, there := m.Settings[k]; {
		case !there:
			m.Warnings = append(m.Warnings, fmt.Sprintf("client setting %s is %s in one copy and not told by another", k, r.Settings[k]))
		case v != r.Settings[k]:
			m.Warnings = append(m.Warnings, fmt.Sprintf("client setting %s differs between the copies: %s and %s", k, v, r.Settings[k]))
		}
	}
	for _, w := range r.Warnings {
		if !slices.Contains(m.Warnings, w) {
			m.Warnings = append(m.Warnings, w)
		}
	}
	m.Generators = append(m.Generators, r.Generators...)
	m.Series = m.Series.merge(r.Series)
}

// Add takes the faults of another run, or of another process of this one, into account.
func (f *Faults) Add(o Faults) {
	f.Lost += o.Lost
	f.Duplicated += o.Duplicated
	f.Reordered += o.Reordered
	f.Corrupted += o.Corrupted
	f.Uncommitted += o.Uncommitted
	f.Unverified += o.Unverified
	f.Redelivered += o.Redelivered
	f.Foreign += o.Foreign
	f.Skewed += o.Skewed
	f.Named = append(f.Named, o.Named...)
	f.Named = f.Named[:min(len(f.Named), MaxNamed)]
}
