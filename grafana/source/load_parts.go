package source

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// What several dashboards show of the load, said in one place.

// chosen selects the workloads that the reader has chosen.
const chosen = `workload=~"$workload"`

// latency is a quantile of one of loadgen's histograms.
func latency(quantile, metric string) string {
	return fmt.Sprintf(`histogram_quantile(%s, sum(rate(%s{%s}[$__rate_interval])))`, quantile, metric, chosen)
}

// flow is the rate of one of loadgen's counters.
func flow(metric string) string {
	return fmt.Sprintf(`sum(rate(%s{%s}[$__rate_interval]))`, metric, chosen)
}

func throughput() *timeseries.PanelBuilder {
	p := series("Throughput", "recps",
		"Records per second: what the schedule asks for, what was offered, acknowledged and consumed. Where offered stays below target, the generator is the limit; "+
			"where consumed stays below acknowledged, lag grows.",
		q("target", `sum(loadgen_target_rate{workload=~"$workload"})`),
		q("offered", flow("loadgen_records_offered_total")),
		q("acknowledged", flow("loadgen_records_acked_total")),
		q("consumed", flow("loadgen_records_consumed_total")))
	return dashed(coloured(p, "target", "text", "offered", "blue", "acknowledged", "green", "consumed", "purple"), "target").Span(12).Height(9)
}

func endToEnd() *timeseries.PanelBuilder {
	p := series("End-to-end latency against the SLO", "s",
		"From the intended send to consumption, merged over all generators from native histograms, so that a stalled broker cannot hide what it delayed.",
		q("P50", latency("0.5", "loadgen_end_to_end_seconds")),
		q("P99", latency("0.99", "loadgen_end_to_end_seconds")),
		q("P99.9", latency("0.999", "loadgen_end_to_end_seconds")),
		q("SLO", `min(loadgen_slo_seconds{workload=~"$workload"})`))
	return dashed(coloured(p, "P50", "blue", "P99", "orange", "P99.9", "purple", "SLO", "red"), "SLO").Span(12).Height(9)
}
