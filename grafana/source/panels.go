package source

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// The panels' usual look. What a panel has beyond that is said where it is used, with the builder that these functions give.

// query is one line of a panel: what the legend calls it, and the expression.
type query struct{ legend, expr string }

func q(legend, expr string, args ...any) query {
	if len(args) > 0 {
		expr = fmt.Sprintf(expr, args...)
	}
	return query{legend, expr}
}

func (s query) target(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source()).EditorMode(prometheus.QueryEditorModeCode).
		RefId(string(rune('A' + i))).Expr(s.expr).LegendFormat(s.legend)
}

func ranged(queries []query) []cog.Builder[variants.Dataquery] {
	all := make([]cog.Builder[variants.Dataquery], len(queries))
	for i, s := range queries {
		all[i] = s.target(i).Range()
	}
	return all
}

// series is a graph over time.
func series(title, unit, about string, queries ...query) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().Title(title).Unit(unit).Description(about).Datasource(source()).Targets(ranged(queries)).
		Span(8).Height(8).LineWidth(1).FillOpacity(8).ShowPoints(common.VisibilityModeNever).AxisSoftMin(0).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).ShowLegend(true).
			Calcs([]string{"lastNotNull", "mean", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
}

// figure is the newest value in large letters.
func figure(title, unit, about string, queries ...query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Unit(unit).Description(about).Datasource(source()).Targets(ranged(queries)).
		Span(4).Height(4).ColorMode(common.BigValueColorModeValue).GraphMode(common.BigValueGraphModeArea).TextMode(common.BigValueTextModeValue).Orientation(common.VizOrientationAuto).
		ColorScheme(fixed("blue")).ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
}

// timeline shows states, one line each.
func timeline(title, about string, queries ...query) *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().Title(title).Unit("none").Description(about).Datasource(source()).Targets(ranged(queries)).
		Span(12).Height(8).MergeValues(true).ShowValue(common.VisibilityModeAuto).RowHeight(0.8).FillOpacity(70).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(false)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeSingle).Sort(common.SortOrderNone))
}

// heat shows a native histogram over time.
func heat(title, unit, about, expr string) *heatmap.PanelBuilder {
	return heatmap.NewPanelBuilder().Title(title).Unit(unit).Description(about).Datasource(source()).
		WithTarget(query{"latency", expr}.target(0).Range().Format(prometheus.PromQueryFormatHeatmap)).Span(12).Height(8).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Turbo").Steps(64).Exponent(0.5)).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(unit).AxisPlacement(common.AxisPlacementLeft)).
		ExemplarsColor("purple").
		Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle).YHistogram(true))
}

// column is one of a table: the label or, for a value, the query's reference it comes from; the heading, none leaves it out; and the unit of a
// value.
type column struct{ from, heading, unit string }

// grid is a table of the newest values, one row for each combination of the labels that the queries share.
func grid(title, about string, columns []column, exprs ...string) *table.PanelBuilder {
	p := table.NewPanelBuilder().Title(title).Unit("none").Description(about).Datasource(source()).
		Span(24).Height(9).ShowHeader(true).CellHeight(common.TableCellHeightSm).Filterable(true)
	for i, expr := range exprs {
		p.WithTarget(query{"", expr}.target(i).Instant().Format(prometheus.PromQueryFormatTable))
	}
	hidden, index, rename := map[string]bool{"Time": true}, map[string]int{}, map[string]string{}
	for i, c := range columns {
		if c.heading == "" {
			hidden[c.from] = true
			continue
		}
		index[c.from], rename[c.from] = i, c.heading
		if c.unit != "" {
			p.OverrideByName(c.heading, []dashboard.DynamicConfigValue{{Id: "unit", Value: c.unit}})
		}
	}
	if len(exprs) > 1 {
		p.WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}})
	}
	return p.WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
		"excludeByName": hidden, "indexByName": index, "renameByName": rename,
	}})
}

func fixed(colour string) *dashboard.FieldColorBuilder {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdFixed).FixedColor(colour)
}

// limits colours a value by thresholds: the colour below all of them, then pairs of a threshold and the colour from there on.
func limits(below string, steps ...any) *dashboard.ThresholdsConfigBuilder {
	all := []dashboard.Threshold{{Color: below}}
	for i := 0; i+1 < len(steps); i += 2 {
		value := steps[i].(float64)
		all = append(all, dashboard.Threshold{Value: &value, Color: steps[i+1].(string)})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(all)
}

func byLimits() *dashboard.FieldColorBuilder {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)
}

// judged is a figure that is coloured by limits.
func judged(p *stat.PanelBuilder, below string, steps ...any) *stat.PanelBuilder {
	return p.ColorScheme(byLimits()).Thresholds(limits(below, steps...))
}

// coloured gives the series of a name a colour of Grafana's palette, which has one shade for light and one for dark.
func coloured(p *timeseries.PanelBuilder, colours ...string) *timeseries.PanelBuilder {
	for i := 0; i+1 < len(colours); i += 2 {
		p.OverrideByName(colours[i], []dashboard.DynamicConfigValue{{Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": colours[i+1]}}})
	}
	return p
}

// dashed marks what is asked for, not measured.
func dashed(p *timeseries.PanelBuilder, name string) *timeseries.PanelBuilder {
	return p.OverrideByName(name, []dashboard.DynamicConfigValue{
		{Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{10, 10}}}, {Id: "custom.fillOpacity", Value: 0},
	})
}

// word is what a value means, and its colour.
type word struct{ value, text, colour string }

func words(all ...word) []dashboard.ValueMapping {
	options := map[string]dashboard.ValueMappingResult{}
	for i, w := range all {
		options[w.value] = dashboard.ValueMappingResult{Text: ptr(w.text), Color: ptr(w.colour), Index: ptr(int32(i))}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: "value", Options: options}}}
}
