// Package observe turns PromQL into windows that may be judged and into the live figures that people see.
//
// It promises that a window is complete or has a named cause why not: the server's clock agrees with ours, every series that a query takes was
// scraped throughout, no counter was reset, goodput and P99 are finite, positive and within what is possible, and no guard about the measurement's
// worth is breached. Only a guard that says so speaks against a configuration, and only with a value that could be measured. A live figure that is
// not known is absent, with its reason; nothing older than the freshness limit is shown as current. It leaves out deciding what follows.
package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
)

// Source answers queries; promql.Client is one.
type Source interface {
	Number(ctx context.Context, query string, at time.Time) (promql.Sample, error)
}

// Observer asks the source what the configuration says.
type Observer struct {
	source Source
	file   config.File
	takes  map[string][]selector // by query
	now    func() time.Time
}

// New makes an observer. The error names every query that cannot be checked.
func New(source Source, file config.File) (*Observer, error) {
	o := &Observer{source: source, file: file, takes: map[string][]selector{}, now: time.Now}
	var errs []error
	add := func(field, query string) {
		found, err := selectors(query)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w (got %q)", field, err, query))
		}
		o.takes[query] = found
	}
	add("objective.goodput", file.Objective.Goodput)
	add("objective.p99", file.Objective.P99)
	for i, g := range file.Guards {
		add(fmt.Sprintf("guards[%d].query", i), g.Query)
	}
	for _, q := range live(file) {
		add("live."+q.name, q.query)
	}
	return o, errors.Join(errs...)
}

// The causes beside promql's.
const (
	CauseZero    = "zero-load"     // the query answered, and the answer is that nothing was done
	CauseBounds  = "out-of-bounds" // a figure that cannot be
	CauseGap     = "gap"           // a series was not scraped throughout the window
	CauseReset   = "counter-reset" // what counts was started anew in the window
	CauseShort   = "short-window"  // the window holds too few scrapes for a rate
	CauseStopped = "stopped"       // the tuner ends
)

// Bad says why a window cannot be used.
type Bad struct {
	Cause  string // promql's, ours, or guard:<name>
	Figure string // which figure is bad: goodput, p99, or the guard's name
	Why    string
	// Blames is set when a guard of kind worse was breached: the measurement is sound, and it speaks against the configuration.
	Blames bool
}

func (b *Bad) Error() string { return fmt.Sprintf("%s: %s: %s", b.Figure, b.Cause, b.Why) }

// The widest that is believed: a goodput beyond any single broker, a latency beyond any client's patience.
const (
	maxGoodput = 1e9
	maxP99     = 3600
)

// Window is what happened from `from` to `to`. The error is a *Bad.
func (o *Observer) Window(ctx context.Context, from, to time.Time) (judge.Window, error) {
	return o.Measure(ctx, Span{From: from, To: to})
}

// Measure is Window for a trial whose queries may ask when it began. The error is a *Bad.
func (o *Observer) Measure(ctx context.Context, span Span) (judge.Window, error) {
	if least := config.Scrapes * o.file.Prometheus.ScrapeInterval; span.width() < least {
		return judge.Window{}, &Bad{
			Cause: CauseShort, Figure: "window",
			Why: fmt.Sprintf("want at least %s, %d scrapes of %s (got %s)", least, config.Scrapes, o.file.Prometheus.ScrapeInterval, span.width()),
		}
	}
	if bad := o.clocks(ctx); bad != nil {
		return judge.Window{}, bad
	}
	goodput, bad := o.figure(ctx, config.Goodput, o.file.Objective.Goodput, span, maxGoodput)
	if bad != nil {
		return judge.Window{}, bad
	}
	p99, bad := o.figure(ctx, config.P99, o.file.Objective.P99, span, maxP99)
	if bad != nil {
		return judge.Window{}, bad
	}
	for _, g := range o.file.Guards {
		if bad := o.guard(ctx, g, span); bad != nil {
			return judge.Window{}, bad
		}
	}
	return judge.Window{Goodput: goodput, P99: p99}, nil
}

// value is the query's number for the span, once the series that it takes are known to be complete and the number is one that can be.
func (o *Observer) value(ctx context.Context, figure, query string, m config.Metric, span Span) (float64, *Bad) {
	for _, s := range o.takes[query] {
		if bad := o.covered(ctx, figure, s, span); bad != nil {
			return 0, bad
		}
	}
	s, err := o.ask(ctx, expand(query, span.variables(o.file.Prometheus.ScrapeInterval)), span.To)
	if err != nil {
		return 0, missing(figure, err)
	}
	if err := m.Check(s.Value); err != nil {
		return 0, &Bad{Cause: CauseBounds, Figure: figure, Why: err.Error()}
	}
	return s.Value, nil
}

