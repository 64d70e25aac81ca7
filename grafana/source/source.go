// Package source is what the dashboards are made from: each is a list of rows of panels, and what all of them share stands here once.
//
// It promises JSON in Grafana's classic schema, which every Grafana from 11 on takes by provisioning and by hand, built with the types that
// Grafana publishes of it. It leaves out whether the queries find anything: package grafana's tests ask a Prometheus.
//
// "go test ./grafana/source -update" writes the files.
package source

import (
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"
)

//lint:file-ignore SA1019 The classic schema is the one that every Grafana takes, also by hand; the newer one needs a Grafana of its own age.

// board is one dashboard.
type board struct {
	uid, title, about string
	from              string // how far back it looks at first
	variables         []cog.Builder[dashboard.VariableModel]
	marks             []*dashboard.AnnotationQueryBuilder // beyond those that each board has
	rows              []row
}

// row is a title and the panels below it. Panels fill the 24 columns from left to right. The first row of a board has no title.
type row struct {
	title  string
	panels []cog.Builder[dashboard.Panel]
}

func inRow(title string, panels ...cog.Builder[dashboard.Panel]) row { return row{title, panels} }

func boards() map[string]board {
	return map[string]board{
		"tuning.json":  tuning(),
		"load.json":    load(),
		"cluster.json": clusterBoard(),
		"topics.json":  topicsBoard(),
		"groups.json":  groupsBoard(),
		"broker.json":  brokerBoard(),
		"stack.json":   stackBoard(),
	}
}

// Dashboards gives each dashboard's JSON by the name of its file.
func Dashboards() (map[string][]byte, error) {
	all := map[string][]byte{}
	for name, b := range boards() {
		d, err := b.build()
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", name, err)
		}
		text, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		all[name] = append(text, '\n')
	}
	return all, nil
}

// tag is what the dashboards find each other by.
const tag = "kafkalab"

func (b board) build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder(b.title).Uid(b.uid).Description(b.about).Tags([]string{tag, "kafka"}).
		Time(b.from, "now").Refresh("5s").Timezone("browser").Editable().Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Timepicker(dashboard.NewTimePickerBuilder().RefreshIntervals([]string{"5s", "10s", "30s", "1m", "5m"})).
		WithVariable(datasource())
	for _, v := range append(b.variables, address("tuner_url", "the tuner's page", "http://127.0.0.1:9500/"),
		address("prometheus_url", "Prometheus", "http://127.0.0.1:9090/")) {
		d.WithVariable(v)
	}
	d.Link(dashboard.NewDashboardLinkBuilder("Kafka dashboards").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{tag}).
		AsDropdown(true).IncludeVars(true).KeepTime(true).Icon("apps").Tooltip("The same time and choice on another dashboard"))
	d.Link(outside("Tuner", "${tuner_url}", "The tuner's own page: why the last decision was taken"))
	d.Link(outside("Prometheus", "${prometheus_url}", "Ask anything in PromQL"))
	for _, a := range append(annotations(), b.marks...) {
		d.Annotation(a)
	}
	for _, r := range b.rows {
		if r.title != "" {
			d.WithRow(dashboard.NewRowBuilder(r.title))
		}
		for _, p := range r.panels {
			d.WithPanel(p)
		}
	}
	made, err := d.Build()
	tidy(made)
	return made, err
}

// tidy numbers the panels and takes away what the types add by default and does not belong there.
func tidy(made dashboard.Dashboard) {
	for i, p := range made.Panels {
		id := uint32(i + 1)
		if p.Panel != nil {
			p.Panel.Id, p.Panel.RepeatDirection = &id, nil
			if o, ok := p.Panel.Options.(*table.Options); ok {
				o.Footer = nil
			}
		} else {
			p.RowPanel.Id = id
		}
	}
	// Grafana's schema does not have a table's footer any more, and these have a meaning for variables of intervals only.
	for i := range made.Templating.List {
		v := &made.Templating.List[i]
		v.Auto, v.AutoMin, v.AutoCount = nil, nil, nil
	}
	// Their default hides links and the switches of annotations in a menu; they belong where they are seen.
	for i := range made.Links {
		made.Links[i].Placement = nil
	}
	for i := range made.Annotations.List {
		made.Annotations.List[i].Placement = nil
	}
}

func outside(title, url, tooltip string) *dashboard.DashboardLinkBuilder {
	return dashboard.NewDashboardLinkBuilder(title).Type(dashboard.DashboardLinkTypeLink).Url(url).Icon("external link").Tooltip(tooltip).TargetBlank(true)
}

// source is the data source that the reader has chosen.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: ptr("prometheus"), Uid: ptr("${datasource}")}
}

func ptr[T any](v T) *T { return &v }
