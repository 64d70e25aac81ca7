package source

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// ofPod selects brokers by their own metrics.
const ofPod = `kafka_cluster=~"$cluster", pod=~"$pod"`

func brokerBoard() board {
	return board{
		uid: "kafkalab-broker", title: "Kafka broker internals", from: "now-30m",
		about:     "Where a request's time goes inside the broker, how busy its threads are, and what the JVM does meanwhile.",
		variables: []cog.Builder[dashboard.VariableModel]{cluster(), pod()},
		rows: []row{
			inRow("Threads and queues", handlers(), processors(), queues(), purgatory()),
			inRow("Requests",
				series("Request time, P99", "s", "From receiving a request to sending its response. Kafka's reservoirs remember about five minutes, so a change shows late.",
					q("{{pod}} {{request}}", `max by (pod, request) (kafka_network_request_total_time_seconds{%s, quantile="0.99"})`, ofPod)),
				series("Request time, median", "s", "Half of the requests take less. A median of half a second for FetchConsumer is a consumer that waits for new records.",
					q("{{pod}} {{request}}", `max by (pod, request) (kafka_network_request_total_time_seconds{%s, quantile="0.5"})`, ofPod)),
				series("Requests", "reqps", "Requests per second that were answered.",
					q("{{pod}} {{request}}", `sum by (pod, request) (rate(kafka_network_requests_total{%s}[$__rate_interval]))`, ofPod))),
			inRow("Where a request's time goes", stages("Produce", "records from producers"), stages("FetchConsumer", "records to consumers"), stages("OffsetCommit", "offsets of groups")),
			inRow("Log and replication",
				series("Flush time", "s", "Time of a flush of the log to disk (fsync).", q("{{pod}} P{{quantile}}", `max by (pod, quantile) (kafka_log_flush_time_seconds{%s})`, ofPod)),
				series("Flushes", "ops", "Flushes of the log per second.", q("{{pod}}", `sum by (pod) (rate(kafka_log_flushes_total{%s}[$__rate_interval]))`, ofPod)),
				series("Partitions", "short", "Partitions with a replica here, and those led here with fewer in-sync replicas than replicas.",
					q("{{pod}}", `max by (pod) (kafka_server_partitions{%s})`, ofPod),
					q("{{pod}} under-replicated", `max by (pod) (kafka_server_under_replicated_partitions{%s})`, ofPod))),
			inRow("JVM", collections(), heap(), live(), allocation(), processor(), files()),
			inRow("Traffic",
				series("Records in", "recps", "Records per second that producers have written.", q("{{pod}}", `sum by (pod) (rate(kafka_server_messages_in_total{%s}[$__rate_interval]))`, ofPod)),
				series("Bytes", "Bps", "Bytes per second that producers have written and consumers have read, as they are on the wire.",
					q("{{pod}} in", `sum by (pod) (rate(kafka_server_bytes_in_total{%s}[$__rate_interval]))`, ofPod),
					q("{{pod}} out", `sum by (pod) (rate(kafka_server_bytes_out_total{%s}[$__rate_interval]))`, ofPod)),
				series("Connections", "short", "Open connections by listener.", q("{{pod}} {{listener}}", `sum by (pod, listener) (kafka_network_connections{%s})`, ofPod))),
		},
	}
}

func handlers() *timeseries.PanelBuilder {
	return series("Request handlers idle", "percentunit",
		"Share of time that the I/O threads (num.io.threads) are idle: measured over the panel's own interval, and as Kafka averages it over a minute. Near zero, more of "+
			"them may help, if there is a CPU for them.",
		q("{{pod}}", `avg by (pod) (rate(kafka_server_request_handler_idle_seconds_total{%s}[$__rate_interval]))`, ofPod),
		q("{{pod}} over a minute", `min by (pod) (kafka_server_request_handler_idle_ratio{%s})`, ofPod)).AxisSoftMax(1).Span(6)
}

func processors() *timeseries.PanelBuilder {
	return series("Network processors idle", "percentunit", "Share of time that the network threads (num.network.threads) are idle. Near zero, more of them may help.",
		q("{{pod}}", `min by (pod) (kafka_network_processor_idle_ratio{%s})`, ofPod)).AxisSoftMax(1).Span(6)
}

