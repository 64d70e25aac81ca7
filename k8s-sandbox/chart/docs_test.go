package chart_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const docs = "../../docs/your-own-cluster.md"

// What stands in the walk-through must work.
func TestTheOverlayOfTheWalkThroughBuilds(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(dir, top)
	if err != nil {
		t.Fatal(err)
	}
	tuner, err := os.ReadFile("../manifests/base/tuner/tuner.yaml")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{"tuner.yaml": strings.Replace(string(tuner), "namespace: kafka\n", "namespace: streaming\n", 1)}
	for _, block := range regexp.MustCompile("(?s)```yaml\n# (\\S+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		written[block[1]] = strings.ReplaceAll(block[2], "kafkalab/k8s-sandbox/", rel+"/k8s-sandbox/")
	}
	for name, text := range written {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	built := kustomize(t, dir)
	all := objects(t, built)
	find(t, all, "Role/streaming/tuner")
	find(t, all, "RoleBinding/streaming/tuner")
	find(t, all, "ServiceMonitor/kafkalab/exporter")
	for _, want := range []string{"image: registry.example.com/lab/tuner:v1", "--kafka.brokers=events.streaming.svc:9092", "      namespace: streaming\n"} {
		if !strings.Contains(built, want) {
			t.Errorf("want %q in\n%s", want, built)
		}
	}
}

func TestFilesOfTheWalkThroughAreThere(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\bexamples/[a-z-]+\.yaml`).FindAllString(string(text), -1) {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range regexp.MustCompile("`((?:k8s-sandbox|overlays|grafana|prometheus)/[^` ]+)`").FindAllStringSubmatch(string(text), -1) {
		path := strings.TrimPrefix(name[1], "k8s-sandbox/manifests/")
		_, err1 := os.Stat("../../" + path)
		if _, err2 := os.Stat("../manifests/" + path); err1 != nil && err2 != nil {
			t.Error(err1)
		}
	}
}
