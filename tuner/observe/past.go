package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
)

// Recorder answers queries about the past; promql.Client is one.
type Recorder interface {
	Over(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]promql.Sample, error)
}

// Past is what Live would have said of P50, P99, what was offered and what was acknowledged, at each step at which any of it was known, oldest first. The
// error names the figures that could not be had; those that could are there nevertheless. A query that takes another time than its window's, by $start or
// $end, says nothing about a stretch of time.
func Past(ctx context.Context, source Recorder, file config.File, from, to time.Time, step time.Duration) ([]Live, error) {
	at := map[int64]*Live{}
	var errs []error
	for _, f := range live(file) {
		var into func(*Live) **float64
		switch f.name {
		case "p50":
			into = func(l *Live) **float64 { return &l.P50 }
		case "p99":
			into = func(l *Live) **float64 { return &l.P99 }
		case "offered":
			into = func(l *Live) **float64 { return &l.Offered }
		case "acked":
			into = func(l *Live) **float64 { return &l.Acked }
		default:
			continue
		}
		if strings.Contains(f.query, "$start") || strings.Contains(f.query, "$end") {
			errs = append(errs, fmt.Errorf("%s over time: want a query without $start and $end (got %q)", f.name, f.query))
			continue
		}
		variables := Span{From: to.Add(-file.Live.Window), To: to}.variables(file.Prometheus.ScrapeInterval)
		samples, err := source.Over(ctx, expand(f.query, variables), from, to, step)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s over time: %w", f.name, err))
			continue
		}
		for _, s := range samples {
			if s.Value < 0 {
				continue
			}
			key := s.Time.UnixMilli()
			if at[key] == nil {
				at[key] = &Live{Time: s.Time}
			}
			*into(at[key]) = &s.Value
		}
	}
	out := make([]Live, 0, len(at))
	for _, l := range at {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Live) int { return a.Time.Compare(b.Time) })
	return out, errors.Join(errs...)
}
