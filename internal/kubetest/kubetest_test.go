package kubetest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kafkalab/kafkalab/internal/kubetest"
)

const workloads = `
apiVersion: v1
kind: Namespace
metadata: {name: kafka}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: kafka, namespace: kafka}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  serviceName: kafka
  selector: {matchLabels: {app: kafka}}
  template:
    metadata: {labels: {app: kafka}}
    spec: {containers: [{name: kafka, image: kafka, env: [{name: THREADS, value: "1"}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: broker, namespace: kafka}
spec:
  selector: {matchLabels: {app: broker}}
  template:
    metadata: {labels: {app: broker}}
    spec: {containers: [{name: kafka, image: kafka}]}
`

func TestWorkloadsBecomePods(t *testing.T) {
	s := kubetest.Start(t)
	var broken atomic.Bool
	s.Node(t, func(p corev1.Pod) corev1.PodStatus {
		if broken.Load() {
			return kubetest.Crashing(p, "OOMKilled", 137, 3)
		}
		return kubetest.Ready(p)
	})
	s.KubectlIn(t, workloads, "apply", "-f", "-")
	s.Kubectl(t, "rollout", "status", "-n", "kafka", "statefulset/kafka", "--timeout=60s")
	s.Kubectl(t, "rollout", "status", "-n", "kafka", "deployment/broker", "--timeout=60s")

	// A patch of the template replaces the pods, and the API server remembers by whom it was made.
	s.Kubectl(t, "set", "env", "-n", "kafka", "statefulset/kafka", "THREADS=2")
	s.Kubectl(t, "rollout", "status", "-n", "kafka", "statefulset/kafka", "--timeout=60s")
	pod, err := s.Client(t).CoreV1().Pods("kafka").Get(t.Context(), "kafka-1", metav1.GetOptions{})
	if err != nil || pod.Spec.Containers[0].Env[0].Value != "2" {
		t.Errorf("want a pod with the new value (got %v, %v)", pod.Spec.Containers, err)
	}
	set, err := s.Client(t).AppsV1().StatefulSets("kafka").Get(t.Context(), "kafka", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var managers []string
	for _, f := range set.ManagedFields {
		managers = append(managers, f.Manager)
	}
	if got := strings.Join(managers, " "); !strings.Contains(got, "kubectl-set") || !strings.Contains(got, "kube-controller-manager") {
		t.Errorf("want the writers recorded (got %s)", got)
	}
	broken.Store(true)
	within(t, "the pod is said to crash", func() error {
		pod, err := s.Client(t).CoreV1().Pods("kafka").Get(t.Context(), "kafka-0", metav1.GetOptions{})
		if err == nil && pod.Status.ContainerStatuses[0].RestartCount != 3 {
			err = fmt.Errorf("got %+v", pod.Status)
		}
		return err
	})
}

func TestAUserMayDoWhatIsGranted(t *testing.T) {
	s := kubetest.Start(t, kubetest.Audited())
	s.Kubectl(t, "create", "role", "reader", "--verb=get", "--resource=configmaps")
	s.Kubectl(t, "create", "rolebinding", "reader", "--role=reader", "--user=alice")
	alice := kubetest.User{Name: "alice"}
	maps := s.Client(t, alice).CoreV1().ConfigMaps("default")
	within(t, "the grant is known", func() error {
		if _, err := maps.Get(t.Context(), "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("get: want not found (got %w)", err)
		}
		return nil
	})
	if _, err := maps.List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list: want it forbidden (got %v)", err)
	}
	if want := (kubetest.Request{User: "alice", Verb: "list", Resource: "configmaps", Namespace: "default", Code: 403}); !slices.Contains(s.Audit(t), want) {
		t.Errorf("want %+v in the audit log (got %+v)", want, s.Audit(t))
	}
	out, err := exec.Command("grep", "as: alice", s.Kubeconfig(t, alice)).Output()
	if err != nil || len(out) == 0 {
		t.Errorf("want the user in the kubeconfig (got %s, %v)", out, err)
	}
}

func TestTheDataOutliveTheServer(t *testing.T) {
	s := kubetest.Start(t)
	s.Kubectl(t, "create", "configmap", "kept", "--from-literal=a=b")
	s.Kill(t)
	if _, err := s.Client(t).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("want nobody there (got %v)", err)
	}
	s.Restart(t)
	got, err := s.Client(t).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || got.Data["a"] != "b" {
		t.Errorf("want what was there before (got %v, %v)", got, err)
	}
}

func TestAKilledTestProgramLeavesNoProcess(t *testing.T) {
	if os.Getenv("KUBETEST_CHILD") != "" {
		s := kubetest.Start(t)
		s.Node(t, kubetest.Ready)
		fmt.Println("child-ready")
		select {} // until the parent kills this program
	}
	dir, err := os.MkdirTemp("", "k") // not t.TempDir: the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledTestProgramLeavesNoProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "KUBETEST_CHILD=1", "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "child-ready" {
		t.Log(lines.Text())
	}
	if got := processesIn(dir); len(got) != 3 {
		t.Errorf("want three programs while it runs (got %v)", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	within(t, "the programs are gone", func() error {
		if left := processesIn(dir); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}

// processesIn are those whose working folder is below dir.
func processesIn(dir string) (found []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, l := range links {
		if at, err := os.Readlink(l); err == nil && strings.HasPrefix(at, dir+"/") {
			found = append(found, l+" "+at)
		}
	}
	return found
}

func within(t *testing.T, what string, cond func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
