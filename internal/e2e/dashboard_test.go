//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/grafana"
)

func dashboardQueries(t *testing.T, l *lab) {
	dashboards, err := grafana.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(4 * time.Minute) // of all together: what one lacks, many lack
	soon := func() time.Duration { return min(2*time.Minute, time.Until(deadline)) }
	for file, data := range dashboards {
		queries, err := grafana.Queries(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			t.Run(file+": "+q.Title+" "+q.RefID, func(t *testing.T) {
				expr, err := q.Expand(grafana.Everything("8s"))
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, soon(), expr, func() error {
					err := l.returnsData(expr)
					if q.Annotation && errors.Is(err, errNoData) && strings.Contains(expr, "(ALERTS{") {
						return nil // no alert has to have fired
					}
					return err
				})
			})
		}
	}
	readme, err := os.ReadFile(filepath.Join(l.checkout, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range grafana.Examples(string(readme)) {
		t.Run("README: "+example.Says, func(t *testing.T) {
			eventually(t, soon(), example.Expr, func() error { return l.returnsData(example.Expr) })
		})
	}
	t.Run("every recording rule", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		rules, err := l.prom.Rules(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		recorded := 0
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				switch rule := r.(type) {
				case promv1.RecordingRule:
					recorded++
					if err := l.returnsData(rule.Name); err != nil {
						t.Errorf("%s: %v", rule.Name, err)
					}
				case promv1.AlertingRule:
					if rule.Health != promv1.RuleHealthGood {
						t.Errorf("alert %s: %s", rule.Name, rule.LastError)
					}
				}
			}
		}
		if recorded == 0 {
			t.Error("no recording rule is loaded")
		}
	})
	t.Run("every target is up", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		for _, job := range []string{"kafka", "exporter", "loadgen", "tuner", "prometheus"} {
			eventually(t, 30*time.Second, job+" is up", func() error { // a pod that was replaced has two series for a moment
				v, err := l.value(ctx, fmt.Sprintf(`up{job=%q}`, job))
				if err == nil && v != 1 {
					return fmt.Errorf("up is %v", v)
				}
				return err
			})
		}
	})
}

var errNoData = errors.New("no data")

// returnsData asks over the test's whole time: an annotation marks something that happened once.
func (l *lab) returnsData(expr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	now := time.Now()
	result, _, _, err := l.prom.QueryRange(ctx, expr, promv1.Range{Start: now.Add(-time.Hour), End: now, Step: 2 * time.Second})
	if err != nil {
		return err
	}
	matrix, ok := result.(model.Matrix)
	if !ok || len(matrix) == 0 {
		return errNoData
	}
	return nil
}
