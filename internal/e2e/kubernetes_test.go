//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func kubernetesWorks(t *testing.T, l *lab) {
	t.Run("kubectl logs", func(t *testing.T) {
		if out := l.admin(t, "logs", "-n", "kafka", "kafka-0"); !strings.Contains(out, "Kafka Server started") && !strings.Contains(out, "started") {
			t.Errorf("no start in the broker's log:\n%.2000s", out)
		}
	})
	t.Run("kubectl exec and Service DNS", func(t *testing.T) {
		for _, name := range []string{
			"kafka.kafka.svc.cluster.local", "kafka-0.kafka-headless.kafka.svc.cluster.local", "tuner.kafkalab", "kubernetes.default.svc",
		} {
			if out := l.admin(t, "exec", "-n", "kafka", "kafka-0", "--", "getent", "hosts", name); !strings.HasPrefix(out, "198.1") {
				t.Errorf("%s: %q", name, out)
			}
		}
	})
	t.Run("Events", func(t *testing.T) {
		if out := l.admin(t, "get", "events", "-n", "kafka"); !strings.Contains(out, "pod/kafka-0") {
			t.Errorf("no event of the broker's pod:\n%s", out)
		}
	})
	t.Run("the API server through its Service, from a pod", func(t *testing.T) {
		// The tuner's only way to the API is the Service "kubernetes": what it reports of the cluster came through it.
		eventually(t, 30*time.Second, "desired knobs", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, err := l.value(ctx, `tuner_knob_desired{knob="heap"}`)
			return err
		})
	})
	t.Run("Kafka's control group holds the limits that everybody is told", func(t *testing.T) { limitsHold(t, l) })
}

func limitsHold(t *testing.T, l *lab) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	pod, err := l.kube.CoreV1().Pods("kafka").Get(ctx, "kafka-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	resources := pod.Spec.Containers[0].Resources
	cpus, memory := resources.Limits.Cpu(), resources.Limits.Memory()
	if resources.Requests.Cpu().Cmp(*cpus) != 0 || resources.Requests.Memory().Cmp(*memory) != 0 {
		t.Errorf("requests and limits differ: %+v", resources)
	}
	_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	gotCPUs, gotMemory := containerLimits(t, id)
	if want := cpus.AsApproximateFloat64(); gotCPUs != want {
		t.Errorf("CPUs: control group %v, pod %v", gotCPUs, want)
	}
	if want := memory.Value(); gotMemory != want {
		t.Errorf("memory: control group %d, pod %d", gotMemory, want)
	}
	told, err := l.kube.CoreV1().ConfigMaps("kafka").Get(ctx, "kafka-limits", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !same(told.Data["cpus"], cpus) || !same(told.Data["memory"], memory) {
		t.Errorf("the ConfigMap says %v, the pod %v and %v", told.Data, cpus, memory)
	}
	data, err := os.ReadFile(filepath.Join(statusDir, "latency.json"))
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Limits struct{ CPUs, Memory string }
	}
	if err := json.Unmarshal(data, &status); err != nil {
		t.Fatal(err)
	}
	if !same(status.Limits.CPUs, cpus) || !same(status.Limits.Memory, memory) {
		t.Errorf("latency.json says %+v, the pod %v and %v", status.Limits, cpus, memory)
	}
}

func same(text string, want *resource.Quantity) bool {
	q, err := resource.ParseQuantity(text)
	return err == nil && q.Cmp(*want) == 0
}

// containerLimits reads a container's limits from the kernel, whichever version its interface has.
func containerLimits(t *testing.T, id string) (cpus float64, memory int64) {
	t.Helper()
	read := func(patterns ...string) []int64 {
		for _, p := range patterns {
			files, _ := filepath.Glob(p)
			if len(files) != 1 {
				continue
			}
			data, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			var numbers []int64
			for _, f := range strings.Fields(string(data)) {
				n, err := strconv.ParseInt(f, 10, 64)
				if err != nil {
					t.Fatalf("%s: %q", files[0], data)
				}
				numbers = append(numbers, n)
			}
			return numbers
		}
		t.Fatalf("no control group of container %s", id)
		return nil
	}
	const v1, v2 = "/sys/fs/cgroup/%s/kafkalab/kubepods/pod*/%s/%s", "/sys/fs/cgroup/kafkalab/kubepods/pod*/%s/%s"
	memory = read(fmt.Sprintf(v1, "memory", id, "memory.limit_in_bytes"), fmt.Sprintf(v2, id, "memory.max"))[0]
	quota := read(fmt.Sprintf(v1, "cpu", id, "cpu.cfs_quota_us"), fmt.Sprintf(v2, id, "cpu.max"))
	if len(quota) == 1 {
		quota = append(quota, read(fmt.Sprintf(v1, "cpu", id, "cpu.cfs_period_us"))[0])
	}
	return float64(quota[0]) / float64(quota[1]), memory
}

// listensInside: whatever a process of the sandbox listens on is in the sandbox's own network, and there on named addresses or a pod's.
func listensInside(t *testing.T, l *lab) {
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range l.processes(func([]string) bool { return true }) {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && ns == ours {
			argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			t.Errorf("process %d is in the machine's network: %.200q", pid, argv)
		}
	}
	out, err := exec.Command("nsenter", "--net=/run/kafkalab/netns", "ss", "-Hltn").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		local := strings.Fields(line)[3]
		if !strings.HasPrefix(local, "127.0.0.1:") && !strings.HasPrefix(local, "198.19.255.2:") {
			t.Errorf("the node listens on %s", local)
		}
	}
	route, err := exec.Command("nsenter", "--net=/run/kafkalab/netns", "ip", "route", "show", "default").Output()
	if err != nil || len(route) > 0 {
		t.Errorf("the node has a way out: %q %v", route, err)
	}
}
