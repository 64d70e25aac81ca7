package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/kafkalab/kafkalab/internal/uplot"
	"github.com/kafkalab/kafkalab/loadgen/hist"
)

//go:embed page.html page.js
var assets embed.FS

// HTML writes the report as one page that needs nothing else: no network, no other file.
func (r *Report) HTML(w io.Writer) error {
	p, err := r.page()
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	t, err := template.New("page.html").Funcs(template.FuncMap{
		"count": count, "rate": rate, "ms": milliseconds, "seconds": seconds, "percent": percent,
		"mega": func(bytes float64) string { return fmt.Sprintf("%.2f", bytes/1e6) },
		"mb":   func(bytes uint64) float64 { return float64(bytes) / 1e6 },
		"inc":  func(i int) int { return i + 1 },
	}).ParseFS(assets, "page.html")
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	*Report
	Summary  Summary
	Headline string
	Outcome  string
	Counters []row
	Faulty   []row
	Latency  []latencyRow
	Config   []setting
	Client   []setting
	Errors   []failure
	Made     []process
	Charts   charts
	Style    template.CSS
	Library  template.JS
	Script   template.JS
}

type latencyRow struct {
	Name, Title string
	Figures
}

type setting struct{ Name, Value string }

type failure struct {
	What  string
	Count uint64
}

// process is one generator in figures.
type process struct {
	Generator
	Late    float64 // P99 of waking up late, seconds
	Blocked float64 // part of the senders' time
	Used    float64 // processors, on average
}

func (r *Report) page() (*page, error) {
	s := r.Summary()
	p := &page{Report: r, Summary: s, Headline: r.headline(s), Outcome: r.outcome(s), Config: settings(flat(r.Workload.Config)), Client: settings(r.Settings), Charts: r.charts(s)}
	p.Counters, p.Faulty = r.rows(s)
	for _, n := range names() {
		if f, there := s.Latency[n]; there {
			p.Latency = append(p.Latency, latencyRow{n, title(n), f})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
		p.Errors = append(p.Errors, failure{k, r.Errors[k]})
	}
	for _, g := range r.Generators {
		late, _ := g.Overslept.Snapshot().Quantile(0.99)
		made := process{Generator: g, Late: late.Seconds(), Blocked: share(r, g)}
		if r.Lasted > 0 {
			made.Used = g.CPU / r.Lasted
		}
		p.Made = append(p.Made, made)
	}
	script, err := assets.ReadFile("page.js")
	if err != nil {
		return nil, err
	}
	p.Style, p.Library, p.Script = template.CSS(uplot.Style), template.JS(uplot.Script), template.JS(script)
	return p, nil
}

func settings(of map[string]string) []setting {
	var out []setting
	for _, k := range slices.Sorted(maps.Keys(of)) {
		out = append(out, setting{k, of[k]})
	}
	return out
}

// outcome is the run in one sentence.
func (r *Report) outcome(s Summary) string {
	text := fmt.Sprintf("Of %s records offered per second %s were acknowledged", rate(s.PerSecond.Offered), rate(s.PerSecond.Acked))
	if !r.ProduceOnly {
		text += fmt.Sprintf(" and %s consumed", rate(s.PerSecond.Consumed))
	}
	of := EndToEnd
	if r.ProduceOnly {
		of = Response
	}
	if f, there := s.Latency[of]; there {
		text += fmt.Sprintf("; 99 %% of them within %s from when they were meant to be sent", seconds(f.P99))
	}
	if s.SLO != nil {
		text += ". The " + sloWord(s.SLO)
	}
	return text + "."
}

func sloWord(s *SLOResult) string {
	if s.Met {
		return fmt.Sprintf("SLO of %s is met", seconds(s.Target))
	}
	return fmt.Sprintf("SLO of %s is not met", seconds(s.Target))
}

// charts is what page.js draws; a nil is a gap. Latencies are in milliseconds, times in Unix seconds, rates in records per second.
type charts struct {
	SLO     *float64     `json:"slo"`
	From    float64      `json:"from"` // warm-up
	To      float64      `json:"to"`
	End     float64      `json:"end"`     // of the schedule
	Curve   [][]*float64 `json:"curve"`   // 1/(1-p), response, service, end to end
	Latency [][]*float64 `json:"latency"` // time, then P50, P99, max of end to end, then of response
	Rate    [][]*float64 `json:"rate"`    // time, target, offered, acknowledged, consumed
}

func (r *Report) charts(s Summary) charts {
	start := float64(r.Start.UnixMilli()) / 1e3
	c := charts{From: start, To: start + min(r.Warmup, r.Lasted), End: start + r.Lasted, Curve: r.curve(), Latency: make([][]*float64, 7), Rate: make([][]*float64, 5)}
	if s.SLO != nil {
		c.SLO = digits(s.SLO.Target * 1e3)
	}
	for i, p := range r.Series.Points {
		if i > 0 && p.At > r.Series.Points[i-1].At+r.Series.Step {
			at := float64(r.Series.Points[i-1].At + r.Series.Step)
			column(c.Latency, at, make([]*float64, 6))
			column(c.Rate, at, make([]*float64, 4))
		}
		column(c.Latency, float64(p.At), append(spread(p.EndToEnd), spread(p.Response)...))
		per := func(n float64) *float64 { return digits(n / max(p.Seconds, 1e-3)) }
		column(c.Rate, float64(p.At), []*float64{per(p.Target), per(float64(p.Offered)), per(float64(p.Acked)), per(float64(p.Consumed))})
	}
	return c
}

func column(rows [][]*float64, x float64, values []*float64) {
	rows[0] = append(rows[0], &x)
	for i, v := range values {
		rows[i+1] = append(rows[i+1], v)
	}
}

// digits leaves as many as a pixel can tell.
func digits(f float64) *float64 {
	if f == 0 {
		return &f
	}
	scale := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(f))))
	f = math.Round(f*scale) / scale
	return &f
}

