package probe_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kafkalab/kafkalab/exporter/probe"
	"github.com/kafkalab/kafkalab/internal/kafka"
)

// running is a probe under way.
type running struct {
	t    *testing.T
	reg  *prometheus.Registry
	log  *output
	stop func() // returns when nothing of it runs any more
}

// output is a log that is written and read at the same time.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a probe until the test ends.
func start(t *testing.T, c probe.Config) *running {
	t.Helper()
	r := &running{t: t, reg: prometheus.NewPedanticRegistry(), log: &output{}}
	c.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	if c.Interval == 0 {
		c.Interval = 50 * time.Millisecond
	}
	p, err := probe.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.reg.MustRegister(p)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("the probe's log:\n%s", r.log)
		}
	})
	return r
}

// metrics of a family whose labels include the given ones, written name=value.
func (r *running) metrics(family string, labels ...string) []*dto.Metric {
	r.t.Helper()
	all, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	var out []*dto.Metric
	for _, f := range all {
		if f.GetName() != family {
			continue
		}
		for _, m := range f.Metric {
			if has(m, labels) {
				out = append(out, m)
			}
		}
	}
	return out
}

func has(m *dto.Metric, labels []string) bool {
	for _, want := range labels {
		found := false
		for _, l := range m.Label {
			found = found || l.GetName()+"="+l.GetValue() == want
		}
		if !found {
			return false
		}
	}
	return true
}

// sum of a family's values, or of its histograms' counts.
func (r *running) sum(family string, labels ...string) (sum float64) {
	r.t.Helper()
	for _, m := range r.metrics(family, labels...) {
		switch {
		case m.Histogram != nil:
			sum += float64(m.Histogram.GetSampleCount())
		case m.Counter != nil:
			sum += m.Counter.GetValue()
		default:
			sum += m.Gauge.GetValue()
		}
	}
	return sum
}

// more waits until a family's sum has grown by n.
func (r *running) more(n float64, family string, labels ...string) {
	r.t.Helper()
	before := r.sum(family, labels...)
	waitFor(r.t, family+" to grow", func() bool { return r.sum(family, labels...) >= before+n })
}

// failures are the codes that the API's requests failed with.
func (r *running) failures(api string) map[string]float64 {
	r.t.Helper()
	out := map[string]float64{}
	for _, m := range r.metrics("kafka_probe_failed_total", "api="+api) {
		for _, l := range m.Label {
			if l.GetName() == "code" {
				out[l.GetValue()] += m.Counter.GetValue()
			}
		}
	}
	return out
}

func (r *running) says(text string) {
	r.t.Helper()
	waitFor(r.t, "the log to say "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// admin is another client of the same Kafka.
func admin(t *testing.T, addr string) sarama.ClusterAdmin {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{addr}, ID: "test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	a, err := sarama.NewClusterAdmin([]string{addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func makeTopic(t *testing.T, a sarama.ClusterAdmin, name string, partitions int32) {
	t.Helper()
	if err := a.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
}
