package source

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func tuning() board {
	return board{
		uid: "kafkalab-tuning", title: "Kafka tuning", from: "now-30m",
		about:     "What the load does, what was changed and by whom, and whether it helped.",
		variables: []cog.Builder[dashboard.VariableModel]{workload()},
		marks:     []*dashboard.AnnotationQueryBuilder{edges()},
		rows: []row{
			inRow("", againstSLO(), goodput(), gain(), trials(), tunerState()),
			inRow("Load", throughput(), endToEnd()),
			inRow("What was changed", knobs(), phase(), changes()),
			inRow("Whether it helps", objective(), convergence(), astray()),
		},
	}
}

func againstSLO() *stat.PanelBuilder {
	return judged(figure("P99 against the SLO", "percentunit",
		"P99 of end-to-end latency (intended send to consumption) as a share of its objective. Above 100 % the objective is breached.",
		q("P99 / SLO", latency("0.99", "loadgen_end_to_end_seconds")+` / scalar(min(loadgen_slo_seconds{workload=~"$workload"}))`)),
		"green", 0.9, "orange", 1.0, "red").Span(5)
}

func goodput() *stat.PanelBuilder {
	return figure("Goodput", "recps", "Records per second that the broker has acknowledged.",
		q("acknowledged", flow("loadgen_records_acked_total"))).Span(5)
}

func gain() *stat.PanelBuilder {
	return judged(figure("Gain over the start", "suffix:×", "The best objective so far as a multiple of the one that was measured before the first change.",
		q("best / baseline", `max(tuner_objective_ratio)`)), "text", 1.02, "green").Decimals(2).Span(4)
}

func trials() *stat.PanelBuilder {
	return figure("Trials", "none", "Trials that have ended, by outcome.",
		q("{{outcome}}", `sum by (outcome) (tuner_trials_total)`)).
		GraphMode(common.BigValueGraphModeNone).TextMode(common.BigValueTextModeValueAndName).Span(5)
}

func tunerState() *stat.PanelBuilder {
	return figure("Tuner", "none", "The state that the tuner says it is in.", q("{{state}}", `max by (state) (tuner_state) == 1`)).
		GraphMode(common.BigValueGraphModeNone).TextMode(common.BigValueTextModeName).Span(5)
}

func knobs() *statetimeline.PanelBuilder {
	return timeline("Knobs: desired and effective",
		"What the tuner has asked for and what was read back from the broker and its JVM. The two differ while a change is rolled out, and never for longer.",
		q("{{knob}} desired", `max by (knob) (tuner_knob_desired)`),
		q("{{knob}} effective", `max by (knob) (tuner_knob_effective)`)).
		OverrideByRegexp("/heap/i", []dashboard.DynamicConfigValue{{Id: "unit", Value: "bytes"}})
}

func phase() *statetimeline.PanelBuilder {
	return timeline("Phase of the trial", "Which step the running trial is in. A row is coloured while its phase lasts.",
		q("{{phase}}", `max by (phase) (tuner_trial_phase)`)).ShowValue(common.VisibilityModeNever).
		ColorScheme(byLimits()).Thresholds(limits("transparent", 1.0, "blue")).
		Mappings(words(word{"0", "no", "transparent"}, word{"1", "in this phase", "blue"}))
}

func changes() *table.PanelBuilder {
	p := grid("Trials and changes", "Each change that was attempted and what became of it, newest first; also those that somebody else has made.",
		[]column{{"Value", "when", "dateTimeAsIso"}, {"trial", "trial", ""}, {"knob", "knob", ""}, {"old", "old", ""}, {"new", "new", ""}, {"outcome", "outcome", ""},
			{"author", "author", ""}, {"change", "change", ""}},
		`max by (change, trial, author, outcome, knob, old, new) (tuner_change_timestamp_seconds) * 1000`)
	return p.SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName("when").Desc(true)}).
		OverrideByName("outcome", []dashboard.DynamicConfigValue{
			{Id: "custom.cellOptions", Value: map[string]string{"type": "color-text"}},
			{Id: "mappings", Value: words(word{"attempted", "attempted", "blue"}, word{"kept", "kept", "green"}, word{"reverted", "reverted", "red"},
				word{"inconclusive", "inconclusive", "orange"}, word{"outside", "outside", "purple"}, word{"better", "better", "green"},
				word{"not-better", "not better", "orange"}, word{"worse", "worse", "red"})},
		})
}

func objective() *timeseries.PanelBuilder {
	p := series("Objective", "recps",
		"Goodput at the SLO as the tuner has measured it: before the first change (baseline), of the configuration in place (incumbent), of the one on trial "+
			"(candidate), and the best so far.",
		q("{{which}}", `max by (which) (tuner_objective)`)).LineInterpolation(common.LineInterpolationStepAfter)
	return dashed(coloured(p, "baseline", "text", "incumbent", "blue", "candidate", "orange", "best", "green"), "baseline").Span(12)
}

func convergence() *timeseries.PanelBuilder {
	p := series("Convergence", "suffix:×",
		"The best objective so far as a multiple of the start, over the trials that it took. A curve that has been flat for some trials has little left to find.",
		q("gain", `max(tuner_objective_ratio)`), q("trials", `max(tuner_trial_number)`)).LineInterpolation(common.LineInterpolationStepAfter)
	return coloured(p, "gain", "green", "trials", "text").OverrideByName("trials", []dashboard.DynamicConfigValue{
		{Id: "unit", Value: "none"}, {Id: "custom.axisPlacement", Value: "right"}, {Id: "custom.fillOpacity", Value: 0},
	}).Decimals(2).Span(6)
}

func astray() *stat.PanelBuilder {
	return judged(figure("Knobs that did not take effect", "none",
		"Knobs whose effective value is not the desired one. Zero, but for the moments in which a change is rolled out.",
		q("astray", `count(max by (knob) (tuner_knob_desired) != max by (knob) (tuner_knob_effective)) or (count(tuner_knob_desired) * 0)`)),
		"green", 1.0, "red").Span(6).Height(8)
}
