package source

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func load() board {
	return board{
		uid: "kafkalab-load", title: "Kafka load", from: "now-30m",
		about:     "What the generator asks of Kafka, what it gets, and whether all of it arrives as it was sent.",
		variables: []cog.Builder[dashboard.VariableModel]{workload()},
		rows: []row{
			inRow("", againstSLO(), goodput(), inTime(), lost(), limited()),
			inRow("Throughput", throughput(), volume(), inflight()),
			inRow("Latency", endToEnd(), parts(),
				heat("Distribution of end-to-end latency", "s", "Every record by its latency from intended send to consumption. Two bands are two kinds of records that a quantile would hide.",
					`sum(rate(loadgen_end_to_end_seconds{workload=~"$workload"}[$__rate_interval]))`),
				heat("Distribution of response times", "s", "Every record by its time from intended send to acknowledgement.",
					`sum(rate(loadgen_response_seconds{workload=~"$workload"}[$__rate_interval]))`)),
			inRow("Is it right?", wrong(), failures(), generator()),
		},
	}
}

func inTime() cog.Builder[dashboard.Panel] {
	return judged(figure("Records in time", "percentunit", "Share of records that reach the consumer within the SLO. The objective is 99 %.",
		q("in time", `histogram_fraction(0, scalar(min(loadgen_slo_seconds{%s})), sum(rate(loadgen_end_to_end_seconds{%s}[$__rate_interval])))`, chosen, chosen)),
		"red", 0.98, "orange", 0.99, "green").Decimals(2).Span(5)
}

func lost() cog.Builder[dashboard.Panel] {
	return judged(figure("Lost or damaged", "short", "Records that were acknowledged and never arrived, or arrived damaged, since the generator started. Anything but zero is a fault.",
		q("lost", `sum(loadgen_records_lost_total{%s}) + sum(loadgen_records_corrupted_total{%s})`, chosen, chosen)),
		"green", 1.0, "red").GraphMode(common.BigValueGraphModeNone).Span(4)
}

func limited() cog.Builder[dashboard.Panel] {
	return judged(figure("Limited by the generator", "none", "While the generator cannot keep its own schedule, the figures say more about it than about Kafka.",
		q("limited", `max(loadgen_generator_limited{%s})`, chosen)), "green", 1.0, "red").
		Mappings(words(word{"0", "no", "green"}, word{"1", "yes", "red"})).GraphMode(common.BigValueGraphModeNone).Span(5)
}

func volume() *timeseries.PanelBuilder {
	return coloured(series("Volume", "Bps", "Bytes per second in the values of records that were acknowledged and consumed.",
		q("acknowledged", flow("loadgen_acked_bytes_total")), q("consumed", flow("loadgen_consumed_bytes_total"))),
		"acknowledged", "green", "consumed", "purple").Span(6).Height(9)
}

func inflight() *timeseries.PanelBuilder {
	return series("In flight", "short", "Records sent and neither acknowledged nor given up. It grows when the broker falls behind the schedule.",
		q("records", `sum(loadgen_inflight_records{%s})`, chosen)).Span(6).Height(9)
}

func parts() *timeseries.PanelBuilder {
	return series("Where the time goes, P99", "s",
		"Schedule: from the intended to the actual send. Service: from there to the acknowledgement. Response: both together. End to end: to consumption. "+
			"A service time far below the response time means that records queue in front of the client.",
		q("schedule", latency("0.99", "loadgen_schedule_lag_seconds")),
		q("service", latency("0.99", "loadgen_service_seconds")),
		q("response", latency("0.99", "loadgen_response_seconds")),
		q("end to end", latency("0.99", "loadgen_end_to_end_seconds"))).Span(12).Height(9)
}

func wrong() *timeseries.PanelBuilder {
	return series("Records that went wrong", "recps", "Records per second that failed, were lost, came twice, out of order or damaged. All of them should be zero.",
		q("failed", flow("loadgen_records_failed_total")), q("lost", flow("loadgen_records_lost_total")), q("duplicated", flow("loadgen_records_duplicated_total")),
		q("reordered", flow("loadgen_records_reordered_total")), q("corrupted", flow("loadgen_records_corrupted_total")))
}

func failures() *timeseries.PanelBuilder {
	return series("Failures by cause", "recps", "Records per second that were given up, by what Kafka, the client or the generator says of them; and attempts that were repeated.",
		q("{{error}}", `sum by (error) (rate(loadgen_errors_total{%s}[$__rate_interval])) or label_replace(%s * 0, "error", "none", "", "")`,
			chosen, flow("loadgen_records_failed_total")),
		q("retried", flow("loadgen_records_retried_total")))
}

func generator() *timeseries.PanelBuilder {
	p := series("Generator", "s", "P99 of how much later than intended records were sent, and the processor time that the generator uses per second.",
		q("schedule lag P99", latency("0.99", "loadgen_schedule_lag_seconds")),
		q("processor", `sum(rate(process_cpu_seconds_total{job="loadgen"}[$__rate_interval]))`))
	return p.OverrideByName("processor", []dashboard.DynamicConfigValue{
		{Id: "unit", Value: "suffix: CPUs"}, {Id: "custom.axisPlacement", Value: "right"}, {Id: "custom.fillOpacity", Value: 0},
	})
}
