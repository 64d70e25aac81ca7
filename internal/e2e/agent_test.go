//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// policyCase is an entry of k8s-sandbox/manifests/policy_cases.yaml, whose head explains it.
type policyCase struct {
	Name    string   `yaml:"name"`
	Type    string   `yaml:"type"`
	Patch   any      `yaml:"patch"`
	Kubectl []string `yaml:"kubectl"`
	Allowed bool     `yaml:"allowed"`
	Message string   `yaml:"message"`
}

func (c policyCase) args(fill *strings.Replacer) ([]string, error) {
	if len(c.Kubectl) > 0 {
		return c.Kubectl, nil
	}
	patch, err := json.Marshal(c.Patch)
	return []string{"-n", "kafka", "patch", "statefulset", "kafka", "--type", c.Type, "--patch", fill.Replace(string(patch)), "--dry-run=server"}, err
}

func agentRights(t *testing.T, l *lab) {
	info, err := os.Stat(l.path("agent.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the agent's kubeconfig is readable by others: %v", info.Mode())
	}
	t.Run("what it is for, for real", func(t *testing.T) {
		for _, change := range [][2]string{
			{"KAFKA_HEAP_OPTS", "-Xms384m -Xmx384m"}, {"KAFKA_NUM_NETWORK_THREADS", "2"}, {"KAFKA_NUM_IO_THREADS", "3"},
			{"KAFKA_HEAP_OPTS", "-Xms256m -Xmx256m"}, {"KAFKA_NUM_NETWORK_THREADS", "1"}, {"KAFKA_NUM_IO_THREADS", "2"},
		} {
			patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"kafka","env":[{"name":%q,"value":%q}]}]}}}}`, change[0], change[1])
			if out, err := l.kubectl("agent.kubeconfig", "patch", "statefulset", "kafka", "-n", "kafka", "-p", patch); err != nil {
				t.Errorf("%s=%s: %v\n%s", change[0], change[1], err, out)
			}
		}
		l.admin(t, "rollout", "status", "statefulset/kafka", "-n", "kafka", "--timeout=120s")
	})
	t.Run("each rule of the policy", func(t *testing.T) { policyRules(t, l) })
	for name, args := range map[string][]string{
		"another object":                     {"patch", "service", "kafka", "-n", "kafka", "-p", `{"metadata":{"labels":{"a":"b"}}}`},
		"a workload of another namespace":    {"patch", "deployment", "loadgen", "-n", "kafkalab", "-p", `{"spec":{"replicas":0}}`},
		"exec":                               {"exec", "-n", "kafka", "kafka-0", "--", "true"},
		"exec into the tuner":                {"exec", "-n", "kafkalab", "tuner-0", "--", "/tuner", "--help"},
		"reading Secrets":                    {"get", "secrets", "-A"},
		"reading Secrets of Kafka":           {"get", "secrets", "-n", "kafka"},
		"deleting the pod":                   {"delete", "pod", "kafka-0", "-n", "kafka"},
		"deleting the StatefulSet":           {"delete", "statefulset", "kafka", "-n", "kafka"},
		"scaling":                            {"scale", "statefulset", "kafka", "-n", "kafka", "--replicas=2"},
		"a port-forward":                     {"port-forward", "-n", "kafka", "kafka-0", "19092:9092"},
		"copying into the status files' pod": {"cp", "-n", "kafkalab", "/dev/null", "tuner-0:/tmp/status/latency.txt"},
		"a pod that mounts the status files": {"run", "x", "-n", "kafka", "--image=kafkalab/pause:1",
			`--overrides={"spec":{"volumes":[{"name":"s","hostPath":{"path":"/tmp/status"}}],"containers":[{"name":"x","image":"x","volumeMounts":[{"name":"s","mountPath":"/s"}]}]}}`},
		"the claim of the status files": {"delete", "persistentvolume", "kafkalab-status"},
		"the policy itself":             {"delete", "validatingadmissionpolicybinding", "kafkalab-agent"},
		"more rights":                   {"create", "rolebinding", "x", "-n", "kafka", "--clusterrole=admin", "--user=me"},
		"the tuner's name":              {"set", "env", "statefulset/kafka", "-n", "kafka", "KAFKA_NUM_IO_THREADS=12", "--dry-run=server", "--field-manager=kafkalab-tuner"},
		"the lab's name":                {"set", "env", "statefulset/kafka", "-n", "kafka", "KAFKA_NUM_IO_THREADS=12", "--dry-run=server", "--field-manager=kafkalab"},
		"another's identity":            {"get", "pods", "-n", "kafka", "--as=system:admin"},
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			out, err := l.kubectl("agent.kubeconfig", args...)
			if err == nil || !strings.Contains(out, "orbidden") {
				t.Errorf("want forbidden, got %v: %s", err, out)
			}
		})
	}
	t.Run("refused: writing the status files, as any user but theirs", func(t *testing.T) {
		for _, f := range []string{"latency.txt", "latency.json", ""} {
			info, err := os.Stat(filepath.Join(statusDir, f))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o022 != 0 {
				t.Errorf("%s can be written by others: %v", filepath.Join(statusDir, f), info.Mode())
			}
		}
	})
}

func policyRules(t *testing.T, l *lab) {
	data, err := os.ReadFile(filepath.Join(l.checkout, "k8s-sandbox", "manifests", "policy_cases.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []policyCase
	if err := yaml.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 20 {
		t.Fatalf("only %d cases", len(cases))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	set, err := l.kube.AppsV1().StatefulSets("kafka").Get(ctx, "kafka", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	most := min(set.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().Value()/4*3>>20, 3072)
	fill := strings.NewReplacer("$HEAP_MAX", strconv.FormatInt(most, 10), "$HEAP_OVER", strconv.FormatInt(most+1, 10))
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			args, err := c.args(fill)
			if err != nil {
				t.Fatal(err)
			}
			out, err := l.kubectl("agent.kubeconfig", args...)
			if c.Allowed && err != nil {
				t.Errorf("refused: %s", out)
			}
			if want := fill.Replace(c.Message); !c.Allowed && (err == nil || !strings.Contains(out, want)) {
				t.Errorf("want a refusal with %q, got %v: %s", want, errors.Unwrap(err), out)
			}
		})
	}
}
