package chart_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kafkalab/kafkalab/internal/kubetest"
)

// The namespace holds its pods to the strictest of the Pod Security Standards, and the server refuses fields that it does not know.
const namespaces = `
{apiVersion: v1, kind: Namespace, metadata: {name: kafkalab, labels: {pod-security.kubernetes.io/enforce: restricted}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kafka}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: streaming}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: "123"}}
`

func TestAnAPIServerTakesEveryCombination(t *testing.T) {
	t.Parallel()
	kube := kubetest.Start(t)
	crds, err := os.ReadFile("testdata/crds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kube.KubectlIn(t, string(crds)+"---"+namespaces, "apply", "-f", "-")
	kube.Served(t, "monitoring.coreos.com/v1", "ServiceMonitor", "PodMonitor")

	streams := map[string]string{}
	for name, v := range combinations(t) {
		all, err := files(t, v, release)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		streams["chart: "+name] = render(t, v) + "---\n" + all["kafkalab/templates/tests/check.yaml"]
	}
	for _, o := range []string{"look", "act", "strimzi", "watch", "existing"} {
		streams["overlay: "+o] = kustomize(t, "../manifests/overlays/"+o)
	}
	streams["overlay: with monitors"] = kustomize(t, overlay(t, "overlays/look", "service-monitor", "pod-monitor"))
	streams["the load"] = kustomize(t, "../manifests/components/loadgen-job")
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		all := objects(t, streams[name])
		want := len(all)
		for _, o := range all {
			if pod, ok := podOf(o); ok {
				all = append(all, pod)
			}
		}
		out := kube.KubectlIn(t, stream(t, all), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
		if got := strings.Count(out, "(server dry run)"); got != len(all) || want < 2 && name != "the load" {
			t.Errorf("%s: want %d objects taken, got %d:\n%s", name, len(all), got, out)
		}
	}
	if left := kube.Kubectl(t, "get", "all,configmaps,roles", "-n", "kafkalab", "-o", "name"); strings.Contains(left, "tuner") {
		t.Errorf("want nothing made, got %s", left)
	}
}

// podOf is a pod as a workload's controller would make it: whether the namespace lets it in, the server says of pods alone.
func podOf(o unstructured.Unstructured) (unstructured.Unstructured, bool) {
	template, found, _ := unstructured.NestedMap(o.Object, "spec", "template")
	if !found {
		return o, false
	}
	pod := unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}}
	pod.SetNamespace(o.GetNamespace())
	pod.SetName(o.GetName() + "-pod")
	claims, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
	volumes, _, _ := unstructured.NestedSlice(pod.Object, "spec", "volumes")
	for _, c := range claims {
		name, _, _ := unstructured.NestedString(c.(map[string]any), "metadata", "name")
		volumes = append(volumes, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": name}})
	}
	if len(volumes) > 0 {
		_ = unstructured.SetNestedSlice(pod.Object, volumes, "spec", "volumes")
	}
	return pod, true
}

func stream(t *testing.T, all []unstructured.Unstructured) string {
	t.Helper()
	text := ""
	for _, o := range all {
		doc, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		text += "---\n" + string(doc)
	}
	return text
}
