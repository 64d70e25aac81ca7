package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kafkalab/kafkalab/tuner/config"
)

func TestHelmsLinterHasNothingToSay(t *testing.T) {
	kube, err := common.ParseKubeVersion("1.35.4")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range combinations(t) {
		for _, m := range lint.RunAll(chartDir, v, namespace, lint.WithKubeVersion(kube)).Messages {
			if !strings.Contains(m.Error(), "icon is recommended") {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
	if l := lint.RunAll(chartDir, values{"tuner": values{"mode": "yolo"}}, namespace, lint.WithKubeVersion(kube)); l.HighestSeverity != support.ErrorSev {
		t.Error("a mode that is not there: want the linter to find it")
	}
}

func TestBadValues(t *testing.T) {
	text, err := os.ReadFile("testdata/bad_values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name   string   `json:"name"`
		Values values   `json:"values"`
		Want   []string `json:"want"`
	}
	if err := yaml.UnmarshalStrict(text, &cases); err != nil || len(cases) < 30 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			more, err := yaml.Marshal(c.Values)
			if err != nil {
				t.Fatal(err)
			}
			_, err = files(t, over(t, read(t, example("look")), string(more)), release)
			t.Log(err)
			for _, want := range c.Want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("want %q, got %v", want, err)
				}
			}
		})
	}
}

// What the schema lets through must be what the tuner takes, and it must let everything through that the tuner knows.
func TestTheTunerTakesItsFile(t *testing.T) {
	for name, v := range combinations(t) {
		for _, o := range objects(t, render(t, v)) {
			text, found, _ := unstructured.NestedString(o.Object, "data", "tuner.yaml")
			if !found {
				continue
			}
			f, err := config.Parse("tuner.yaml", []byte(text))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if tuner, _ := v["tuner"].(map[string]any); tuner["mode"] == nil && f.Mode != config.Observe {
				t.Errorf("%s: want a tuner that observes unless told otherwise (got %s)", name, f.Mode)
			}
		}
	}
}