func queues() *timeseries.PanelBuilder {
	return series("Queues", "short", "Requests that wait for a handler, and responses that wait for a network thread.",
		q("{{pod}} requests", `sum by (pod) (kafka_network_request_queue_size{%s})`, ofPod),
		q("{{pod}} responses", `sum by (pod) (kafka_network_response_queue_size{%s})`, ofPod)).Span(6)
}

func purgatory() *timeseries.PanelBuilder {
	return series("Requests that wait for others", "short", "Produce requests that wait for followers (acks=all), and fetch requests that wait for new records.",
		q("{{pod}} {{request}}", `sum by (pod, request) (kafka_server_purgatory_requests{%s})`, ofPod)).Span(6)
}

func stages(request, what string) *timeseries.PanelBuilder {
	return series(request, "s", "P99 of each stage of a request for "+what+": waiting for a handler, at work in one, waiting for other brokers or for new data, waiting for a "+
		"network thread, sending. The P99s of stages do not add up to that of the whole; the tallest is where to look.",
		q("{{stage}}", `max by (stage) (kafka_network_request_stage_time_seconds{%s, request="%s", quantile="0.99"})`, ofPod, request)).FillOpacity(20)
}

func collections() *timeseries.PanelBuilder {
	return series("Garbage collection", "percentunit", "Share of the time that the JVM spends in collections, by collector. More than a tenth costs throughput; every pause is in the P99.",
		q("{{pod}} {{gc}}", `sum by (pod, gc) (rate(jvm_gc_collection_seconds_sum{%s}[$__rate_interval]))`, ofPod))
}

func heap() *timeseries.PanelBuilder {
	p := series("Heap", "bytes", "Heap in use, what the JVM has taken for it, and the most that it may take.",
		q("{{pod}} used", `sum by (pod) (jvm_memory_used_bytes{%s, area="heap"})`, ofPod),
		q("{{pod}} committed", `sum by (pod) (jvm_memory_committed_bytes{%s, area="heap"})`, ofPod),
		q("{{pod}} max", `sum by (pod) (jvm_memory_max_bytes{%s, area="heap"})`, ofPod))
	return p.OverrideByRegexp("/ max$/", []dashboard.DynamicConfigValue{
		{Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{10, 10}}}, {Id: "custom.fillOpacity", Value: 0},
	})
}

func live() *timeseries.PanelBuilder {
	return series("Heap that is left after a collection", "percentunit",
		"What a collection could not free in the old generation, as a part of the heap. Near 100 % the heap is too small; the garbage collector then runs all the time.",
		q("{{pod}} {{pool}}", `max by (pod, pool) (jvm_memory_pool_collection_used_bytes{%s, pool=~".*(Old|Tenured).*"}) / on (pod) group_left () sum by (pod) (jvm_memory_max_bytes{%s, area="heap"})`,
			ofPod, ofPod))
}

func allocation() *timeseries.PanelBuilder {
	return series("Allocation", "Bps", "Bytes per second that the JVM has allocated in the young generation: what the collector has to keep up with.",
		q("{{pod}}", `sum by (pod) (rate(jvm_memory_pool_allocated_bytes_total{%s, pool=~".*Eden.*"}[$__rate_interval]))`, ofPod))
}

func processor() *timeseries.PanelBuilder {
	return series("Processor and threads", "suffix: CPUs", "Processor time that the broker uses per second, and its threads.",
		q("{{pod}} processor", `sum by (pod) (rate(process_cpu_seconds_total{%s, job="kafka"}[$__rate_interval]))`, ofPod),
		q("{{pod}} threads", `sum by (pod) (jvm_threads_current{%s})`, ofPod)).
		OverrideByRegexp("/ threads$/", []dashboard.DynamicConfigValue{
			{Id: "unit", Value: "short"}, {Id: "custom.axisPlacement", Value: string(common.AxisPlacementRight)}, {Id: "custom.fillOpacity", Value: 0},
		})
}

func files() *timeseries.PanelBuilder {
	return series("Open files", "percentunit", "File descriptors in use as a part of those that the process may have. Every segment and every connection takes some.",
		q("{{pod}}", `max by (pod) (process_open_fds{%s, job="kafka"} / process_max_fds{%s, job="kafka"})`, ofPod, ofPod))
}
