package report

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/search"
)

// The bounds of the verdict.
const (
	failing  = 0.001                 // of the records sent: what was measured is failure
	served   = 0.99                  // of the records offered: less is a rate that was not reached
	late     = 20 * time.Millisecond // a sender this late one time in a hundred disturbs what it measures
	limited  = 0.05                  // of the time
	busy     = 0.9                   // of the processors
	blocking = 0.01                  // of the senders' time, to be worth telling
	mostly   = 0.5                   // of the senders' time, to be the cause of everything else
	grew     = 2.0                   // times, from the first third to the last
	growth   = 0.005                 // seconds at least, for a growth to be one
)

// judge says what limited the run. It is a function of the report alone. Failures come first, because figures of few successes mislead; then
// the generator, because its own lateness is in every other figure; then Kafka.
func judge(r *Report, p *Phase, s Summary) Verdict {
	if p.Offered == 0 {
		return Verdict{LimitUnknown, []string{"no record was offered"}}
	}
	for _, c := range []struct {
		limit   Limit
		reasons func(*Report, *Phase, Summary) []string
	}{{LimitErrors, failures}, {LimitGenerator, generators}, {LimitBroker, broker}} {
		if reasons := c.reasons(r, p, s); len(reasons) > 0 {
			return Verdict{c.limit, append(reasons, damage(r.Faults)...)}
		}
	}
	if r.Search != nil && r.Search.Kind == string(search.Unknown) {
		return Verdict{LimitUnknown, []string{r.Search.Why}}
	}
	reasons := []string{fmt.Sprintf("acknowledged %s of %s records offered per second", rate(s.PerSecond.Acked), rate(s.PerSecond.Offered))}
	if f, there := s.Latency[Lag]; there {
		reasons = append(reasons, fmt.Sprintf("the generator was on time: P99 of schedule lag %s", seconds(f.P99)))
	}
	if s.SLO != nil {
		reasons = append(reasons, s.SLO.String())
	}
	return Verdict{LimitTarget, append(reasons, damage(r.Faults)...)}
}

func failures(r *Report, p *Phase, _ Summary) []string {
	if p.Acked == 0 && p.Failed > 0 {
		return append([]string{fmt.Sprintf("none of %s offered was acknowledged, %s failed", records(p.Offered), count(p.Failed))}, often(r.Errors)...)
	}
	failed := p.Failed - min(p.Failed, unsent(p))
	if p.Sent == 0 || float64(failed) < failing*float64(p.Sent) {
		return nil
	}
	return append([]string{fmt.Sprintf("%s of %s sent failed (%s)", count(failed), records(p.Sent), percent(float64(failed)/float64(p.Sent)))}, often(r.Errors)...)
}

// unsent is how many records were given up before they could be sent, because their time was long past.
func unsent(p *Phase) uint64 { return p.Offered - min(p.Offered, p.Sent) }

// often names the most frequent errors.
func often(errors map[string]uint64) []string {
	kinds := slices.SortedFunc(maps.Keys(errors), func(a, b string) int {
		if errors[a] != errors[b] {
			return int(min(errors[b], 1<<31)) - int(min(errors[a], 1<<31))
		}
		return len(a) - len(b)
	})
	var out []string
	for _, k := range kinds[:min(3, len(kinds))] {
		out = append(out, fmt.Sprintf("%s times: %s", count(errors[k]), k))
	}
	return out
}

func generators(r *Report, _ *Phase, s Summary) []string {
	var out []string
	blocked := 0.0
	for i, g := range r.Generators {
		waited := share(r, g)
		blocked = max(blocked, waited)
		if waited > g.Limited/r.Lasted && waited > mostly {
			continue // whatever kept it from being on time now and then, it was Kafka that it waited for
		}
		who := "the senders"
		if len(r.Generators) > 1 {
			who = fmt.Sprintf("the senders of process %d (run %s)", i+1, g.Run)
		}
		if d, ok := g.Overslept.Snapshot().Quantile(0.99); ok && d > late {
			out = append(out, fmt.Sprintf("%s woke up late by themselves: P99 %s, more than %s disturbs the measurement", who, seconds(d.Seconds()), seconds(late.Seconds())))
		}
		if r.Lasted > 0 && g.Limited > limited*r.Lasted {
			out = append(out, fmt.Sprintf("%s could not keep the schedule for %s of %s", who, seconds(g.Limited), seconds(r.Lasted)))
		}
		if used := g.CPU / (r.Lasted * g.CPUs); r.Lasted > 0 && used > busy {
			out = append(out, fmt.Sprintf("%s had no processor to spare: %s of %.3g were used", who, percent(used), g.CPUs))
		}
	}
	if f, there := s.Latency[Lag]; there && f.P99 > late.Seconds() && blocked < blocking {
		out = append(out, fmt.Sprintf("records went out late though nothing held the senders up: P99 of schedule lag %s", seconds(f.P99)))
	}
	return out
}

