package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// document is what is written: the report, and before it what follows from it, for readers that do not want to take quantiles of buckets.
type document struct {
	Summary Summary `json:"summary"`
	Report
}

// WriteJSON writes the document.
func (r *Report) WriteJSON(w io.Writer) error {
	d := document{Summary: r.Summary(), Report: *r}
	d.Schema = Schema
	if err := json.NewEncoder(w).Encode(d); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Read reads a document that WriteJSON has written, and refuses any other with every problem as `field: problem (got value)`.
func Read(from io.Reader) (*Report, error) {
	data, err := io.ReadAll(from)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	// The version first: the fields of another one mean nothing here.
	var version struct {
		Schema *json.Number `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err == nil && version.Schema != nil && version.Schema.String() != fmt.Sprint(Schema) {
		return nil, fmt.Errorf("read report: schema: must be %d, another version of loadgen has written this (got %s)", Schema, version.Schema)
	}
	var d document
	if err := strict(data, &d); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if err := d.validate(); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return &d.Report, nil
}

// validate reports every problem of a document whose fields are all there.
func (d *document) validate() error {
	var p problems
	p.need(d.Schema == Schema, "schema", fmt.Sprintf("must be %d", Schema), d.Schema)
	p.need(slices.Contains([]string{ModeRun, ModeSLO, ModeSearch}, d.Mode), "mode", "must be run, slo or search", quoted(d.Mode))
	p.need(d.Workload.Name != "", "workload.name", "must be set", quoted(d.Workload.Name))
	p.need(d.Topic != "", "topic", "must be set", quoted(d.Topic))
	p.need(d.Partitions >= 1, "partitions", "must be at least 1", d.Partitions)
	p.need(!d.Start.IsZero(), "start", "must be set", d.Start)
	for _, f := range []struct {
		name  string
		value float64
	}{{"slo_p99_seconds", d.SLO}, {"max_rate", d.MaxRate}, {"warmup_seconds", d.Warmup}, {"lasted_seconds", d.Lasted}} {
		p.need(f.value >= 0 && !math.IsInf(f.value, 1), f.name, "must be 0 or more", f.value)
	}
	d.WarmUp.validate(&p, "warm_up")
	d.Measured.validate(&p, "measured")
	p.need(len(d.Generators) > 0, "generators", "must tell of one process at least", len(d.Generators))
	for i, g := range d.Generators {
		path := fmt.Sprintf("generators[%d].", i)
		p.need(g.Senders >= 1, path+"senders", "must be at least 1", g.Senders)
		p.need(g.Blocked >= 0, path+"blocked_seconds", "must be 0 or more", g.Blocked)
		p.need(g.Limited >= 0, path+"limited_seconds", "must be 0 or more", g.Limited)
		p.need(g.CPU >= 0, path+"cpu_seconds", "must be 0 or more", g.CPU)
		p.need(g.CPUs > 0, path+"processors", "must be above 0", g.CPUs)
	}
	d.Series.validate(&p)
	if len(p) == 0 {
		d.compare(&p)
	}
	return errors.Join(p...)
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// validate checks what makes the counters and the histograms one truth.
func (p *Phase) validate(found *problems, path string) {
	for _, c := range []struct {
		name      string
		n         uint64
		histogram string
		count     uint64
	}{
		{"acked", p.Acked, "response", p.Response.Count()},
		{"acked", p.Acked, "service", p.Service.Count()},
		{"sent", p.Sent, "schedule_lag", p.Lag.Count()},
		{"consumed", p.Consumed, "end_to_end", p.EndToEnd.Count()},
	} {
		found.need(c.n == c.count, path+"."+c.name, fmt.Sprintf("must be the count of %s.%s, %d", path, c.histogram, c.count), c.n)
	}
}

func (s Series) validate(p *problems) {
	p.need(len(s.Points) == 0 || s.Step > 0 && s.Step&(s.Step-1) == 0, "series.step_seconds", "must be a power of two", s.Step)
	if s.Step <= 0 {
		return
	}
	p.need(len(s.Points) <= MaxPoints, "series.points", fmt.Sprintf("must be at most %d", MaxPoints), len(s.Points))
	for i, point := range s.Points {
		path := fmt.Sprintf("series.points[%d].at", i)
		p.need(mod(point.At, s.Step) == 0, path, fmt.Sprintf("must be a multiple of the step of %d s", s.Step), point.At)
		p.need(i == 0 || point.At > s.Points[i-1].At, path, "must be later than the one before", point.At)
	}
}

// compare refuses figures that do not follow from the buckets: somebody has changed the one and not the other. What the verdict is may
// change from version to version.
func (d *document) compare(p *problems) {
	want := d.Report.Summary()
	for name, got := range d.Summary.Latency {
		w, there := want.Latency[name]
		p.need(there && got == w, "summary.latency."+name, fmt.Sprintf("must be what its buckets say, %+v", w), fmt.Sprintf("%+v", got))
	}
	p.need(len(d.Summary.Latency) == len(want.Latency), "summary.latency", fmt.Sprintf("must have %d histograms", len(want.Latency)), len(d.Summary.Latency))
	p.need(d.Summary.PerSecond == want.PerSecond, "summary.per_second", fmt.Sprintf("must follow from the counts, %+v", want.PerSecond), fmt.Sprintf("%+v", d.Summary.PerSecond))
}