func (o *Observer) figure(ctx context.Context, name, query string, span Span, highest float64) (float64, *Bad) {
	v, bad := o.value(ctx, name, query, o.file.Prometheus.Metric(name), span)
	switch {
	case bad != nil:
		return 0, bad
	case v == 0:
		return 0, &Bad{Cause: CauseZero, Figure: name, Why: "the value is 0"}
	case v < 0 || v > highest:
		return 0, &Bad{Cause: CauseBounds, Figure: name, Why: fmt.Sprintf("want more than 0 and at most %g (got %g)", highest, v)}
	}
	return v, nil
}

func (o *Observer) guard(ctx context.Context, g config.Guard, span Span) *Bad {
	m := o.file.Prometheus.Metric(g.Name)
	figure := "guard " + g.Name
	v, bad := o.value(ctx, figure, g.Query, m, span)
	if bad != nil {
		if bad.Cause != string(promql.NoData) || m.Missing == config.MissingInconclusive {
			return bad
		}
		if m.Missing == config.MissingIgnore {
			return nil
		}
		v = 0
	}
	breach := &Bad{Cause: "guard:" + g.Name, Figure: figure, Blames: g.Breach == config.BreachWorse}
	switch {
	case g.Min != nil && v < *g.Min:
		breach.Why = fmt.Sprintf("want at least %g (got %g)", *g.Min, v)
	case g.Max != nil && v > *g.Max:
		breach.Why = fmt.Sprintf("want at most %g (got %g)", *g.Max, v)
	default:
		return nil
	}
	return breach
}

func missing(figure string, err error) *Bad {
	b := &Bad{Figure: figure, Cause: string(promql.CauseOf(err)), Why: err.Error()}
	var e *promql.Error
	if errors.As(err, &e) {
		b.Why = e.Why
	}
	if b.Cause == "" {
		b.Cause = string(promql.BadAnswer)
	}
	if e != nil && e.Cause == promql.Canceled {
		b.Cause = CauseStopped
	}
	return b
}

// Live is what is happening now. A nil figure is not known; Missing says why, by the figure's name.
type Live struct {
	Time     time.Time
	Age      *float64 // seconds since the newest sample
	P50      *float64 // seconds
	P99      *float64
	P999     *float64
	Offered  *float64 // records per second
	Acked    *float64
	Consumed *float64
	Errors   *float64
	Samples  *float64 // observations in the window
	Missing  map[string]string
}

// Live asks for everything. It never fails as a whole: what could not be had is missing with its reason.
func (o *Observer) Live(ctx context.Context) Live {
	l := Live{Time: o.now(), Missing: map[string]string{}}
	if why := o.fresh(ctx, &l); why != "" {
		for _, name := range []string{"p50", "p99", "p999", "offered", "acked", "consumed", "errors", "samples"} {
			l.Missing[name] = why
		}
		return l
	}
	into := map[string]**float64{
		"p99": &l.P99, "p50": &l.P50, "p999": &l.P999, "offered": &l.Offered, "acked": &l.Acked, "consumed": &l.Consumed, "errors": &l.Errors, "samples": &l.Samples,
	}
	variables := Span{From: l.Time.Add(-o.file.Live.Window), To: l.Time}.variables(o.file.Prometheus.ScrapeInterval)
	for _, f := range live(o.file) {
		s, err := o.source.Number(ctx, expand(f.query, variables), time.Time{})
		if err == nil && s.Value < 0 {
			err = &promql.Error{Query: f.query, Cause: CauseBounds, Why: fmt.Sprintf("want 0 or more (got %g)", s.Value)}
		}
		if err != nil {
			bad := missing(f.name, err)
			l.Missing[f.name] = bad.Cause + ": " + bad.Why
			continue
		}
		*into[f.name] = &s.Value
	}
	return l
}

type named struct{ name, query string }

// live are the figures that people see.
func live(f config.File) []named {
	q := f.Live
	return []named{
		{"p99", f.Objective.P99}, {"p50", q.P50}, {"p999", q.P999}, {"offered", q.Offered}, {"acked", f.Objective.Goodput}, {"consumed", q.Consumed},
		{"errors", q.Errors}, {"samples", q.Samples},
	}
}

// fresh says why nothing can be current. An instant query answers from the newest sample of the last minutes, so only that sample's own time tells.
func (o *Observer) fresh(ctx context.Context, l *Live) string {
	s, err := o.source.Number(ctx, o.file.Live.Newest, time.Time{})
	if err != nil {
		bad := missing("age", err)
		return bad.Cause + ": " + bad.Why
	}
	// Both times are the server's, so that a difference between its clock and ours does not make data look old or new.
	age := s.Time.Sub(time.UnixMilli(int64(s.Value * 1000))).Seconds()
	l.Age = &age
	if limit := o.file.Live.Freshness; age > limit.Seconds() {
		return fmt.Sprintf("%s: the newest sample is %.1f s old, the limit is %s", promql.Stale, age, limit)
	}
	return ""
}
