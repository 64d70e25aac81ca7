package grafana_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/grafana"
)

// patience is for one figure: a group is assigned, rates have two scrapes, ages are known. All of it is there after some seconds.
const patience = time.Minute

func TestTheContractAnswersEveryQuestion(t *testing.T) {
	s := start(t, targets(t))
	within(t, 3*patience, "every target is up", func(ctx context.Context) error {
		_, err := s.query(ctx, `count(up == 1) == 5`)
		return err
	})
	if t.Failed() {
		t.FailNow() // each question would be waited for in vain
	}
	t.Run("recording rules", s.checkRules)
	t.Run("dashboards", s.checkDashboards)
	t.Run("native histograms", s.checkHistograms)
	t.Run("examples of README", s.checkExamples)
	t.Run("alerts", s.checkAlerts)
	t.Run("runbooks", s.checkRunbooks)
}

func (s server) checkDashboards(t *testing.T) {
	each(t, func(t *testing.T, raw []byte, m model) {
		queries, err := grafana.Queries(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			expr, err := q.Expand(grafana.Everything("5s"))
			if err != nil {
				t.Error(err)
				continue
			}
			s.answers(t, q.Title+" "+q.RefID, expr, q.Legend)
		}
		for _, v := range m.Templating.List {
			if v.Type == "query" {
				s.checkMenu(t, v.Name, v.Definition)
			}
		}
	})
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

// answers asks for data, for a series behind each selector, also one that stands beside an "or", and for each label that the legend shows.
func (s server) answers(t *testing.T, what, expr, legend string) {
	t.Helper()
	within(t, patience, fmt.Sprintf("%s\n%s", what, expr), func(ctx context.Context) error {
		selectors, err := s.selectors(ctx, expr)
		if err != nil {
			return err
		}
		for _, selector := range selectors {
			if mayBeMissing.MatchString(selector) {
				continue
			}
			if err := s.exists(ctx, selector); err != nil {
				return err
			}
		}
		result, err := s.query(ctx, expr)
		if err != nil {
			return err
		}
		for _, label := range placeholder.FindAllStringSubmatch(legend, -1) {
			if !slices.ContainsFunc(result, func(r sample) bool { return r.Metric[label[1]] != "" }) {
				return fmt.Errorf("the legend shows the label %s, which no result has: %v", label[1], slices.Collect(maps.Keys(result[0].Metric)))
			}
		}
		return nil
	})
}

// Series that exist only once something has gone wrong.
var mayBeMissing = regexp.MustCompile(`"kafka_exporter_kafka_request_errors_total"`)

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

func (s server) checkMenu(t *testing.T, name, definition string) {
	t.Helper()
	m := labelValues.FindStringSubmatch(definition)
	if m == nil {
		t.Errorf("variable %s: %q is no label_values(metric, label)", name, definition)
		return
	}
	expr, err := grafana.Query{Title: name, Expr: m[1]}.Expand(grafana.Everything("5s"))
	if err != nil {
		t.Error(err)
		return
	}
	within(t, patience, "variable "+name, func(ctx context.Context) error {
		result, err := s.query(ctx, expr)
		if err == nil && result[0].Metric[m[2]] == "" && m[2] != "kafka_cluster" { // a lone cluster has no name
			return fmt.Errorf("%s has no label %s", m[1], m[2])
		}
		return err
	})
}

func (s server) checkRules(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Type, Query, Health, LastError string }
		}
	}
	within(t, patience, "rules", func(ctx context.Context) error { return s.get(ctx, "/api/v1/rules", &rules) })
	recorded := 0
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if r.Health == "err" {
				t.Errorf("rule %s: %s", r.Name, r.LastError)
			}
			if r.Type == "recording" {
				recorded++
				s.answers(t, "rule "+r.Name, r.Name, "")
			}
		}
	}
	if recorded == 0 {
		t.Error("no recording rules were loaded")
	}
}

// The P99 by PromQL is the one that was observed, to the promised one per cent: it comes from the native histogram, not from the classic
// buckets beside it, whose nearest bounds are 0.1 and 0.25.
func (s server) checkHistograms(t *testing.T) {
	s.answers(t, "P99.5 of 0.1 s", `abs(histogram_quantile(0.995, sum(rate(loadgen_end_to_end_seconds[10s]))) / 0.1 - 1) < 0.011`, "")
	s.answers(t, "classic buckets", `sum(rate(loadgen_end_to_end_seconds_bucket{le="+Inf"}[10s]))`, "")
}

