package collector

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kafkalab/kafkalab/exporter/clusters"
)

// synthetic is a snapshot of topics × partitions and of as many groups that have each committed as many partitions.
func synthetic(topics, partitions int) *snapshot {
	snap := &snapshot{taken: time.Now(), clusterID: "4L6g3nShT-eMCtK--X86sw", configs: map[string]map[string]string{}, sizes: map[string]int64{}}
	for id := range int32(3) {
		snap.brokers = append(snap.brokers, broker{id: id, addr: fmt.Sprintf("kafka-%d.kafka.svc:9092", id), leaders: topics * partitions / 3, counted: true, reached: true})
		snap.dirs = append(snap.dirs, logDir{broker: id, path: "/var/lib/kafka/data", used: 1 << 30, total: some(1 << 40), usable: some(1 << 39)})
	}
	for t := range topics {
		out := topic{name: fmt.Sprintf("bench-topic-%04d", t)}
		for p := range partitions {
			at := int64(t*partitions+p) * 7919
			out.partitions = append(out.partitions, partition{
				id: int32(p), leader: some(int64(p % 3)), leaderEpoch: some(int64(t % 5)), replicas: []int32{int32(p % 3), int32((p + 1) % 3), int32((p + 2) % 3)},
				inSync: 3, start: some(at / 2), end: some(at), endAt: snap.taken, reassigning: some(0),
			})
		}
		snap.topics = append(snap.topics, out)
		snap.configs[out.name] = map[string]string{"min.insync.replicas": "2", "retention.ms": "604800000", "cleanup.policy": "delete"}
		snap.sizes[out.name] = int64(t) << 20
		g := group{id: fmt.Sprintf("bench-group-%04d", t), kind: kindClassic, protocolType: "consumer", protocol: "range", state: "Stable", coordinator: int32(t % 3), members: some(3)}
		for p, part := range out.partitions {
			g.commits = append(g.commits, commit{
				topic: out.name, partition: part.id, offset: some(part.end.value - int64(p)), lag: some(int64(p)), lost: some(0),
				behind: time.Duration(p) * 123457 * time.Microsecond, retained: float64(p) / 977, behindKnown: true, retainedKnown: true,
			})
		}
		snap.groups = append(snap.groups, g)
	}
	return snap
}

// showing is an exporter that has just taken the snapshot and never reads another.
func showing(tb testing.TB, snap *snapshot) *Exporter {
	tb.Helper()
	e, err := New(Config{Kafka: sarama.NewConfig(), Brokers: []string{"127.0.0.1:1"}, MinInterval: time.Hour, MaxAge: 2 * time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	e.last, e.started = snap, time.Now()
	e.report = report{ended: true, up: true, lastSuccess: map[string]time.Time{partMetadata: snap.taken}}
	return e
}

var accepts = map[string]string{
	"text":        "text/plain;version=0.0.4",
	"openmetrics": "application/openmetrics-text;version=1.0.0;charset=utf-8",
	"protobuf":    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
}

// BenchmarkScrape answers scrapes of a fresh snapshot of 500 topics with 20 partitions and 500 groups with 20 commits.
func BenchmarkScrape(b *testing.B) {
	e := showing(b, synthetic(500, 20))
	reg := prometheus.NewRegistry()
	reg.MustRegister(e)
	h := scrapeOf(b, e, reg)
	for _, format := range []string{"text", "openmetrics", "protobuf"} {
		for _, encoding := range []string{"identity", "gzip"} {
			b.Run(format+"/"+encoding, func(b *testing.B) {
				r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				r.Header.Set("Accept", accepts[format])
				r.Header.Set("Accept-Encoding", encoding)
				w := &counting{}
				b.ReportAllocs()
				for b.Loop() {
					*w = counting{header: http.Header{}}
					h.ServeHTTP(w, r)
				}
				b.ReportMetric(float64(w.bytes), "body-B")
			})
		}
	}
}

// counting is a response that is thrown away.
type counting struct {
	header http.Header
	bytes  int
}

var _ io.StringWriter = (*counting)(nil)

func (c *counting) Header() http.Header                     { return c.header }
func (c *counting) WriteHeader(int)                         {}
func (c *counting) Write(p []byte) (int, error)             { c.bytes += len(p); return len(p), nil }
func (c *counting) WriteString(s string) (n int, err error) { c.bytes += len(s); return len(s), nil }

// scrapeOf answers scrapes of one exporter as the program does.
func scrapeOf(t testing.TB, e *Exporter, reg *prometheus.Registry) http.Handler {
	t.Helper()
	shown, err := clusters.New(time.Minute, clusters.Member{Exporter: e})
	if err != nil {
		t.Fatal(err)
	}
	return shown.Scrape(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
}
