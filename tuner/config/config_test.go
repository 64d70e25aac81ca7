package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/space"
)

const whole = `version: 1
mode: auto
target:
  namespace: kafka
  name: kafka
  container: kafka
  bootstrap: ["kafka:9092"]
  jvm_metrics: ["http://kafka:9404/metrics"]
prometheus:
  url: http://prometheus:9090
knobs:
  - name: heap
    env: KAFKA_HEAP_OPTS
    format: -Xms{v}m -Xmx{v}m
    unit: MiB
    min: 256
    max: 3072
    steps: [256, 512]
    readback: jvm-heap
objective:
  slo: 200ms
guards:
  - name: lost
    query: sum(lost)
    max: 0
    breach: worse
windows:
  window: 12s
  count: 4
`

// TestBadFiles: one mistake each; the error names the place, the field, what is wanted and what was got.
func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown field":              {"mode: auto", "mood: auto", `f.yaml:2:1: mood: unknown field, probably mode; must be one of again, budgets, grafana, guards`},
		"unknown field deep inside":  {"    readback: jvm-heap", "    read_back: jvm-heap", `f.yaml:19:5: knobs[0].read_back: unknown field, probably readback; must be one of choices, default, env, format`},
		"a field twice":              {"mode: auto", "mode: auto\nmode: observe", `f.yaml:3:1: mode: must be there once only: line 2 has it too (got "observe")`},
		"another version":            {"version: 1", "version: 2", "f.yaml:1:10: version: want 1 (got 2)"},
		"no version":                 {"version: 1\n", "", "version: want 1 (got 0)"},
		"a mode that is not there":   {"mode: auto", "mode: yolo", `f.yaml:2:7: mode: want observe, recommend, approve or auto (got "yolo")`},
		"text for a number":          {"min: 256", "min: many", `f.yaml:16:10: knobs[0].min: must be a number, without quotes (got "many")`},
		"quoted number":              {"min: 256", `min: "256"`, `knobs[0].min: must be a number, without quotes (got "256")`},
		"fraction for an integer":    {"min: 256", "min: 256.5", `knobs[0].min: want a whole number (got 256.5)`},
		"nothing for a value":        {"name: heap", "name:", "knobs[0].name: must have a value (got nothing)"},
		"a list for a value":         {"name: heap", "name: [heap]", "knobs[0].name: must be text (got a list)"},
		"a value for a list":         {`bootstrap: ["kafka:9092"]`, "bootstrap: kafka:9092", `target.bootstrap: must be a list (got "kafka:9092")`},
		"a value for a mapping":      {"objective:\n  slo: 200ms", "objective: 200ms", `objective: must be fields with values, of alpha, goodput, margin, p99, slo, tolerance (got "200ms")`},
		"a duration without unit":    {"slo: 200ms", "slo: 200", `objective.slo: must be a duration with its unit, as 250ms, 10s or 5m (got 200)`},
		"an SLO of zero":             {"slo: 200ms", "slo: 0s", "f.yaml:21:8: objective.slo: want 1ms..1h0m0s (got 0s)"},
		"no SLO":                     {"objective:\n  slo: 200ms\n", "", "objective.slo: want 1ms..1h0m0s (got 0s)"},
		"a broker without port":      {`["kafka:9092"]`, `["kafka"]`, `target.bootstrap[0]: want host:port (got "kafka")`},
		"no broker":                  {`["kafka:9092"]`, "[]", "target.bootstrap: want at least one host:port (got none)"},
		"no namespace":               {"  namespace: kafka\n", "", `target.namespace: a name is needed (got "")`},
		"another kind of workload":   {"target:\n", "target:\n  kind: DaemonSet\n", `target.kind: want StatefulSet, Deployment or Kafka (got "DaemonSet")`},
		"no container":               {"  container: kafka\n", "", `target.container: a name is needed (got "")`},
		"a dynamic heap":             {"    readback: jvm-heap", "    readback: jvm-heap\n    restart: dynamic", "knobs[0].restart: want rolling: only what is read back as broker-config:<setting> and written as {v} is changed at a running broker (got dynamic)"},
		"a mechanism not known":      {"  name: kafka\n", "  name: kafka\n  sasl: {mechanism: SCRAM, username: me, password_file: p}\n", `target.sasl.mechanism: must be one of PLAIN, SCRAM-SHA-256`},
		"a password nowhere":         {"  name: kafka\n", "  name: kafka\n  sasl: {mechanism: PLAIN, username: me}\n", "target.sasl.password_file: must be set"},
		"a CA without TLS":           {"  name: kafka\n", "  name: kafka\n  tls: {ca_file: ca.pem}\n", `target.tls.ca_file: needs tls.enabled (got "ca.pem")`},
		"a Prometheus without http":  {"http://prometheus:9090", "prometheus:9090", `prometheus.url: want http://host:port/… or https://… (got "prometheus:9090")`},
		"no knobs":                   {between("knobs:", "objective:"), "objective:", "knobs: want at least one (got none)"},
		"a format without its place": {"-Xms{v}m -Xmx{v}m", "-Xmx1g", `knobs[0].format: want a text with {v} in it (got "-Xmx1g")`},
		"a unit that is not known":   {"unit: MiB", "unit: MB", `knobs[0].unit: want MiB, threads or count (got "MB")`},
		"a variable's bad name":      {"env: KAFKA_HEAP_OPTS", "env: KAFKA-HEAP", `knobs[0].env: want the name of an environment variable (got "KAFKA-HEAP")`},
		"max below min":              {"max: 3072", "max: 100", "knobs[0].max: want at least min, which is 256 (got 100)"},
		"one step":                   {"[256, 512]", "[256]", "knobs[0].steps: want at least two values (got [256])"},
		"steps that fall":            {"[256, 512]", "[512, 256]", "knobs[0].steps[1]: want more than the step before, 512 (got 256)"},
		"a step outside the range":   {"[256, 512]", "[128, 512]", "f.yaml:18:13: knobs[0].steps[0]: want 256..3072 (got 128)"},
		"a source that is not known": {"readback: jvm-heap", "readback: guess", `knobs[0].readback: want jvm-heap or broker-config:<setting> (got "guess")`},
		"heap without a JVM to ask":  {"  jvm_metrics: [\"http://kafka:9404/metrics\"]\n", "", "target.jvm_metrics: want an address"},
		"a guard without bounds":     {"    max: 0\n", "", "f.yaml:23:5: guards[0]: want min, max or both (got neither)"},
		"a guard's unknown breach":   {"breach: worse", "breach: panic", `guards[0].breach: want inconclusive or worse (got "panic")`},
		"a guard's bounds crossed":   {"    max: 0", "    max: 0\n    min: 1", "guards[0].min: want at most max, which is 0 (got 1)"},
		"an empty guard":             {"query: sum(lost)", `query: " "`, `guards[0].query: want PromQL (got "")`},
		"a query without a window":   {"  slo: 200ms", "  slo: 200ms\n  goodput: sum(rate(x[1m]))", "objective.goodput: want [$window] in it"},
		"a window of two scrapes":    {"window: 12s", "window: 4s", "windows.window: want 8s..1h0m0s (got 4s)"},
		"three windows prove nothing": {"count: 4", "count: 3",
			"windows.count: want at least 4, since with fewer no difference reaches the level 0.05 (got 3)"},
		"a warm-up limit below it":   {"  count: 4", "  count: 4\n  warmup: 30s\n  warmup_limit: 10s", "windows.warmup_limit: want 30s..1h0m0s (got 10s)"},
		"a level of one":             {"  slo: 200ms", "  slo: 200ms\n  alpha: 1", "objective.alpha: want 0.001..0.5 (got 1)"},
		"a margin that is NaN":       {"  slo: 200ms", "  slo: 200ms\n  margin: NaN", `objective.margin: must be a number (got "NaN")`},
		"an alias":                   {"mode: auto", "mode: &m auto\nlinks: {grafana: *m}", "links.grafana: must be written out: anchors and aliases are not taken"},
		"two documents":              {"count: 4\n", "count: 4\n---\nversion: 1\n", "f.yaml: the file holds more than one YAML document"},
		"not YAML":                   {"mode: auto", "mode: [auto", "f.yaml: not YAML: line"},
		"a guard's endless patience": {"breach: worse", "breach: worse\n    for: 2h", "guards[0].for: want 0s..1h0m0s (got 2h0m0s)"},
		"a guard's negative grace":   {"breach: worse", "breach: worse\n    grace: -1s", "guards[0].grace: want 0s..1h0m0s (got -1s)"},
		"no time for violations":     {"windows:\n", "budgets: {violation: 0s}\nwindows:\n", "budgets.violation: want 1s..24h0m0s (got 0s)"},
		"a search that is not known": {"windows:\n", "search: {algorithm: luck}\nwindows:\n", `search.algorithm: want step or gp (got "luck")`},
		"a recheck of days":          {"windows:\n", "budgets: {recheck: 48h}\nwindows:\n", "budgets.recheck: want 0s..24h0m0s (got 48h0m0s)"},
		"a negative limit of steps":  {"windows:\n", "budgets: {steps: -1}\nwindows:\n", "budgets.steps: want at least 0 (got -1)"},
		"a rest above the longest":   {"windows:\n", "again: {rest: 2h, max_rest: 1h}\nwindows:\n", "again.max_rest: want 2h0m0s..720h0m0s (got 1h0m0s)"},
		"a shift that is noise":      {"windows:\n", "again: {shift: 0.01}\nwindows:\n", "again.shift: want 0.05..10 (got 0.01)"},
		"no budget":                  {"windows:\n", "budgets: {trials: 0}\nwindows:\n", "budgets.trials: want at least 1 (got 0)"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(whole, c.old, c.new, 1)
			if text == whole {
				t.Fatal("the mistake was not put in")
			}
			_, err := config.Parse("f.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %s\ngot  %v", c.want, err)
			}
		})
	}
}

