package drive_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kafkalab/kafkalab/loadgen/drive"
)

var update = flag.Bool("update", false, "write METRICS.md instead of comparing with it")

func TestMetricsDocumentIsUpToDate(t *testing.T) {
	var families []*dto.MetricFamily
	synctest.Test(t, func(t *testing.T) {
		b := &broker{latency: ms, down: never, refuse: func(r *drive.Record) error {
			if r.Sequence == 3 {
				return errors.New("refused") // so that there is an error to count
			}
			return nil
		}}
		e := play(t, drive.Config{Workload: mustWorkload(t, small), Rate: 100, Catchup: time.Second}, b, time.Second, nil)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(drive.NewCollector(e, 250*ms))
		var err error
		if families, err = registry.Gather(); err != nil {
			t.Fatal(err)
		}
	})
	var doc strings.Builder
	doc.WriteString("# Metrics of the load generator\n\nMade by `go test ./loadgen/drive -run Document -update`; do not edit.\n\n" +
		"Histograms are native (schema 6: a quantile is within 1.1 % of the true one) with classic buckets beside them, and their counts are those of the\n" +
		"records: `histogram_count(loadgen_end_to_end_seconds)` is `loadgen_records_consumed_total`, always. The label `phase` is `warmup` or `measure`, by the\n" +
		"time that a record was meant for. What is not known is absent.\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		fmt.Fprintf(&doc, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	doc.WriteString("\nBesides: `loadgen_build_info`, `go_*`, `process_*` and `promhttp_*` of the Prometheus client library. Processor time per record:\n" +
		"`sum(rate(process_cpu_seconds_total{job=\"loadgen\"}[1m])) / sum(rate(loadgen_records_sent_total[1m]))`.\n")
	const name = "../METRICS.md"
	if *update {
		if err := os.WriteFile(name, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != doc.String() {
		t.Errorf("%s is out of date: run go test ./loadgen/drive -run Document -update\ngot:\n%s", name, doc.String())
	}
}
