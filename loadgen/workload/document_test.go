package workload_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// row is what WORKLOADS.md says of a field.
type row struct{ field, kind, standard, allowed, meaning string }

func document(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("../WORKLOADS.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, row{strings.Trim(cells[1], "`"), cells[2], cells[3], cells[4], cells[5]})
	}
	return rows
}

// walk calls visit for every field that can be in a file.
func walk(prefix string, v reflect.Value, visit func(field string, v reflect.Value)) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			if name != "" && name != "-" {
				walk(strings.TrimPrefix(prefix+"."+name, "."), v.Field(i), visit)
			}
		}
	case v.Kind() == reflect.Slice:
		visit(prefix, v)
		if v.Type().Elem().Kind() != reflect.Struct {
			return
		}
		walk(prefix+"[]", reflect.New(v.Type().Elem()).Elem(), visit)
	default:
		visit(prefix, v)
	}
}

func TestTheDocumentTellsOfEveryFieldItsTypeAndItsDefault(t *testing.T) {
	w, err := workload.Parse([]byte("name: w\n"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]row{}
	for _, r := range document(t) {
		if _, twice := told[r.field]; twice {
			t.Errorf("%s is there twice", r.field)
		}
		told[r.field] = r
		if r.allowed == "" || r.meaning == "" {
			t.Errorf("%s: nothing is said of what is allowed or of what it means", r.field)
		}
	}
	walk("", reflect.ValueOf(w), func(field string, v reflect.Value) {
		r, there := told[field]
		delete(told, field)
		if !there {
			t.Errorf("%s is not in the document", field)
			return
		}
		if want := kindOf(v); r.kind != want {
			t.Errorf("%s: the document says %s, it is %s", field, r.kind, want)
		}
		switch {
		case r.standard == "—" && !v.IsZero():
			t.Errorf("%s: the document knows no default, it is %v", field, v)
		case r.standard != "—" && r.standard != "required" && r.standard != fmt.Sprintf("`%v`", v):
			t.Errorf("%s: the document says %s, the default is %v", field, r.standard, v)
		}
	})
	for field := range told {
		t.Errorf("the document tells of %s, which there is not", field)
	}
}

func kindOf(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return "duration"
	case v.CanInt(), v.CanUint():
		return "whole number"
	case v.CanFloat():
		return "number"
	case v.Kind() == reflect.Bool:
		return "switch"
	case v.Kind() == reflect.Slice:
		return "list"
	case v.Kind() == reflect.Map:
		return "names and values"
	default:
		return "text"
	}
}

// contexts are workloads in which fields have a meaning that have none by default.
var contexts = map[string]string{
	"schedule.rate":                 "schedule: {shape: constant}",
	"schedule.to":                   "schedule: {shape: ramp, rate: 1, over: 1s}",
	"schedule.over":                 "schedule: {shape: ramp, rate: 1, to: 2}",
	"schedule.stages":               "schedule: {shape: steps}",
	"schedule.amplitude":            "schedule: {shape: sine, rate: 1, period: 1s}",
	"schedule.period":               "schedule: {shape: sine, rate: 1, amplitude: 1}",
	"schedule.size":                 "schedule: {shape: burst, period: 1s}",
	"schedule.in_flight":            "schedule: {shape: closed}",
	"keys.count":                    "keys: {distribution: uniform}",
	"keys.exponent":                 "keys: {distribution: zipf, count: 1000}",
	"keys.hot":                      "keys: {distribution: hot, count: 1000, hot_share: 0.5}",
	"keys.hot_share":                "keys: {distribution: hot, count: 1000, hot: 5}",
	"keys.bytes":                    "keys: {distribution: uniform, count: 1000}",
	"security.sasl.oauth.token_url": "security: {sasl: {mechanism: OAUTHBEARER, oauth: {client_id: a, client_secret_env: A}}}",
	"payload.min":                   "payload: {distribution: uniform, max: 100}",
	"payload.max":                   "payload: {distribution: uniform, min: 100}",
	"payload.sigma":                 "payload: {distribution: lognormal, bytes: 100, min: 60, max: 200}",
	"payload.file":                  "payload: {distribution: file}",
}

// The column of what is allowed is what the program says when it refuses something else.
func TestTheDocumentAllowsWhatTheProgramAllows(t *testing.T) {
	free := regexp.MustCompile(`^(any|a file)$`)
	probes := map[string]any{"text": "-nonsense-", "duration": "-7s", "whole number": -7, "number": -7.0, "switch": "maybe", "list": []any{}}
	checked := 0
	for _, r := range document(t) {
		if free.MatchString(r.allowed) {
			continue
		}
		top, item, stage := strings.Cut(r.field, "[].")
		probe := probes[r.kind]
		if r.field == "consumer.group" {
			probe = ""
		}
		if stage {
			probe = []any{map[string]any{"rate": 5, item: probe}}
		}
		file := map[string]any{}
		if err := yaml.Unmarshal([]byte("name: w\n"+contexts[top]), &file); err != nil {
			t.Fatal(err)
		}
		put(file, strings.Split(top, "."), probe)
		text, err := yaml.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = workload.Parse(text)
		if err == nil {
			t.Errorf("%s: %s was taken", r.field, text)
			continue
		}
		field := strings.ReplaceAll(r.field, "[]", "[0]")
		lines := slices.DeleteFunc(strings.Split(err.Error(), "\n"), func(line string) bool {
			return !strings.Contains(line, ": "+field+": ")
		})
		if len(lines) != 1 || !strings.Contains(lines[0], r.allowed) {
			t.Errorf("%s: the document allows %q, the program says %q", r.field, r.allowed, err)
		}
		checked++
	}
	if checked < 45 {
		t.Errorf("only %d fields were checked", checked)
	}
}

// put sets a value in a file, by the field's full name.
func put(file map[string]any, path []string, value any) {
	if len(path) == 1 {
		file[path[0]] = value
		return
	}
	part, there := file[path[0]].(map[string]any)
	if !there {
		part = map[string]any{}
		file[path[0]] = part
	}
	put(part, path[1:], value)
}

func TestTheDocumentTellsOfEveryPresetAndItsExampleIsSound(t *testing.T) {
	text, err := os.ReadFile("../WORKLOADS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range workload.Names() {
		if !strings.Contains(string(text), "\n| `"+name+"` | ") {
			t.Errorf("%s is not in the document", name)
		}
	}
	_, example, _ := strings.Cut(string(text), "    # web.yaml\n")
	example, _, _ = strings.Cut(example, "\n\n")
	var lines []string
	for _, line := range strings.Split(example, "\n") {
		lines = append(lines, strings.TrimPrefix(line, "    "))
	}
	w, err := workload.Parse([]byte(strings.Join(lines, "\n")))
	if err != nil || w.Name != "web" {
		t.Fatalf("got %q, %v", w.Name, err)
	}
	if got := w.Warnings(1); len(got) > 0 {
		t.Errorf("the example spoils its own measurement: %q", got)
	}
}
