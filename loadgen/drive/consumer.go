package drive

import (
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

// buffered is how many records each partition may hold ready for its worker. After an outage all of them are full at once, so together they
// must fit beside the payload arena: a thousand records of 50 KB in each of 24 partitions would be more than a gigabyte.
func buffered(p payload.Config, partitions int) int {
	const all = 64 << 20
	return min(max(all/(max(p.Bytes, p.Max, 1)*max(partitions, 1)), 4), 1024)
}

// ConsumerConfig is the sarama configuration of consuming client n.
func (k Kafka) ConsumerConfig(n int) (*sarama.Config, error) {
	c, err := k.config("consumer", n)
	if err != nil {
		return nil, err
	}
	w := k.Workload.Consumer
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
	c.ChannelBufferSize = buffered(k.Workload.Payload, k.Workload.Topic.Partitions)
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configure consumer: %w", err)
	}
	return c, nil
}

// Consume reads the topic as a member of the workload's group until ctx ends, and goes on after whatever breaks. arrived is called for each
// record, from one goroutine per partition. joined is called each time the member holds its partitions.
func (k Kafka) Consume(ctx context.Context, n int, arrived func(partition int32, value []byte), joined func()) error {
	c, err := k.ConsumerConfig(n)
	if err != nil {
		return err
	}
	client, err := sarama.NewClient(k.Client.Brokers, c)
	if err != nil {
		return fmt.Errorf("connect consumer: %w", err)
	}
	defer func() { _ = client.Close() }() // closed already when the cluster went away
	group, err := sarama.NewConsumerGroupFromClient(k.Workload.Consumer.Group, client)
	if err != nil {
		return fmt.Errorf("make consumer group: %w", err)
	}
	var errs sync.WaitGroup
	errs.Go(func() {
		for err := range group.Errors() {
			k.Logger.Warn("consumer", "client", n, "err", err)
		}
	})
	h := &member{k: k, client: client, arrived: arrived, joined: joined}
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
	k       Kafka
	client  sarama.Client
	arrived func(int32, []byte)
	joined  func()
	pinned  bool
}

// Setup pins partitions without a committed offset to their present end. Otherwise a session lost before the first commit would begin
// again at the then newest record, and what came in between would be missed.
func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	if !m.pinned {
		if err := m.pin(s); err != nil {
			return err
		}
		m.pinned = true
	}
	m.joined()
	return nil
}

func (m *member) pin(s sarama.ConsumerGroupSession) error {
	admin, err := sarama.NewClusterAdminFromClient(m.client)
	if err != nil {
		return fmt.Errorf("pin offsets: %w", err)
	}
	committed, err := admin.ListConsumerGroupOffsets(m.k.Workload.Consumer.Group, s.Claims())
	if err != nil {
		return fmt.Errorf("read committed offsets: %w", err)
	}
	for _, p := range s.Claims()[m.k.Topic] {
		if b := committed.GetBlock(m.k.Topic, p); b != nil && b.Offset >= 0 {
			continue
		}
		end, err := m.client.GetOffset(m.k.Topic, p, sarama.OffsetNewest)
		if err != nil {
			return fmt.Errorf("read end of partition %d: %w", p, err)
		}
		s.MarkOffset(m.k.Topic, p, end, "")
	}
	s.Commit()
	return nil
}

// Cleanup commits what was marked last.
func (m *member) Cleanup(s sarama.ConsumerGroupSession) error {
	s.Commit()
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
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
			m.arrived(msg.Partition, msg.Value)
			last = msg
			if unmarked++; unmarked >= markEvery || len(messages) == 0 {
				mark()
			}
		case <-s.Context().Done():
			return nil
		}
	}
}