// What each example of README gives in the contract: loadgen's page counts 100 records per scrape, 99 of them with a latency of 10 ms and one
// with 100 ms, and as many that failed; its SLO is a second, as is the time between two scrapes unless the machine is busy; the group reads what is written; the tuner
// changed something five times a minute ago.
func (s server) checkExamples(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	now := float64(time.Now().Unix())
	gives := map[string]struct {
		results   int // 0: one or more
		low, high float64
		label     string
	}{
		"P99 from intended send to consumption, in seconds, by workload (from native histograms)":     {1, 0.0098, 0.0102, "workload"},
		"Goodput: records per second that the broker acknowledged":                                    {1, 20, 120, "workload"},
		"Share of records that reached the consumer within 200 ms":                                    {1, 1, 1, "workload"},
		"How many times as fast as it may the budget of the latency SLO was used up in the last hour": {1, 49.9, 50.1, "workload"},
		"Age of the oldest record that each group has not read, in seconds":                           {1, 0, 60, "group"},
		"Records consumed for each record written: below 1 a group falls behind":                      {1, 0.5, 1.5, "topic"},
		"Records per second written to the five busiest topics":                                       {0, 0, 1e4, "topic"},
		"How uneven partitions are: the busiest one against the mean":                                 {0, 1, 50, "topic"},
		"Share of the time that the I/O threads are idle":                                             {1, 0, 1.1, "pod"},
		"The stage in which a produce request spends most of its P99":                                 {1, 0, 60, "stage"},
		"Share of the time that the broker spends in garbage collection":                              {1, 0, 1, "pod"},
		"Room that is left on each broker's fullest disk":                                             {1, 0, 1, "broker"},
		"Changes of the last hour, by whom and with which outcome":                                    {5, now - 600, now + 60, "outcome"},
	}
	for _, example := range grafana.Examples(string(text)) {
		want, known := gives[example.Says]
		if !known {
			t.Errorf("nobody checks what the example %q gives", example.Says)
			continue
		}
		delete(gives, example.Says)
		s.answers(t, example.Says, example.Expr, "{{"+want.label+"}}")
		within(t, patience, example.Says, func(ctx context.Context) error {
			result, err := s.query(ctx, example.Expr)
			if err == nil && want.results > 0 && len(result) != want.results {
				err = fmt.Errorf("%d results, want %d: %v", len(result), want.results, result)
			}
			for _, r := range result {
				if v, _ := r.number(); v < want.low || v > want.high {
					err = fmt.Errorf("%v is %v, want %v to %v", r.Metric, v, want.low, want.high)
				}
			}
			return err
		})
	}
	for says := range gives {
		t.Errorf("README has no example %q", says)
	}
}

// An alert on a metric that nobody exposes can never fire. The probe is not switched on here; its list is compared with its registry.
func (s server) checkAlerts(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Type, Query string }
		}
	}
	if err := s.get(t.Context(), "/api/v1/rules?type=alert", &rules); err != nil {
		t.Fatal(err)
	}
	listed := ""
	for _, m := range documented(t, "../exporter/METRICS.md") {
		listed += " " + m.name
	}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			s.namesWhatExists(t, "alert "+r.Name, r.Query, listed)
		}
	}
}

func (s server) checkRunbooks(t *testing.T) {
	pages, err := filepath.Glob("../docs/runbooks/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, error %v", len(pages), err)
	}
	listed := ""
	for _, m := range documented(t, "../exporter/METRICS.md") {
		listed += " " + m.name
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range grafana.Examples(string(text)) {
			s.namesWhatExists(t, filepath.Base(page), example.Expr, listed)
		}
	}
}

var (
	named = regexp.MustCompile(`__name__="([^"]+)"`)
	// States that the contract's group and tuner are not in are values, which a registry does not list.
	value = regexp.MustCompile(`\b(state|phase)=~?"[^"]*"`)
)

// namesWhatExists parses an expression and looks for a series behind each selector, or for the metric in the list.
func (s server) namesWhatExists(t *testing.T, what, expr, listed string) {
	t.Helper()
	within(t, patience, what+"\n"+expr, func(ctx context.Context) error {
		selectors, err := s.selectors(ctx, expr)
		for _, selector := range selectors {
			if m := named.FindStringSubmatch(selector); m != nil && strings.HasPrefix(m[1], "kafka_probe_") && strings.Contains(listed+" ", " "+m[1]+" ") {
				continue
			}
			err = errors.Join(err, s.exists(ctx, value.ReplaceAllString(selector, `${1}!=""`)))
		}
		return err
	})
}
