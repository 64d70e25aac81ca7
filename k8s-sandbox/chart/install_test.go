package chart_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authorization "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/internal/kubetest"
	"github.com/kafkalab/kafkalab/internal/promtest"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// theirs is a Kafka that kafkalab did not make: a StatefulSet, and one of Strimzi's. One real broker stands behind both.
const theirs = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: events, namespace: streaming}
spec:
  replicas: 1
  serviceName: events
  selector: {matchLabels: {app: events}}
  template:
    metadata: {labels: {app: events}}
    spec:
      containers:
        - name: broker
          image: example.org/kafka:4
          env: [{name: KAFKA_NUM_IO_THREADS, value: "2"}, {name: KAFKA_NUM_NETWORK_THREADS, value: "1"}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: other, namespace: streaming}
spec:
  replicas: 0
  serviceName: other
  selector: {matchLabels: {app: other}}
  template:
    metadata: {labels: {app: other}}
    spec: {containers: [{name: broker, image: example.org/kafka:4}]}
---
apiVersion: kafka.strimzi.io/v1
kind: Kafka
metadata: {name: events, namespace: streaming}
spec:
  kafka:
    listeners: [{name: plain, port: 9092, type: internal, tls: false}]
    config: {num.network.threads: 1, num.io.threads: 2}
---
apiVersion: v1
kind: Pod
metadata: {name: events-pool-0, namespace: streaming, labels: {strimzi.io/cluster: events, strimzi.io/broker-role: "true"}}
spec: {containers: [{name: kafka, image: example.org/kafka:4}]}
`

// measured leaves out the heap, which needs a JMX agent, and measures briefly: of the eight scrapes in a window a busy machine may miss two. What is
// measured is what examples/own-clients.yaml says: the exporter's figures of their topics, and what its probe waits for.
const measured = `
kafka:
  bootstrap: ["BROKER"]
  jvmMetrics: []
  tls: {enabled: true, ca: {secret: kafka-ca}}
  sasl: {mechanism: SCRAM-SHA-512, username: USER, password: {secret: kafka-user}}
exporter: {args: [--probe.enabled, --probe.manage]}
tuner:
  config:
    prometheus: {url: "PROMETHEUS", scrape_interval: 1s}
    knobs:
      - {name: io_threads, env: KAFKA_NUM_IO_THREADS, format: "{v}", unit: threads, min: 1, max: 32, steps: [1, 2, 4, 8], readback: "broker-config:num.io.threads"}
      - {name: network_threads, env: KAFKA_NUM_NETWORK_THREADS, format: "{v}", unit: threads, min: 1, max: 16, steps: [1, 2, 4], readback: "broker-config:num.network.threads"}
    windows: {settle: 0s, warmup: 0s, warmup_limit: 5s, steady: 1, window: 8s, count: 4, extra: 20, max_age: 10m}
