package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// offsets asks one broker, in one request, for an offset of every partition that it leads.
func (c *collection) offsets(ctx context.Context, p *peer, which int64, field func(*partition) *optional) error {
	if len(p.leads) == 0 {
		return nil
	}
	ask := sarama.NewOffsetRequest(p.link.conf.Version)
	for _, r := range p.leads {
		t := &c.snap.topics[r.topic]
		ask.AddBlock(t.name, t.partitions[r.partition].id, which, 1)
	}
	asked := time.Now()
	var answer *sarama.OffsetResponse
	err := p.ask(ctx, apiListOffsets, func(k *sarama.Broker) (err error) {
		answer, err = k.GetAvailableOffsets(ask)
		return err
	})
	if err != nil {
		return err
	}
	problems := map[sarama.KError]error{} // one of each kind: ten thousand partitions can move at once
	told := false
	at, blocks := -1, map[int32]*sarama.OffsetResponseBlock(nil)
	for _, r := range p.leads { // topic by topic
		t := &c.snap.topics[r.topic]
		if r.topic != at {
			at, blocks = r.topic, answer.Blocks[t.name]
		}
		part := &t.partitions[r.partition]
		block := blocks[part.id]
		switch {
		case block == nil:
			problems[sarama.ErrNoError] = fmt.Errorf("%s from %s: no answer for %s/%d", apiListOffsets, p.link.addr, t.name, part.id)
		case block.Err != sarama.ErrNoError:
			problems[block.Err] = c.refused(apiListOffsets, p, fmt.Sprintf("%s/%d", t.name, part.id), block.Err)
		case block.Offset >= 0:
			*field(part) = some(block.Offset)
			part.endAt = asked
			told = true
		}
	}
	if told {
		c.grants.granted(describeTopic, apiListOffsets)
	}
	var all error
	for _, problem := range problems {
		all = errors.Join(all, problem)
	}
	return all
}

// addLag sets the lag of each commit. A commit beyond the end belongs to another log, one that was deleted or cut: its lag is unknown.
func (s *snapshot) addLag() {
	for g := range s.groups {
		for topic, commits := range byTopic(s.groups[g].commits) {
			t := s.topic(topic)
			for i := range commits {
				c, p := &commits[i], t.partition(commits[i].partition)
				if p != nil && c.offset.known && p.end.known && p.end.value >= c.offset.value {
					c.lag = some(p.end.value - c.offset.value)
				}
			}
		}
	}
}

// topic is nil when the snapshot has none of that name.
func (s *snapshot) topic(name string) *topic {
	i, ok := slices.BinarySearchFunc(s.topics, name, func(t topic, name string) int { return cmp.Compare(t.name, name) })
	if !ok {
		return nil
	}
	return &s.topics[i]
}

// partition is nil when the topic is, or has none of that id.
func (t *topic) partition(id int32) *partition {
	if t == nil {
		return nil
	}
	if i := int(id); i >= 0 && i < len(t.partitions) && t.partitions[i].id == id { // Kafka numbers them from 0
		return &t.partitions[i]
	}
	i, ok := slices.BinarySearchFunc(t.partitions, id, func(p partition, id int32) int { return cmp.Compare(p.id, id) })
	if !ok {
		return nil
	}
	return &t.partitions[i]
}