func between(from, to string) string {
	start := strings.Index(whole, from)
	end := strings.Index(whole, to)
	return whole[start : end+len(to)]
}

func TestEveryErrorAtOnce(t *testing.T) {
	text := strings.NewReplacer("mode: auto", "mode: yolo", "min: 256", "min: x", "slo: 200ms", "slo: 0s", "breach: worse", "breech: worse").Replace(whole)
	_, err := config.Parse("f.yaml", []byte(text))
	if err == nil {
		t.Fatal("a bad file was taken")
	}
	for _, want := range []string{"mode:", "knobs[0].min:", "objective.slo:", "guards[0].breech:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q among the errors (got %v)", want, err)
		}
	}
	form := regexp.MustCompile(`^f\.yaml(:\d+:\d+)?: [a-z0-9_.\[\]]+: .+`)
	for _, line := range strings.Split(err.Error(), "\n") {
		if !form.MatchString(line) {
			t.Errorf("want file:line:column: field: problem (got %q)", line)
		}
	}
}

func TestGoodFile(t *testing.T) {
	f, err := config.Parse("f.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	k := f.Space()[0]
	if k.Scale != 1<<20 || k.Source != space.JVMHeap || f.Mode != config.Auto || f.Objective.Margin != config.Default().Objective.Margin || len(f.Digest) != 64 {
		t.Errorf("want the file's values and the defaults (got %+v)", f)
	}
}

// TestStrimzi: a Kafka resource has no container, and only knobs that are fields of it.
func TestStrimzi(t *testing.T) {
	strimzi := strings.Replace(whole, "  container: kafka\n", "  kind: Kafka\n", 1)
	f, err := config.Parse("f.yaml", []byte(strimzi))
	if err != nil || f.Target.Kind != config.Strimzi {
		t.Fatalf("want it taken (got %v)", err)
	}
	threads := "\n  - {name: io, env: KAFKA_NUM_IO_THREADS, format: \"{v}\", min: 1, max: 8, restart: dynamic, readback: \"broker-config:num.io.threads\"}\nobjective:"
	strimzi = strings.Replace(strimzi, "\nobjective:", threads, 1)
	if _, err := config.Parse("f.yaml", []byte(strimzi)); err != nil {
		t.Fatalf("want a setting taken (got %v)", err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"another variable":       {"KAFKA_NUM_IO_THREADS", "IO", `knobs[1].env: want KAFKA_HEAP_OPTS or KAFKA_ and a setting's name, as KAFKA_NUM_IO_THREADS, with kind Kafka (got "IO")`},
		"another setting":        {"num.io.threads", "num.network.threads", `knobs[1].readback: want broker-config:num.io.threads for KAFKA_NUM_IO_THREADS with kind Kafka (got "broker-config:num.network.threads")`},
		"a heap of its own form": {"-Xms{v}m -Xmx{v}m", "-Xmx{v}m", `knobs[0].format: want "-Xms{v}m -Xmx{v}m" for KAFKA_HEAP_OPTS with kind Kafka (got "-Xmx{v}m")`},
		"a container":            {"  kind: Kafka\n", "  kind: Kafka\n  container: kafka\n", `target.container: want none with kind Kafka, whose pods are the operator's (got "kafka")`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(strimzi, c.old, c.new, 1)
			if _, err := config.Parse("f.yaml", []byte(text)); text == strimzi || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %s\ngot  %v", c.want, err)
			}
		})
	}
}

