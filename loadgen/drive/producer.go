package drive

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

const (
	dialTimeout  = 2 * time.Second        // an address that leads nowhere must not hold up the way back after a restart
	readTimeout  = 15 * time.Second       // longer than any answer the broker owes us, or an overload would break connections
	retryBackoff = 100 * time.Millisecond // between attempts while a broker is away: it is back within seconds
)

// Kafka is the cluster as an Outlet.
type Kafka struct {
	Client     kafka.Client
	Topic      string
	Partitions int // that the topic has; 0: as many as the workload asks for
	Workload   workload.Workload
	First      uint64 // number of client 0 among the clients of all copies
	Logger     *slog.Logger
}

func (k Kafka) config(role string, n int) (*sarama.Config, error) {
	client := k.Client
	client.ID = fmt.Sprintf("loadgen-%s-%d", role, n)
	c, err := client.Config()
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", role, err)
	}
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = dialTimeout, readTimeout, readTimeout
	// While the broker is away sarama asks for metadata until this ends, and only then fails what waits. Three failures within ten
	// seconds would open its circuit breaker, which keeps failing records for ten more after the broker is back.
	c.Metadata.Timeout = k.Workload.Producer.GiveUp
	c.Metadata.Retry.Backoff = 2 * retryBackoff
	c.Metadata.Retry.Max = int(c.Metadata.Timeout/c.Metadata.Retry.Backoff) + 1
	c.Metadata.RefreshFrequency = time.Minute
	c.Metadata.Full = false // the lab's topic only, not the cluster's
	return c, nil
}

// ProducerConfig is the sarama configuration of producing client n. It says nothing of idempotence: that is the batcher's own, with several
// requests open, which sarama's AsyncProducer refuses.
func (k Kafka) ProducerConfig(n int) (*sarama.Config, error) {
	c, err := k.config("producer", n)
	if err != nil {
		return nil, err
	}
	p := k.Workload.Producer
	acks, ok := map[string]sarama.RequiredAcks{"none": sarama.NoResponse, "leader": sarama.WaitForLocal, "all": sarama.WaitForAll}[p.Acks]
	if !ok {
		return nil, fmt.Errorf("producer.acks: must be none, leader or all (got %q)", p.Acks)
	}
	if err := c.Producer.Compression.UnmarshalText([]byte(p.Codec)); err != nil {
		return nil, fmt.Errorf("producer.codec: %w (got %q)", err, p.Codec)
	}
	c.Producer.RequiredAcks = acks
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	c.Producer.Partitioner = sarama.NewManualPartitioner // each stream of sequence numbers belongs to one partition
	c.Producer.Flush.Frequency, c.Producer.Flush.Messages, c.Producer.Flush.MaxMessages = p.Linger, p.Batch, p.MaxBatch
	c.Producer.Retry.Backoff = retryBackoff
	c.Producer.Retry.Max = int(p.GiveUp/retryBackoff) + 1
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configure producer: %w", err)
	}
	return c, nil
}
