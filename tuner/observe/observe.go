// Package observe turns PromQL into windows that may be judged and into the live figures that people see.
//
// It promises that a window is complete or has a named cause why not: goodput and P99 are finite, positive and within what is possible, and no
// guard about the measurement's worth is breached. A live figure that is not known is absent, with its reason; nothing older than the freshness
// limit is shown as current. It leaves out deciding what follows.
package observe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	now    func() time.Time
}

// New makes an observer.
func New(source Source, file config.File) *Observer {
	return &Observer{source: source, file: file, now: time.Now}
}

// The causes beside promql's.
const (
	CauseZero    = "zero-load"     // the query answered, and the answer is that nothing was done
	CauseBounds  = "out-of-bounds" // a figure that cannot be
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
	width := to.Sub(from)
	goodput, bad := o.figure(ctx, "goodput", o.file.Objective.Goodput, width, to, maxGoodput)
	if bad != nil {
		return judge.Window{}, bad
	}
	p99, bad := o.figure(ctx, "p99", o.file.Objective.P99, width, to, maxP99)
	if bad != nil {
		return judge.Window{}, bad
	}
	for _, g := range o.file.Guards {
		if bad := o.guard(ctx, g, width, to); bad != nil {
			return judge.Window{}, bad
		}
	}
	return judge.Window{Goodput: goodput, P99: p99}, nil
}

func (o *Observer) figure(ctx context.Context, name, query string, width time.Duration, at time.Time, highest float64) (float64, *Bad) {
	s, err := o.source.Number(ctx, withWindow(query, width), at)
	switch {
	case err != nil:
		return 0, missing(name, err)
	case s.Value == 0:
		return 0, &Bad{Cause: CauseZero, Figure: name, Why: "the value is 0"}
	case s.Value < 0 || s.Value > highest:
		return 0, &Bad{Cause: CauseBounds, Figure: name, Why: fmt.Sprintf("want more than 0 and at most %g (got %g)", highest, s.Value)}
	}
	return s.Value, nil
}

func (o *Observer) guard(ctx context.Context, g config.Guard, width time.Duration, at time.Time) *Bad {
	s, err := o.source.Number(ctx, withWindow(g.Query, width), at)
	if err != nil {
		return missing("guard "+g.Name, err)
	}
	bad := &Bad{Cause: "guard:" + g.Name, Figure: "guard " + g.Name, Blames: g.Breach == config.BreachWorse}
	switch {
	case g.Min != nil && s.Value < *g.Min:
		bad.Why = fmt.Sprintf("want at least %g (got %g)", *g.Min, s.Value)
	case g.Max != nil && s.Value > *g.Max:
		bad.Why = fmt.Sprintf("want at most %g (got %g)", *g.Max, s.Value)
	default:
		return nil
	}
	return bad
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

func withWindow(query string, width time.Duration) string {
	return strings.ReplaceAll(query, "$window", strconv.FormatInt(width.Milliseconds(), 10)+"ms")
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
	q := o.file.Live
	for _, f := range []struct {
		name, query string
		into        **float64
	}{
		{"p99", o.file.Objective.P99, &l.P99}, {"p50", q.P50, &l.P50}, {"p999", q.P999, &l.P999},
		{"offered", q.Offered, &l.Offered}, {"acked", o.file.Objective.Goodput, &l.Acked}, {"consumed", q.Consumed, &l.Consumed},
		{"errors", q.Errors, &l.Errors}, {"samples", q.Samples, &l.Samples},
	} {
		s, err := o.source.Number(ctx, withWindow(f.query, q.Window), time.Time{})
		if err == nil && s.Value < 0 {
			err = &promql.Error{Query: f.query, Cause: CauseBounds, Why: fmt.Sprintf("want 0 or more (got %g)", s.Value)}
		}
		if err != nil {
			bad := missing(f.name, err)
			l.Missing[f.name] = bad.Cause + ": " + bad.Why
			continue
		}
		*f.into = &s.Value
	}
	return l
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
