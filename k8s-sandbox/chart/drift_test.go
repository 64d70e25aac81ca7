package chart_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kafkalab/kafkalab/tuner/config"
)

// The manifests and the chart say the same twice, because neither can read the other. Here they are held together: every object, field by field. What may
// differ is what the two functions below take away, and nothing else.
func TestTheChartMakesWhatKustomizeMakes(t *testing.T) {
	base := read(t, "testdata/base.yaml")
	for name, c := range map[string]struct {
		values    values
		kustomize string
	}{
		"look": {base, "../manifests/overlays/look"},
		"act":  {over(t, base, "tuner: {mode: approve}"), "../manifests/overlays/act"},
		"with monitors": {
			over(t, base, "{monitor: {kind: ServiceMonitor}}"), overlay(t, "overlays/look", "service-monitor"),
		},
		"without policies and budgets, the load": {
			over(t, base, "{exporter: {enabled: false}, tuner: {enabled: false}, loadgen: {enabled: true}, monitor: {kind: PodMonitor}}"),
			overlay(t, "components/loadgen-job", "pod-monitor"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			chart, built := map[string]any{}, map[string]any{}
			for _, o := range objects(t, strings.ReplaceAll(render(t, c.values), prefix, "")) {
				ofChart(&o)
				chart[key(o)] = o.Object
			}
			// The hash of its content, after which a generated ConfigMap is called; the chart has an annotation for the same purpose.
			for _, o := range objects(t, regexp.MustCompile(`tuner-config-[a-z0-9]{10}\b`).ReplaceAllString(kustomize(t, c.kustomize), "tuner-config")) {
				if o.GetKind() == "Namespace" { // helm install --create-namespace
					continue
				}
				if claim := ofKustomize(t, &o); claim != nil {
					built["PersistentVolumeClaim/kafkalab/tuner-ledger"] = claim
				}
				built[key(o)] = o.Object
			}
			file(t, chart, name == "act")
			file(t, built, false)
			if len(built) < 2 {
				t.Fatalf("got %d objects", len(built))
			}
			if diff := cmp.Diff(built, chart); diff != "" {
				t.Errorf("manifests - chart +\n%s", diff)
			}
		})
	}
}

// ofChart takes away what helm's users expect and kustomize's do not.
func ofChart(o *unstructured.Unstructured) {
	walk(o.Object, func(m map[string]any) {
		for _, label := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"} {
			delete(m, label)
		}
		if from, ok := m["from"].([]any); ok { // the pod of "helm test"
			m["from"] = slices.DeleteFunc(from, func(peer any) bool {
				name, _, _ := unstructured.NestedString(peer.(map[string]any), "podSelector", "matchLabels", "app.kubernetes.io/name")
				return name == "kafkalab-test"
			})
		}
	})
	unstructured.RemoveNestedField(o.Object, "spec", "template", "metadata", "annotations")
	if o.GetKind() == "PersistentVolumeClaim" { // that it outlives the release
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations")
	}
	if slices.Contains([]string{"Role", "RoleBinding", "ServiceAccount", "ConfigMap"}, o.GetKind()) {
		unstructured.RemoveNestedField(o.Object, "metadata", "labels", "app.kubernetes.io/name")
	}
	same(o)
}

// ofKustomize takes away what is of the lab: the tuner is told there what its Kafka may use. Elsewhere it reads the workload's own limit. And the claim that
// its StatefulSet makes is one by itself in the chart, because Helm could not upgrade it otherwise: that claim is returned.
func ofKustomize(t *testing.T, o *unstructured.Unstructured) (claim map[string]any) {
	t.Helper()
	if key(*o) == "StatefulSet/kafkalab/tuner" {
		spec := o.Object["spec"].(map[string]any)
		claim = spec["volumeClaimTemplates"].([]any)[0].(map[string]any)
		delete(spec, "volumeClaimTemplates")
		delete(spec, "persistentVolumeClaimRetentionPolicy")
		meta := claim["metadata"].(map[string]any)
		volume := map[string]any{"name": meta["name"], "persistentVolumeClaim": map[string]any{"claimName": "tuner-ledger"}}
		meta["name"], meta["namespace"] = "tuner-ledger", o.GetNamespace()
		meta["labels"].(map[string]any)["app.kubernetes.io/name"] = "tuner"
		claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
		volumes, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "volumes")
		if err := unstructured.SetNestedSlice(o.Object, append(volumes, volume), "spec", "template", "spec", "volumes"); err != nil {
			t.Fatal(err)
		}
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		env := containers[0].(map[string]any)["env"].([]any)
		for _, e := range env {
			if !strings.HasPrefix(e.(map[string]any)["name"].(string), "SANDBOX_") {
				t.Errorf("the tuner's variable %v: want the chart to have it too", e)
			}
		}
		delete(containers[0].(map[string]any), "env")
		if err := unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers"); err != nil {
			t.Fatal(err)
		}
	}
	same(o)
	return claim
}

// same makes alike what two ways of writing mean the same by.
func same(o *unstructured.Unstructured) {
	walk(o.Object, func(m map[string]any) {
		for name, v := range m {
			if list, ok := v.([]any); ok && len(list) == 0 {
				delete(m, name)
			}
			if inner, ok := v.(map[string]any); ok && len(inner) == 0 && name != "emptyDir" {
				delete(m, name)
			}
		}
	})
}

// file replaces the text of the tuner's file by what the tuner reads in it.
func file(t *testing.T, all map[string]any, observes bool) {
	t.Helper()
	o, ok := all["ConfigMap/kafkalab/tuner-config"].(map[string]any)
	if !ok {
		return
	}
	data := o["data"].(map[string]any)
	f, err := config.Parse("tuner.yaml", []byte(data["tuner.yaml"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	f.Digest = ""
	if observes { // the overlay gives the right; that the file says so is its user's
		f.Mode = config.Observe
	}
	data["tuner.yaml"] = f
}

func walk(v any, each func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			walk(inner, each)
		}
		each(v)
	case []any:
		for _, inner := range v {
			walk(inner, each)
		}
	}
}
