package grafana_test

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The contract: every metric that dashboards and rules may use, with one value for each label that they may select by. A query that
// names anything else finds nothing in the tests, and fails them.

func histograms() []string {
	return []string{
		"loadgen_response_seconds", "loadgen_service_seconds", "loadgen_schedule_lag_seconds", "loadgen_end_to_end_seconds",
	}
}

func counters() map[string]prometheus.Labels {
	load := prometheus.Labels{"workload": "durable", "phase": "measure"}
	found := prometheus.Labels{"workload": "durable"}
	return map[string]prometheus.Labels{
		"loadgen_acked_bytes_total":        load,
		"loadgen_consumed_bytes_total":     load,
		"tuner_trials_total":               {"outcome": "kept"},
		"kafka_server_messages_in_total":   nil,
		"kafka_server_bytes_in_total":      nil,
		"kafka_server_bytes_out_total":     nil,
		"jvm_gc_collection_seconds_count":  {"gc": "G1 Young Generation"},
		"jvm_gc_collection_seconds_sum":    {"gc": "G1 Young Generation"},
		"loadgen_records_offered_total":    load,
		"loadgen_records_sent_total":       load,
		"loadgen_records_acked_total":      load,
		"loadgen_records_failed_total":     load,
		"loadgen_records_retried_total":    load,
		"loadgen_records_consumed_total":   load,
		"loadgen_records_lost_total":       found,
		"loadgen_records_duplicated_total": found,
		"loadgen_records_reordered_total":  found,
		"loadgen_records_corrupted_total":  found,
	}
}

func gauges() map[string]prometheus.Labels {
	load := prometheus.Labels{"workload": "durable"}
	return map[string]prometheus.Labels{
		"loadgen_target_rate":       load,
		"loadgen_slo_seconds":       load,
		"loadgen_generator_limited": load,
		"loadgen_inflight_records":  load,

		"tuner_trial_phase":     {"phase": "measuring"},
		"tuner_trial_number":    nil,
		"tuner_knob_desired":    {"knob": "KAFKA_HEAP_OPTS"},
		"tuner_knob_effective":  {"knob": "KAFKA_HEAP_OPTS"},
		"tuner_knob_best":       {"knob": "KAFKA_HEAP_OPTS"},
		"tuner_objective":       {"which": "best"},
		"tuner_objective_ratio": nil,
		"tuner_state":           {"state": "trialing"},
		"tuner_p99_seconds":     nil,
		"tuner_goodput":         nil,
		"tuner_slo_seconds":     nil,

		"tuner_ledger_record_timestamp_seconds": {"record": "7", "kind": "edge", "trial": "1", "phase": "applying", "outcome": "", "author": ""},

		"kafka_topic_partition_end_offset": {"topic": "lab", "partition": "0"},
		"kafka_consumer_group_lag":         {"group": "loadgen", "topic": "lab", "partition": "0"},

		"kafka_server_request_handler_idle_ratio":  nil,
		"kafka_network_processor_idle_ratio":       nil,
		"kafka_network_request_queue_size":         nil,
		"kafka_network_response_queue_size":        nil,
		"kafka_network_request_total_time_seconds": {"request": "Produce", "quantile": "0.99"},
		"jvm_memory_used_bytes":                    {"area": "heap"},
		"jvm_memory_max_bytes":                     {"area": "heap"},
		"jvm_memory_init_bytes":                    {"area": "heap"},
	}
}

// target answers a scrape with the whole contract; each scrape moves every counter and histogram on.
func target() http.Handler {
	registry := prometheus.NewRegistry()
	var step []func()
	for _, name := range histograms() {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: name, ConstLabels: prometheus.Labels{"workload": "durable", "phase": "measure"},
			NativeHistogramBucketFactor: 1.011, Buckets: prometheus.DefBuckets,
		})
		registry.MustRegister(h)
		step = append(step, func() {
			for range 99 {
				h.Observe(0.01)
			}
			h.Observe(0.1)
		})
	}
	for name, labels := range counters() {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: name, ConstLabels: labels})
		registry.MustRegister(c)
		step = append(step, func() { c.Add(100) })
	}
	for name, labels := range gauges() {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: name, ConstLabels: labels})
		g.Set(1)
		registry.MustRegister(g)
	}
	changes := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tuner_change_timestamp_seconds", Help: "changes"},
		[]string{"change", "trial", "author", "outcome", "knob", "old", "new"})
	registry.MustRegister(changes)
	for i, outcome := range []string{"attempted", "kept", "reverted", "inconclusive", "outside"} {
		changes.WithLabelValues("1-KAFKA_NUM_IO_THREADS", "1", "kafkalab-tuner", outcome, "KAFKA_NUM_IO_THREADS", "2", "4").Set(float64(1_700_000_000 + i))
	}
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, s := range step {
			s()
		}
		metrics.ServeHTTP(w, r)
	})
}
