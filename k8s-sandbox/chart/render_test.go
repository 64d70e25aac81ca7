// Package chart_test checks the chart: that it makes what kustomize makes, that bad values are refused by name, that a real API server takes every
// combination that matters, and that a tuner with the chart's own rights looks at somebody's Kafka and changes nothing of it.
package chart_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

type values = map[string]any

const (
	chartDir = "kafkalab"
	// The release of every test; its objects are called after it.
	release, namespace, prefix = "zz", "kafkalab", "zz-kafkalab-"
)

// read merges files of values, the later ones over the earlier ones, as helm does with several -f.
func read(t *testing.T, files ...string) values {
	t.Helper()
	all := values{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = over(t, all, string(text))
	}
	return all
}

// over puts YAML over values.
func over(t *testing.T, v values, text string) values {
	t.Helper()
	more, err := loader.LoadValues(strings.NewReader(text))
	if err != nil {
		t.Fatalf("read values: %v in\n%s", err, text)
	}
	return loader.MergeMaps(v, more)
}

func example(name string) string { return filepath.Join("examples", name+".yaml") }

// combinations are the values that matter, by name.
func combinations(t *testing.T) map[string]values {
	t.Helper()
	look := read(t, example("look"))
	return map[string]values{
		"look":                      look,
		"recommend":                 over(t, look, "tuner: {mode: recommend}"),
		"act":                       read(t, example("look"), example("act")),
		"act alone":                 over(t, look, "tuner: {mode: auto, mayDeletePods: true}"),
		"a Deployment":              over(t, look, "{kafka: {kind: Deployment}, tuner: {mode: auto}}"),
		"strimzi":                   read(t, example("strimzi")),
		"strimzi acts":              read(t, example("strimzi"), example("act")),
		"own clients":               read(t, example("strimzi"), example("own-clients")),
		"secured":                   read(t, example("look"), example("secured")),
		"secured, acts":             read(t, example("strimzi"), example("act"), example("secured")),
		"TLS without passwords":     over(t, look, "web: {secret: web}"),
		"client certificates":       over(t, look, "kafka: {tls: {enabled: true, serverName: kafka, ca: {secret: ca}, client: {secret: user, cert: user.crt, key: user.key}}}"),
		"load":                      read(t, example("load")),
		"the exporter alone":        over(t, look, "{tuner: {enabled: false}, kafka: {namespace: '', name: ''}, networkPolicy: {kafkaCIDRs: [10.20.0.0/16]}}"),
		"the tuner alone":           over(t, look, "exporter: {enabled: false}"),
		"everything":                over(t, look, "{loadgen: {enabled: true}, monitor: {kind: PodMonitor, interval: 5s, timeout: 5s}, networkPolicy: {kafkaCIDRs: [10.20.0.0/16], prometheus: {app: prom}}}"),
		"annotations":               over(t, look, "tuner: {secret: grafana, config: {grafana: {url: 'http://grafana.monitoring.svc:3000', token_file: /etc/kafkalab-secrets/grafana}}}"),
		"nothing around them":       over(t, look, "{networkPolicy: {enabled: false}, podDisruptionBudget: {enabled: false}}"),
		"placed, with pull secrets": over(t, look, "{image: {prefix: registry.example.com:5000/lab, tag: v1, pullSecrets: [pull]}, exporter: {replicas: 2, nodeSelector: {a: b}, tolerations: [{operator: Exists}], affinity: {nodeAffinity: {}}}, tuner: {nodeSelector: {a: b}, secret: prometheus-token, args: [--log.level=debug]}}"),
		"names that look otherwise": over(t, look, "{kafka: {namespace: '123', name: 'true', container: 'null', sasl: {mechanism: PLAIN, username: 'a: b # \"c', password: {secret: '1e3'}}}}"),
	}
}

// files is everything that the chart makes of the values, by template.
func files(t *testing.T, v values, as string) (map[string]string, error) {
	t.Helper()
	chrt, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	given, err := util.ToRenderValues(chrt, v, common.ReleaseOptions{Name: as, Namespace: namespace, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(chrt, given)
}

// render is what "helm template" prints, without tests.
func render(t *testing.T, v values, as ...string) string {
	t.Helper()
	all, err := files(t, v, append(as, release)[0])
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for name, part := range all {
		if strings.HasSuffix(name, ".yaml") && !strings.Contains(name, "/tests/") {
			text += "---\n" + part + "\n"
		}
	}
	if strings.Contains(text, "<no value>") || strings.Contains(text, "<nil>") {
		t.Fatalf("want no value left out, got\n%s", text)
	}
	return text
}

// objects decodes a stream of documents. That a field is there twice is an error.
func objects(t *testing.T, text string) []unstructured.Unstructured {
	t.Helper()
	var all []unstructured.Unstructured
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		doc, err := docs.Read()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var o unstructured.Unstructured
		if err := yaml.UnmarshalStrict(doc, &o.Object); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if o.Object != nil {
			all = append(all, o)
		}
	}
}

func key(o unstructured.Unstructured) string {
	return fmt.Sprintf("%s/%s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

func find(t *testing.T, all []unstructured.Unstructured, want string) unstructured.Unstructured {
	t.Helper()
	i := slices.IndexFunc(all, func(o unstructured.Unstructured) bool { return key(o) == want })
	if i < 0 {
		t.Fatalf("want %s, got none", want)
	}
	return all[i]
}

// kustomize builds an overlay of the repository with the kubectl that the sandbox has.
func kustomize(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("../../.lab/bin/kube", "kubectl", "kustomize", dir)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		t.Fatalf("kustomize %s: %v: %s", dir, err, problem.String())
	}
	return out.String()
}

// overlay writes one that puts components over a folder of the manifests.
func overlay(t *testing.T, of string, components ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("../manifests")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	text := "resources:\n- " + filepath.Join(root, of) + "\ncomponents:\n"
	for _, c := range components {
		text += "- " + filepath.Join(root, "components", c) + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
