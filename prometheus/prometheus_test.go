// Package prometheus_test holds the server's configuration, rules and their unit tests against Prometheus' own checker, and compose.yml
// against Compose's own loader. There is no Go code of ours in this module: it exists to pin the server and its tools.
package prometheus_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// promtool runs the checker that `make build` has made. Building it here as well would take minutes and prove nothing more.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	const binary = "../.lab/bin/promtool"
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("find promtool: %v (run `make build` first)", err)
	}
	if out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput(); err != nil {
		t.Fatalf("promtool %q: %v\n%s", args, err, out)
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("list %s: %d files, error %v", pattern, len(found), err)
	}
	return found
}

func TestPromtoolAcceptsEachConfiguration(t *testing.T) {
	for _, config := range []string{"prometheus.yml", "prometheus.compose.yml"} {
		t.Run(config, func(t *testing.T) {
			promtool(t, "check", "config", "--lint=all", "--lint-fatal", config)
		})
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool(t, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files(t, "rules/*.yml")...)...)
}

func TestTheRulesDoWhatTheirUnitTestsSay(t *testing.T) {
	promtool(t, append([]string{"test", "rules"}, files(t, "tests/*.yml")...)...)
}

type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Record      string            `yaml:"record"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

type unitTests struct {
	Tests []struct {
		AlertRuleTest []struct {
			Alertname string `yaml:"alertname"`
			ExpAlerts []any  `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

func load(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("parse %s: %v", path, err)
	}
}

// An alert that nobody has seen fire may never fire, and one that nobody has seen keep silent will be muted.
func TestEachAlertIsLabelledAndTestedBothWays(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, path := range files(t, "tests/*.yml") {
		var u unitTests
		load(t, path, &u)
		for _, test := range u.Tests {
			fired := map[string]bool{}
			for _, a := range test.AlertRuleTest {
				fired[a.Alertname] = fired[a.Alertname] || len(a.ExpAlerts) > 0
			}
			for name, f := range fired {
				fires[name], silent[name] = fires[name] || f, silent[name] || !f
			}
		}
	}
	seen := map[string]bool{}
	for _, path := range files(t, "rules/*.yml") {
		var r ruleFile
		load(t, path, &r)
		for _, group := range r.Groups {
			for _, rule := range group.Rules {
				if rule.Alert == "" {
					continue
				}
				if seen[rule.Alert] {
					t.Errorf("alert %s: defined twice", rule.Alert)
				}
				seen[rule.Alert] = true
				if s := rule.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
					t.Errorf("alert %s: severity is %q, want critical, warning or info", rule.Alert, s)
				}
				for _, a := range []string{"summary", "description"} {
					if rule.Annotations[a] == "" {
						t.Errorf("alert %s: no %s", rule.Alert, a)
					}
				}
				if !fires[rule.Alert] || !silent[rule.Alert] {
					t.Errorf("alert %s: a case in which it fires: %t, one in which it stays silent: %t; want both",
						rule.Alert, fires[rule.Alert], silent[rule.Alert])
				}
			}
		}
	}
	if len(seen) == 0 {
		t.Error("no alerts found")
	}
}
