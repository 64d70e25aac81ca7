package grafana_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/kafkalab/kafkalab/grafana"
)

//lint:file-ignore SA1019 The classic schema is the one that every Grafana takes, also by hand; the newer one needs a Grafana of its own age.

func TestQueriesAreFoundWhereverTheyStand(t *testing.T) {
	const text = `{
		"panels": [
			{"title": "a", "targets": [{"refId": "A", "expr": "up"}, {"refId": "B", "expr": "down", "instant": true}]},
			{"title": "row", "type": "row", "panels": [{"title": "inside", "targets": [{"refId": "A", "expr": "left"}]}]}
		],
		"annotations": {"list": [{"name": "built in", "builtIn": 1}, {"name": "note", "expr": "right"}]}
	}`
	got, err := grafana.Queries([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []grafana.Query{
		{Title: "a", RefID: "A", Expr: "up"},
		{Title: "a", RefID: "B", Expr: "down", Instant: true},
		{Title: "inside", RefID: "A", Expr: "left"},
		{Title: "note", Expr: "right", Annotation: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestQueriesRefusesWhatCannotBeAsked(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":                 `{`,
		"a target without expr":    `{"panels": [{"title": "p", "targets": [{"refId": "A"}]}]}`,
		"an annotation of blanks":  `{"annotations": {"list": [{"name": "n", "expr": " "}]}}`,
		"panels that are a number": `{"panels": 3}`,
	} {
		t.Run(name, func(t *testing.T) {
			if q, err := grafana.Queries([]byte(text)); err == nil {
				t.Errorf("got %v, want an error", q)
			}
		})
	}
}

func TestExamplesAreThoseOfPromQLBlocks(t *testing.T) {
	const text = "Ask:\n\n```promql\n# how many\nsum(up)\n/ 2\n# how few\nmin(up)\n\nmax(up)\n```\n\n```sh\n# not this\nls\n```\n\n```promql\nup\n```\n"
	want := []grafana.Example{{Says: "how many", Expr: "sum(up)\n/ 2"}, {Says: "how few", Expr: "min(up)"}, {Expr: "max(up)"}, {Expr: "up"}}
	if diff := cmp.Diff(want, grafana.Examples(text)); diff != "" {
		t.Errorf("examples (-want +got):\n%s", diff)
	}
}

func TestExpandKnowsTheWaysToWriteAVariable(t *testing.T) {
	values := map[string]string{"w": "durable", "__rate_interval": "8s"}
	for name, c := range map[string]struct{ expr, want string }{
		"plain":       {`x{a=~"$w"}[$__rate_interval]`, `x{a=~"durable"}[8s]`},
		"braces":      {`x{a="${w}"}`, `x{a="durable"}`},
		"with format": {`x{a=~"${w:regex}"}`, `x{a=~"durable"}`},
		"none":        {`x{a=~"b$"}`, `x{a=~"b$"}`},
		"unknown":     {`x{a="$nobody"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := grafana.Query{Title: "t", Expr: c.expr}.Expand(values)
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), `"nobody"`) {
					t.Errorf("got error %v, want one that names the variable", err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %q, error %v; want %q", got, err, c.want)
			}
		})
	}
}

// What the checks below look at; everything else in a dashboard is Grafana's business.
type model struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	Description   string `json:"description"`
	SchemaVersion int    `json:"schemaVersion"`
	Refresh       string `json:"refresh"`
	Templating    struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
			IncludeAll bool   `json:"includeAll"`
			AllValue   string `json:"allValue"`
		} `json:"list"`
	} `json:"templating"`
	Links []struct {
		Title       string   `json:"title"`
		Type        string   `json:"type"`
		URL         string   `json:"url"`
		Tags        []string `json:"tags"`
		IncludeVars bool     `json:"includeVars"`
		KeepTime    bool     `json:"keepTime"`
	} `json:"links"`
	Tags        []string `json:"tags"`
	Annotations struct {
		List []annotation `json:"list"`
	} `json:"annotations"`
	Panels []panel `json:"panels"`
}

type annotation struct {
	Name            string     `json:"name"`
	BuiltIn         int        `json:"builtIn"`
	Datasource      datasource `json:"datasource"`
	Enable          bool       `json:"enable"`
	IconColor       string     `json:"iconColor"`
	Expr            string     `json:"expr"`
	UseValueForTime bool       `json:"useValueForTime"`
	TitleFormat     string     `json:"titleFormat"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID          int        `json:"id"`
	Type        string     `json:"type"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Datasource  datasource `json:"datasource"`
	GridPos     struct {
		X, Y, W, H int
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []struct {
		RefID      string     `json:"refId"`
		Datasource datasource `json:"datasource"`
		Format     string     `json:"format"`
		Legend     string     `json:"legendFormat"`
	} `json:"targets"`
}

// each runs check once for every dashboard that is shipped.
func each(t *testing.T, check func(t *testing.T, raw []byte, m model)) {
	t.Helper()
	all, err := grafana.Dashboards()
	if err != nil || len(all) == 0 {
		t.Fatalf("got %d dashboards, error %v", len(all), err)
	}
	for name, raw := range all {
		t.Run(name, func(t *testing.T) {
			var m model
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			check(t, raw, m)
		})
	}
}

const templated = "${datasource}"

func TestPanelsAreCurrentNamedAndExplained(t *testing.T) {
	current := []string{"heatmap", "row", "stat", "state-timeline", "table", "timeseries"}
	each(t, func(t *testing.T, _ []byte, m model) {
		ids := map[int]string{}
		for _, p := range m.Panels {
			if other, taken := ids[p.ID]; taken || p.ID == 0 {
				t.Errorf("panel %q: id %d is zero or that of %q", p.Title, p.ID, other)
			}
			ids[p.ID] = p.Title
			if !slices.Contains(current, p.Type) {
				t.Errorf("panel %q: type is %q, want one of %v", p.Title, p.Type, current)
			}
			if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("panel %q: position %+v is outside the grid of 24 columns", p.Title, p.GridPos)
			}
			if p.Title == "" {
				t.Errorf("panel %d: no title", p.ID)
			}
			if p.Type == "row" {
				continue
			}
			if p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("panel %q: description %q, unit %q; want both", p.Title, p.Description, p.FieldConfig.Defaults.Unit)
			}
			checkTargets(t, p)
		}
	})
}

func checkTargets(t *testing.T, p panel) {
	t.Helper()
	if len(p.Targets) == 0 {
		t.Errorf("panel %q: no queries", p.Title)
	}
	if p.Datasource.UID != templated {
		t.Errorf("panel %q: data source is %q, want %q", p.Title, p.Datasource.UID, templated)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		if refs[target.RefID] || target.RefID == "" {
			t.Errorf("panel %q: reference %q is empty or given twice", p.Title, target.RefID)
		}
		refs[target.RefID] = true
		if target.Datasource.UID != templated {
			t.Errorf("panel %q, query %s: data source is %q, want %q", p.Title, target.RefID, target.Datasource.UID, templated)
		}
		if target.Legend == "" && target.Format != "table" {
			t.Errorf("panel %q, query %s: no legend", p.Title, target.RefID)
		}
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	each(t, func(t *testing.T, _ []byte, m model) {
		for i, a := range m.Panels {
			for _, b := range m.Panels[:i] {
				g, h := a.GridPos, b.GridPos
				if g.X < h.X+h.W && h.X < g.X+g.W && g.Y < h.Y+h.H && h.Y < g.Y+g.H {
					t.Errorf("panels %q and %q overlap", a.Title, b.Title)
				}
			}
		}
	})
}

func TestDashboardsCanBeFoundAndMoved(t *testing.T) {
	seen := map[string]bool{}
	each(t, func(t *testing.T, raw []byte, m model) {
		if m.UID == "" || seen[m.UID] {
			t.Errorf("uid %q is empty or that of another dashboard", m.UID)
		}
		seen[m.UID] = true
		if m.Title == "" || m.Description == "" || m.SchemaVersion < 41 || m.Refresh == "" {
			t.Errorf("title %q, description %q, schema %d, refresh %q; want all, and a schema from 41 on",
				m.Title, m.Description, m.SchemaVersion, m.Refresh)
		}
		variables := map[string]string{}
		for _, v := range m.Templating.List {
			variables[v.Name] = v.Type
		}
		if variables["datasource"] != "datasource" {
			t.Errorf("variables are %v, want the data source among them", variables)
		}
		if strings.Contains(string(raw), `"uid": "kafkalab-prometheus"`) || strings.Contains(string(raw), "${DS_") {
			t.Error("the data source is written into the dashboard")
		}
		tuner, others := false, false
		for _, l := range m.Links {
			tuner = tuner || l.URL == "${tuner_url}"
			others = others || l.Type == "dashboards" && l.IncludeVars && l.KeepTime && slices.Equal(l.Tags, []string{"kafkalab"})
		}
		if !tuner || !others || !slices.Contains(m.Tags, "kafkalab") {
			t.Errorf("links are %v, tags %v; want the tuner's page and, by the tag kafkalab, the other dashboards", m.Links, m.Tags)
		}
	})
	inside := regexp.MustCompile(`/d/([\w-]+)`)
	each(t, func(t *testing.T, raw []byte, _ model) {
		for _, link := range inside.FindAllStringSubmatch(string(raw), -1) {
			if !seen[link[1]] {
				t.Errorf("a link leads to a dashboard %q that is not there", link[1])
			}
		}
	})
}

// Grafana's names of colours have one shade for light and one for dark; a number has not.
func TestColoursAreNamed(t *testing.T) {
	number := regexp.MustCompile(`"(#[0-9a-fA-F]{3,8}|(?:rgb|hsl)a?\([^"]*)"`)
	each(t, func(t *testing.T, raw []byte, _ model) {
		for _, m := range number.FindAllStringSubmatch(string(raw), -1) {
			t.Errorf("colour %s is a number, want a name", m[1])
		}
	})
}

// Each menu offers what there is under the choice before it, and "All" finds also what has no such label.
func TestMenusAreChained(t *testing.T) {
	before := map[string]string{"broker": "$cluster", "topic": "$cluster", "group": "$topic", "pod": "$cluster"}
	each(t, func(t *testing.T, raw []byte, m model) {
		var order []string
		for _, v := range m.Templating.List {
			order = append(order, v.Name)
			if v.Type != "query" {
				continue
			}
			if !v.IncludeAll || v.AllValue != ".*" {
				t.Errorf("variable %s: All is %t, as %q; want it as .*", v.Name, v.IncludeAll, v.AllValue)
			}
			if want := before[v.Name]; !strings.Contains(v.Definition, want) || want != "" && !slices.Contains(order, want[1:]) {
				t.Errorf("variable %s is %s and comes after %v; want it to depend on %s before it", v.Name, v.Definition, order, want)
			}
			if !strings.Contains(string(raw), "$"+v.Name+"\\\"") {
				t.Errorf("variable %s is used by no query", v.Name)
			}
		}
	})
}

// The types are those that Grafana publishes of its schema; read strictly, they refuse a field that they do not know and miss one that is
// required, down to the options of each panel.
func TestDashboardsFollowGrafanasSchema(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	each(t, func(t *testing.T, raw []byte, _ model) {
		if err := schema(raw); err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct{ old, new string }{
		"a misspelt field":             {`"schemaVersion"`, `"schemeVersion"`},
		"a misspelt option of a panel": {`"graphMode"`, `"graphmode"`},
		"a field that is missing":      {`"iconColor": "blue",`, ``},
		"a text for a number":          {`"schemaVersion": 42`, `"schemaVersion": "42"`},
		"a kind that is not there":     {`"value": null,`, `"value": "low",`},
		"a misspelt query":             {`"legendFormat"`, `"legend"`},
	} {
		all, err := grafana.Dashboards()
		if err != nil {
			t.Fatal(err)
		}
		good := string(all["tuning.json"])
		if bad := strings.Replace(good, c.old, c.new, 1); bad == good || schema([]byte(bad)) == nil {
			t.Errorf("%s: want it refused", name)
		}
	}
}

func schema(raw []byte) error {
	var d dashboard.Dashboard
	if err := d.UnmarshalJSONStrict(raw); err != nil && err.Error() != "" { // a list of no errors is an error to it, too
		return err
	}
	return d.Validate()
}

func TestQueriesLeaveTheRangeToGrafana(t *testing.T) {
	ranges := regexp.MustCompile(`\[([^\]]*)\]`)
	each(t, func(t *testing.T, raw []byte, _ model) {
		queries, err := grafana.Queries(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			for _, r := range ranges.FindAllStringSubmatch(q.Expr, -1) {
				if r[1] != "$__rate_interval" {
					t.Errorf("%s: range [%s], want [$__rate_interval]", q.Title, r[1])
				}
			}
		}
	})
}

func TestEachOutcomeOfAChangeIsAnAnnotationOfItsOwnColour(t *testing.T) {
	each(t, func(t *testing.T, _ []byte, m model) {
		outcome := regexp.MustCompile(`outcome=~"([^"]+)"`)
		colours, outcomes := map[string]string{}, map[string]string{}
		for _, a := range m.Annotations.List {
			if a.Name == "Alerts" {
				continue
			}
			// Changes are marked at once; the ledger's ten marks for each trial would hide them, so they are to be switched on.
			if on := strings.Contains(a.Expr, "tuner_change_"); a.Datasource.UID != templated || a.Enable != on {
				t.Errorf("annotation %q: data source %q, enabled %t; want %q and %t", a.Name, a.Datasource.UID, a.Enable, templated, on)
			}
			// Without these two the mark stands at every instant at which the series exists, and not where the change was made.
			if !a.UseValueForTime || !strings.HasSuffix(a.Expr, "* 1000") {
				t.Errorf("annotation %q: value as time is %t, expression %q; want true and milliseconds", a.Name, a.UseValueForTime, a.Expr)
			}
			if strings.Contains(a.Expr, "tuner_change_") && !strings.Contains(a.TitleFormat, "{{knob}} {{old}} → {{new}}") {
				t.Errorf("annotation %q: title %q does not say what was changed", a.Name, a.TitleFormat)
			}
			if other, taken := colours[a.IconColor]; taken {
				t.Errorf("annotations %q and %q have the same colour", a.Name, other)
			}
			colours[a.IconColor] = a.Name
			if m := outcome.FindStringSubmatch(a.Expr); m != nil {
				for o := range strings.SplitSeq(m[1], "|") {
					if outcomes[o] != "" {
						t.Errorf("outcome %s is annotated by %q and %q", o, outcomes[o], a.Name)
					}
					outcomes[o] = a.Name
				}
			}
		}
		for _, want := range []string{"attempted", "kept", "reverted", "inconclusive", "outside"} {
			if outcomes[want] == "" {
				t.Errorf("outcome %s has no annotation", want)
			}
		}
	})
}
