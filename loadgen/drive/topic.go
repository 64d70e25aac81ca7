package drive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// shaping are the topic configs by which the presets differ. An override of one that the workload does not name is left from another
// workload and is taken back; all other overrides are the user's own and stay.
var shaping = [...]string{"compression.type", "flush.messages", "flush.ms", "retention.bytes", "retention.ms", "segment.bytes"}

// EnsureTopic makes the topic what the workload needs, creating or altering it, and returns its number of partitions. It waits for the
// cluster as long as ctx lasts.
func (k Kafka) EnsureTopic(ctx context.Context) (partitions int, err error) {
	for said := false; ; {
		partitions, err = within(ctx, k.ensureTopic)
		if err == nil || ctx.Err() != nil {
			return partitions, err
		}
		if code, said := refusal(err); said && !retriable(code) {
			return 0, err
		}
		if !said {
			k.Logger.Warn("waiting for the cluster", "brokers", k.Client.Brokers, "err", err)
			said = true
		}
		pause(ctx, time.Second)
		if ctx.Err() != nil {
			return 0, errors.Join(err, ctx.Err())
		}
	}
}

// refusal is what the cluster says, in whichever of sarama's types; false when it did not answer.
func refusal(err error) (sarama.KError, bool) {
	var (
		topic *sarama.TopicError
		parts *sarama.TopicPartitionError
		code  sarama.KError
	)
	switch {
	case errors.As(err, &topic):
		return topic.Err, true
	case errors.As(err, &parts):
		return parts.Err, true
	}
	return code, errors.As(err, &code)
}

func retriable(err sarama.KError) bool {
	return slices.Contains([]sarama.KError{
		sarama.ErrNotController, sarama.ErrRequestTimedOut, sarama.ErrLeaderNotAvailable, sarama.ErrBrokerNotAvailable,
		sarama.ErrTopicAlreadyExists,      // made by somebody else between our looking and our making
		sarama.ErrUnknownTopicOrPartition, // and this one's deletion
		sarama.ErrNotLeaderForPartition, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrOffsetsLoadInProgress,
		sarama.ErrInvalidReplicationFactor, // fewer brokers than replicas: so it is while a cluster is starting
	}, err)
}

func (k Kafka) ensureTopic() (int, error) {
	admin, err := k.admin(readTimeout)
	if err != nil {
		return 0, err
	}
	defer func() { _ = admin.Close() }() // nothing is left to flush
	topics, err := admin.ListTopics()
	if err != nil {
		return 0, fmt.Errorf("list topics: %w", err)
	}
	want := k.Workload.Topic
	have, exists := topics[k.Topic]
	if !exists {
		return want.Partitions, k.createTopic(admin)
	}
	overrides, err := k.overrides(admin)
	if err != nil {
		return 0, err
	}
	if err := k.alterConfig(admin, overrides); err != nil {
		return 0, err
	}
	switch n := int(have.NumPartitions); {
	case n < want.Partitions:
		if err := admin.CreatePartitions(k.Topic, int32(want.Partitions), nil, false); err != nil {
			return 0, fmt.Errorf("add partitions to topic %q: %w", k.Topic, err)
		}
		k.Logger.Info("partitions added to topic", "topic", k.Topic, "before", n, "now", want.Partitions)
		return want.Partitions, nil
	case n > want.Partitions:
		k.Logger.Info("topic has more partitions than the workload asks for, all are used", "topic", k.Topic, "partitions", n, "asked", want.Partitions)
		return n, nil
	default:
		return n, nil
	}
}

func (k Kafka) createTopic(admin sarama.ClusterAdmin) error {
	want := k.Workload.Topic
	entries := make(map[string]*string, len(want.Config))
	for name, value := range want.Config {
		entries[name] = &value
	}
	err := admin.CreateTopic(k.Topic, &sarama.TopicDetail{NumPartitions: int32(want.Partitions), ReplicationFactor: int16(want.Replication), ConfigEntries: entries}, false)
	if err != nil {
		return fmt.Errorf("create topic %q: %w", k.Topic, err)
	}
	k.Logger.Info("topic created", "topic", k.Topic, "partitions", want.Partitions, "config", want.Config)
	return nil
}

// overrides are the configs set on the topic itself.
func (k Kafka) overrides(admin sarama.ClusterAdmin) (map[string]string, error) {
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: k.Topic}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, fmt.Errorf("read configs of topic %q: %w", k.Topic, err)
	}
	out := make(map[string]string)
	for _, r := range results {
		if r.ErrorCode != sarama.ErrNoError {
			return nil, fmt.Errorf("read configs of topic %q: %w", k.Topic, r.ErrorCode)
		}
		for _, e := range r.Configs {
			if e.Source == sarama.SourceTopic {
				out[e.Name] = e.Value
			}
		}
	}
	return out, nil
}

// alterConfig changes what differs from the workload; have are the overrides the topic has now.
func (k Kafka) alterConfig(admin sarama.ClusterAdmin, have map[string]string) error {
	changes := make(map[string]sarama.IncrementalAlterConfigsEntry)
	for name, value := range k.Workload.Topic.Config {
		if now, set := have[name]; !set || now != value {
			changes[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
		}
	}
	for _, name := range shaping {
		_, wanted := k.Workload.Topic.Config[name]
		if _, set := have[name]; set && !wanted {
			changes[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationDelete}
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, k.Topic, changes, false); err != nil {
		return fmt.Errorf("alter topic %q: %w", k.Topic, err)
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		before, now := "default", "default"
		if v, set := have[name]; set {
			before = v
		}
		if v := changes[name].Value; v != nil {
			now = *v
		}
		k.Logger.Info("topic config altered for the workload", "topic", k.Topic, "config", name, "before", before, "now", now)
	}
	return nil
}
