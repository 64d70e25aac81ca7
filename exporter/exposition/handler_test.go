package exposition_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/kafkalab/kafkalab/exporter/exposition"
)

// served is a handler that shows a page with 100 samples, the handler of the registry alone, and the page.
func served(t *testing.T) (both, alone http.Handler, fill func(*exposition.Page)) {
	t.Helper()
	pages, err := exposition.NewPages(families)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	own := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "own_seconds", Help: "Own.", NativeHistogramBucketFactor: 1.1, Buckets: []float64{1}})
	own.(prometheus.ExemplarObserver).ObserveWithExemplar(0.5, prometheus.Labels{"trace": "t"})
	reg.MustRegister(own)
	alone = promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
	fill = func(p *exposition.Page) {
		p.Add("zoo_open", 1)
		for i := range 100 {
			p.Add("zoo_visits_total", float64(i), fmt.Sprint(i))
		}
	}
	return pages.Before(alone, fill), alone, fill
}

func ask(t *testing.T, h http.Handler, accept, encoding string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	if encoding != "" {
		r.Header.Set("Accept-Encoding", encoding)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnAnswerIsAPageAndARegistrysAnswer(t *testing.T) {
	both, alone, fill := served(t)
	for name, accept := range map[string]string{
		"nothing asked for": "",
		"anything":          "*/*",
		"text":              "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		"OpenMetrics":       "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.2",
		"old OpenMetrics":   "application/openmetrics-text;version=0.0.1",
		"protobuf":          "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;q=0.2",
		"protobuf to read":  "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=compact-text",
		"dots":              "text/plain;version=0.0.4;escaping=dots",
	} {
		for encoding, want := range map[string]string{
			"": "", "identity": "", "br": "", "gzip": "gzip", "zstd": "zstd", "gzip;q=0": "", "gzip, deflate": "gzip", "gzip;q=1, zstd;q=0.5": "gzip",
		} {
			t.Run(name+", "+encoding, func(t *testing.T) {
				rest := ask(t, alone, accept, "")
				format := rest.Header().Get("Content-Type")
				p := page(t)
				p.Begin(expfmt.Format(format))
				fill(p)
				var whole bytes.Buffer
				if _, err := p.WriteTo(&whole); err != nil {
					t.Fatal(err)
				}
				whole.Write(rest.Body.Bytes())

				got := ask(t, both, accept, encoding)
				if got.Code != http.StatusOK || got.Header().Get("Content-Type") != format || got.Header().Get("Content-Encoding") != want {
					t.Errorf("want %s as %q, got %d, %v", format, want, got.Code, got.Header())
				}
				same(t, expfmt.Format(format), plain(t, got), whole.String())
			})
		}
	}
}

func plain(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var in io.Reader = w.Body
	var err error
	switch w.Header().Get("Content-Encoding") {
	case "gzip":
		in, err = gzip.NewReader(w.Body)
	case "zstd":
		in, err = zstd.NewReader(w.Body)
	}
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestTheOwnHistogramKeepsItsExemplarAndItsNativeBuckets(t *testing.T) {
	both, _, _ := served(t)
	open := plain(t, ask(t, both, "application/openmetrics-text;version=1.0.0", "gzip"))
	if !strings.Contains(open, `own_seconds_bucket{le="1.0"} 1 # {trace="t"} 0.5`) || strings.Count(open, "# EOF\n") != 1 || !strings.HasSuffix(open, "# EOF\n") {
		t.Errorf("want an exemplar, and one mark at the end, got\n%s", open)
	}
	in := bytes.NewBufferString(plain(t, ask(t, both, string(expfmt.FmtProtoDelim), "gzip")))
	found := map[string]*dto.MetricFamily{}
	for {
		var f dto.MetricFamily
		err := protodelim.UnmarshalFrom(in, &f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[f.GetName()] = &f
	}
	if n := len(found["zoo_visits_total"].GetMetric()); n != 100 {
		t.Errorf("want 100 samples of zoo_visits_total, got %d", n)
	}
	if own := found["own_seconds"].GetMetric(); len(own) != 1 || own[0].Histogram.Schema == nil || len(own[0].Histogram.PositiveDelta) != 1 {
		t.Errorf("want one native histogram with a bucket, got %v", own)
	}
}

func TestARegistrysErrorIsPassedOn(t *testing.T) {
	pages, err := exposition.NewPages(families)
	if err != nil {
		t.Fatal(err)
	}
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) })
	got := ask(t, pages.Before(broken, func(p *exposition.Page) { p.Add("zoo_open", 1) }), "", "gzip")
	if got.Code != http.StatusInternalServerError || got.Body.String() != "broken\n" {
		t.Errorf("want status 500 and the reason, got %d %q", got.Code, got.Body)
	}
}

func TestScrapesAtTheSameTimeDoNotMix(t *testing.T) {
	both, _, _ := served(t)
	formats := []string{"", "application/openmetrics-text;version=1.0.0", string(expfmt.FmtProtoDelim)}
	var want []string
	for _, accept := range formats {
		want = append(want, plain(t, ask(t, both, accept, "")))
	}
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			if got := plain(t, ask(t, both, formats[i%len(formats)], "gzip")); got != want[i%len(formats)] {
				t.Errorf("want\n%s\ngot\n%s", want[i%len(formats)], got)
			}
		})
	}
	all.Wait()
}

// hungUp is a client that is gone after some bytes.
type hungUp struct {
	http.ResponseWriter
	left int
}

func (h *hungUp) Write(p []byte) (int, error) {
	if h.left -= len(p); h.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestAPartOfAPageIsNeverAnAnswer(t *testing.T) {
	both, _, _ := served(t)
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("want the answer to be aborted, got %v", got)
		}
	}()
	both.ServeHTTP(&hungUp{httptest.NewRecorder(), 10}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
}
