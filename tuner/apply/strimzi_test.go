package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/tuner/apply"
)

// The resource definitions in testdata are Strimzi's own, made by its generator (io.strimzi:crd-generator 1.2.0, Apache-2.0) of its classes
// (io.strimzi:api 1.2.0); the descriptions are left out.
const strimziCRDs = "testdata/strimzi-crds.json"

const strimziCluster = `
apiVersion: v1
kind: Namespace
metadata: {name: NS}
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaNodePool
metadata: {name: pool, namespace: NS, labels: {strimzi.io/cluster: demo}}
spec: {replicas: 1, roles: [broker, controller], storage: {type: ephemeral}}
---
apiVersion: kafka.strimzi.io/v1
kind: Kafka
metadata: {name: demo, namespace: NS}
spec:
  kafka:
    listeners: [{name: plain, port: 9092, type: internal, tls: false}]
    jvmOptions: {-Xms: 256m, -Xmx: 256m}
    config: {num.network.threads: 3, num.io.threads: "4", offsets.topic.replication.factor: 1}
`

var kafkas = schema.GroupVersionResource{Group: "kafka.strimzi.io", Version: "v1", Resource: "kafkas"}

// operator plays Strimzi's: it brings the resource's settings to a real broker, dynamically, and says in the status how far it is.
type operator struct {
	t         *testing.T
	kube      *kube
	resources dynamic.Interface
	namespace string
	bring     func(name, value string) error // nil: it brings nothing and is content

	mu   sync.Mutex
	seen []string // the values of num.network.threads that it has brought, in order
	loop bool     // it replaces the pod whenever it looks

	failed bool // something was not brought, and is the next time
}

func (o *operator) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	o.t.Cleanup(func() { cancel(); <-done })
	pods := o.kube.Client(o.t).CoreV1().Pods(o.namespace)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = o.look(ctx, func() error {
				o.mu.Lock()
				defer o.mu.Unlock()
				if o.loop {
					now := int64(0)
					_ = pods.Delete(ctx, "demo-pool-0", metav1.DeleteOptions{GracePeriodSeconds: &now})
				}
				_, err := pods.Create(ctx, &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: "demo-pool-0", Labels: map[string]string{"strimzi.io/cluster": "demo", "strimzi.io/broker-role": "true"}},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "kafka", Image: "kafka"}}},
				}, metav1.CreateOptions{})
				return err
			})
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
}

func (o *operator) look(ctx context.Context, pod func() error) error {
	_ = pod() // it is there
	kind := o.resources.Resource(kafkas).Namespace(o.namespace)
	u, err := kind.Get(ctx, "demo", metav1.GetOptions{})
	if err != nil {
		return err
	}
	observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if observed == u.GetGeneration() && !o.failed {
		return nil
	}
	o.failed = false
	config, _, _ := unstructured.NestedMap(u.Object, "spec", "kafka", "config")
	condition := map[string]any{"type": "Ready", "status": "True"}
	for _, name := range []string{network, handler} {
		if o.bring == nil {
			continue
		}
		value := fmt.Sprint(config[name])
		if err := o.bring(name, value); err != nil {
			o.failed = true
			condition = map[string]any{"type": "NotReady", "status": "True", "reason": "ConfigException", "message": err.Error()}
		}
		if name == network {
			o.mu.Lock()
			if n := len(o.seen); n == 0 || o.seen[n-1] != value {
				o.seen = append(o.seen, value)
			}
			o.mu.Unlock()
		}
	}
	u.Object["status"] = map[string]any{"observedGeneration": u.GetGeneration(), "conditions": []any{condition}}
	_, err = kind.UpdateStatus(ctx, u, metav1.UpdateOptions{FieldManager: "strimzi-cluster-operator"})
	return err
}