`

// Beside somebody's Kafka a tuner in mode observe finds it, one in mode recommend says what it would change, and the API server's own log shows that neither
// wrote anything there but Events. They run as processes, with the files, flags and the account's token that their pods would have. Kafka is reached by TLS and a password.
func TestATunerBesideSomebodysKafkaChangesNothing(t *testing.T) {
	t.Parallel()
	kube := kubetest.Start(t, kubetest.Audited())
	crds, err := os.ReadFile("../../tuner/apply/testdata/strimzi-crds.json")
	if err != nil {
		t.Fatal(err)
	}
	kube.KubectlIn(t, string(crds), "create", "-f", "-")
	kube.Served(t, "kafka.strimzi.io/v1", "Kafka", "KafkaNodePool")
	kube.Node(t, kubetest.Ready)
	kube.KubectlIn(t, namespaces+"---"+theirs, "apply", "-f", "-")
	broker := kafkatest.Start(t, kafkatest.Secure(t), kafkatest.Env(map[string]string{"KAFKA_NUM_IO_THREADS": "2", "KAFKA_NUM_NETWORK_THREADS": "1"}))
	kube.Kubectl(t, "create", "secret", "generic", "kafka-ca", "-n", namespace, "--from-file=ca.crt="+broker.Secured.CAFile)
	kube.Kubectl(t, "create", "secret", "generic", "kafka-user", "-n", namespace, "--from-file=password="+broker.Secured.PasswordFile)
	bin := programs(t)
	load := start(t, bin["loadgen"], nil, "run", "--workload=steady", "--rate=200", "--topic=orders", "--listen=127.0.0.1:0", "--kafka.brokers="+broker.Addr)
	load.addr(t)
	node := &kubelet{t: t, kube: kube, bin: bin, shared: t.TempDir()}
	kube.Kubectl(t, "rollout", "status", "-n", "streaming", "statefulset/events", "--timeout=60s")
	kube.Kubectl(t, "wait", "--for=condition=Ready", "-n", "streaming", "pod/events-pool-0", "--timeout=60s")
	kube.Kubectl(t, "patch", "-n", "streaming", "kafkas.kafka.strimzi.io/events", "--subresource=status", "--type=merge", // as the operator would
		`--patch={"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"True"}]}}`)
	before := targets(t, kube)

	// The exporter first: their Prometheus scrapes it.
	with := func(prometheus string) values {
		return over(t, read(t, example("look"), example("own-clients")), strings.NewReplacer("BROKER", broker.Secured.SASLTLSAddr, "USER", kafkatest.User, "PROMETHEUS", prometheus).Replace(measured))
	}
	install(t, kube, over(t, with("http://prometheus:9090"), "tuner: {enabled: false}"), release)
	exporter := node.run(prefix+"exporter", "exporter")
	within(t, "the exporter shows their Kafka", func() error {
		text, err := get("http://" + exporter.addr(t) + "/metrics")
		if err == nil && !(strings.Contains(text, "\nkafka_up 1\n") && strings.Contains(text, `topic="orders"`)) {
			err = fmt.Errorf("got\n%s", text)
		}
		return err
	})
	look := with(promtest.Start(t, exporter.addr(t)).URL)
	strimzi := over(t, look, "{kafka: {kind: Kafka}, tuner: {mode: recommend}, exporter: {enabled: false}}")
	install(t, kube, look, release)
	install(t, kube, strimzi, "ops")

	// Look.
	tuner := node.run(prefix+"tuner", "tuner")
	ops := node.run("ops-kafkalab-tuner", "tuner")
	within(t, "the observing tuner finds their Kafka", func() error {
		s, err := tuner.status(t)
		if err == nil && (s.State != status.Observing || !knows(s) || s.Live.P99 == nil || s.Live.Acked == nil) {
			err = fmt.Errorf("got %s (%s), knobs %s, missing %v", s.State, s.Reason, shown(s), s.Live.Missing)
		}
		return err
	})
	t.Logf("observing:\n%s", tuner.says(t))
	if s, err := tuner.status(t); err != nil || s.Next != nil || len(s.Trials) > 0 {
		t.Errorf("want nothing said or tried in mode observe, got %+v, %v", s.Next, err)
	}
	tuner.stop(t)

	// Ask.
	recommend := over(t, look, "tuner: {mode: recommend}")
	install(t, kube, recommend, release)
	tuner = node.run(prefix+"tuner", "tuner")
	for _, p := range []*process{tuner, ops} {
		var s status.Snapshot
		within(t, "a recommendation comes out of "+p.pod, func() (err error) {
			s, err = p.status(t)
			if err == nil && (s.State != status.Recommending || s.Next == nil || s.Goal.Baseline == nil || !knows(s)) {
				err = fmt.Errorf("got %s (%s), next %v, baseline %v, knobs %s", s.State, s.Reason, s.Next, s.Goal.Baseline, shown(s))
			}
			return err
		})
		if s.Next.Old == s.Next.New || s.Next.Reason == "" || len(s.Trials) > 0 {
			t.Errorf("want a change with a reason, not tried, got %+v", s.Next)
			continue
		}
		t.Logf("%s recommends:\n%s", p.pod, p.says(t, "ask"))
	}
	tuner.stop(t)
	ops.stop(t)

	// Nothing was changed.
	if after := targets(t, kube); after != before {
		t.Errorf("their Kafka before:\n%s\nand after:\n%s", before, after)
	}
	accounts := []string{"system:serviceaccount:kafkalab:" + prefix + "tuner", "system:serviceaccount:kafkalab:ops-kafkalab-tuner"}
	for i, resource := range []string{"statefulsets", "kafkas"} {
		requests := by(kube.Audit(t), accounts[i])
		if !slices.ContainsFunc(requests, func(r kubetest.Request) bool {
			return r.Verb == "get" && r.Resource == resource && r.Name == "events" && r.Code == 200
		}) {
			t.Errorf("%s: want their %s read, by the audit log, which has of it: %v", accounts[i], resource, requests)
		}
		for _, r := range requests {
			asked := r.Resource == "selfsubjectaccessreviews" // what it may do
			if write := !slices.Contains([]string{"get", "list", "watch"}, r.Verb); write && !asked && !(r.Resource == "events" && r.Verb == "create") {
				t.Errorf("want nothing written but Events, got %+v", r)
			}
			if r.Code == http.StatusForbidden {
				t.Errorf("want every right there that is used, got %+v", r)
			}
		}
	}
	// It could not have been otherwise, and the log would show it.
	asTuner := node.client(prefix + "tuner")
	patch := []byte(`{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}`)
	if _, err := asTuner.AppsV1().StatefulSets("streaming").Patch(t.Context(), "events", types.MergePatchType, patch, meta.PatchOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a patch with the account's token: want it forbidden, got %v", err)
	}
	if !slices.ContainsFunc(by(kube.Audit(t), accounts[0]), func(r kubetest.Request) bool { return r.Verb == "patch" && r.Code == 403 }) {
		t.Error("want the forbidden patch in the audit log")
	}

	// Let it act: two of them, one ledger.
	install(t, kube, over(t, over(t, look, string(must(os.ReadFile(example("act"))))), "tuner: {storage: {class: ''}}"), release)
	first := node.run(prefix+"tuner", "tuner")
	within(t, "the first holds the lease", func() error { return first.holds(t, true) })
	second := node.runNth(prefix+"tuner", "tuner", 1)
	within(t, "the second stands by", func() error { return second.holds(t, false) })
	asTuner = node.client(prefix + "tuner")
	for _, c := range []struct {
		verb, group, resource, name string
		want                        bool
	}{
		{"patch", "apps", "statefulsets", "events", true},
		{"patch", "apps", "statefulsets", "other", false},
		{"update", "apps", "statefulsets", "events", false},
		{"delete", "apps", "statefulsets", "events", false},
		{"delete", "", "pods", "events-0", false},
		{"get", "", "secrets", "", false},
		{"list", "", "configmaps", "", false},
		{"update", "coordination.k8s.io", "leases", "kafkalab-tuner-events", true},
		{"update", "coordination.k8s.io", "leases", "kafkalab-tuner-other", false},
		{"patch", "kafka.strimzi.io", "kafkas", "events", false},
	} {
		answer, err := asTuner.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorization.SelfSubjectAccessReview{
			Spec: authorization.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorization.ResourceAttributes{
				Namespace: "streaming", Verb: c.verb, Group: c.group, Resource: c.resource, Name: c.name,
			}}}, meta.CreateOptions{})
		if err != nil || answer.Status.Allowed != c.want {
			t.Errorf("%+v: got %v, %v", c, answer.Status.Allowed, err)
		}
	}
	t.Logf("the second:\n%s", second.says(t))
	first.stop(t)
	within(t, "the second takes over", func() error { return second.holds(t, true) })
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// install applies what the chart makes, as helm would, and waits until the pods are there.
func install(t *testing.T, kube *kubetest.Server, v values, as string) {
	t.Helper()
	text := render(t, v, as)
	kube.KubectlIn(t, text, "apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-")
	for _, o := range objects(t, text) {
		if kind := strings.ToLower(o.GetKind()); kind == "statefulset" || kind == "deployment" {
			kube.Kubectl(t, "rollout", "status", "-n", namespace, kind+"/"+o.GetName(), "--timeout=60s")
		}
	}
}

