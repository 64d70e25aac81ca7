//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

const (
	keptTopic  = "e2e-kept"
	keptGroup  = "e2e-kept"
	keptCount  = 1000
	keptCommit = 417
)

func kafkaClient(t *testing.T) sarama.Client {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{kafkaAddr}, ID: "e2e"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Producer.RequiredAcks, conf.Producer.Return.Successes = sarama.WaitForAll, true
	conf.Consumer.Offsets.AutoCommit.Enable = false
	var client sarama.Client
	eventually(t, time.Minute, "Kafka answers on the machine's loopback", func() (err error) {
		client, err = sarama.NewClient([]string{kafkaAddr}, conf)
		return err
	})
	t.Cleanup(func() { client.Close() })
	return client
}

// effect is what the broker or its JVM really does, and what it should.
type effect struct {
	of   func(*testing.T, *lab) (float64, error)
	want float64
}

// knobsTakeEffect patches each variable as a user would and looks at what the broker and its JVM really do then.
func knobsTakeEffect(t *testing.T, l *lab) {
	keep(t)
	network, io, most := brokerConfig("num.network.threads"), brokerConfig("num.io.threads"), jvmHeap("jvm_memory_max_bytes")
	for _, k := range []struct {
		name    string
		env     string // what kubectl patches, of a container's list of variables
		effects []effect
	}{
		{
			"threads", `{"name":"KAFKA_NUM_NETWORK_THREADS","value":"3"},{"name":"KAFKA_NUM_IO_THREADS","value":"5"}`,
			[]effect{{network, 3}, {io, 5}},
		},
		{"heap that may grow", `{"name":"KAFKA_HEAP_OPTS","value":"-Xms300m -Xmx400m"}`, []effect{{jvmHeap("jvm_memory_init_bytes"), 300 << 20}, {most, 400 << 20}}},
		{
			"all three at once, back to the start of the demo",
			`{"name":"KAFKA_HEAP_OPTS","value":"-Xms256m -Xmx256m"},{"name":"KAFKA_NUM_NETWORK_THREADS","value":"1"},{"name":"KAFKA_NUM_IO_THREADS","value":"2"}`,
			[]effect{{most, 256 << 20}, {network, 1}, {io, 2}},
		},
	} {
		t.Run(k.name, func(t *testing.T) {
			for _, e := range k.effects {
				if got, err := e.of(t, l); err != nil || got == e.want {
					t.Fatalf("before the patch: %v %v, so the patch could prove nothing", got, err)
				}
			}
			patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"kafka","env":[%s]}]}}}}`, k.env)
			l.admin(t, "patch", "statefulset", "kafka", "-n", "kafka", "-p", patch)
			l.admin(t, "rollout", "status", "statefulset/kafka", "-n", "kafka", "--timeout=120s")
			for _, e := range k.effects {
				eventually(t, time.Minute, "effect", func() error {
					got, err := e.of(t, l)
					if err == nil && got != e.want {
						return fmt.Errorf("got %v, want %v", got, e.want)
					}
					return err
				})
			}
			mustBeKept(t)
		})
	}
}

func brokerConfig(name string) func(*testing.T, *lab) (float64, error) {
	return func(t *testing.T, _ *lab) (float64, error) {
		client := kafkaClient(t)
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			return 0, err
		}
		brokers := client.Brokers()
		if len(brokers) != 1 {
			return 0, fmt.Errorf("%d brokers", len(brokers))
		}
		id := strconv.Itoa(int(brokers[0].ID()))
		resource := &sarama.ConfigResource{Type: sarama.BrokerResource, Name: id, ConfigNames: []string{name}}
		results, err := admin.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
		if err != nil {
			return 0, err
		}
		for _, r := range results {
			for _, e := range r.Configs {
				if e.Name == name {
					return strconv.ParseFloat(e.Value, 64)
				}
			}
		}
		return 0, fmt.Errorf("the broker does not know %s", name)
	}
}

func jvmHeap(metric string) func(*testing.T, *lab) (float64, error) {
	return func(_ *testing.T, l *lab) (float64, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return heapGauge(ctx, l.kube, "kafka-0", metric)
	}
}

// heapGauge asks a broker's own metrics, straight from the pod: Prometheus might still answer from before the restart.
func heapGauge(ctx context.Context, kube kubernetes.Interface, name, metric string) (float64, error) {
	pod, err := kube.CoreV1().Pods("kafka").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":9404/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), metric+`{area="heap"`); ok {
			return strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		}
	}
	return 0, fmt.Errorf("no %s in the metrics of %s", metric, name)
}

// keep writes records and commits an offset that every later patch must leave alone.
func keep(t *testing.T) {
	client := kafkaClient(t)
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CreateTopic(keptTopic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the topic has a leader", func() error { // what is sent again would move the offsets
		if err := client.RefreshMetadata(keptTopic); err != nil {
			return err
		}
		_, err := client.GetOffset(keptTopic, 0, sarama.OffsetNewest)
		return err
	})
	var batch []*sarama.ProducerMessage
	for i := range keptCount {
		batch = append(batch, &sarama.ProducerMessage{Topic: keptTopic, Value: sarama.StringEncoder(strconv.Itoa(i))})
	}
	if err := producer.SendMessages(batch); err != nil {
		t.Fatal(err)
	}
	offsets, err := sarama.NewOffsetManagerFromClient(keptGroup, client)
	if err != nil {
		t.Fatal(err)
	}
	partition, err := offsets.ManagePartition(keptTopic, 0)
	if err != nil {
		t.Fatal(err)
	}
	partition.MarkOffset(keptCommit, "e2e")
	offsets.Commit()
	partition.AsyncClose() // Close would wait for the manager to be closed
	if err := offsets.Close(); err != nil {
		t.Fatal(err)
	}
	mustBeKept(t)
}

// mustBeKept reads every record and the committed offset.
func mustBeKept(t *testing.T) {
	t.Helper()
	client := kafkaClient(t)
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "committed offset", func() error {
		got, err := admin.ListConsumerGroupOffsets(keptGroup, map[string][]int32{keptTopic: {0}})
		if err != nil {
			return err
		}
		if b := got.GetBlock(keptTopic, 0); b == nil || b.Offset != keptCommit || b.Metadata != "e2e" {
			return fmt.Errorf("committed offset: %+v, want %d", b, keptCommit)
		}
		return nil
	})
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(keptTopic, 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer partition.Close()
	deadline := time.After(30 * time.Second)
	for i := range keptCount {
		select {
		case m := <-partition.Messages():
			if m.Offset != int64(i) || string(m.Value) != strconv.Itoa(i) {
				t.Fatalf("record %d: got offset %d, value %q", i, m.Offset, m.Value)
			}
		case <-deadline:
			t.Fatalf("record %d did not come within 30 s", i)
		}
	}
}
