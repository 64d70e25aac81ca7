package collector_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/web"
)

const (
	openMetrics = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
	protobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;version=0.0.4;q=0.5"
)

// serve puts the exporter behind the server that the program has. It returns what a scrape with that Accept header gets.
func serve(t *testing.T, e *exporter) func(accept string) (contentType, body string) {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(e)
	s, err := web.New(web.Config{Name: "exporter", Listen: []string{"127.0.0.1:0"}, Registry: reg, Metrics: e.handler})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return func(accept string) (string, string) {
		t.Helper()
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		ask.Header.Set("Accept", accept)
		answer, err := http.DefaultClient.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("want an answer with status 200, got %d, %v: %s", answer.StatusCode, err, body)
		}
		return answer.Header.Get("Content-Type"), string(body)
	}
}

func everyName(conf *collector.Config) {
	conf.Names, conf.TopicConfigs = []collector.Naming{collector.Native, collector.KafkaExporter, collector.KMinion}, []string{"cleanup.policy"}
}

func TestOpenMetricsNamesTheBrokerThatWasAsked(t *testing.T) {
	c := richCluster(t)
	e := newExporter(t, c.addrs(), everyName)
	kind, body := serve(t, e)(openMetrics)
	if !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(body, "\n# EOF\n") {
		t.Errorf("want OpenMetrics with its end mark, got %s", kind)
	}
	asked := regexp.MustCompile(`(?m)^kafka_exporter_kafka_request_duration_seconds_bucket\{api="(\w+)",le="[^"]+"\} \d+ # \{address="([^"]+)"\} \S+`)
	brokers := map[string]map[string]bool{}
	for _, m := range asked.FindAllStringSubmatch(body, -1) {
		if brokers[m[1]] == nil {
			brokers[m[1]] = map[string]bool{}
		}
		brokers[m[1]][m[2]] = true
	}
	for _, api := range []string{"ApiVersions", "Metadata", "ListOffsets", "ListGroups", "OffsetFetch"} {
		if len(brokers[api]) == 0 {
			t.Errorf("%s: want an exemplar with the address of the broker, got none", api)
		}
		for addr := range brokers[api] {
			if !strings.Contains(strings.Join(c.addrs(), " "), addr) {
				t.Errorf("%s: want the address of a broker, got %s", api, addr)
			}
		}
	}
}

// TestExemplarsNameTheBrokerThatTookSoLong: of two brokers one takes a while for each answer. Its requests lie in other buckets.
func TestExemplarsNameTheBrokerThatTookSoLong(t *testing.T) {
	const slow = 0.3 // seconds
	c := twoBrokers(t)
	c.brokers[1].SetLatency(time.Duration(slow * float64(time.Second)))
	c.start()
	e := newExporter(t, c.addrs()[:1], nil)
	_, body := serve(t, e)(openMetrics)
	exemplar := regexp.MustCompile(`(?m)^kafka_exporter_kafka_request_duration_seconds_bucket\{api="(\w+)",le="[^"]+"\} \d+ # \{address="([^"]+)"\} (\S+)`)
	named := map[string]bool{}
	for _, m := range exemplar.FindAllStringSubmatch(body, -1) {
		api, addr := m[1], m[2]
		seconds, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		// A busy machine can make the quick one slow, but never the slow one quick.
		if seconds <= 0 || addr == c.addrs()[1] && seconds < slow {
			t.Errorf("%s: want no answer of the slow broker within %v s, got one after %v s", api, slow, seconds)
		}
		named[api+" "+addr] = true
	}
	for _, api := range []string{"ApiVersions", "ListOffsets", "ListGroups", "OffsetFetch", "DescribeGroups"} {
		for _, addr := range c.addrs() {
			if !named[api+" "+addr] {
				t.Errorf("%s: want an exemplar of each broker, got none with %s", api, addr)
			}
		}
	}
}

func TestProtobufHasNativeHistograms(t *testing.T) {
	c := richCluster(t)
	e := newExporter(t, c.addrs(), everyName)
	kind, body := serve(t, e)(protobuf)
	if !strings.HasPrefix(kind, "application/vnd.google.protobuf") {
		t.Fatalf("want protobuf, got %s", kind)
	}
	families := decode(t, strings.NewReader(body))
	f := families["kafka_exporter_kafka_request_duration_seconds"]
	if f == nil {
		t.Fatalf("want the histogram of requests, got %d families without it", len(families))
	}
	for _, m := range f.Metric {
		h := m.GetHistogram()
		if h.GetSampleCount() == 0 || h.Schema == nil || len(h.PositiveSpan) == 0 || len(h.PositiveDelta) == 0 {
			t.Errorf("%v: want a native histogram with samples, got %v", m.Label, h)
		}
		if len(h.Bucket) == 0 || len(h.Exemplars) == 0 {
			t.Errorf("%v: want classic buckets and exemplars beside it, got %v", m.Label, h)
		}
	}
}

// TestEveryFormatHasTheSameNames: OpenMetrics knows counters only as _total, and kminion has some without.
func TestEveryFormatHasTheSameNames(t *testing.T) {
	c := richCluster(t)
	e := newExporter(t, c.addrs(), everyName)
	e.collect(20 * time.Second)
	scrape := serve(t, e)
	_, plain := scrape("text/plain")
	want := samples(plain).families(t)
	_, body := scrape(protobuf)
	if got := decode(t, strings.NewReader(body)); len(got) != len(want) {
		t.Errorf("want the %d families of the text format in protobuf, got %d", len(want), len(got))
	}
	_, body = scrape(openMetrics)
	for name, f := range want {
		sample := name
		if f.GetType() == dto.MetricType_HISTOGRAM {
			sample += "_count"
		}
		if got := samples(body).of(sample); len(got) != len(f.Metric) {
			t.Errorf("%s: want %d samples in OpenMetrics as in the text format, got %d", sample, len(f.Metric), len(got))
		}
	}
}

func decode(t *testing.T, body io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	families := map[string]*dto.MetricFamily{}
	decoder := expfmt.NewDecoder(bufio.NewReader(body), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var f dto.MetricFamily
		switch err := decoder.Decode(&f); {
		case errors.Is(err, io.EOF):
			return families
		case err != nil:
			t.Fatal(err)
		}
		families[f.GetName()] = &f
	}
}

func TestAnAddressThatIsTooLongForAnExemplarIsLeftOut(t *testing.T) {
	for name, tt := range map[string]struct {
		addr string
		want int
	}{
		"an address":                         {"kafka-0.kafka:9092", 1},
		"as long as a name may be":           {strings.Repeat("a", 253) + ":9092", 0},
		"the longest that there is room for": {strings.Repeat("a", prometheus.ExemplarMaxRunes-len("address")), 1},
		"bytes that are no text":             {"\xff:9092", 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: []float64{1}})
			collector.Observe(h, time.Millisecond, tt.addr)
			var m dto.Metric
			if err := h.Write(&m); err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, b := range m.Histogram.Bucket {
				if b.Exemplar != nil {
					got++
				}
			}
			if m.Histogram.GetSampleCount() != 1 || got != tt.want {
				t.Errorf("want 1 sample with %d exemplars, got %v", tt.want, m.Histogram)
			}
		})
	}
}
