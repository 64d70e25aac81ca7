package collector_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// client is another client of the same Kafka, by which the test makes what the exporter then has to show.
type client struct {
	t     *testing.T
	kafka sarama.Client
	admin sarama.ClusterAdmin
}

func newClient(t *testing.T, addrs ...string) *client {
	t.Helper()
	conf, err := kafka.Client{Brokers: addrs, ID: "test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Producer.Partitioner = sarama.NewManualPartitioner
	conf.Producer.Return.Successes = true
	conf.Consumer.Offsets.AutoCommit.Enable = false
	conf.Consumer.Offsets.Initial = sarama.OffsetOldest
	k, err := sarama.NewClient(addrs, conf)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	return &client{t: t, kafka: k, admin: admin}
}

// topic makes one, and waits until its partitions can be used: a busy broker leads them a while after it has said that they are there.
func (c *client) topic(name string, partitions int32) {
	c.t.Helper()
	if err := c.admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		c.t.Fatal(err)
	}
	c.usable(name, partitions)
}

// usable waits until every partition of a new topic answers.
func (c *client) usable(name string, partitions int32) {
	c.t.Helper()
	waitFor(c.t, 30*time.Second, "a leader for topic "+name, func() bool {
		if err := c.kafka.RefreshMetadata(name); err != nil {
			return false
		}
		for id := range partitions {
			if _, err := c.kafka.GetOffset(name, id, sarama.OffsetNewest); err != nil {
				return false
			}
		}
		return true
	})
}

func (c *client) produce(topic string, partition int32, n int) {
	c.t.Helper()
	p, err := sarama.NewSyncProducerFromClient(c.kafka)
	if err != nil {
		c.t.Error(err) // also called from other goroutines than the test's
		return
	}
	defer p.Close()
	messages := make([]*sarama.ProducerMessage, n)
	for i := range messages {
		messages[i] = &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder("x")}
	}
	if err := p.SendMessages(messages); err != nil {
		c.t.Error(err)
		return
	}
}

// commit waits for the coordinator: it is elected, and then loads its partition, only when the first group asks for it.
func (c *client) commit(group, topic string, partition int32, offset int64) {
	c.t.Helper()
	ask := &sarama.OffsetCommitRequest{Version: 7, ConsumerGroup: group, ConsumerGroupGeneration: sarama.GroupGenerationUndefined}
	ask.AddBlockWithLeaderEpoch(topic, partition, offset, -1, 0, "")
	waitFor(c.t, 30*time.Second, "the coordinator of "+group, func() bool {
		coordinator, err := c.kafka.Coordinator(group)
		if err != nil {
			return false
		}
		answer, err := coordinator.CommitOffset(ask)
		if err != nil {
			_ = coordinator.Close() // sarama would use the broken connection again
			return false
		}
		switch code := answer.Errors[topic][partition]; code {
		case sarama.ErrNoError:
			return true
		case sarama.ErrOffsetsLoadInProgress, sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable:
			_ = c.kafka.RefreshCoordinator(group) // asked again if it failed
			return false
		default:
			c.t.Fatalf("commit %s %s/%d: %v", group, topic, partition, code)
			return false
		}
	})
}

// member joins a group and stays until the test ends. It is returned once it has its partitions.
type member struct{ joined chan struct{} }

func (m member) Setup(sarama.ConsumerGroupSession) error   { close(m.joined); return nil }
func (m member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m member) ConsumeClaim(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-s.Context().Done()
	return nil
}

func (c *client) join(group, topic string) {
	c.t.Helper()
	g, err := sarama.NewConsumerGroupFromClient(group, c.kafka)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := member{joined: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Consume(ctx, []string{topic}, m)
	}()
	c.t.Cleanup(func() {
		cancel()
		<-ended
		_ = g.Close()
	})
	select {
	case <-m.joined:
	case <-time.After(30 * time.Second):
		c.t.Fatalf("group %s: not joined within 30 s", group)
	}
}

