package prometheus_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// discovered is what Kubernetes' discovery says of one container port, with the values that a case does not set.
func discovered(labels map[string]string) map[string]string {
	all := map[string]string{
		"__meta_kubernetes_namespace":                        "kafka",
		"__meta_kubernetes_pod_name":                         "kafka-0",
		"__meta_kubernetes_pod_phase":                        "Running",
		"__meta_kubernetes_pod_container_init":               "false",
		"__meta_kubernetes_pod_container_name":               "broker",
		"__meta_kubernetes_pod_container_port_name":          "metrics",
		"__meta_kubernetes_pod_container_port_number":        "9404",
		"__meta_kubernetes_pod_label_app_kubernetes_io_name": "kafka",
	}
	for k, v := range labels {
		all[k] = v
	}
	return all
}

// relabel runs the rules of the job "pods" as they stand in the file, with a fixed list in place of Kubernetes' answer. It returns the
// labels of the target, or none when it was dropped.
func relabel(t *testing.T, config string, labels map[string]string) map[string]string {
	t.Helper()
	var c map[string]any
	load(t, config, &c)
	jobs, _ := c["scrape_configs"].([]any)
	for _, j := range jobs {
		job, _ := j.(map[string]any)
		if job["job_name"] == "pods" {
			delete(job, "kubernetes_sd_configs")
			job["static_configs"] = []any{map[string]any{"targets": []string{"198.18.0.9:9404"}, "labels": labels}}
		}
	}
	delete(c, "rule_files")
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "../.lab/bin/promtool", "check", "service-discovery", "--timeout=500ms", path, "pods").Output()
	if err != nil {
		t.Fatalf("promtool: %v (has `make build` been run?)\n%s", err, out)
	}
	var targets []struct {
		Labels map[string]string `json:"labels"`
	}
	if err := json.Unmarshal(out, &targets); err != nil || len(targets) != 1 {
		t.Fatalf("got %d targets, error %v:\n%s", len(targets), err, out)
	}
	return targets[0].Labels
}

func TestPodsBecomeTargetsWithStableLabels(t *testing.T) {
	const name = "__meta_kubernetes_pod_label_app_kubernetes_io_name"
	for sentence, c := range map[string]struct {
		pod     map[string]string
		job     string // empty: the pod is not scraped
		dropped bool
	}{
		"a broker":                                   {job: "kafka"},
		"a pod without a name of its own":            {pod: map[string]string{name: ""}, job: "broker"},
		"a port of another name is left out":         {pod: map[string]string{"__meta_kubernetes_pod_container_port_name": "internal"}, dropped: true},
		"a pod that has ended is left out":           {pod: map[string]string{"__meta_kubernetes_pod_phase": "Succeeded"}, dropped: true},
		"a pod that has failed is left out":          {pod: map[string]string{"__meta_kubernetes_pod_phase": "Failed"}, dropped: true},
		"a container that only prepares is left out": {pod: map[string]string{"__meta_kubernetes_pod_container_init": "true"}, dropped: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			for _, config := range []string{"prometheus.yml", "prometheus.compose.yml"} {
				got := relabel(t, config, discovered(c.pod))
				if c.dropped {
					if len(got) != 0 {
						t.Errorf("%s: target %v, want none", config, got)
					}
					continue
				}
				// The instance is not the address: that changes with every restart of the pod.
				want := map[string]string{"job": c.job, "namespace": "kafka", "pod": "kafka-0", "instance": "kafka-0:9404", "__address__": "198.18.0.9:9404"}
				for label, value := range want {
					if got[label] != value {
						t.Errorf("%s: label %s is %q, want %q", config, label, got[label], value)
					}
				}
			}
		})
	}
}
