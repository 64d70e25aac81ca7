package grafana_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kafkalab/kafkalab/exporter/clusters"
	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/tuner/audit"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// The contract: what a Prometheus sees of the stack. The broker with its JMX agent, the exporter's collector and the tuner's collector are the
// real ones; loadgen's page is made from the list of its metrics, which its own tests compare with its registry. A query that names anything
// else finds nothing, and fails its test.

const group, labTopic = "loadgen-0", "lab"

// broker runs a real Kafka whose JMX agent has the configuration of this checkout, not the one that was last built.
func broker(t *testing.T) *kafkatest.Broker {
	t.Helper()
	const image = "../k8s-sandbox/image"
	config := t.TempDir()
	for _, name := range []string{"server.properties", "log4j2.yaml", "tools-log4j2.yaml", "jmx.yaml"} {
		text, err := os.ReadFile(filepath.Join(image, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(config, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := kafkatest.Start(t, kafkatest.Deployed(), kafkatest.Env(map[string]string{"CONFIG_DIR": config}))
	traffic(t, b.Addr)
	return b
}

// traffic writes to a topic of two partitions and reads it as a group, until the test ends.
func traffic(t *testing.T, addr string) {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{addr}, ID: "contract"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Producer.Return.Successes = true
	conf.Consumer.Offsets.Initial = sarama.OffsetOldest
	conf.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	admin, err := sarama.NewClusterAdmin([]string{addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.CreateTopic(labTopic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	producer, err := sarama.NewSyncProducer([]string{addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := sarama.NewConsumerGroup([]string{addr}, group, conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() {
		defer func() { ended <- struct{}{} }()
		for ctx.Err() == nil {
			_ = consumer.Consume(ctx, []string{labTopic}, reader{}) // what it cannot read, the queries will miss
		}
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		for n := 1; ctx.Err() == nil; n++ {
			_, _, _ = producer.SendMessage(&sarama.ProducerMessage{Topic: labTopic, Value: sarama.ByteEncoder(make([]byte, 100))})
			wait := 10 * time.Millisecond
			if n%300 == 0 {
				wait = 2 * time.Second // the group catches up: while its lag does not fall there is no time to drain it
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		<-ended
		_ = errors.Join(consumer.Close(), producer.Close())
	})
}

type reader struct{}

func (reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (reader) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for m := range c.Messages() {
		s.MarkMessage(m, "")
	}
	return nil
}

// programs registers what every program of ours shows of itself.
func programs(name string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), versioncollector.NewCollector(name))
	return registry
}

func exporterTarget(t *testing.T, addr string) http.Handler {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{addr}, ID: "exporter"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	exporter, err := collector.New(collector.Config{
		Kafka: conf, Brokers: []string{addr}, Logger: slog.New(slog.DiscardHandler), SlowInterval: time.Second,
		TopicConfigs: []string{"min.insync.replicas", "retention.ms", "retention.bytes", "max.message.bytes", "cleanup.policy"},
	})
	if err != nil {
		t.Fatal(err)
	}
	registry := programs("kafka_exporter")
	registry.MustRegister(exporter)
	all, err := clusters.New(10*time.Second, clusters.Member{Exporter: exporter})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = all.Run(ctx) // it ends with ctx only
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return all.Scrape(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}

// loadgenTarget shows each metric of the generator's list, one value for each label; each scrape moves counters and histograms on.
func loadgenTarget(t *testing.T) http.Handler {
	t.Helper()
	registry := programs("loadgen")
	var step []func()
	for _, m := range documented(t, "../loadgen/METRICS.md") {
		labels := prometheus.Labels{}
		for _, l := range m.labels {
			labels[l] = map[string]string{"workload": "durable", "phase": "measure", "error": "timeout"}[l]
			if labels[l] == "" {
				t.Fatalf("%s: the contract has no value for its label %s", m.name, l)
			}
		}
		switch m.kind {
		case "histogram":
			h := prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: m.name, Help: m.name, ConstLabels: labels, NativeHistogramBucketFactor: 1.011, Buckets: prometheus.DefBuckets,
			})
			registry.MustRegister(h)
			step = append(step, func() {
				for range 99 {
					h.Observe(0.01)
				}
				h.Observe(0.1)
			})
		case "counter":
			c := prometheus.NewCounter(prometheus.CounterOpts{Name: m.name, Help: m.name, ConstLabels: labels})
			registry.MustRegister(c)
			step = append(step, func() { c.Add(100) })
		default:
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: m.name, Help: m.name, ConstLabels: labels})
			g.Set(1)
			registry.MustRegister(g)
		}
	}
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, s := range step {
			s()
		}
		metrics.ServeHTTP(w, r)
	})
}

type metric struct {
	name, kind string
	labels     []string
}

// documented reads the table of a METRICS.md.
func documented(t *testing.T, path string) []metric {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []metric
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1) {
		one := metric{name: m[1], kind: m[2]}
		for l := range strings.SplitSeq(m[3], ",") {
			if l = strings.TrimSpace(l); l != "" {
				one.labels = append(one.labels, l)
			}
		}
		all = append(all, one)
	}
	if len(all) < 20 {
		t.Fatalf("%s: only %d metrics", path, len(all))
	}
	return all
}

func tunerTarget() http.Handler {
	at := time.Now().Add(-time.Minute)
	s := status.Snapshot{
		State: status.Trialing, SLO: 200,
		Live:  status.Live{P99: status.Ptr(150.0), Acked: status.Ptr(1000.0)},
		Knobs: []status.Knob{{Name: "heap", Scale: 1 << 20, Desired: status.Ptr(int64(512)), Effective: status.Ptr(int64(256)), Best: status.Ptr(int64(512))}},
		Trial: &status.Trial{Number: 1, Phase: "measuring"}, Trials: []status.Trial{{Number: 1, Outcome: "kept", Ended: &at}}, Ledger: 12,
		Goal: status.Goal{
			Baseline: status.Ptr(1000.0), Incumbent: status.Ptr(1200.0), Candidate: status.Ptr(1100.0), Best: status.Ptr(1300.0), Ratio: status.Ptr(1.3),
		},
	}
	for i, outcome := range []string{"attempted", "kept", "reverted", "inconclusive", "outside"} {
		s.Changes = append(s.Changes, status.Change{ID: uint64(i + 1), Time: at, Trial: 1, Author: "kafkalab-tuner", Outcome: outcome, Knob: "heap", Old: "256", New: "512"})
	}
	registry := programs("tuner")
	book := audit.New()
	book.Of(nil, []ledger.Record{{Seq: 7, Time: at, Kind: ledger.Edge, Trial: 1, Phase: ledger.Kept, Outcome: ledger.OutcomeKept}})
	registry.MustRegister(status.NewCollector(status.NewBoard(s)), book)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// targets starts the stack's parts and gives host:port by job.
func targets(t *testing.T) map[string]string {
	t.Helper()
	b := broker(t)
	all := map[string]string{"kafka": b.MetricsAddr}
	for job, handler := range map[string]http.Handler{"exporter": exporterTarget(t, b.Addr), "loadgen": loadgenTarget(t), "tuner": tunerTarget()} {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		all[job] = s.Listener.Addr().String()
	}
	return all
}
