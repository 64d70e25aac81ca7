package drive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"
)

// tryEvery is how long after a failure it is tried once more.
const tryEvery = 50 * time.Millisecond

// Pin gives each consumer group that has no offset for a partition, or one at which there is nothing to read, the one at which the partition
// ended when the run began. Sending need not wait for the consumers then: whatever they miss while they join, which takes seconds, they read
// afterwards. It tries until ctx ends.
func (k Kafka) Pin(ctx context.Context, ends []int64) error {
	_, err := patiently(ctx, k.Logger, "waiting for the consumer groups' coordinator", func() (struct{}, error) { return struct{}{}, k.pin(ends) })
	return err
}

func (k Kafka) pin(ends []int64) error {
	admin, err := k.admin(readTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }() // nothing is left to flush
	all := make([]int32, len(ends))
	for p := range all {
		all[p] = int32(p)
	}
	for n := range groups(k.Workload) {
		committed, err := admin.ListConsumerGroupOffsets(k.Group(n), map[string][]int32{k.Topic: all})
		if err != nil {
			return fmt.Errorf("read committed offsets of group %q: %w", k.Group(n), err)
		}
		// Asked for after the offsets, since what is committed meanwhile may be beyond where a partition ended before.
		first, err := k.bounds(admin, len(ends), sarama.OffsetOldest)
		if err != nil {
			return err
		}
		next, err := k.bounds(admin, len(ends), sarama.OffsetNewest)
		if err != nil {
			return err
		}
		without := make(map[int32]sarama.OffsetAndMetadata)
		for p, end := range ends {
			// Retention has overtaken an offset before the first record, and one beyond the last is that of a topic which was made anew. From
			// either a consumer would go on with the newest record at the time, and what had been sent before would seem lost.
			if b := committed.GetBlock(k.Topic, int32(p)); b == nil || b.Offset < first[p] || b.Offset > next[p] {
				without[int32(p)] = sarama.OffsetAndMetadata{Offset: end}
			}
		}
		if err := k.commit(admin, k.Group(n), without); err != nil {
			return fmt.Errorf("pin offsets of group %q: %w", k.Group(n), err)
		}
	}
	return nil
}

// commit is one from outside the group, which Kafka takes while the group is empty. A group that is not was pinned by who runs its members.
func (k Kafka) commit(admin sarama.ClusterAdmin, group string, offsets map[int32]sarama.OffsetAndMetadata) error {
	if len(offsets) == 0 {
		return nil
	}
	response, err := admin.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{k.Topic: offsets}, nil)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for p, kerr := range response.Errors[k.Topic] {
		if kerr != sarama.ErrNoError && kerr != sarama.ErrUnknownMemberId {
			return fmt.Errorf("commit partition %d: %w", p, kerr)
		}
	}
	return nil
}

// Ends are the offsets at which the partitions end now. It tries until ctx ends.
func (k Kafka) Ends(ctx context.Context, partitions int) ([]int64, error) {
	return patiently(ctx, k.Logger, "waiting for the partitions' leaders", func() ([]int64, error) {
		admin, err := k.admin(readTimeout)
		if err != nil {
			return nil, err
		}
		defer func() { _ = admin.Close() }() // nothing is left to flush
		return k.bounds(admin, partitions, sarama.OffsetNewest)
	})
}

// bounds are the offsets at which the partitions end, or begin.
func (k Kafka) bounds(admin sarama.ClusterAdmin, partitions int, which int64) ([]int64, error) {
	ask := make(map[int32]int64, partitions)
	for p := range int32(partitions) {
		ask[p] = which
	}
	answer, err := admin.ListOffsets(map[string]map[int32]int64{k.Topic: ask}, nil)
	if err != nil {
		return nil, fmt.Errorf("read bounds of topic %q: %w", k.Topic, err)
	}
	ends := make([]int64, partitions)
	for p := range ends {
		end := answer[k.Topic][int32(p)]
		if end == nil {
			return nil, fmt.Errorf("read bounds of topic %q: no answer for partition %d", k.Topic, p)
		}
		if end.Err != nil && !errors.Is(end.Err, sarama.ErrNoError) {
			return nil, fmt.Errorf("read bound of partition %d of topic %q: %w", p, k.Topic, end.Err)
		}
		ends[p] = end.Offset
	}
	return ends, nil
}

// patiently repeats what fails until ctx ends, and says what it waits for when that takes a while: a topic that has just been made has no
// leaders for a moment, and a cluster that nobody has consumed from no coordinator.
func patiently[T any](ctx context.Context, log *slog.Logger, waiting string, try func() (T, error)) (T, error) {
	began := time.Now()
	for said := false; ; {
		v, err := within(ctx, try)
		if err == nil || ctx.Err() != nil {
			return v, err
		}
		if !said && time.Since(began) > time.Second {
			log.Warn(waiting, "err", err)
			said = true
		}
		pause(ctx, tryEvery)
		if ctx.Err() != nil {
			return v, errors.Join(err, ctx.Err())
		}
	}
}

// within waits for an answer until ctx ends and no longer: sarama knows no contexts here, and a broker that hangs keeps it for many seconds.
func within[T any](ctx context.Context, ask func() (T, error)) (v T, err error) {
	type answer struct {
		v   T
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		v, err := ask()
		answered <- answer{v, err}
	}()
	select {
	case a := <-answered:
		return a.v, a.err
	case <-ctx.Done():
		return v, fmt.Errorf("wait for the cluster: %w", ctx.Err())
	}
}

// admin connects for questions that are answered within the given time or not at all.
func (k Kafka) admin(within time.Duration) (sarama.ClusterAdmin, error) {
	c, err := k.config("admin", 0)
	if err != nil {
		return nil, err
	}
	c.Metadata.Timeout, c.Metadata.Retry.Max = within, 0
	c.Metadata.Full = true // sarama connects an admin by it
	admin, err := sarama.NewClusterAdmin(k.Client.Brokers, c)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", k.Client.Brokers, err)
	}
	return admin, nil
}