// share is the part of their time that a process's senders waited. What they waited after the schedule's end, for records that were still due,
// may make it more than all of it.
func share(r *Report, g Generator) float64 {
	if r.Lasted <= 0 {
		return 0
	}
	return min(1, g.Blocked/(r.Lasted*float64(g.Senders)))
}

func broker(r *Report, p *Phase, s Summary) []string {
	var out []string
	reason := func(ok bool, format string, args ...any) {
		if ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	if r.Search != nil {
		reason(r.Search.Kind == string(search.Found), "the SLO is met up to %s records per second (95 %% confidence: %s to %s)", rate(r.Search.Rate), rate(r.Search.Low), rate(r.Search.High))
		reason(r.Search.Kind == string(search.Below), "the SLO is not met at any rate tried, down to %s records per second", rate(r.Search.High))
		return out
	}
	reason(r.Closed, "closed loop: the rate is what Kafka makes of the records in flight")
	n := unsent(p)
	reason(float64(n) >= failing*float64(p.Offered), "%s (%s) could not be sent in time", records(n), percent(float64(n)/float64(p.Offered)))
	reason(float64(p.Acked+p.Aborted) < served*float64(p.Offered), "acknowledged %s of %s records offered per second", rate(s.PerSecond.Acked), rate(s.PerSecond.Offered))
	groups := max(1, r.Groups) // each of them reads every record
	reason(!r.ProduceOnly && !r.partial() && float64(p.Consumed) < served*float64(p.Acked)*float64(groups),
		"consumed %s of %s records acknowledged per second", rate(s.PerSecond.Consumed), rate(s.PerSecond.Acked*float64(groups)))
	for i, g := range r.Generators {
		b := share(r, g)
		reason(b >= blocking && !r.Closed, "the senders of process %d waited %s of their time for one of %d records in flight to be acknowledged", i+1, percent(b), g.InFlight)
	}
	if first, last, ok := r.trend(); ok {
		reason(last > grew*first && last-first > growth, "the median response grew from %s to %s while the senders were on time", seconds(first), seconds(last))
	}
	if s.SLO != nil {
		reason(!s.SLO.Met, "%s", s.SLO.String())
		reason(r.Mode == ModeSLO && s.SLO.Met && !r.ceiling(), "the rate was held where %s", s.SLO.String())
	}
	return out
}

// String says whether the objective was met, by how much, and of which latency.
func (s *SLOResult) String() string {
	is := "meets"
	if !s.Met {
		is = "breaches"
	}
	if s.P99 == 0 && !s.Met {
		return fmt.Sprintf("no %s latency was measured to hold against the SLO of %s", title(s.Of), seconds(s.Target))
	}
	if s.Failed > 0 {
		return fmt.Sprintf("P99 of %s, %s for those that arrived, with %s that failed %s the SLO of %s", title(s.Of), seconds(s.P99), records(s.Failed), is, seconds(s.Target))
	}
	return fmt.Sprintf("P99 of %s, %s, %s the SLO of %s", title(s.Of), seconds(s.P99), is, seconds(s.Target))
}

// trend is the median response of the first and of the last third of the measured time.
func (r *Report) trend() (first, last float64, ok bool) {
	points := r.measured()
	n := len(points) / 3
	if n < 3 {
		return 0, 0, false
	}
	median := func(points []Point) (float64, bool) {
		all := sum(points)
		d, ok := all.Quantile(0.5)
		return d.Seconds(), ok
	}
	first, some := median(points[:n])
	last, more := median(points[len(points)-n:])
	return first, last, some && more
}

// measured are the points after the warm-up and before the end of the schedule.
func (r *Report) measured() []Point {
	from := float64(r.Start.UnixNano())/1e9 + r.Warmup
	to := float64(r.Start.UnixNano())/1e9 + r.Lasted
	var out []Point
	for _, p := range r.Series.Points {
		if float64(p.At) >= from && float64(p.At+r.Series.Step) <= to {
			out = append(out, p)
		}
	}
	return out
}

// ceiling says whether the rate was as high as it may get, in the last third of the time.
func (r *Report) ceiling() bool {
	points := r.measured()
	if r.MaxRate <= 0 || len(points) == 0 {
		return false
	}
	var target, noted float64
	for _, p := range points[2*len(points)/3:] {
		target += p.Target
		noted += float64(p.Seconds)
	}
	return noted > 0 && target/noted >= served*r.MaxRate
}

func damage(f Faults) []string {
	var out []string
	for _, k := range []struct {
		n    uint64
		what string
	}{{f.Lost, "lost"}, {f.Duplicated, "duplicated"}, {f.Reordered, "reordered"}, {f.Corrupted, "corrupted"}, {f.Uncommitted, "uncommitted"}} {
		if k.n > 0 {
			out = append(out, fmt.Sprintf("%s %s", records(k.n), k.what))
		}
	}
	return out
}
