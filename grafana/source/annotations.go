package source

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// annotations mark each change of a knob where it was made, in one colour per outcome, and each alert while it fires.
func annotations() []*dashboard.AnnotationQueryBuilder {
	all := []*dashboard.AnnotationQueryBuilder{}
	for _, a := range []struct{ name, colour, outcomes string }{
		{"Attempted", "blue", "attempted"},
		{"Kept, or better", "green", "kept|better"},
		{"Taken back, or worse", "red", "reverted|inconclusive|worse"},
		{"By others", "purple", "outside|not-better"},
	} {
		// The value is the time: without UseValueForTime there would be a mark wherever the series exists.
		all = append(all, dashboard.NewAnnotationQueryBuilder().Name(a.name).Datasource(source()).Enable(true).Hide(false).IconColor(a.colour).
			Expr(fmt.Sprintf(`max by (change, trial, author, outcome, knob, old, new) (tuner_change_timestamp_seconds{outcome=~"%s"}) * 1000`, a.outcomes)).
			UseValueForTime(true).Step("10s").TitleFormat("{{outcome}}: {{knob}} {{old}} → {{new}}").
			TextFormat("Change {{change}} in trial {{trial}}, by {{author}}").TagKeys("author,knob,outcome,trial"))
	}
	return append(all, dashboard.NewAnnotationQueryBuilder().Name("Alerts").Datasource(source()).Enable(true).Hide(false).IconColor("orange").
		Expr(`max by (alertname, severity) (ALERTS{alertname=~"Kafka.+", alertstate="firing"})`).Step("10s").
		TitleFormat("{{alertname}}").TextFormat("An alert fires: docs/runbooks/{{alertname}}.md").TagKeys("severity"))
}

// edges mark each step of each trial, from the record that is written before it. Ten marks for each trial hide the two that matter, so they are off
// until somebody switches them on.
func edges() *dashboard.AnnotationQueryBuilder {
	return dashboard.NewAnnotationQueryBuilder().Name("Ledger").Datasource(source()).Enable(false).Hide(false).IconColor("text").
		Expr(`max by (record, kind, trial, phase, outcome) (tuner_ledger_record_timestamp_seconds{kind="edge"}) * 1000`).
		UseValueForTime(true).Step("10s").TitleFormat("trial {{trial}}: {{phase}} {{outcome}}").TextFormat("Record {{record}} of the ledger").TagKeys("trial,phase,outcome")
}
