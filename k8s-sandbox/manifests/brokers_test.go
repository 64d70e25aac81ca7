package manifests_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	disruption "k8s.io/api/policy/v1"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

const threeBrokers = "three-brokers"

// TestThreeBrokers: each has its volume and its port on the machine, nothing is kept once only, and the settings reach them all.
func TestThreeBrokers(t *testing.T) {
	b := build(t, generated(t, threeBrokers))
	set := get[*apps.StatefulSet](t, b, "StatefulSet/kafka/kafka")
	kafka := set.Spec.Template.Spec.Containers[0]
	if *set.Spec.Replicas != 3 || set.Spec.PodManagementPolicy != apps.ParallelPodManagement || set.Spec.UpdateStrategy.Type != apps.RollingUpdateStatefulSetStrategyType {
		t.Errorf("want three that begin together and are replaced one by one (got %+v)", set.Spec)
	}
	for name, want := range map[string]string{
		"KAFKA_DEFAULT_REPLICATION_FACTOR": "3", "KAFKA_MIN_INSYNC_REPLICAS": "2", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "3",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "3", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "2",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "3", "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "2",
		"KAFKA_HEAP_OPTS": "-Xms301m -Xmx302m", "EXTERNAL_ADDRESS": "127.0.0.1:19092",
	} {
		if got := env(t, kafka, name); got != want {
			t.Errorf("%s: want %s (got %s)", name, want, got)
		}
	}
	if got := get[*disruption.PodDisruptionBudget](t, b, "PodDisruptionBudget/kafka/kafka").Spec.MaxUnavailable; got == nil || got.IntValue() != 1 {
		t.Errorf("want one broker evicted at a time (got %v)", got)
	}
	ports, err := layout.Ports(func(string) string { return "" }, 3)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		name, volume, service := fmt.Sprintf("kafka-%d", n), "kafkalab-kafka", "kafka-external"
		folder, port := "/home/me/a lab/state/kafka", "kafka"
		if n > 0 {
			suffix := fmt.Sprintf("-%d", n)
			volume, service, folder, port = volume+suffix, service+suffix, folder+suffix, port+suffix
		}
		pv := get[*core.PersistentVolume](t, b, "PersistentVolume//"+volume)
		if pv.Spec.HostPath.Path != folder || pv.Spec.ClaimRef.Name != "data-"+name {
			t.Errorf("%s: want %s for %s (got %+v)", volume, folder, name, pv.Spec)
		}
		s := get[*core.Service](t, b, "Service/kafka/"+service)
		if s.Spec.Selector["statefulset.kubernetes.io/pod-name"] != name || !s.Spec.PublishNotReadyAddresses {
			t.Errorf("%s: want %s alone, whether or not it is ready (got %+v)", service, name, s.Spec)
		}
		for _, p := range ports {
			if p.Name == port && int(s.Spec.Ports[0].NodePort) != p.Node {
				t.Errorf("%s: want the port of the layout, %d (got %d)", service, p.Node, s.Spec.Ports[0].NodePort)
			}
		}
	}
	if args := get[*apps.Deployment](t, b, "Deployment/kafkalab/loadgen").Spec.Template.Spec.Containers[0].Args; !strings.Contains(strings.Join(args, " "), "--topic.replication=3") {
		t.Errorf("want the load's topic replicated (got %v)", args)
	}
}

// TestABrokersOwnSettings runs what the container runs, up to where Kafka would begin.
func TestABrokersOwnSettings(t *testing.T) {
	set := get[*apps.StatefulSet](t, build(t, generated(t, threeBrokers)), "StatefulSet/kafka/kafka")
	script := strings.Replace(set.Spec.Template.Spec.Containers[0].Args[0], "exec /opt/kafka/bin/kafka-run", "env", 1)
	cmd := exec.Command("/bin/bash", "-c", script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOSTNAME=kafka-2", "EXTERNAL_ADDRESS=127.0.0.1:19092", "KAFKA_NODE_ID=0"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"\nKAFKA_NODE_ID=2\n",
		"\nKAFKA_ADVERTISED_LISTENERS=INTERNAL://kafka-2.kafka-headless.kafka.svc.cluster.local:9092,EXTERNAL://127.0.0.1:19094\n",
	} {
		if !strings.Contains("\n"+string(out), want) {
			t.Errorf("want %q (got %s)", want, out)
		}
	}
}

// TestReadyMeansInSync runs the readiness probe against a broker that answers as it is told.
func TestReadyMeansInSync(t *testing.T) {
	set := get[*apps.StatefulSet](t, build(t, generated(t, threeBrokers)), "StatefulSet/kafka/kafka")
	probe := set.Spec.Template.Spec.Containers[0].ReadinessProbe.Exec.Command
	for name, c := range map[string]struct {
		answer []byte
		ready  bool
	}{
		"in every in-sync set":         {metadata([]int32{0, 1, 2}, []int32{1, 0, 2}), true},
		"another one is not":           {metadata([]int32{0, 1, 2}, []int32{0, 2}), true},
		"it holds nothing yet":         {metadata([]int32{0, 1, 2}, nil), true},
		"not in the last partition's":  {metadata([]int32{0, 1, 2}, []int32{1, 0}), false},
		"the cluster does not know it": {metadata([]int32{0, 1}, []int32{1, 0, 2}), false},
		"half an answer":               {metadata([]int32{0, 1, 2}, []int32{1, 0, 2})[:700], false},
		"no answer":                    {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				request := make([]byte, 4+14)
				if _, err := io.ReadFull(conn, request); err == nil {
					_, _ = conn.Write(c.answer) // the probe may have seen enough
				}
			}()
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			script := strings.Replace(probe[2], "127.0.0.1/9092", "127.0.0.1/"+port, 1)
			cmd := exec.Command(probe[0], probe[1], script)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOSTNAME=kafka-2"}
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ready {
				t.Errorf("want ready %v (got %v: %s)", c.ready, err, out)
			}
			l.Close()
			<-done
		})
	}
}

// metadata is an answer of the protocol's version 1: brokers, and two topics of which the last partition has the in-sync set; all others are whole.
func metadata(brokers, last []int32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 1)
	text := func(s string) {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	list := func(ids []int32) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(ids)))
		for _, id := range ids {
			b = binary.BigEndian.AppendUint32(b, uint32(id))
		}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(brokers)))
	for _, id := range brokers {
		b = binary.BigEndian.AppendUint32(b, uint32(id))
		text(fmt.Sprintf("kafka-%d.kafka-headless.kafka.svc.cluster.local", id))
		b = binary.BigEndian.AppendUint32(b, 9092)
		b = binary.BigEndian.AppendUint16(b, 0xffff) // no rack
	}
	b = binary.BigEndian.AppendUint32(b, 0xffffffff) // the controller is not known
	topics := map[string]int{"lab": 12, "__consumer_offsets": 50}
	if last == nil {
		topics = nil
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for _, name := range []string{"lab", "__consumer_offsets"}[:len(topics)] {
		b = append(b, 0, 0)
		text(name)
		b = append(b, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(topics[name]))
		for p := range topics[name] {
			b = append(b, 0, 0)
			b = binary.BigEndian.AppendUint32(b, uint32(p))
			b = binary.BigEndian.AppendUint32(b, 0xffffffff) // no leader
			list([]int32{0, 1, 2})
			if name == "__consumer_offsets" && p == topics[name]-1 {
				list(last)
			} else {
				list([]int32{1, 0, 2})
			}
		}
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}
