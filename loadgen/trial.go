package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/search"
)

// search tries rates, each with an engine of its own: clients, warm-up and histograms are fresh, and only the consumers stay. The report is
// that of the highest rate that met the SLO, or else of the last trial, and tells of all of them. What got lost or damaged in any of them is in it.
func (s *session) search(ctx, consuming context.Context) (*report.Report, error) {
	c := s.find
	var (
		best, last *report.Report
		faults     report.Faults
	)
	c.Progress = func(t search.Trial) {
		s.log.Info(t.String())
		if t.Verdict == search.Meets && (best == nil || t.Outcome.Acked > best.Summary().PerSecond.Acked) {
			best = last
		}
	}
	result, err := search.Run(ctx, c, func(ctx context.Context, rate float64) (search.Outcome, error) {
		var (
			o   search.Outcome
			err error
		)
		if o, last, err = s.trial(ctx, consuming, rate); last != nil {
			faults.Add(last.Faults)
		}
		return o, err
	})
	s.log.Info(result.String())
	if best == nil {
		best = last
	}
	if best != nil {
		best.Search, best.Faults = report.NewSearch(result), faults
	}
	return best, err
}

// trial offers one rate.
func (s *session) trial(ctx, consuming context.Context, rate float64) (search.Outcome, *report.Report, error) {
	c := s.config()
	c.Workload.Warmup = s.find.Warmup
	c.Rate, c.Duration, c.Joining = rate, s.find.Warmup+s.find.Measure, true
	c.Catchup = max(catchup, 2*s.workload.SLO.P99)
	r, err := s.engine(ctx, consuming, c, nil)
	if err != nil {
		return search.Outcome{}, r, err
	}
	if ctx.Err() != nil {
		return search.Outcome{}, r, ctx.Err()
	}
	m, over := r.Measured, r.Lasted-r.Warmup // the warm-up ends when consumers have joined, and is then longer than was asked for
	if over <= 0 {
		return search.Outcome{}, r, fmt.Errorf("measure %.0f records/s: the warm-up took all of %v", rate, c.Duration)
	}
	p99, _ := m.EndToEnd.Snapshot().Quantile(0.99)
	acked, consumed := served(r)
	// Each group reads every record, and those of transactions that were aborted on purpose were served too.
	aborted := float64(m.Aborted) / over
	acked += aborted
	consumed /= float64(s.workload.Consumer.Groups)
	if s.workload.Consumer.Isolation == "read_committed" {
		consumed += aborted
	}
	return search.Outcome{
		Offered: float64(m.Offered) / over, Acked: acked, Consumed: consumed, P99: p99, Samples: m.EndToEnd.Count(),
		Errors: m.Failed, GeneratorLimited: r.Summary().Verdict.Limit == report.LimitGenerator, Steady: steady(r),
	}, r, nil
}

// served is the rate at which records were acknowledged and consumed in the whole seconds of the measured time, whenever they were intended:
// under overload that is what the cluster can do, while of the records intended in that time some come long after it.
func served(r *report.Report) (acked, consumed float64) {
	from, to := r.Start.Add(time.Duration(r.Warmup*1e9)), r.Start.Add(time.Duration(r.Lasted*1e9))
	var over float64
	for _, p := range r.Series.Points {
		at := time.Unix(p.At, 0)
		if at.Before(from) || at.Add(time.Duration(p.Seconds*1e9)).After(to) {
			continue
		}
		over += p.Seconds
		acked += float64(p.Acked)
		consumed += float64(p.Consumed)
	}
	if over == 0 { // less than two seconds were measured
		m := r.Measured
		over, acked, consumed = r.Lasted-r.Warmup, float64(m.Acked), float64(m.Consumed)
	}
	return acked / over, consumed / over
}

// changed is how many times higher the P99 of one half of a trial may be than that of the other while the trial is called steady.
const changed = 2

// steady compares the first half of the measured time with the second. A few seconds hold too little to tell.
func steady(r *report.Report) bool {
	from := r.Start.Add(time.Duration(r.Warmup * 1e9))
	var points []report.Point
	for _, p := range r.Series.Points {
		if !time.Unix(p.At, 0).Before(from) {
			points = append(points, p)
		}
	}
	if len(points) < 4 {
		return true
	}
	p99 := func(points []report.Point) time.Duration {
		var sum hist.Snapshot
		for _, p := range points {
			sum.MergePacked(p.EndToEnd)
		}
		q, _ := sum.Quantile(0.99)
		return q
	}
	first, second := p99(points[:len(points)/2]), p99(points[len(points)/2:])
	return max(first, second) < changed*min(first, second)
}
