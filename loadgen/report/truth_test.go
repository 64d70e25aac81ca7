package report_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kafkalab/kafkalab/internal/promtest"
	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

// shapes are latencies in seconds; i is the number of the record, of n.
func shapes() map[string]func(r *rand.Rand, i, n int) float64 {
	return map[string]func(r *rand.Rand, i, n int) float64{
		"uniform":     func(r *rand.Rand, _, _ int) float64 { return r.Float64() },
		"exponential": func(r *rand.Rand, _, _ int) float64 { return 0.01 * r.ExpFloat64() },
		"lognormal":   func(r *rand.Rand, _, _ int) float64 { return 0.0025 * math.Exp(r.NormFloat64()) },
		"pareto":      func(r *rand.Rand, _, _ int) float64 { return 0.001 * math.Pow(1-r.Float64(), -1/1.5) },
		"constant":    func(*rand.Rand, int, int) float64 { return 0.005 },
		"bimodal": func(r *rand.Rand, _, _ int) float64 {
			if r.Float64() < 0.02 {
				return 2 + r.Float64()
			}
			return 0.002 + 0.001*r.Float64()
		},
		// A minute of which the server stands still for three seconds: the records that were due meanwhile wait for its end.
		"stall": func(r *rand.Rand, i, n int) float64 {
			if at := 60 * float64(i) / float64(n); at >= 30 && at < 33 {
				return 33 - at + 0.002
			}
			return 0.002 + 0.0001*r.Float64()
		},
		"minutes": func(r *rand.Rand, i, _ int) float64 {
			if i == 0 {
				return 600
			}
			return 60 + 540*r.Float64()
		},
	}
}

// sizes of the four processes' samples. Neither the first nor their sum makes q*n whole for any of the quantiles: which sample is the exact
// quantile is then not a matter of definition.
func sizes() []int { return []int{20021, 20022, 20023, 20025} }

func quantiles() []float64 { return []float64{0.5, 0.99, 0.999} }

// sample is what process p draws; the parent draws it again.
func sample(shape string, p int) []time.Duration {
	draw := shapes()[shape]
	r := rand.New(rand.NewPCG(uint64(p), uint64(len(shape))))
	out := make([]time.Duration, sizes()[p])
	for i := range out {
		out[i] = time.Duration(draw(r, i, len(out)) * 1e9)
	}
	return out
}

// exact is the sample quantile: the smallest value that at least the part q of all samples does not exceed.
func exact(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1]
}

// exposer shows each shape's histogram under the name that loadgen's has.
type exposer struct {
	desc      *prometheus.Desc
	recorders map[string]*hist.Recorder
}

func (e exposer) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }
func (e exposer) Collect(ch chan<- prometheus.Metric) {
	for shape, r := range e.recorders {
		var s hist.Snapshot
		s.Add(r)
		m, err := hist.NewMetric(e.desc, &s, time.Unix(1, 0), shape)
		if err != nil {
			m = prometheus.NewInvalidMetric(e.desc, err)
		}
		ch <- m
	}
}

