package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

const (
	replication = 3 // of a topic that is made, or as many as there are brokers
	keep        = 10 * time.Minute

	stepTimeout = 5 * time.Second // for the cluster to do what it is asked
)

// change is one thing to do to the topic.
type change struct {
	api       string
	partition int32
	assigned  [][]int32 // replicas of the partitions that are made, or of the one that is moved
}

// lacks is the next change towards a topic of which each broker leads a partition; nil when there is none, or when it is only a matter of
// waiting. It adds as little as it can: a broker that should lead is made to; a partition that another has to spare, because who should lead
// it is gone, is moved; and only then one is added.
func (s *shape) lacks() *change {
	ids := s.ids()
	switch {
	case len(ids) == 0:
		return nil
	case len(s.partitions) == 0:
		if s.problem != sarama.ErrUnknownTopicOrPartition {
			return nil
		}
		c := &change{api: apiCreateTopics}
		for i := range ids {
			c.assigned = append(c.assigned, around(ids, i, replication))
		}
		return c
	}
	copies := len(s.partitions[0].replicas)
	for _, broker := range s.uncovered() {
		i := slices.Index(ids, broker)
		preferred := slices.IndexFunc(s.partitions, func(p partition) bool { return len(p.replicas) > 0 && p.replicas[0] == broker })
		if preferred >= 0 {
			p := s.partitions[preferred]
			if !slices.Contains(p.inSync, broker) {
				continue // it has just come back, or the partition is on its way to it
			}
			return &change{api: apiElectLeaders, partition: p.number}
		}
		if spare := slices.IndexFunc(s.partitions, s.spare); spare >= 0 {
			return &change{api: apiReassign, partition: s.partitions[spare].number, assigned: [][]int32{around(ids, i, copies)}}
		}
		return &change{api: apiCreatePartitions, assigned: [][]int32{around(ids, i, copies)}}
	}
	return nil
}

// spare is a partition that is no broker's target and whose preferred leader is not live.
func (s *shape) spare(p partition) bool {
	if len(p.replicas) == 0 || p.leader < 0 || s.probed(p.number) {
		return false
	}
	_, live := s.brokers[p.replicas[0]]
	return !live
}

// around are n of the brokers, or all if they are fewer, beginning with the i-th.
func around(ids []int32, i, n int) []int32 {
	out := make([]int32, 0, n)
	for k := range min(n, len(ids)) {
		out = append(out, ids[(i+k)%len(ids)])
	}
	return out
}

// carryOut has the cluster make a change. Another probe may have been quicker; the next look at the cluster shows.
func (f *front) carryOut(ctx context.Context, s *shape, c *change) error {
	if addr, ok := s.brokers[s.controller]; ok {
		f.use(ctx, addr) // without KRaft only the controller does it; with it any broker hands it on
	}
	topic := f.p.conf.Topic
	var answer error // in it, also when the request as such went well
	err := f.ask(func(b *sarama.Broker) (err error) {
		switch c.api {
		case apiCreateTopics:
			answer, err = f.create(b, c.assigned)
		case apiCreatePartitions:
			answer, err = addPartition(b, topic, int32(len(s.partitions)+1), c.assigned)
		case apiReassign:
			answer, err = reassign(b, topic, c.partition, c.assigned[0])
		case apiElectLeaders:
			answer, err = elect(b, topic, c.partition)
		}
		return err
	})
	if err = errors.Join(err, answer); err != nil {
		if slices.ContainsFunc(overtaken[:], func(code sarama.KError) bool { return errors.Is(err, code) }) {
			return nil
		}
		f.failed(c.api, err)
		return fmt.Errorf("change topic %q by %s: %w", topic, c.api, err)
	}
	f.p.log.Info("the probe's topic was changed", "topic", topic, "request", c.api, "partition", c.partition, "replicas", c.assigned)
	return nil
}

// overtaken are the answers that say that somebody else has done it.
var overtaken = [...]sarama.KError{
	sarama.ErrTopicAlreadyExists, sarama.ErrInvalidPartitions, sarama.ErrReassignmentInProgress, sarama.ErrElectionNotNeeded,
}

func (f *front) create(b *sarama.Broker, assigned [][]int32) (answer, err error) {
	text := func(s string) *string { return &s }
	millis := strconv.FormatInt(keep.Milliseconds(), 10)
	detail := &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: map[int32][]int32{}, ConfigEntries: map[string]*string{
		"cleanup.policy": text("delete"), "retention.ms": &millis, "segment.ms": &millis, // segments are removed whole
	}}
	for i, replicas := range assigned {
		detail.ReplicaAssignment[int32(i)] = replicas
	}
	res, err := b.CreateTopics(sarama.NewCreateTopicsRequest(f.p.kafka.Version, map[string]*sarama.TopicDetail{f.p.conf.Topic: detail}, stepTimeout, false))
	if err != nil {
		return nil, err
	}
	if e := res.TopicErrors[f.p.conf.Topic]; e != nil && e.Err != sarama.ErrNoError {
		return e, nil
	}
	return nil, nil
}

func addPartition(b *sarama.Broker, topic string, count int32, assigned [][]int32) (answer, err error) {
	res, err := b.CreatePartitions(&sarama.CreatePartitionsRequest{
		Version: 3, Timeout: stepTimeout, TopicPartitions: map[string]*sarama.TopicPartition{topic: {Count: count, Assignment: assigned}},
	})
	if err != nil {
		return nil, err
	}
	if e := res.TopicPartitionErrors[topic]; e != nil && e.Err != sarama.ErrNoError {
		return e, nil
	}
	return nil, nil
}

func reassign(b *sarama.Broker, topic string, number int32, replicas []int32) (answer, err error) {
	ask := &sarama.AlterPartitionReassignmentsRequest{TimeoutMs: int32(stepTimeout.Milliseconds())}
	ask.AddBlock(topic, number, replicas)
	res, err := b.AlterPartitionReassignments(ask)
	if err != nil {
		return nil, err
	}
	if res.ErrorCode != sarama.ErrNoError {
		return res.ErrorCode, nil
	}
	return nil, nil // sarama keeps the partitions' own answers to itself
}

func elect(b *sarama.Broker, topic string, number int32) (answer, err error) {
	res, err := b.ElectLeaders(&sarama.ElectLeadersRequest{
		Version: 2, Type: sarama.PreferredElection, TopicPartitions: map[string][]int32{topic: {number}}, TimeoutMs: int32(stepTimeout.Milliseconds()),
	})
	if err != nil {
		return nil, err
	}
	if res.ErrorCode != sarama.ErrNoError {
		return res.ErrorCode, nil
	}
	if r := res.ReplicaElectionResults[topic][number]; r != nil && r.ErrorCode != sarama.ErrNoError {
		return r.ErrorCode, nil
	}
	return nil, nil
}
