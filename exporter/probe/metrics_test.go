package probe

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

var update = flag.Bool("update", false, "write the golden file instead of comparing with it")

// seen is a probe that has seen something of everything: broker 2 leads no partition, 3 coordinates no group, 4 is gone.
func seen(t *testing.T) *prometheus.Registry {
	t.Helper()
	p, err := New(Config{Kafka: sarama.NewConfig(), Brokers: []string{"broker-1:9092"}, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	p.shape = cluster("123", "1:12:12", "3:31:31", "1:21:12")
	p.groups = []*group{{name: "kafkalab-probe-0", coordinator: 2}, {name: "kafkalab-probe-3", coordinator: 1}, {name: "kafkalab-probe-7", coordinator: -1}}
	now := time.Now()
	for range 3 {
		p.meas.sent(1)
		p.sent.begin(1, 0, now)
	}
	p.sent.fail(1)
	p.meas.sent(4)
	p.sent.begin(4, 2, now)
	p.meas.produced(1, 300*time.Microsecond, 0, 41)
	p.meas.received(1, 700*time.Microsecond, 0, 41)
	p.meas.committed(2, 3*time.Millisecond, "kafkalab-probe-0")
	p.meas.failed(1, apiProduce, sarama.ErrNotEnoughReplicas)
	p.meas.failed(3, apiFetch, errUnanswered)
	p.meas.failed(3, apiFetch, errAway)
	p.meas.lost(1)
	p.meas.skipped(1, 5)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(p)
	return reg
}

func TestMetrics(t *testing.T) {
	families, err := seen(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
			t.Fatal(err)
		}
	}
	const file = "testdata/probe.prom"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s differs; -update writes it (-want +got):\n%s", file, diff)
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(seen(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryFamilyIsListedAndReal(t *testing.T) {
	families, err := seen(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, f := range families {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		got = append(got, fmt.Sprint(f.GetName(), strings.ToLower(f.GetType().String()), labels, f.GetHelp()))
	}
	for _, f := range Families() {
		want = append(want, fmt.Sprint(f.Name, f.Kind, slices.Sorted(slices.Values(f.Labels)), f.Help))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("families that Families lists and that a probe shows (-listed +shown):\n%s", diff)
	}
}
