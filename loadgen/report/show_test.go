package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

func table(t *testing.T, r *report.Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func page(t *testing.T, r *report.Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.HTML(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheTableTellsEverything(t *testing.T) {
	r := full(t)
	r.Generators = append(r.Generators, r.Generators[0])
	r.Measured.Aborted = 5
	got := table(t, r)
	for _, want := range []string{
		"workload sample, topic lab, run mode, 5.0 s after 10 s of warm-up, 2 processes\nlimit: broker\n  the SLO is met up to 1,000 records per second",
		"\ntrial  rate   acknowledged  P99       samples  verdict\n1      900.0  899.0         3.000 ms  7        breaches: P99 too high\nknown within 5 %\n",
		"\nrecords       total  per second  MB/s\noffered       1000   200.0       \nacknowledged  1000   200.0       0.20\n",
		"\naborted       5      1.0",
		"\nlost          1 ", "\nduplicated    2 ", "\nreordered     3 ", "\ncorrupted     4 ", "\nuncommitted   7 ",
		"\nlatency       P50       P90       P99       P99.9      max\nresponse      ",
		"\nschedule lag  ", "\nend to end    ",
		"\nerrors\n  2 times: timed out\n",
		"\nfaults by name\n  lost: lab/3, run a1, producer 0, sequence 17\n",
		"\nwarnings\n  a warning\n  6 records consumed before they were meant to be sent",
		"\nclient settings\n  producer.compression = none\n  producer.required_acks = all\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	nothing := &report.Report{Mode: report.ModeRun}
	if got := table(t, nothing); !strings.Contains(got, "limit: unknown\n  no record was offered\n") || !strings.Contains(got, "end to end    none") {
		t.Errorf("of nothing:\n%s", got)
	}
	short, _ := made{seconds: 5}.make(t)
	if got := table(t, short); !strings.Contains(got, "run mode, 5.0 s of warm-up\n") || !strings.Contains(got, "offered       1000   200.0") {
		t.Errorf("of a run within its warm-up:\n%s", got)
	}
}

// broken is where nothing can be written.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestWhatCannotBeWrittenIsSaid(t *testing.T) {
	r := full(t)
	for name, err := range map[string]error{"print report": r.Table(broken{}), "write report": r.WriteJSON(broken{}), "write page": r.HTML(broken{})} {
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(err.Error(), "no space") {
			t.Errorf("got %v, want %s: … no space", err, name)
		}
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	got := page(t, full(t))
	for name, pattern := range map[string]string{
		"a file by its address":  `<(?:link|img|iframe|object|embed)\b|\ssrc\s*=|\shref\s*=`,
		"a style from elsewhere": `@import|url\(`,
		"a request":              `\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|importScripts|\bimport\(`,
	} {
		if found := regexp.MustCompile(pattern).FindString(got); found != "" {
			t.Errorf("%s: %q", name, found)
		}
	}
	if !strings.Contains(got, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"`) {
		t.Error("the browser is not told to forbid requests")
	}
	// The library names its origin in a comment, as its licence asks.
	if found := regexp.MustCompile(`https?://[^\s"']*`).FindAllString(got, -1); len(found) != 1 || found[0] != "https://github.com/leeoniya/uPlot" {
		t.Errorf("addresses: %q", found)
	}
	if n := len(got); n > 200_000 {
		t.Errorf("a page of a minute takes %d bytes", n)
	}
}

func TestThePageShowsNamesAsText(t *testing.T) {
	r := full(t)
	const evil = `</script><script>alert(1)</script><img onerror=x>`
	r.Topic, r.Workload.Name, r.Program = evil, evil, evil
	r.Errors, r.Warnings, r.Faults.Named = map[string]uint64{evil: 1}, []string{evil}, []string{evil}
	r.Settings = map[string]string{evil: evil}
	r.Generators[0].Run = evil
	r.Search.Why, r.Search.Trials[0].Why = evil, evil
	got := page(t, r)
	if strings.Contains(got, "<script>alert") || strings.Contains(got, "<img") {
		t.Error("a name became part of the page's program")
	}
	if n := strings.Count(got, "&lt;script&gt;alert(1)"); n < 10 {
		t.Errorf("names are shown %d times, want at least 10", n)
	}
}

// drawn is what the page's charts are made of.
type drawn struct {
	SLO                  *float64
	From, To             float64
	Curve, Latency, Rate [][]*float64
}

func charts(t *testing.T, r *report.Report) drawn {
	t.Helper()
	_, after, found := strings.Cut(page(t, r), "const charts = ")
	data, _, ended := strings.Cut(after, ";\n")
	if !found || !ended {
		t.Fatal("no charts on the page")
	}
	var d drawn
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		t.Fatalf("%v in %.200s", err, data)
	}
	return d
}

func near(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: got nothing, want %v", what, want)
	} else if off := *got/want - 1; off > 1e-4 || off < -1e-4 {
		t.Errorf("%s: got %v, want %v", what, *got, want)
	}
}

func TestTheChartsAreOfTheSameFigures(t *testing.T) {
	r, _ := made{}.make(t)
	r.Series.Points = append(r.Series.Points[:30], r.Series.Points[33:]...) // nothing was noted in three seconds
	d, figures := charts(t, r), r.Summary().Latency[report.EndToEnd]

	near(t, "SLO", d.SLO, 200)
	if start := float64(r.Start.UnixMilli()) / 1000; d.From != start || d.To != start+10 {
		t.Errorf("warm-up: got %v to %v", d.From, d.To)
	}
	last := len(d.Curve[0]) - 1
	near(t, "the curve's end", d.Curve[0][last], 10000)
	near(t, "the greatest", d.Curve[3][last], figures.Max*1000)
	seen := 0
	for i, x := range d.Curve[0] {
		for at, want := range map[float64]float64{10: figures.P90, 100: figures.P99, 1000: figures.P999} {
			if *x == at {
				near(t, "the curve", d.Curve[3][i], want*1000)
				seen++
			}
		}
	}
	if seen != 3 {
		t.Errorf("of P90, P99 and P99.9 the curve shows %d", seen)
	}

	if n := len(d.Latency[0]); n != 57+1 || len(d.Rate[0]) != n {
		t.Fatalf("got %d and %d moments, want 57 and a gap", n, len(d.Rate[0]))
	}
	if *d.Latency[0][30] != float64(r.Series.Points[29].At+1) || d.Latency[1][30] != nil || d.Rate[4][30] != nil {
		t.Errorf("after 30 seconds: got %v with %v, want a gap", *d.Latency[0][30], d.Latency[1][30])
	}
	s := r.Series.Points[40].EndToEnd.Snapshot()
	p99, _ := s.Quantile(0.99)
	near(t, "P99 of a second", d.Latency[2][41], p99.Seconds()*1000)
	near(t, "the greatest of a second", d.Latency[3][41], s.Max().Seconds()*1000)
	for i := range 4 {
		near(t, "rate", d.Rate[1+i][41], 200)
	}
}

func TestARateIsOfTheTimeThatWasNoted(t *testing.T) {
	r, _ := made{}.make(t)
	r.Series.Points[0].Seconds = 0.5
	near(t, "rate in half a second", charts(t, r).Rate[2][0], 400)
}

func TestChartsOfLittle(t *testing.T) {
	r, _ := made{seconds: 60}.make(t)
	r.SLO, r.Series = 0, report.Series{}
	r.Measured.EndToEnd, r.Measured.Service = spread(1, 5, 6), hist.Packed{}
	r.Measured.Response = spread(2, 0, 0)
	d := charts(t, r)
	if d.SLO != nil || len(d.Latency[0]) != 0 {
		t.Errorf("got an SLO %v and %d moments", d.SLO, len(d.Latency[0]))
	}
	for _, row := range d.Curve {
		if len(row) != len(d.Curve[0]) {
			t.Errorf("rows differ in length: %d and %d", len(row), len(d.Curve[0]))
		}
	}
	if nothing := charts(t, &report.Report{}); len(nothing.Curve[0]) != 0 {
		t.Errorf("of nothing: got %d percentiles", len(nothing.Curve[0]))
	}
}

func BenchmarkHTMLOfAnHour(b *testing.B) {
	r, _ := made{seconds: report.MaxPoints}.make(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.HTML(&bytes.Buffer{}); err != nil {
			b.Fatal(err)
		}
	}
}