func TestARealKafka(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, kafkatest.Env(map[string]string{"KAFKA_BROKER_RACK": "r1"}))
	c := newClient(t, broker.Addr)
	c.topic("orders", 3)
	c.topic("payments", 1)
	c.produce("orders", 0, 100)
	c.produce("orders", 1, 40)
	c.produce("payments", 0, 7)
	if err := c.admin.DeleteRecords("orders", map[int32]int64{1: 15}); err != nil {
		t.Fatal(err)
	}
	c.commit("billing", "orders", 0, 63)
	c.commit("billing", "orders", 1, 40)
	c.commit("billing", "payments", 0, 0)
	c.join("live", "orders")

	e := newExporter(t, []string{broker.Addr}, nil)
	got := e.collect(20 * time.Second)
	got.want(t, map[string]string{
		`kafka_up`:                               "1",
		`kafka_brokers`:                          "1",
		`kafka_topic_partitions{topic="orders"}`: "3",
		`kafka_topic_partition_end_offset{partition="0",topic="orders"}`:                      "100",
		`kafka_topic_partition_end_offset{partition="1",topic="orders"}`:                      "40",
		`kafka_topic_partition_end_offset{partition="2",topic="orders"}`:                      "0",
		`kafka_topic_partition_start_offset{partition="1",topic="orders"}`:                    "15",
		`kafka_topic_partition_offline{partition="0",topic="orders"}`:                         "0",
		`kafka_topic_partition_in_sync_replicas{partition="0",topic="orders"}`:                "1",
		`kafka_topic_partition_leader_is_preferred{partition="0",topic="orders"}`:             "1",
		`kafka_consumer_group_committed_offset{group="billing",partition="0",topic="orders"}`: "63",
		`kafka_consumer_group_lag{group="billing",partition="0",topic="orders"}`:              "37",
		`kafka_consumer_group_lag{group="billing",partition="1",topic="orders"}`:              "0",
		`kafka_consumer_group_lag{group="billing",partition="0",topic="payments"}`:            "7",
		`kafka_consumer_group_lag{group="billing",partition="2",topic="orders"}`:              "",
		`kafka_consumer_group_topic_lag{group="billing",topic="orders"}`:                      "37",
		`kafka_consumer_group_members{group="billing"}`:                                       "0",
		`kafka_consumer_group_state{group="billing",state="Empty"}`:                           "1",
		`kafka_consumer_group_members{group="live"}`:                                          "1",
		`kafka_consumer_group_state{group="live",state="Stable"}`:                             "1",
		`kafka_exporter_collector_success{collector="groups"}`:                                "1",
		`kafka_exporter_collector_success{collector="offsets"}`:                               "1",
	})
	for _, family := range []string{"kafka_broker_is_controller", "kafka_exporter_kafka_request_errors_total"} {
		if found := got.of(family); len(found) != 0 {
			t.Errorf("want no %s, got %v", family, found)
		}
	}
	id := c.kafka.Brokers()[0].ID()
	if want, got := []string{fmt.Sprintf(`kafka_broker_info{address=%q,broker="%d",rack="r1"} 1`, broker.Addr, id)}, got.of("kafka_broker_info"); !slices.Equal(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}

	broker.Restart(t)
	waitFor(t, 30*time.Second, "leaders and coordinator to be back, with offsets and commits", func() bool {
		got := e.collect(10 * time.Second)
		end, _ := got.value(`kafka_topic_partition_end_offset{partition="0",topic="orders"}`)
		lag, _ := got.value(`kafka_consumer_group_topic_lag{group="billing",topic="orders"}`)
		return end == "100" && lag == "37"
	})

	broker.Kill(t)
	began := time.Now()
	e.collect(2*time.Second).want(t, map[string]string{`kafka_up`: "0"})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("want a killed broker noticed within the 2 s given, took %s", took)
	}
}

func TestLagIsNeverNegativeWhileAConsumerKeepsUp(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	c := newClient(t, broker.Addr)
	c.topic("busy", 1)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() { // commits each end as soon as it is known
		defer close(ended)
		for offset := int64(1); ; offset++ {
			select {
			case <-stop:
				return
			default:
				c.produce("busy", 0, 1)
				c.commit("keeps-up", "busy", 0, offset)
			}
		}
	}()
	e := newExporter(t, []string{broker.Addr}, nil)
	waitFor(t, time.Minute, "the first commit to be shown", func() bool {
		return len(e.collect(10*time.Second).of("kafka_consumer_group_topic_unknown_lag_partitions")) > 0
	})
	seen := 0
	for range 50 {
		got := e.collect(10 * time.Second)
		for _, line := range got.of("kafka_consumer_group_topic_unknown_lag_partitions") {
			if seen++; line != `kafka_consumer_group_topic_unknown_lag_partitions{group="keeps-up",topic="busy"} 0` {
				t.Errorf("want every lag known (a commit beyond the end is not), got %s", line)
			}
		}
	}
	close(stop)
	<-ended
	if seen < 10 {
		t.Errorf("want lag in at least 10 of 50 collections, got %d", seen)
	}
}