// cluster makes the resource in a namespace of its own.
func cluster(t *testing.T, s *kube, namespace string, brokers apply.Brokers, bring func(name, value string) error) (*apply.Strimzi, *operator) {
	t.Helper()
	resources, err := dynamic.NewForConfig(s.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Create(t, strings.ReplaceAll(strimziCluster, "NS", namespace))
	o := &operator{t: t, kube: s, resources: resources, namespace: namespace, bring: bring}
	o.run()
	return kafkaResource(t, s, namespace, brokers, patient), o
}

func kafkaResource(t *testing.T, s *kube, namespace string, brokers apply.Brokers, deadline time.Duration) *apply.Strimzi {
	t.Helper()
	resources, err := dynamic.NewForConfig(s.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	k, err := apply.NewStrimzi(apply.StrimziConfig{
		Client: s.Client(t), Resources: resources, Namespace: namespace, Name: "demo", Brokers: brokers,
		Variables: []string{heap, "KAFKA_NUM_NETWORK_THREADS", "KAFKA_NUM_IO_THREADS"}, Dynamic: []string{"KAFKA_NUM_NETWORK_THREADS", "KAFKA_NUM_IO_THREADS"},
		Deadline: deadline, Poll: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// definitions makes Strimzi's kinds known.
func (k *kube) definitions(t *testing.T) {
	t.Helper()
	definitions, err := os.ReadFile(strimziCRDs)
	if err != nil {
		t.Fatal(err)
	}
	k.KubectlIn(t, string(definitions), "create", "-f", "-")
	k.Served(t, "kafka.strimzi.io/v1", "Kafka", "KafkaNodePool")
}

func strimzi(t *testing.T, s *kube) {
	slot(t)
	b := kafkatest.Start(t, variables("3", "4"))
	l := dynamicOf(t, b.Addr)
	const networkVariable = "KAFKA_NUM_NETWORK_THREADS"

	t.Run("threads go in hops, by the resource only", func(t *testing.T) {
		k, o := cluster(t, s, "strimzi-hops", l.brokers, func(name, value string) error { return l.alter(t, "", name, value) })
		if err := k.Rollout(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, err := k.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{heap: heapOf("256m"), networkVariable: "3", "KAFKA_NUM_IO_THREADS": "4"}
		if diff := cmp.Diff(want, before.Env); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		after, err := k.Set(t.Context(), networkVariable, "3", "16")
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Rollout(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.mu.Lock()
		if diff := cmp.Diff([]string{"3", "6", "12", "16"}, o.seen); diff != "" {
			t.Errorf("hops: -want +got:\n%s", diff)
		}
		o.mu.Unlock()
		// The operator is content when Kafka's controller has the value; a busy broker takes it from there some time later.
		eventually(t, "the broker has the last hop's value", func() error { return l.differs(t, network, "16", apply.DynamicDefault) })
		if !after.ByUs(networkVariable) || after.ByUs(heap) || after.Rest != before.Rest {
			t.Errorf("want that field ours, and no other touched (got %+v)", after)
		}
		// Again, as after a kill: nothing happens.
		again, err := k.Set(t.Context(), networkVariable, "3", "16")
		if err != nil || again.Generation != after.Generation {
			t.Errorf("want nothing sent (got %v, %v)", again, err)
		}
		// A tuner that was killed at a hop on the way back.
		s.Kubectl(t, "-n", "strimzi-hops", "patch", "kafkas.kafka.strimzi.io", "demo", "--type=merge", "-p", `{"spec":{"kafka":{"config":{"num.network.threads":8}}}}`)
		if v, err := k.Set(t.Context(), networkVariable, "16", "3"); err != nil || v.Env[networkVariable] != "3" {
			t.Errorf("want it gone on with (got %v, %v)", v.Env, err)
		}
		if err := k.Rollout(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("the heap is a JVM option, unless a node pool hides it", func(t *testing.T) {
		k, _ := cluster(t, s, "strimzi-heap", l.brokers, nil)
		v, err := k.Set(t.Context(), heap, heapOf("256m"), heapOf("512m"))
		if err != nil || v.Env[heap] != heapOf("512m") {
			t.Fatalf("got %v, %v", v.Env, err)
		}
		if err := k.Rollout(t.Context()); err != nil {
			t.Error(err)
		}
		s.Kubectl(t, "-n", "strimzi-heap", "patch", "kafkanodepools", "pool", "--type=merge", "-p", `{"spec":{"jvmOptions":{"-Xmx":"1g"}}}`)
		if _, err := k.Set(t.Context(), heap, heapOf("512m"), heapOf("768m")); !errors.Is(err, apply.ErrRefused) || !strings.Contains(err.Error(), "node pool pool has jvmOptions") {
			t.Errorf("want it refused (got %v)", err)
		}
	})
	t.Run("a paused operator is not waited for", func(t *testing.T) {
		k, _ := cluster(t, s, "strimzi-paused", l.brokers, nil)
		s.Kubectl(t, "-n", "strimzi-paused", "annotate", "kafkas.kafka.strimzi.io", "demo", "strimzi.io/pause-reconciliation=true")
		if _, err := k.Set(t.Context(), networkVariable, "3", "6"); !errors.Is(err, apply.ErrRefused) || !strings.Contains(err.Error(), "leaves kafka strimzi-paused/demo alone") {
			t.Errorf("want it refused (got %v)", err)
		}
	})
	t.Run("a GitOps controller that puts it back is left alone", func(t *testing.T) {
		k, _ := cluster(t, s, "strimzi-gitops", l.brokers, nil)
		for range 2 {
			if _, err := k.Set(t.Context(), "KAFKA_NUM_IO_THREADS", "4", "8"); err != nil {
				t.Fatal(err)
			}
			s.Kubectl(t, "-n", "strimzi-gitops", "patch", "kafkas.kafka.strimzi.io", "demo", "--type=merge", "--field-manager=flux", "-p", `{"spec":{"kafka":{"config":{"num.io.threads":"4"}}}}`)
			if v, err := k.Look(t.Context()); err != nil || v.Author("KAFKA_NUM_IO_THREADS") != "flux" {
				t.Errorf("want it attributed (got %q, %v)", v.Author("KAFKA_NUM_IO_THREADS"), err)
			}
		}
		if _, err := k.Set(t.Context(), "KAFKA_NUM_IO_THREADS", "4", "8"); !errors.Is(err, apply.ErrContested) || !strings.Contains(err.Error(), "flux has done so 2 times") {
			t.Errorf("want it left to the other (got %v)", err)
		}
		if v, err := k.Restore(t.Context(), "KAFKA_NUM_IO_THREADS", "4", "8"); err != nil || v.Env["KAFKA_NUM_IO_THREADS"] != "8" {
			t.Errorf("want what must not stay to be put right all the same (got %q, %v)", v.Env["KAFKA_NUM_IO_THREADS"], err)
		}
	})
	t.Run("an operator that restarts again and again is found out", func(t *testing.T) {
		k, o := cluster(t, s, "strimzi-loop", l.brokers, func(string, string) error { return errors.New("a broker refuses it") })
		o.mu.Lock()
		o.loop = true
		o.mu.Unlock()
		err := k.Rollout(t.Context())
		if apply.ClassOf(err) != apply.RestartLoop || !strings.Contains(err.Error(), "pod demo-pool-0 was replaced 3 times") || !apply.RestartLoop.Blames() {
			t.Errorf("want the loop named (got %v)", err)
		}
	})
	t.Run("what the operator cannot bring is taken back, hop by hop", func(t *testing.T) {
		// The brokers stay where they are, at 3 and 4: the operator only says that it cannot.
		k, _ := cluster(t, s, "strimzi-stuck", l.brokers, func(name, value string) error {
			if name == network && value != "3" {
				return errors.New("a broker refuses it")
			}
			return nil
		})
		if err := k.Rollout(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := kafkaResource(t, s, "strimzi-stuck", l.brokers, time.Minute).Set(t.Context(), networkVariable, "3", "16")
		if !errors.Is(err, apply.ErrRefused) || !strings.Contains(err.Error(), "the operator says NotReady: ConfigException: a broker refuses it") {
			t.Errorf("want it refused, with the operator's words (got %v)", err)
		}
		if v, err := k.Look(t.Context()); err != nil || v.Env[networkVariable] != "3" {
			t.Errorf("want the resource as it was (got %v, %v)", v.Env, err)
		}
	})
	t.Run("rights and events", func(t *testing.T) {
		k, _ := cluster(t, s, "strimzi-rights", l.brokers, nil)
		if err := k.Rights(t.Context()); err != nil {
			t.Error(err)
		}
		if err := k.Emit(t.Context(), apply.Event{ID: "t1", Reason: "TuningKept", Message: "kept", Time: time.Now()}); err != nil {
			t.Error(err)
		}
		if out := s.Kubectl(t, "-n", "strimzi-rights", "get", "events", "-o", "jsonpath={.items[0].involvedObject.kind}"); out != "Kafka" {
			t.Errorf("want the event on the resource (got %q)", out)
		}
	})
	t.Run("anew without a change, by the resource only", func(t *testing.T) {
		k, _ := cluster(t, s, "strimzi-anew", l.brokers, nil)
		before, err := k.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v, err := k.Redeploy(t.Context(), "block 1")
		if err != nil || v.Rest != before.Rest || v.Generation != before.Generation+1 {
			t.Fatalf("want nothing else changed (got %+v, %v)", v, err)
		}
		if again, err := k.Redeploy(t.Context(), "block 1"); err != nil || again.Generation != v.Generation {
			t.Errorf("want nothing sent for the same reason (got %v, %v)", again, err)
		}
		out := s.Kubectl(t, "-n", "strimzi-anew", "get", "kafkas.kafka.strimzi.io", "demo", "-o", `jsonpath={.spec.kafka.template.pod.metadata.annotations.kafkalab\.io/redeployed}`)
		if out != "block 1" {
			t.Errorf("want the annotation that the operator gives to the pods (got %q)", out)
		}
		if err := k.Rollout(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("an earlier holder of the lease writes nothing any more", func(t *testing.T) {
		k, _ := cluster(t, s, "strimzi-holder", l.brokers, nil)
		for _, term := range []int64{4, 5} {
			if err := k.Under(term).Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		before, err := k.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Under(4).Set(t.Context(), heap, heapOf("256m"), heapOf("512m")); !errors.Is(err, apply.ErrFenced) {
			t.Errorf("want it refused (got %v)", err)
		}
		if err := k.Under(4).Claim(t.Context()); !errors.Is(err, apply.ErrFenced) {
			t.Errorf("want no claim of an earlier term (got %v)", err)
		}
		if n, err := k.Highest(t.Context()); n != 5 || err != nil {
			t.Errorf("want term 5 (got %d, %v)", n, err)
		}
		if now, err := k.Look(t.Context()); err != nil || now.Since(before) != nil {
			t.Errorf("want nothing written (got %+v, %v)", now, err)
		}
		if v, err := k.Under(5).Set(t.Context(), heap, heapOf("256m"), heapOf("512m")); err != nil || v.Rest != before.Rest {
			t.Errorf("want the later one to write, and its mark to be no change (got %v, %s and %s)", err, before.Rest, v.Rest)
		}
		if !k.Restarts(heap) || k.Restarts(networkVariable) {
			t.Error("want the heap to need a restart, and the threads none")
		}
	})
}