// TestChild is one of the processes of TestTruth; by itself it has nothing to show. It exposes empty histograms, records its samples when it
// is told to, writes a report of each and goes on exposing until its standard input ends.
func TestChild(t *testing.T) {
	text := os.Getenv("TRUTH_CHILD")
	if text == "" {
		return
	}
	p, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	e := exposer{prometheus.NewDesc("loadgen_end_to_end_seconds", "Latency.", []string{"shape"}, nil), map[string]*hist.Recorder{}}
	for shape := range shapes() {
		e.recorders[shape] = &hist.Recorder{}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(e)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	fmt.Printf("child-address %s\n", strings.TrimPrefix(server.URL, "http://"))
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for shape, r := range e.recorders {
		for _, d := range sample(shape, p) {
			r.Record(d)
		}
		f, err := os.Create(filepath.Join(os.Getenv("TRUTH_DIR"), fmt.Sprintf("%s-%d.json", shape, p)))
		if err != nil {
			t.Fatal(err)
		}
		if err := reportOf(t, p, r).WriteJSON(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	fmt.Println("child-recorded")
	_, _ = io.Copy(io.Discard, in)
}

// reportOf is a report in which every latency is the recorder's.
func reportOf(t *testing.T, p int, from *hist.Recorder) *report.Report {
	r, _ := made{run: fmt.Sprintf("%016x", p), seconds: 70, rate: 1}.make(t)
	h := pack(from)
	n := h.Count()
	r.Measured = report.Phase{Offered: n, Sent: n, Acked: n, Consumed: n, Response: h, Service: h, Lag: h, EndToEnd: h}
	return r
}

type child struct {
	addr  string
	in    io.WriteCloser
	lines *bufio.Scanner
}

// spawn starts process p; it ends with the test.
func spawn(t *testing.T, p int, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("TRUTH_CHILD=%d", p), "TRUTH_DIR="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{in: in, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		in.Close()
		for c.lines.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", p, err)
		}
	})
	c.addr = c.await(t, "child-address ")
	return c
}

func (c *child) await(t *testing.T, prefix string) string {
	t.Helper()
	for c.lines.Scan() {
		if _, rest, found := strings.Cut(c.lines.Text(), prefix); found {
			return rest
		}
	}
	t.Fatalf("a process ended without a line %q", prefix)
	return ""
}

// TestTruth has four processes record eight distributions and asks a real Prometheus for their quantiles.
func TestTruth(t *testing.T) {
	dir := t.TempDir()
	var children []*child
	var addrs []string
	for p := range sizes() {
		c := spawn(t, p, dir)
		children, addrs = append(children, c), append(addrs, c.addr)
	}
	s := promtest.Start(t, addrs...)
	s.Scraped(t) // a rate needs to have seen the start
	for _, c := range children {
		fmt.Fprintln(c.in, "record")
	}
	for _, c := range children {
		c.await(t, "child-recorded")
	}
	s.Scraped(t)
	at := time.Now()
	for _, shape := range slices.Sorted(maps.Keys(shapes())) {
		t.Run(shape, func(t *testing.T) {
			a := asked{s, at, shape}
			first := sample(shape, 0)
			var all []time.Duration
			var reports []*report.Report
			for p := range sizes() {
				all = append(all, sample(shape, p)...)
				reports = append(reports, load(t, filepath.Join(dir, fmt.Sprintf("%s-%d.json", shape, p))))
			}
			merged, err := report.Merge(reports...)
			if err != nil {
				t.Fatal(err)
			}
			one, four := fmt.Sprintf(`loadgen_end_to_end_seconds{shape=%q, instance=%q}`, shape, addrs[0]), fmt.Sprintf(`loadgen_end_to_end_seconds{shape=%q}`, shape)
			slices.Sort(first)
			slices.Sort(all)
			a.isTrue(t, one, first)
			a.isTrue(t, "sum("+four+")", all)
			// Prometheus extrapolates the rate of each series by its own scrapes, all buckets alike: right for one, while the sum over
			// several weighs them by when they happened to be scraped.
			a.isTrue(t, "rate("+one+"[5m])", first)
			a.isShown(t, one, first, reports[0])
			a.isShown(t, "rate("+one+"[5m])", first, reports[0])
			// Not by rate: Prometheus extrapolates each process's to the window by its own times of scraping, and so weighs them a little.
			a.isShown(t, "sum("+four+")", all, merged)
		})
	}
}

func load(t *testing.T, name string) *report.Report {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := report.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type asked struct {
	s     *promtest.Server
	at    time.Time
	shape string
}

// quantile is what PromQL says.
func (a asked) quantile(t *testing.T, q float64, of string) float64 {
	t.Helper()
	v := a.s.QueryAt(t, fmt.Sprintf("histogram_quantile(%v, %s)", q, of), a.at)
	if len(v) != 1 {
		t.Fatalf("quantile %v of %s: want one number (got %v)", q, of, v)
	}
	return float64(v[0].Value)
}

// isTrue holds PromQL against the exact quantiles of the samples.
func (a asked) isTrue(t *testing.T, of string, sorted []time.Duration) {
	t.Helper()
	for _, q := range quantiles() {
		got, want := a.quantile(t, q, of), exact(sorted, q).Seconds()
		if off := math.Abs(got/want - 1); !(off <= 0.011) {
			t.Errorf("quantile %v of %s: Prometheus says %v s, the samples %v s: off by %.3f %%", q, of, got, want, off*100)
		}
		t.Logf("quantile %-5v exact %.9f s, Prometheus %.9f s (%+.3f %%): %s", q, want, got, (got/want-1)*100, of)
	}
}

// isShown holds everything that the report shows against PromQL, and what PromQL does not know exactly against the samples.
func (a asked) isShown(t *testing.T, of string, sorted []time.Duration, r *report.Report) {
	t.Helper()
	end := r.Summary().Latency[report.EndToEnd]
	shown, page := row(t, r, "end to end"), htmlRow(t, r, report.EndToEnd)
	for i, q := range quantiles() {
		document := []float64{end.P50, end.P99, end.P999}[i]
		// To the nanosecond; a rate multiplies every count by the same number, which may cost the last digits.
		if got := a.quantile(t, q, of); math.Abs(document-got) > 0.6e-9+1e-12*got {
			t.Errorf("quantile %v of %s: JSON says %v s, Prometheus %v s", q, of, document, got)
		}
		if off := math.Abs(shown[[]string{"P50", "P99", "P99.9"}[i]] - document); off > 0.51e-6 {
			t.Errorf("quantile %v of %s: the console is off by %v s", q, of, off)
		}
		if page[[]string{"p50", "p99", "p999"}[i]] != document {
			t.Errorf("quantile %v of %s: the page says %v s, JSON %v s", q, of, page, document)
		}
	}
	if greatest := sorted[len(sorted)-1].Seconds(); end.Max != greatest || page["max"] != greatest || math.Abs(shown["max"]-greatest) > 0.51e-6 {
		t.Errorf("greatest: JSON %v, page %v, console %v; it was %v", end.Max, page["max"], shown["max"], greatest)
	}
	if n := uint64(len(sorted)); end.Count != n || page["count"] != float64(n) {
		t.Errorf("count: JSON %v, page %v; there were %d", end.Count, page["count"], n)
	}
}

var cell = regexp.MustCompile(` {2,}`)

// row is a row of the console's table of latencies, in seconds by column.
func row(t *testing.T, r *report.Report, name string) map[string]float64 {
	t.Helper()
	var out bytes.Buffer
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	var head []string
	values := map[string]float64{}
	for line := range strings.Lines(out.String()) {
		cells := cell.Split(strings.TrimSpace(line), -1)
		switch cells[0] {
		case "latency":
			head = cells
		case name:
			for i, c := range cells[1:] {
				v, err := strconv.ParseFloat(strings.TrimSuffix(c, " ms"), 64)
				if err != nil {
					t.Fatalf("cell %q: %v", c, err)
				}
				values[head[i+1]] = v / 1000
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("no row %q in:\n%s", name, out.String())
	}
	return values
}

var datum = regexp.MustCompile(`<data class="(\w+)" value="([^"]+)">`)

// htmlRow is a row of the page's table of latencies, by column.
func htmlRow(t *testing.T, r *report.Report, name string) map[string]float64 {
	t.Helper()
	var out bytes.Buffer
	if err := r.HTML(&out); err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(out.String(), `<tr id="`+name+`">`)
	line, _, _ := strings.Cut(after, "</tr>")
	if !found {
		t.Fatalf("no row %s on the page", name)
	}
	values := map[string]float64{}
	for _, m := range datum.FindAllStringSubmatch(line, -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		values[m[1]] = v
	}
	return values
}
