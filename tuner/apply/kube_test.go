package apply_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kafkalab/kafkalab/internal/kubetest"
	"github.com/kafkalab/kafkalab/tuner/apply"
)

// manifest is a broker in a namespace of its own.
func manifest(kind, namespace, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[2]s}
---
apiVersion: apps/v1
kind: %[1]s
metadata: {name: kafka, namespace: %[2]s}
spec:
  %[3]s
  selector: {matchLabels: {app: kafka}}
  template:
    metadata: {labels: {app: kafka}}
    spec:
      containers:
        - name: kafka
          image: kafka
          resources: {limits: {memory: 1Gi}}
          env:
            - {name: KAFKA_HEAP_OPTS, value: "-Xms256m -Xmx256m"}
            - {name: KAFKA_NUM_NETWORK_THREADS, value: "3"}
            - {name: KAFKA_NUM_IO_THREADS, value: "4"}
            - {name: OTHER, value: "1"}
`, kind, namespace, more)
}

func env(p corev1.Pod, name string) string {
	for _, e := range p.Spec.Containers[0].Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func heapOf(size string) string { return "-Xms" + size + " -Xmx" + size }

// fate is what becomes of a broker with a heap.
func fate(p corev1.Pod) corev1.PodStatus {
	switch env(p, heap) {
	case heapOf("2000m"):
		return kubetest.Crashing(p, "OOMKilled", 137, 2)
	case heapOf("1m"):
		return kubetest.Crashing(p, "Error", 1, 2)
	case heapOf("3m"):
		return kubetest.Waiting(p, "ImagePullBackOff", "no such image")
	case heapOf("4m"):
		return kubetest.Unschedulable(p, "0/1 nodes are available: 1 Insufficient memory.")
	case heapOf("5m"):
		return kubetest.Starting(p)
	}
	return kubetest.Ready(p)
}

// TestMain lets more tests wait at once than there are processors: for controllers, or for a grace to end, is what most of them do.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "32"); err != nil { // a flag of go test's still counts
		panic(err)
	}
	os.Exit(m.Run())
}

// kube is one real API server with the real controllers for all tests that need one. Each has a namespace of its own.
type kube struct {
	*kubetest.Server
	mu     sync.Mutex
	behave map[string]kubetest.Behaviour // in a namespace
}

// in says what becomes of the pods of a namespace; without it that is fate.
func (k *kube) in(namespace string, behave kubetest.Behaviour) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.behave[namespace] = behave
}

func (k *kube) node(p corev1.Pod) corev1.PodStatus {
	k.mu.Lock()
	behave := k.behave[p.Namespace]
	k.mu.Unlock()
	if behave == nil {
		behave = fate
	}
	return behave(p)
}

func TestOnKubernetes(t *testing.T) {
	t.Parallel()
	s := &kube{Server: kubetest.Start(t), behave: map[string]kubetest.Behaviour{}}
	s.Node(t, s.node)
	s.definitions(t)
	for name, test := range map[string]func(*testing.T, *kube){
		"a value that the pod cannot hold":      aValueThatThePodCannotHold,
		"an outside patch":                      anOutsidePatch,
		"there and back":                        thereAndBack,
		"a controller that puts it back":        aControllerThatPutsItBack,
		"rights are asked for before":           rightsAreAskedForBefore,
		"anew without a change":                 anew,
		"an earlier holder":                     anEarlierHolder,
		"dynamic and other variables":           mixed,
		"dynamic variables where nothing rolls": mixedWhereNothingRestarts,
		"a Kafka resource of Strimzi's":         strimzi,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func target(t *testing.T, s *kube, kind, namespace, more string, as ...kubetest.User) *apply.Workload {
	t.Helper()
	s.Create(t, manifest(kind, namespace, more))
	return look(t, s, kind, namespace, patient, as...)
}

// patient is longer than anything takes that succeeds, however busy the machine is.
const patient = 3 * time.Minute

func look(t *testing.T, s *kube, kind, namespace string, deadline time.Duration, as ...kubetest.User) *apply.Workload {
	t.Helper()
	w, err := apply.New(apply.Config{
		Client: s.Client(t, as...), Target: apply.Target{Kind: kind, Namespace: namespace, Name: "kafka", Container: "kafka"},
		Variables: []string{heap, "KAFKA_NUM_NETWORK_THREADS", "KAFKA_NUM_IO_THREADS"}, Deadline: deadline, Poll: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// aValueThatThePodCannotHold is tried, named, explained and taken back.
func aValueThatThePodCannotHold(t *testing.T, s *kube) {
	for name, c := range map[string]struct {
		size  string
		class apply.Class
		says  []string
	}{
		"a heap beyond the limit": {"2000m", apply.OutOfMemory, []string{"exit code 137", "memory limit of 1Gi", "next to the heap"}},
		"a crash loop":            {"1m", apply.CrashLoop, []string{"restarted 2 times", "exit code 1 (Error)", "a JVM does so for options"}},
		"no image":                {"3m", apply.Image, []string{"ImagePullBackOff", "says nothing about the value"}},
		"no room":                 {"4m", apply.Unschedulable, []string{"Insufficient memory", "no node has room"}},
		"never ready":             {"5m", apply.Probe, []string{"startup probe has not succeeded", "does not become ready"}},
		"a good value":            {"512m", "", nil},
	} {
		for kind, more := range map[string]string{
			"StatefulSet": "serviceName: kafka\n  podManagementPolicy: Parallel", "OrderedReady": "serviceName: kafka\n  replicas: 2", "Deployment": "replicas: 1",
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				k := kind
				if k == "OrderedReady" {
					k = apply.StatefulSet
				}
				w := target(t, s, k, strings.ToLower(kind)+"-"+c.size, more)
				if err := w.Rollout(t.Context()); err != nil {
					t.Fatal(err)
				}
				old, new := heapOf("256m"), heapOf(c.size)
				if _, err := w.Set(t.Context(), heap, old, new); err != nil {
					t.Fatal(err)
				}
				waits := w
				if c.class == apply.Probe { // known by nothing but the end of the deadline, at which it runs
					namespace := strings.ToLower(kind) + "-" + c.size
					eventually(t, "a broker with the value runs", func() error { return runs(t, s, namespace, new) })
					waits = look(t, s, k, namespace, 3*time.Second)
				}
				err := waits.Rollout(t.Context())
				if got := apply.ClassOf(err); got != c.class || c.class == "" && err != nil {
					t.Fatalf("want class %q (got %v)", c.class, err)
				}
				for _, part := range c.says {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("want %q in it (got %v)", part, err)
					}
				}
				v, err := w.Set(t.Context(), heap, new, old)
				if err != nil || v.Env[heap] != old || !v.ByUs(heap) || v.Memory != 1<<30 {
					t.Fatalf("want it taken back by us (got %+v, %v)", v, err)
				}
				if err := w.Rollback(t.Context()); err != nil {
					t.Errorf("want the brokers back (got %v)", err)
				}
			})
		}
	}
}

// runs is whether a broker with the heap runs, ready or not.
func runs(t *testing.T, s *kube, namespace, size string) error {
	t.Helper()
	pods, err := s.Client(t).CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		if c := p.Status.ContainerStatuses; env(p, heap) == size && len(c) == 1 && c[0].State.Running != nil {
			return nil
		}
	}
	return errors.New("not yet")
}

// anOutsidePatch is noticed, and its author named, by nothing but the API server's record.
func anOutsidePatch(t *testing.T, s *kube) {
	for name, c := range map[string]struct {
		args   []string
		author string
		knob   bool
	}{
		"kubectl patch of the knob": {
			[]string{"patch", "--type=strategic", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"kafka","env":[{"name":"KAFKA_HEAP_OPTS","value":"-Xms300m -Xmx300m"}]}]}}}}`},
			"kubectl-patch", true},
		"kubectl patch of another variable": {
			[]string{"patch", "--type=strategic", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"kafka","env":[{"name":"OTHER","value":"2"}]}]}}}}`},
			"kubectl-patch", false},
		"a field manager with a name": {
			[]string{"patch", "--field-manager=alice", "--type=merge", "-p", `{"spec":{"replicas":2}}`}, "alice", false},
	} {
		for _, kind := range []string{apply.StatefulSet, apply.Deployment} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				namespace := "outside-" + strings.ToLower(kind) + "-" + c.author
				if c.knob {
					namespace += "-knob"
				}
				more := "replicas: 1"
				if kind == apply.StatefulSet {
					more = "serviceName: kafka"
				}
				w := target(t, s, kind, namespace, more)
				ours, err := w.Set(t.Context(), heap, heapOf("256m"), heapOf("512m"))
				if err != nil {
					t.Fatal(err)
				}
				if again, err := w.Look(t.Context()); err != nil || again.Since(ours) != nil {
					t.Errorf("want our own change to be none (got %v, %v)", again.Since(ours), err)
				}
				s.Kubectl(t, append([]string{"-n", namespace, c.args[0], kind, "kafka"}, c.args[1:]...)...)
				now, err := w.Look(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got := now.Since(ours)
				if got == nil || got.Author != c.author || (got.Variables != nil) != c.knob || time.Since(got.Time).Abs() > time.Minute {
					t.Errorf("want it noticed, by %s (got %+v)", c.author, got)
				}
				if _, err := w.Set(t.Context(), heap, heapOf("512m"), heapOf("768m")); errors.Is(err, apply.ErrChanged) != c.knob {
					t.Errorf("want somebody else's value left alone, and nothing else (got %v)", err)
				}
			})
		}
	}
}

// thereAndBack: a change that was undone before anybody looked has restarted the brokers all the same.
func thereAndBack(t *testing.T, s *kube) {
	w := target(t, s, apply.StatefulSet, "back", "serviceName: kafka")
	before, err := w.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "-n", "back", "set", "env", "statefulset/kafka", "KAFKA_NUM_IO_THREADS=5")
	s.Kubectl(t, "-n", "back", "set", "env", "statefulset/kafka", "KAFKA_NUM_IO_THREADS=4")
	after, err := w.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := after.Since(before); got == nil || got.Author != "kubectl-set" {
		t.Errorf("want it noticed, by kubectl-set (got %+v)", got)
	}
}

// aControllerThatPutsItBack: a GitOps controller and the tuner would go on for ever.
func aControllerThatPutsItBack(t *testing.T, s *kube) {
	w := target(t, s, apply.StatefulSet, "gitops", "serviceName: kafka")
	old, new := heapOf("256m"), heapOf("512m")
	git := `{"spec":{"template":{"spec":{"containers":[{"name":"kafka","env":[{"name":"KAFKA_HEAP_OPTS","value":"` + old + `"}]}]}}}}`
	for range 2 {
		if _, err := w.Set(t.Context(), heap, old, new); err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "-n", "gitops", "patch", "statefulset", "kafka", "--field-manager=argocd-controller", "-p", git)
		if v, err := w.Look(t.Context()); err != nil || v.Author(heap) != "argocd-controller" {
			t.Errorf("want it attributed (got %v, %v)", v.Author(heap), err)
		}
	}
	_, err := w.Set(t.Context(), heap, old, new)
	if !errors.Is(err, apply.ErrContested) || !errors.Is(err, apply.ErrRefused) || !strings.Contains(err.Error(), "argocd-controller has done so 2 times") {
		t.Errorf("want it left to the other controller (got %v)", err)
	}
	if v, _ := w.Look(t.Context()); v.Env[heap] != old {
		t.Errorf("want nothing sent any more (got %q)", v.Env[heap])
	}
	// What the other controller has set is where a trial's end would bring it: that needs nothing to be sent.
	if v, err := w.Set(t.Context(), heap, new, old); err != nil || v.Env[heap] != old {
		t.Errorf("want it to be there (got %q, %v)", v.Env[heap], err)
	}
	if _, err := w.Set(t.Context(), "KAFKA_NUM_IO_THREADS", "4", "8"); err != nil {
		t.Errorf("want what nobody else holds to be free (got %v)", err)
	}
	if v, err := w.Restore(t.Context(), heap, old, new); err != nil || v.Env[heap] != new {
		t.Errorf("want what must not stay to be put right all the same (got %q, %v)", v.Env[heap], err)
	}
}

func rightsAreAskedForBefore(t *testing.T, s *kube) {
	tuner := kubetest.User{Name: "tuner"}
	s.in("rights", kubetest.Starting)
	w := target(t, s, apply.StatefulSet, "rights", "serviceName: kafka", tuner)
	s.Kubectl(t, "-n", "rights", "create", "role", "tuner", "--verb=get", "--resource=statefulsets.apps")
	s.Kubectl(t, "-n", "rights", "create", "rolebinding", "tuner", "--role=tuner", "--user=tuner")
	want := []string{
		"no right to patch statefulsets.apps kafka in namespace rights", "no right to list pods", "no right to create events", "no right to delete pods",
	}
	eventually(t, "the missing rights are named", func() error {
		err := w.Rights(t.Context())
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				return fmt.Errorf("want %q (got %w)", part, err)
			}
		}
		if strings.Contains(err.Error(), "no right to get") {
			return fmt.Errorf("it may get it: %w", err)
		}
		return nil
	})
	s.KubectlIn(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tuner, namespace: rights}
rules:
  - {apiGroups: [apps], resources: [statefulsets], verbs: [get, patch]}
  - {apiGroups: [""], resources: [pods], verbs: [list, delete]}
  - {apiGroups: [""], resources: [events], verbs: [create]}
`, "replace", "-f", "-")
	eventually(t, "it has all it needs", func() error { return w.Rights(t.Context()) })
	// And it is enough: everything works with these rights alone.
	v, err := w.Set(t.Context(), heap, heapOf("256m"), heapOf("512m"))
	if err != nil || v.Env[heap] != heapOf("512m") {
		t.Errorf("set: %v", err)
	}
	if err := w.Emit(t.Context(), apply.Event{ID: "t1", Reason: "TuningKept", Message: "kept", Time: time.Now()}); err != nil {
		t.Errorf("emit: %v", err)
	}
	if _, err := w.Lives(t.Context()); err != nil {
		t.Errorf("lives: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.Rollback(ctx); !errors.Is(err, context.DeadlineExceeded) { // no broker becomes ready, and it may look
		t.Errorf("rollback: %v", err)
	}
	ours := metav1.ListOptions{FieldSelector: "reason=TuningKept"}
	if events, err := s.Client(t).CoreV1().Events("rights").List(t.Context(), ours); err != nil || len(events.Items) != 1 {
		t.Errorf("want one event (got %v, %v)", events.Items, err)
	}
}

