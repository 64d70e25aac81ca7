package exporter_test

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

var (
	topics     = flag.Int("topics", 500, "topics on the broker")
	partitions = flag.Int("partitions", 20, "partitions of each topic")
	groups     = flag.Int("groups", 500, "consumer groups, each of which has committed all partitions of one topic")
)

const (
	records   = 10 // in each partition
	committed = 4  // of them, by each group
)

// start runs a broker with the heap that Kafka itself would take, and fills it.
func start(b *testing.B) string {
	b.Helper()
	broker := kafkatest.Start(b, kafkatest.Deployed(), kafkatest.Env(map[string]string{"KAFKA_HEAP_OPTS": "", "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "50"})) // as Kafka has them
	conf, err := kafka.Client{Brokers: []string{broker.Addr}, ID: "bench", Timeout: 30 * time.Second}.Config()
	if err != nil {
		b.Fatal(err)
	}
	conf.Producer.Partitioner = sarama.NewManualPartitioner
	conf.Producer.Return.Successes = true
	client, err := sarama.NewClient([]string{broker.Addr}, conf)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for _, fill := range []func(sarama.Client) error{createTopics, awaitLeaders, produce, commit} {
		if err := fill(client); err != nil {
			b.Fatal(err)
		}
	}
	return broker.Addr
}

func topic(i int) string { return fmt.Sprintf("topic-%04d", i) }

// createTopics makes fifty at a time: Kafka refuses requests that make more than 10,000 changes.
func createTopics(c sarama.Client) error {
	controller, err := c.Controller()
	if err != nil {
		return fmt.Errorf("find controller: %w", err)
	}
	for from := 0; from < *topics; from += 50 {
		details := map[string]*sarama.TopicDetail{}
		for i := from; i < min(from+50, *topics); i++ {
			details[topic(i)] = &sarama.TopicDetail{NumPartitions: int32(*partitions), ReplicationFactor: 1}
		}
		answer, err := controller.CreateTopics(sarama.NewCreateTopicsRequest(c.Config().Version, details, 30*time.Second, false))
		if err != nil {
			return fmt.Errorf("create topics: %w", err)
		}
		for name, problem := range answer.TopicErrors {
			if problem.Err != sarama.ErrNoError {
				return fmt.Errorf("create topic %s: %w", name, problem)
			}
		}
	}
	return c.RefreshMetadata()
}

// awaitLeaders asks until the broker has opened the log of each partition: until then it says that it is not the leader.
func awaitLeaders(c sarama.Client) error {
	ask := sarama.NewOffsetRequest(c.Config().Version)
	for i := range *topics {
		for id := range *partitions {
			ask.AddBlock(topic(i), int32(id), sarama.OffsetNewest, 1)
		}
	}
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		answer, err := c.Brokers()[0].GetAvailableOffsets(ask)
		if err != nil {
			return fmt.Errorf("list offsets: %w", err)
		}
		code := sarama.ErrNoError
		for _, blocks := range answer.Blocks {
			for _, block := range blocks {
				if block.Err != sarama.ErrNoError {
					code = block.Err
				}
			}
		}
		if code == sarama.ErrNoError {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("open partitions: %w", code)
		}
	}
}

func produce(c sarama.Client) error {
	p, err := sarama.NewSyncProducerFromClient(c)
	if err != nil {
		return fmt.Errorf("make producer: %w", err)
	}
	defer p.Close()
	for i := range *topics {
		var batch []*sarama.ProducerMessage
		for id := range *partitions {
			for range records {
				batch = append(batch, &sarama.ProducerMessage{Topic: topic(i), Partition: int32(id), Value: sarama.StringEncoder("x")})
			}
		}
		if err := p.SendMessages(batch); err != nil {
			var failed sarama.ProducerErrors
			if errors.As(err, &failed) {
				err = failed[0].Err
			}
			return fmt.Errorf("produce to %s: %w", topic(i), err)
		}
	}
	return nil
}

func commit(c sarama.Client) error {
	for g := range *groups {
		group := fmt.Sprintf("group-%04d", g)
		ask := &sarama.OffsetCommitRequest{Version: 7, ConsumerGroup: group, ConsumerGroupGeneration: sarama.GroupGenerationUndefined}
		for id := range *partitions {
			ask.AddBlockWithLeaderEpoch(topic(g%*topics), int32(id), committed, -1, 0, "")
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // the coordinator loads its partition first
			err := commitOnce(c, group, ask)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("commit as %s: %w", group, err)
			}
		}
	}
	return nil
}

func commitOnce(c sarama.Client, group string, ask *sarama.OffsetCommitRequest) error {
	if err := c.RefreshCoordinator(group); err != nil {
		return err
	}
	coordinator, err := c.Coordinator(group)
	if err != nil {
		return err
	}
	answer, err := coordinator.CommitOffset(ask)
	if err != nil {
		return err
	}
	for _, parts := range answer.Errors {
		for _, code := range parts {
			if code != sarama.ErrNoError {
				return code
			}
		}
	}
	return nil
}
