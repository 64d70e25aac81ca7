// Package grafana holds the dashboards and tells which queries they make, so that a test can run each of them against a Prometheus.
//
// It promises that every target of every panel and every annotation is among the queries, also those inside collapsed rows. It leaves out
// the queries of variables: those only fill the menus.
package grafana

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

//go:embed dashboards/*.json
var dashboards embed.FS

// Dashboards gives the dashboards' JSON by file name, such as "tuning.json".
func Dashboards() (map[string][]byte, error) {
	names, err := fs.Glob(dashboards, "dashboards/*.json")
	if err != nil {
		return nil, fmt.Errorf("list dashboards: %w", err)
	}
	all := make(map[string][]byte, len(names))
	for _, name := range names {
		data, err := dashboards.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read dashboard: %w", err)
		}
		all[strings.TrimPrefix(name, "dashboards/")] = data
	}
	return all, nil
}

// Query is one PromQL expression of a dashboard as it stands there, with Grafana's variables in it.
type Query struct {
	Title      string // of the panel or annotation
	RefID      string // which of the panel's queries; empty for an annotation
	Expr       string
	Legend     string // with {{label}} for what each series is called by; an annotation's title
	Instant    bool   // asked for one instant; otherwise over a range
	Annotation bool
}

type panel struct {
	Title   string `json:"title"`
	Targets []struct {
		RefID   string `json:"refId"`
		Expr    string `json:"expr"`
		Legend  string `json:"legendFormat"`
		Instant bool   `json:"instant"`
	} `json:"targets"`
	Panels []panel `json:"panels"` // of a collapsed row
}

type dashboard struct {
	Annotations struct {
		List []struct {
			Name    string `json:"name"`
			Expr    string `json:"expr"`
			Title   string `json:"titleFormat"`
			BuiltIn int    `json:"builtIn"`
		} `json:"list"`
	} `json:"annotations"`
	Panels []panel `json:"panels"`
}

// Queries lists the queries of a dashboard in its own order, panels first. A query without an expression is an error that names it.
func Queries(dashboardJSON []byte) ([]Query, error) {
	var d dashboard
	if err := json.Unmarshal(dashboardJSON, &d); err != nil {
		return nil, fmt.Errorf("parse dashboard: %w", err)
	}
	found := panelQueries(d.Panels)
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 0 {
			found = append(found, Query{Title: a.Name, Expr: a.Expr, Legend: a.Title, Annotation: true})
		}
	}
	var errs []error
	for _, q := range found {
		if strings.TrimSpace(q.Expr) == "" {
			errs = append(errs, fmt.Errorf("query %q of %q: no expression", q.RefID, q.Title))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return found, nil
}

func panelQueries(panels []panel) []Query {
	var found []Query
	for _, p := range panels {
		for _, t := range p.Targets {
			found = append(found, Query{Title: p.Title, RefID: t.RefID, Expr: t.Expr, Legend: t.Legend, Instant: t.Instant})
		}
		found = append(found, panelQueries(p.Panels)...)
	}
	return found
}

// Expand puts values in place of Grafana's variables, written $name, ${name} or ${name:format}. Grafana's own, such as __rate_interval,
// are given like any other. A variable without a value is an error: Prometheus would only call it a syntax error.
func (q Query) Expand(values map[string]string) (string, error) {
	var errs []error
	// Compiled here and not once for all: the package keeps no state, and a dashboard has some dozens of queries.
	variable := regexp.MustCompile(`\$(\w+)|\$\{(\w+)(?::\w+)?\}`)
	out := variable.ReplaceAllStringFunc(q.Expr, func(match string) string {
		groups := variable.FindStringSubmatch(match)
		name := groups[1] + groups[2]
		value, ok := values[name]
		if !ok {
			errs = append(errs, fmt.Errorf("expand query %q of %q: no value for variable %q", q.RefID, q.Title, name))
		}
		return value
	})
	return out, errors.Join(errs...)
}

// Everything gives the values that stand for "All" in each menu of the dashboards, and the given interval for Grafana's own.
func Everything(rateInterval string) map[string]string {
	values := map[string]string{"datasource": "prometheus", "__rate_interval": rateInterval}
	for _, menu := range []string{"cluster", "broker", "topic", "group", "pod", "workload"} {
		values[menu] = ".*"
	}
	return values
}