func TestTheSchemaKnowsEveryFieldOfTheTunersFile(t *testing.T) {
	text, err := os.ReadFile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Definitions map[string]node `json:"definitions"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	own := []string{"version", "mode", "target"} // written by the chart
	compare(t, "tuner.config", schema.Definitions["config"], reflect.TypeFor[config.File](), own)
}

type node struct {
	Ref        string          `json:"$ref"`
	Properties map[string]node `json:"properties"`
	Items      *node           `json:"items"`
}

func compare(t *testing.T, path string, n node, of reflect.Type, leaveOut []string) {
	t.Helper()
	for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
		if of.Kind() == reflect.Slice && n.Items != nil {
			n = *n.Items
		}
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || n.Ref != "" {
		return
	}
	var want []string
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" || slices.Contains(leaveOut, name) {
			continue
		}
		want = append(want, name)
		compare(t, path+"."+name, n.Properties[name], of.Field(i).Type, nil)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(n.Properties)); !slices.Equal(got, want) {
		t.Errorf("%s: the tuner reads %v, the schema knows %v", path, want, got)
	}
}

// In the modes that look there is no right to change anything but Events; in those that act, to patch one object and to hold one lease.
func TestRightsAreThoseOfTheMode(t *testing.T) {
	for _, kind := range []string{"StatefulSet", "Deployment", "Kafka"} {
		for _, f := range []config.File{{Mode: config.Observe}, {Mode: config.Observe, Revert: true}, {Mode: config.Recommend}, {Mode: config.Recommend, Revert: true}, {Mode: config.Approve}, {Mode: config.Auto}} {
			mode := fmt.Sprintf("%s, config: {revert: %t}", f.Mode, f.Revert)
			v := over(t, read(t, example("look")), "{kafka: {kind: "+kind+"}, tuner: {mode: "+mode+"}}")
			patched, leases := 0, 0
			for _, o := range objects(t, render(t, v)) {
				if o.GetKind() == "ClusterRole" || o.GetKind() == "ClusterRoleBinding" {
					t.Errorf("%s: want no right in the whole cluster", key(o))
				}
				if o.GetKind() != "Role" {
					continue
				}
				var role rbac.Role
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
					t.Fatal(err)
				}
				for _, rule := range role.Rules {
					for _, verb := range rule.Verbs {
						what := strings.Join(rule.Resources, " ")
						switch {
						case slices.Contains([]string{"get", "list", "watch"}, verb) && what != "leases", what == "events" && verb != "delete":
						case verb == "patch" && slices.Equal(rule.ResourceNames, []string{"events"}) && len(rule.Resources) == 1:
							patched++
						case what == "leases" && (verb == "create" || slices.Equal(rule.ResourceNames, []string{"kafkalab-tuner-events"})):
							leases++
						default:
							t.Errorf("%s, %s: want no right to %s %s %v", kind, mode, verb, what, rule.ResourceNames)
						}
						if slices.Contains(rule.Resources, "*") || verb == "*" || slices.Contains(rule.Resources, "secrets") {
							t.Errorf("%s, %s: want neither everything nor Secrets", kind, mode)
						}
					}
				}
			}
			want := 0
			if f.Acts() {
				want = 1
			}
			if patched != want || leases != 3*want {
				t.Errorf("%s, %s: got %d rights to patch and %d on leases", kind, mode, patched, leases)
			}
		}
	}
}

// Notes name what is there, and the next step of each mode.
func TestNotes(t *testing.T) {
	for mode, want := range map[string]string{
		"observe":   "no right to change anything.\n",
		"recommend": "--set tuner.mode=approve",
		"approve":   "/tuner approve N --token-file=/etc/kafkalab-api/token",
		"auto":      "create configmap zz-kafkalab-tuner-switch --from-literal=stop=",
	} {
		all, err := files(t, over(t, read(t, example("look")), "tuner: {mode: "+mode+"}"), release)
		if err != nil {
			t.Fatal(err)
		}
		notes := all["kafkalab/templates/NOTES.txt"]
		for _, w := range []string{want, "mode " + mode + " for StatefulSet streaming/events", "events.streaming.svc:9092 at http://zz-kafkalab-exporter.kafkalab.svc:9308/metrics"} {
			if !strings.Contains(notes, w) {
				t.Errorf("%s: want %q, got\n%s", mode, w, notes)
			}
		}
	}
	all, err := files(t, read(t, example("load")), release)
	if notes := all["kafkalab/templates/NOTES.txt"]; err != nil || !strings.Contains(notes, "4 copies of loadgen write to the topic kafkalab-load") || strings.Contains(notes, "tuner") {
		t.Errorf("the load alone: got %v\n%s", err, notes)
	}
}

// A release that is called after the chart does not say it twice, and a long name leaves room for what is hung on it.
func TestNames(t *testing.T) {
	long := strings.Repeat("long", 20)
	for as, want := range map[string]string{"kafkalab": "kafkalab-exporter", "my-kafkalab": "my-kafkalab-exporter", "prod": "prod-kafkalab-exporter", long: long[:40] + "-exporter"} {
		find(t, objects(t, render(t, read(t, example("look")), as)), "Deployment/kafkalab/"+want)
	}
}

func TestGrafanaIsAmongThePlacesOfATunerThatWritesToIt(t *testing.T) {
	for name, want := range map[string]bool{"annotations": true, "look": false} {
		policy := find(t, objects(t, render(t, combinations(t)[name])), "NetworkPolicy/kafkalab/"+prefix+"tuner")
		text, err := json.Marshal(policy.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), `"port":3000`); got != want {
			t.Errorf("%s: want the port of Grafana among those it may go to: %v (got %s)", name, want, text)
		}
	}
}

func TestPrometheusOfAnotherNameMayScrape(t *testing.T) {
	v := over(t, read(t, example("look")), "networkPolicy: {prometheus: {app: prom}}")
	policy := find(t, objects(t, render(t, v)), "NetworkPolicy/kafkalab/"+prefix+"tuner")
	text, err := json.Marshal(policy.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), `"app.kubernetes.io/name":"prometheus"`) || strings.Count(string(text), `"app":"prom"`) != 2 {
		t.Errorf("want the labels that were given and no others, got %s", text)
	}
}
