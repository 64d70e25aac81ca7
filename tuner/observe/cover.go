package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
)

// clocks compares the server's clock with ours: a window is cut by ours, and what is in it was stamped by the server's. An answer of the same moment
// as ours, give or take a scrape, does no harm: measuring begins well after the target has settled, and ends before it is touched again.
func (o *Observer) clocks(ctx context.Context) *Bad {
	before := o.now()
	s, err := o.ask(ctx, "vector(time())", time.Time{})
	if cause := promql.CauseOf(err); cause == promql.Stale || cause == promql.Skew {
		return &Bad{Cause: string(promql.Skew), Figure: "clock", Why: missing("clock", err).Why}
	}
	if err != nil {
		return missing("clock", err)
	}
	limit := max(o.file.Prometheus.ScrapeInterval, time.Second)
	server := time.UnixMilli(int64(s.Value * 1000))
	switch {
	case before.Sub(server) > limit:
		return skew(before.Sub(server), "behind", limit)
	case server.Sub(o.now()) > limit:
		return skew(server.Sub(o.now()), "ahead of", limit)
	}
	return nil
}

func skew(by time.Duration, way string, limit time.Duration) *Bad {
	return &Bad{
		Cause: string(promql.Skew), Figure: "clock",
		Why: fmt.Sprintf("the server's clock is %s %s ours, the limit is %s", by.Round(time.Millisecond), way, limit),
	}
}

// covered tells whether every series that the selector takes was there for the whole window. A rate does not say so: it is extrapolated from what
// there is. The value promql.NoData as the cause means that there is no such series at all.
func (o *Observer) covered(ctx context.Context, figure string, s selector, span Span) *Bad {
	need := o.scrapes(span.width())
	window := duration(span.width())
	samples, err := o.ask(ctx, fmt.Sprintf("max(count_over_time(%s[%s]))", s.series, window), span.To)
	switch {
	case promql.CauseOf(err) == promql.NoData:
		return &Bad{Cause: string(promql.NoData), Figure: figure, Why: fmt.Sprintf("no series %s has a sample in the window", s.series)}
	case err != nil:
		return missing(figure, err)
	case samples.Value < need:
		return o.short(ctx, figure, s, span, samples.Value, need)
	}
	holes, err := o.ask(ctx, fmt.Sprintf("count(last_over_time(%[1]s[%[2]s] offset %[2]s) unless (count_over_time(%[1]s[%[2]s]) >= %[3]g))", s.series, window, need), span.To)
	switch {
	case promql.CauseOf(err) == promql.NoData: // none
	case err != nil:
		return missing(figure, err)
	case holes.Value > 0:
		return &Bad{Cause: CauseGap, Figure: figure, Why: fmt.Sprintf("%g series of %s that were there before have fewer than %g samples in the window", holes.Value, s.series, need)}
	}
	if !s.counter {
		return nil
	}
	resets, err := o.ask(ctx, fmt.Sprintf("sum(resets(%s[%s]))", s.series, window), span.To)
	switch {
	case err != nil:
		return missing(figure, err)
	case resets.Value > 0:
		return &Bad{Cause: CauseReset, Figure: figure, Why: fmt.Sprintf("%s was reset %g times in the window: what it counted just before is lost, and who counts was started anew", s.series, resets.Value)}
	}
	return nil
}

// short tells series that ended, or that are behind, from series with holes.
func (o *Observer) short(ctx context.Context, figure string, s selector, span Span, got, need float64) *Bad {
	bad := &Bad{Cause: CauseGap, Figure: figure, Why: fmt.Sprintf("%s has at most %g samples in the window, want %g", s.series, got, need)}
	limit := 2 * o.file.Prometheus.ScrapeInterval
	newest, err := o.ask(ctx, fmt.Sprintf("max(timestamp(%s))", s.series), span.To)
	switch age := span.To.Sub(time.UnixMilli(int64(newest.Value * 1000))); {
	case promql.CauseOf(err) == promql.NoData:
		bad.Cause, bad.Why = string(promql.Stale), bad.Why+": it ended before the window did"
	case err != nil:
		return missing(figure, err)
	case age > limit:
		bad.Cause, bad.Why = string(promql.Stale), fmt.Sprintf("%s: its newest is %s older than the window's end, the limit is %s", bad.Why, age.Round(time.Millisecond), limit)
	}
	return bad
}

// scrapes is how many samples a series must have in a window: four make a rate, and of many some may be late or lost.
func (o *Observer) scrapes(width time.Duration) float64 {
	expected := int(width / o.file.Prometheus.ScrapeInterval)
	return float64(max(config.Scrapes, expected*3/4))
}

const (
	attempts = 2
	pause    = 500 * time.Millisecond
)

// ask tries once more what fails for a moment: the window has ended, so that a later answer is about the same.
func (o *Observer) ask(ctx context.Context, query string, at time.Time) (promql.Sample, error) {
	for n := 1; ; n++ {
		s, err := o.source.Number(ctx, query, at)
		if err == nil || n == attempts || !transient(promql.CauseOf(err)) {
			return s, err
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return promql.Sample{}, errors.Join(&promql.Error{Cause: promql.Canceled, Query: query, Why: ctx.Err().Error()}, ctx.Err())
		case <-wait.C:
		}
	}
}

func transient(c promql.Cause) bool {
	switch c {
	case promql.ServerError, promql.Unreachable, promql.Throttled:
		return true
	}
	return false
}