// targets is what could have been changed of their Kafka, without what its own controllers write.
func targets(t *testing.T, kube *kubetest.Server) string {
	t.Helper()
	text := ""
	for _, name := range []string{"statefulset/events", "statefulset/other", "kafkas.kafka.strimzi.io/events"} {
		text += kube.Kubectl(t, "get", "-n", "streaming", name, "-o", `jsonpath={.metadata.uid} {.metadata.generation} {.metadata.labels} {.metadata.annotations} {.spec}{"\n"}`)
	}
	return text + kube.Kubectl(t, "get", "pods", "-n", "streaming", "-o", `jsonpath={range .items[*]}{.metadata.uid} {.spec}{"\n"}{end}`)
}

func by(all []kubetest.Request, user string) []kubetest.Request {
	return slices.DeleteFunc(all, func(r kubetest.Request) bool { return r.User != user })
}

// knows says whether desired and effective values of both knobs are there and right.
func knows(s status.Snapshot) bool {
	want := map[string]int64{"io_threads": 2, "network_threads": 1}
	for _, k := range s.Knobs {
		if k.Desired == nil || k.Effective == nil || *k.Desired != want[k.Name] || *k.Effective != want[k.Name] {
			return false
		}
	}
	return len(s.Knobs) == len(want)
}

func shown(s status.Snapshot) string {
	text, _ := json.Marshal(s.Knobs)
	return string(text)
}

const patience = 5 * time.Minute

func within(t *testing.T, what string, cond func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = cond(); err == nil {
			return
		}
	}
	t.Fatalf("within %s: %s: %v", patience, what, err)
}
