// Package prometheus_test holds the server's configuration, rules and their unit tests against Prometheus' own checker, and compose.yml
// against Compose's own loader. There is no Go code of ours in this module: it exists to pin the server and its tools.
package prometheus_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
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

// alerts gives every alert that is shipped, by name.
func alerts(t *testing.T) map[string]rule {
	t.Helper()
	found := map[string]rule{}
	for _, path := range files(t, "rules/*.yml") {
		var r ruleFile
		load(t, path, &r)
		for _, group := range r.Groups {
			for _, rule := range group.Rules {
				if rule.Alert == "" {
					continue
				}
				if _, twice := found[rule.Alert]; twice {
					t.Errorf("alert %s: defined twice", rule.Alert)
				}
				found[rule.Alert] = rule
			}
		}
	}
	if len(found) < 15 {
		t.Fatalf("only %d alerts", len(found))
	}
	return found
}

// A summary is the same each time, so that what fires together can be grouped by it; the description says which and how much.
func TestEachAlertSaysWhatIsWrongAndHowBad(t *testing.T) {
	for name, rule := range alerts(t) {
		if !strings.HasPrefix(name, "Kafka") {
			t.Errorf("alert %s: want a name that begins with Kafka", name)
		}
		if s := rule.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
			t.Errorf("alert %s: severity is %q, want critical, warning or info", name, s)
		}
		if s := rule.Annotations["summary"]; s == "" || strings.Contains(s, "{{") {
			t.Errorf("alert %s: summary is %q, want one without a template", name, s)
		}
		if d := rule.Annotations["description"]; !strings.Contains(d, "{{") && !slices.Contains(aboutOneThing, name) {
			t.Errorf("alert %s: description is %q, want one with a template", name, d)
		}
	}
}

// Alerts about something of which there is one have nothing to fill in.
var aboutOneThing = []string{"KafkaLoadgenStopped"}

// An alert that nobody has seen fire may never fire, and one that nobody has seen keep silent will be muted.
func TestEachAlertIsTestedBothWays(t *testing.T) {
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
	for name := range alerts(t) {
		if !fires[name] || !silent[name] {
			t.Errorf("alert %s: a case in which it fires: %t, one in which it stays silent: %t; want both", name, fires[name], silent[name])
		}
	}
}

// A page for each alert, and an alert for each page; a page says what the alert means, how to check and what to do.
func TestEachAlertHasItsRunbook(t *testing.T) {
	const repository, dir = "https://github.com/kafkalab/kafkalab/blob/main/", "docs/runbooks/"
	found := alerts(t)
	for name, rule := range found {
		if got, want := rule.Annotations["runbook_url"], repository+dir+name+".md"; got != want {
			t.Errorf("alert %s: runbook_url is %q, want %q", name, got, want)
		}
		text, err := os.ReadFile("../" + dir + name + ".md")
		if err != nil {
			t.Errorf("alert %s: %v", name, err)
			continue
		}
		rest, titled := strings.CutPrefix(string(text), "# "+name+"\n\n")
		if !titled {
			t.Errorf("%s.md: does not begin with its name", name)
		}
		for _, part := range []string{"## What it means\n\n", "## How to check\n\n", "```promql\n", "## What to do\n\n"} {
			_, after, there := strings.Cut(rest, part)
			if !there || strings.HasPrefix(after, "#") || strings.TrimSpace(after) == "" {
				t.Errorf("%s.md: no %q with something below it, or not in its place", name, strings.TrimSpace(part))
				break
			}
			rest = after
		}
	}
	for _, page := range files(t, "../"+dir+"*") {
		name, _ := strings.CutSuffix(filepath.Base(page), ".md")
		if _, there := found[name]; !there {
			t.Errorf("%s is the page of no alert", page)
		}
	}
}

// The latency SLO is watched by burn rates over a long window, which says that it matters, and a short one, which says that it goes on.
func TestBurnRatesAreOfTwoWindows(t *testing.T) {
	window := regexp.MustCompile(`burn_rate(\w+) > [\d.]+ and workload:loadgen_slo:burn_rate(\w+) >`)
	pairs := 0
	for _, rule := range alerts(t) {
		pairs += len(window.FindAllString(rule.Expr, -1))
	}
	if pairs < 3 {
		t.Errorf("%d pairs of windows, want at least 3", pairs)
	}
}