// TestShippedFiles: the demo's file, and the one in the manifests, are good and agree about ranges.
func TestShippedFiles(t *testing.T) {
	lab, err := config.Load(filepath.Join("..", "..", "lab.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := config.Load(filepath.Join("..", "..", "k8s-sandbox", "manifests", "base", "tuner", "tuner.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	ranges := func(f config.File) string {
		out := map[string]string{}
		for _, k := range f.Knobs {
			out[k.Env] = fmt.Sprint(k.Min, k.Max, k.MemoryFraction, k.Format, k.ReadBack)
		}
		return fmt.Sprint(out)
	}
	if ranges(lab) != ranges(base) {
		t.Errorf("want the same ranges:\n%s\n%s", ranges(lab), ranges(base))
	}
	if lab.Mode != config.Auto || base.Mode != config.Observe {
		t.Errorf("want the demo to act and the base to observe (got %s and %s)", lab.Mode, base.Mode)
	}
}

// Files that are named without a folder are beside the tuner's own.
func TestTargets(t *testing.T) {
	text := strings.Replace(whole, "  container: kafka\n", "  kind: Kafka\n  tls: {enabled: true, ca_file: ca.pem}\n"+
		"  sasl: {mechanism: PLAIN, username: me, password_file: /secrets/password}\n", 1)
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Target.TLS.CAFile != filepath.Join(filepath.Dir(path), "ca.pem") || f.Target.SASL.PasswordFile != "/secrets/password" {
		t.Errorf("got %+v", f.Target)
	}
}

func TestNoFile(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml")); !os.IsNotExist(err) && (err == nil || !strings.Contains(err.Error(), "none.yaml")) {
		t.Errorf("want the file named (got %v)", err)
	}
	for _, text := range []string{"", "# nothing\n", "[]", "null", "a: b: c"} {
		if _, err := config.Parse("f.yaml", []byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("knobs: [{steps: [1, a]}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := config.Parse("f.yaml", []byte(text))
		if err != nil && !strings.HasPrefix(err.Error(), "f.yaml") {
			t.Errorf("want the file named (got %v)", err)
		}
	})
}

func TestQuestion(t *testing.T) {
	question := func(change func(*config.File)) string {
		f := config.Default()
		f.Guards = []config.Guard{{Name: "lost", Max: new(float64)}}
		change(&f)
		return f.Question()
	}
	first := question(func(*config.File) {})
	for name, c := range map[string]struct {
		change func(*config.File)
		same   bool
	}{
		"the mode":      {func(f *config.File) { f.Mode = config.Observe }, true},
		"the budgets":   {func(f *config.File) { f.Budgets.Trials++ }, true},
		"the objective": {func(f *config.File) { f.Objective.SLO++ }, false},
		"a window":      {func(f *config.File) { f.Windows.Count++ }, false},
		"a guard":       {func(f *config.File) { *f.Guards[0].Max = 1 }, false},
		"a step":        {func(f *config.File) { f.Knobs = append(f.Knobs, config.Knob{Steps: []strict.Number{"1"}}) }, false},
	} {
		if (question(c.change) == first) != c.same {
			t.Errorf("%s: want the same question: %v", name, c.same)
		}
	}
}
