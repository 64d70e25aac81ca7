package source

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
)

func stackBoard() board {
	return board{
		uid: "kafkalab-stack", title: "kafkalab itself", from: "now-1h",
		about: "Whether what measures can be trusted: scrapes, rules, the exporter's collections, and what each program takes.",
		rows: []row{
			inRow("",
				judged(figure("Targets down", "none", "Programs that Prometheus cannot scrape.", q("down", `count(up == 0) or (count(up) * 0)`)), "green", 1.0, "red"),
				judged(figure("Alerts that fire", "none", "Each has a page in docs/runbooks.", q("firing", `count(ALERTS{alertname=~"Kafka.+", alertstate="firing"}) or (count(up) * 0)`)),
					"green", 1.0, "orange"),
				judged(figure("Age of the exporter's figures", "s", "Age of the collection that the exporter shows.", q("age", `max(kafka_exporter_snapshot_age_seconds)`)),
					"green", 15.0, "orange", 60.0, "red"),
				judged(figure("Rules that fail", "none", "Evaluations of rules that failed, since Prometheus started.", q("failed", `sum(prometheus_rule_evaluation_failures_total)`)),
					"green", 1.0, "red"),
				figure("Series", "short", "Series that Prometheus holds in memory.", q("series", `sum(prometheus_tsdb_head_series)`)),
				figure("Ledger", "short", "Records in the tuner's ledger.", q("records", `max(tuner_ledger_entries_total)`)).GraphMode(common.BigValueGraphModeNone)),
			inRow("Scrapes",
				timeline("Targets", "Whether each target answers.", q("{{job}} {{instance}}", `up`)).ColorScheme(byLimits()).Thresholds(limits("red", 1.0, "green")).
					Mappings(words(word{"0", "down", "red"}, word{"1", "up", "green"})),
				series("Scrape duration", "s", "A scrape that takes longer than its interval of two seconds is a gap in every figure.", q("{{job}}", `max by (job) (scrape_duration_seconds)`)).Span(6),
				series("Samples by scrape", "short", "Samples in a scrape of each target. One that grows without end fills Prometheus.",
					q("{{job}}", `sum by (job) (scrape_samples_post_metric_relabeling)`)).Span(6)),
			inRow("Exporter",
				series("Collection by part", "s", "How long each part of a collection takes.", q("{{collector}}", `max by (collector) (kafka_exporter_collector_duration_seconds)`)),
				timeline("Parts that got all that they asked for", "A part that fails leaves its series out; the others are shown all the same.",
					q("{{collector}}", `min by (collector) (kafka_exporter_collector_success)`)).ColorScheme(byLimits()).Thresholds(limits("red", 1.0, "green")).
					Mappings(words(word{"0", "no", "red"}, word{"1", "yes", "green"})).Span(8),
				series("Requests to Kafka", "reqps", "Requests per second by API, and those that failed. Their number does not depend on how many partitions and groups there are.",
					q("{{api}}", `sum by (api) (rate(kafka_exporter_kafka_requests_total[$__rate_interval]))`),
					q("failed: {{api}} {{code}}", `sum by (api, code) (rate(kafka_exporter_kafka_request_errors_total[$__rate_interval])) or `+
						`label_replace(label_replace(sum(rate(kafka_exporter_kafka_requests_total[$__rate_interval])) * 0, "api", "none", "", ""), "code", "none", "", "")`)),
				series("Time that Kafka takes to answer, P99", "s", "By API, from the exporter's native histograms.",
					q("{{api}}", `histogram_quantile(0.99, sum by (api) (rate(kafka_exporter_kafka_request_duration_seconds[$__rate_interval]))) >= 0`)),
				series("Bytes to and from Kafka", "Bps", "What the exporter itself costs the cluster.",
					q("sent", `sum(rate(kafka_exporter_kafka_sent_bytes_total[$__rate_interval]))`), q("received", `sum(rate(kafka_exporter_kafka_received_bytes_total[$__rate_interval]))`)),
				series("Rights that the exporter has", "none", "1 for each right that it needs and has, 0 for one that is missing somewhere.",
					q("{{operation}} {{resource}}", `min by (operation, resource) (kafka_exporter_authorized)`))),
			inRow("What each program takes",
				series("Processor", "suffix: CPUs", "Processor time per second.", q("{{job}}", `sum by (job) (rate(process_cpu_seconds_total[$__rate_interval]))`)),
				series("Memory", "bytes", "Resident memory.", q("{{job}}", `sum by (job) (process_resident_memory_bytes)`)),
				series("Goroutines", "short", "A number that only grows is a leak.", q("{{job}}", `sum by (job) (go_goroutines)`))),
			inRow("Prometheus",
				series("Samples taken in", "suffix: samples/s", "Samples per second, floats and histograms.",
					q("{{type}}", `sum by (type) (rate(prometheus_tsdb_head_samples_appended_total[$__rate_interval]))`)),
				series("Rule groups", "s", "How long each group of rules takes to evaluate; its interval is five seconds.",
					q("{{rule_group}}", `max by (rule_group) (prometheus_rule_group_last_duration_seconds)`)),
				series("Storage", "bytes", "Size of the blocks on disk, and of the write-ahead log.",
					q("blocks", `sum(prometheus_tsdb_storage_blocks_bytes)`), q("write-ahead log", `sum(prometheus_tsdb_wal_storage_size_bytes)`))),
		},
	}
}