// anEarlierHolder of the lease writes nothing any more, neither after the later one has claimed the target, nor what it has just begun.
func anEarlierHolder(t *testing.T, s *kube) {
	w := target(t, s, apply.StatefulSet, "holder", "serviceName: kafka")
	for _, term := range []int64{4, 5} {
		if err := w.Under(term).Claim(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d, err := apply.NewDynamic(apply.DynamicConfig{Brokers: apply.Brokers{Bootstrap: []string{"127.0.0.1:1"}, Timeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	mixed := func(term int64) *apply.Mixed {
		m, err := apply.NewMixed(apply.MixedConfig{Workload: w.Under(term), Dynamic: d, Settings: map[string]string{"KAFKA_NUM_IO_THREADS": handler}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	before, err := w.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mixed(4).Set(t.Context(), heap, heapOf("256m"), heapOf("512m")); !errors.Is(err, apply.ErrFenced) {
		t.Errorf("a variable: want it refused (got %v)", err)
	}
	if _, err := mixed(4).Set(t.Context(), "KAFKA_NUM_IO_THREADS", "4", "8"); !errors.Is(err, apply.ErrFenced) {
		t.Errorf("a dynamic setting: want it refused before a broker is asked (got %v)", err)
	}
	if now, err := w.Look(t.Context()); err != nil || now.Since(before) != nil || len(now.Pending) > 0 {
		t.Errorf("want nothing written (got %+v, %v)", now, err)
	}
	if _, err := mixed(5).Set(t.Context(), "KAFKA_NUM_IO_THREADS", "4", "8"); err == nil || errors.Is(err, apply.ErrFenced) {
		t.Errorf("want the later holder to fail for its brokers only, which are not there (got %v)", err)
	}
}

// anew: every pod is replaced once for each reason, and that is nobody else's change.
func anew(t *testing.T, s *kube) {
	for _, kind := range []string{apply.StatefulSet, apply.Deployment} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			more := "replicas: 1"
			if kind == apply.StatefulSet {
				more = "serviceName: kafka"
			}
			w := target(t, s, kind, "anew-"+strings.ToLower(kind), more)
			if err := w.Rollout(t.Context()); err != nil {
				t.Fatal(err)
			}
			before, err := w.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, reason := range []string{"block 1", "block 2"} {
				lives, err := w.Lives(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				v, err := w.Redeploy(t.Context(), reason)
				if err != nil || v.Rest != before.Rest || v.Env[heap] != before.Env[heap] {
					t.Fatalf("want nothing else changed (got %+v, %v)", v, err)
				}
				if err := w.Rollout(t.Context()); err != nil {
					t.Fatal(err)
				}
				now, err := w.Lives(t.Context())
				if err != nil || len(now) != 1 || now.Since(lives) == nil {
					t.Errorf("want another pod (got %v, %v before, %v)", now, lives, err)
				}
				again, err := w.Redeploy(t.Context(), reason)
				if err != nil || again.Generation != v.Generation {
					t.Errorf("want nothing sent for the same reason (got %v, %v)", again, err)
				}
			}
			if err := w.Under(5).Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Under(4).Redeploy(t.Context(), "block 3"); !errors.Is(err, apply.ErrFenced) {
				t.Errorf("want an earlier holder refused (got %v)", err)
			}
		})
	}
}