// logarithmic is a value for an axis that has no zero.
func logarithmic(f float64) *float64 {
	if f <= 0 {
		return nil
	}
	return digits(f)
}

// spread is P50, P99 and the maximum in milliseconds.
func spread(p hist.Packed) []*float64 {
	if p.Count() == 0 {
		return make([]*float64, 3)
	}
	f := figures(p.Snapshot())
	return []*float64{logarithmic(f.P50 * 1e3), logarithmic(f.P99 * 1e3), logarithmic(f.Max * 1e3)}
}

// perDecade is how many points the percentile curve has from 90 % to 99 %, and so on; first leaves out the fastest tenth, which would take
// half of the chart's height.
const perDecade, first = 40, 2

// curve is each latency by the percentile, as far as there are records to tell it: beyond 1 - 1/n there are none.
func (r *Report) curve() [][]*float64 {
	p, _, _ := r.shown()
	shown := []hist.Packed{p.Response, p.Service, p.EndToEnd}
	most := uint64(0)
	for _, h := range shown {
		most = max(most, h.Count())
	}
	out := make([][]*float64, 1+len(shown))
	if most == 0 {
		return out
	}
	var xs []float64
	for i := first; ; i++ {
		x := math.Pow(10, float64(i)/perDecade)
		if x >= float64(most) {
			break
		}
		xs = append(xs, x)
	}
	xs = append(xs, float64(most))
	for _, x := range xs {
		out[0] = append(out[0], digits(x))
	}
	for i, h := range shown {
		s, n := h.Snapshot(), float64(h.Count())
		for _, x := range xs {
			var v *float64
			if d, ok := s.Quantile(1 - 1/x); ok && x < n {
				v = logarithmic(d.Seconds() * 1e3)
			} else if ok && x == n {
				v = logarithmic(s.Max().Seconds() * 1e3)
			}
			out[i+1] = append(out[i+1], v)
		}
	}
	return out
}
