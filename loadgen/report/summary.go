package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kafkalab/kafkalab/loadgen/hist"
)

// Summary is what follows from a report: the figures that people read. It is of the measured phase; when the run ended before that began,
// of the warm-up, and a warning says so.
type Summary struct {
	Verdict   Verdict            `json:"verdict"`
	SLO       *SLOResult         `json:"slo,omitempty"` // absent when there is none
	Phase     string             `json:"phase"`
	Seconds   float64            `json:"seconds"` // of the phase
	PerSecond Rates              `json:"per_second"`
	Latency   map[string]Figures `json:"latency"`  // by the histogram's name
	Warnings  []string           `json:"warnings"` // the report's, and what follows from its figures
}

// Rates are per second.
type Rates struct {
	Offered       float64 `json:"offered"`
	Sent          float64 `json:"sent"`
	Acked         float64 `json:"acked"`
	Failed        float64 `json:"failed"`
	Retried       float64 `json:"retried"`
	Aborted       float64 `json:"aborted"`
	Consumed      float64 `json:"consumed"`
	AckedBytes    float64 `json:"acked_bytes"`
	ConsumedBytes float64 `json:"consumed_bytes"`
}

// Figures are those of one histogram, in seconds.
type Figures struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	Min   float64 `json:"min"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	P9999 float64 `json:"p9999"`
	Max   float64 `json:"max"`
}

// SLOResult says whether the SLO was met.
type SLOResult struct {
	Of     string  `json:"of"` // which latency
	Target float64 `json:"target_seconds"`
	P99    float64 `json:"p99_seconds"` // of the records that arrived
	Failed uint64  `json:"failed"`      // records that never will: each is later than all that did
	Met    bool    `json:"met"`         // by 99 % of both; false when nothing was measured: it was not shown to be met
}

// Names of the histograms, as in the document.
const (
	Response = "response"
	Service  = "service"
	Lag      = "schedule_lag"
	EndToEnd = "end_to_end"
)

// names are the histograms in the order in which they are shown.
func names() []string { return []string{Response, Service, Lag, EndToEnd} }

func (p *Phase) histogram(name string) hist.Packed {
	switch name {
	case Response:
		return p.Response
	case Service:
		return p.Service
	case Lag:
		return p.Lag
	}
	return p.EndToEnd
}

// shown is the phase that the figures are of, with its name and length.
func (r *Report) shown() (p *Phase, name string, seconds float64) {
	if r.Measured.Offered == 0 && r.WarmUp.Offered > 0 {
		return &r.WarmUp, "warm-up", min(r.Lasted, r.Warmup)
	}
	return &r.Measured, "measured", max(r.Lasted-r.Warmup, 0)
}

// Summary makes the summary.
func (r *Report) Summary() Summary {
	p, name, seconds := r.shown()
	s := Summary{Phase: name, Seconds: seconds, Latency: map[string]Figures{}}
	if seconds > 0 {
		per := func(n uint64) float64 { return float64(n) / seconds }
		s.PerSecond = Rates{
			Offered: per(p.Offered), Sent: per(p.Sent), Acked: per(p.Acked), Failed: per(p.Failed), Retried: per(p.Retried), Aborted: per(p.Aborted),
			Consumed: per(p.Consumed), AckedBytes: per(p.AckedBytes), ConsumedBytes: per(p.ConsumedBytes),
		}
	}
	for _, n := range names() {
		if h := p.histogram(n); h.Count() > 0 {
			s.Latency[n] = figures(h.Snapshot())
		}
	}
	s.SLO = r.slo(p, s.Latency)
	s.Warnings = r.notes(p, name, s)
	s.Verdict = judge(r, p, s)
	return s
}

func figures(h *hist.Snapshot) Figures {
	q := func(q float64) float64 {
		d, _ := h.Quantile(q) // there is something in it
		return d.Seconds()
	}
	n := h.Count()
	return Figures{
		Count: n, Mean: h.Sum() / float64(n), Min: h.Min().Seconds(), Max: h.Max().Seconds(),
		P50: q(0.5), P90: q(0.9), P99: q(0.99), P999: q(0.999), P9999: q(0.9999),
	}
}

func (r *Report) slo(p *Phase, latency map[string]Figures) *SLOResult {
	if r.SLO <= 0 {
		return nil
	}
	of, each := EndToEnd, uint64(max(1, r.Groups)) // every group waits for each record
	if r.ProduceOnly {
		of, each = Response, 1
	}
	f, there := latency[of]
	if !there && r.partial() {
		return nil // fewer partitions than copies: this one had nothing to consume, and says nothing about latency
	}
	s := &SLOResult{Of: of, Target: r.SLO, P99: f.P99, Failed: p.Failed}
	s.Met = there && f.P99 <= r.SLO
	if s.Met && p.Failed > 0 {
		// The P99 of all of them is a higher percentile of those that arrived.
		of := 0.99 * float64(f.Count+each*p.Failed) / float64(f.Count)
		q, _ := p.histogram(s.Of).Snapshot().Quantile(min(of, 1))
		s.Met = of <= 1 && q.Seconds() <= r.SLO
	}
	return s
}

// notes are the report's warnings and those that its figures give rise to.
func (r *Report) notes(p *Phase, phase string, s Summary) []string {
	out := slices.Clone(r.Warnings)
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if p == &r.WarmUp {
		note("the run ended within its %s of %s: the figures are those of the warm-up", phase, seconds(r.Warmup))
	}
	if n := r.Faults.Skewed; n > 0 {
		note("%s consumed before they were meant to be sent: the clocks differ; they are counted with a latency of 0", records(n))
	}
	if n := r.Unverified(); n > 0 {
		note("%s acknowledged of which nothing was known when the run ended: they had not been consumed, and may be lost", records(n))
	}
	if r.partial() && !r.ProduceOnly {
		note("this is one copy of %d: whether all that it sent has arrived only the merged report of all copies can say", r.Copies)
	}
	if n := r.Faults.Redelivered; n > 0 {
		note("%s consumed again after a rebalance, each time with a latency", records(n))
	}
	if n := r.Faults.Foreign; n > 0 {
		note("%s consumed without a stamp: another program has sent them to the topic, or they are damaged beyond recognition", records(n))
	}
	var few []string
	for _, n := range names() {
		if f, there := s.Latency[n]; there && float64(f.Count)*0.001 < fewest {
			few = append(few, title(n))
		}
	}
	if len(few) > 0 {
		note("fewer than %d records are beyond P99.9 of %s: the percentile is uncertain", fewest, strings.Join(few, ", "))
	}
	return out
}

// fewest is how many records ought to be beyond a percentile that one relies on.
const fewest = 10

func title(name string) string { return strings.ReplaceAll(name, "_", " ") }

func records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return count(n) + " records"
}

// count groups the digits by threes.
func count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rate is a number per second with as many digits as mean something.
func rate(f float64) string {
	switch {
	case f >= 1000:
		return count(uint64(math.Round(f)))
	case f >= 10 || f == 0:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

// milliseconds has microseconds as its last digit.
func milliseconds(s float64) string { return fmt.Sprintf("%.3f ms", s*1000) }

// seconds is a length of time for people.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.3g ms", s*1000)
	}
	return fmt.Sprintf("%.4g s", s)
}

func percent(f float64) string { return fmt.Sprintf("%.3g %%", f*100) }

// Unverified is how many records were acknowledged of which nothing was known at the end. What one of several copies has sent others consume, so there
// it is what all of them together have not seen.
func (r *Report) Unverified() uint64 {
	if r.Copies < 2 || r.partial() || r.ProduceOnly {
		return r.Faults.Unverified
	}
	t, f := r.Total(), r.Faults
	sent := t.Acked * uint64(max(1, r.Groups))
	seen := t.Consumed - min(t.Consumed, f.Redelivered+f.Duplicated) + f.Lost
	return max(f.Unverified, sent-min(sent, seen))
}
