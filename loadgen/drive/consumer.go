package drive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/loadgen/payload"
)

const (
	rejoinBackoff  = 250 * time.Millisecond
	sessionTimeout = 6 * time.Second // the broker's own minimum; a copy that was killed holds its partitions for so long
	commitEvery    = time.Second
	markEvery      = 256 // records between two marks: a mark takes a lock that all partitions share
)

// Receiver is told what consumers see.
type Receiver interface {
	// Arrived is called for each record, from one goroutine per group and partition.
	Arrived(Arrival)
	// Assigned says that a consumer goes on with a partition at an offset, before the first record from there.
	Assigned(group int, partition int32, offset int64)
	// Joined says that consumer n holds its partitions, each time that it does.
	Joined(n int)
}

// buffered is how many records each partition may hold ready for its worker. After an outage all of them are full at once, so together they
// must fit beside the payload arena: a thousand records of 50 KB in each of 24 partitions would be more than a gigabyte.
func buffered(p payload.Config, partitions int) int {
	const all = 64 << 20
	return min(max(all/(max(p.MaxBytes(), 1)*max(partitions, 1)), 4), 1024)
}

// Group is the name of consumer group n.
func (k Kafka) Group(n int) string {
	if n == 0 {
		return k.Workload.Consumer.Group
	}
	return fmt.Sprintf("%s-%d", k.Workload.Consumer.Group, n)
}

// ConsumerConfig is the sarama configuration of consuming client n.
func (k Kafka) ConsumerConfig(n int) (*sarama.Config, error) {
	c, err := k.config("consumer", n)
	if err != nil {
		return nil, err
	}
	w := k.Workload.Consumer
	if w.Isolation == "read_committed" {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	c.Consumer.Return.Errors = true
	c.Consumer.Fetch.Min, c.Consumer.Fetch.Default = int32(w.FetchMin), int32(w.FetchMax)
	c.Consumer.MaxWaitTime = w.MaxWait
	c.Consumer.MaxProcessingTime = time.Second // a pause of ours must not make sarama drop and take up the partition again
	c.Consumer.Retry.Backoff = rejoinBackoff
	c.Consumer.Offsets.Initial = sarama.OffsetNewest
	c.Consumer.Offsets.AutoCommit.Interval = commitEvery
	c.Consumer.Group.Session.Timeout = sessionTimeout
	c.Consumer.Group.Heartbeat.Interval = sessionTimeout / 6
	c.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	c.Consumer.Group.Rebalance.Retry.Backoff = rejoinBackoff
	c.Consumer.Group.Rebalance.Retry.Max = int(k.Workload.Producer.GiveUp / rejoinBackoff)
	c.ChannelBufferSize = buffered(k.Workload.Payload, cmp.Or(k.Partitions, k.Workload.Topic.Partitions))
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configure consumer: %w", err)
	}
	return c, nil
}

// Consume reads the topic as consumer n, the groups' members counted through, until ctx ends, and goes on after whatever breaks.
func (k Kafka) Consume(ctx context.Context, n int, to Receiver) error {
	c, err := k.ConsumerConfig(n)
	if err != nil {
		return err
	}
	number := n / k.Workload.Consumer.Clients
	group, err := sarama.NewConsumerGroup(k.Client.Brokers, k.Group(number), c)
	if err != nil {
		return fmt.Errorf("connect consumer: %w", err)
	}
	var errs sync.WaitGroup
	errs.Go(func() {
		for err := range group.Errors() {
			k.Logger.Warn("consumer", "client", n, "err", err)
		}
	})
	h := member{n: n, group: number, to: to}
	for ctx.Err() == nil {
		err := group.Consume(ctx, []string{k.Topic}, h)
		if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			k.Logger.Warn("consumer left its group, joining again", "client", n, "err", err)
			pause(ctx, rejoinBackoff)
		}
	}
	err = group.Close()
	errs.Wait()
	if err != nil {
		return fmt.Errorf("leave consumer group: %w", err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// member implements sarama.ConsumerGroupHandler.
type member struct {
	n, group int
	to       Receiver
}

// Setup is called when the member has been given its partitions.
func (m member) Setup(sarama.ConsumerGroupSession) error {
	m.to.Joined(m.n)
	return nil
}

// Cleanup commits what was marked last.
func (m member) Cleanup(s sarama.ConsumerGroupSession) error {
	s.Commit()
	return nil
}

func (m member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.to.Assigned(m.group, claim.Partition(), claim.InitialOffset())
	var last *sarama.ConsumerMessage
	unmarked := 0
	mark := func() {
		if last != nil {
			s.MarkMessage(last, "")
		}
		last, unmarked = nil, 0
	}
	defer mark()
	messages := claim.Messages()
	for {
		select {
		case msg, ok := <-messages:
			if !ok {
				return nil
			}
			m.to.Arrived(Arrival{Group: m.group, Partition: msg.Partition, Offset: msg.Offset, Value: msg.Value, Stamp: header(msg)})
			last = msg
			if unmarked++; unmarked >= markEvery || len(messages) == 0 {
				mark()
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

// header is the stamp of a record that does not carry it in its value.
func header(msg *sarama.ConsumerMessage) []byte {
	for _, h := range msg.Headers {
		if string(h.Key) == StampHeader {
			return h.Value
		}
	}
	return nil
}
