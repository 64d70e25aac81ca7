package collector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/lag"
)

// remember is how far back the age of a record is looked for: Kafka's own default of retention.
const remember = 7 * 24 * time.Hour

// addTimes sets how old the oldest unread record of each commit is, and how long groups will take to catch up. Only partitions that somebody
// has committed are remembered.
func (c *collection) addTimes() {
	c.questions = map[tp]time.Time{}
	seen := make(map[string]past, len(c.kept.past))
	drains := make(map[groupTopic]*lag.Drain, len(c.kept.drains))
	for g := range c.snap.groups {
		group := &c.snap.groups[g]
		for name, commits := range byTopic(group.commits) {
			t := c.snap.topic(name)
			if t == nil {
				continue
			}
			if seen[name] == nil {
				seen[name] = make(past, len(t.partitions))
			}
			var sum lagSum
			for i := range commits {
				if p := t.partition(commits[i].partition); p != nil {
					c.addTime(&commits[i], p, seen[name])
					sum.add(commits[i].lag)
				}
			}
			at := groupTopic{group.id, name}
			d := c.kept.drains[at]
			if d == nil {
				d = &lag.Drain{}
			}
			drains[at] = d
			if sum.unknown > 0 {
				continue
			}
			d.Observe(c.snap.taken, sum.lag)
			if left, ok := d.Left(); ok {
				group.drains = append(group.drains, drain{name, left})
			}
		}
	}
	c.carry(seen)
	c.kept.past, c.kept.drains = seen, drains
}

type lagSum struct {
	lag     int64
	unknown int
}

func (s *lagSum) add(lag optional) {
	s.lag += lag.value
	if !lag.known {
		s.unknown++
	}
}

func (c *collection) addTime(m *commit, p *partition, seen past) {
	h := seen[p.id]
	if h == nil {
		if h = c.kept.past[m.topic][p.id]; h == nil {
			h = &memory{}
		}
		seen[p.id] = h
		if p.end.known {
			h.observe(p.endAt, p.end.value)
		}
	}
	if !m.lag.known || !p.start.known {
		return
	}
	// What was deleted unread is not behind any more: the oldest record that can still be read is.
	next := max(m.offset.value, p.start.value)
	m.lost = some(next - m.offset.value)
	if held := p.end.value - p.start.value; held > 0 {
		m.retained, m.retainedKnown = min(1, float64(m.lag.value)/float64(held)), true
	} else {
		m.retainedKnown = true
	}
	if when, more := h.Ask(p.endAt, next, c.interval, remember); more {
		c.questions[tp{m.topic, p.id}] = when // if several groups read the partition, for one after the other
		h.needs(remember)
		return
	}
	if m.behind, m.behindKnown = h.Behind(p.endAt, next); m.behindKnown {
		h.needs(m.behind)
	}
}

// askPast asks the leaders which offset their partitions had at the moments in question, in one request each. The answers serve the next
// collection.
func (c *collection) askPast(ctx context.Context) error {
	if len(c.questions) == 0 {
		return nil
	}
	problems := make([]error, len(c.peers))
	answers := make([]*sarama.OffsetResponse, len(c.peers))
	c.onEach(ctx, func(ctx context.Context, p *peer) {
		i := slices.Index(c.peers, p)
		ask := sarama.NewOffsetRequest(p.link.conf.Version)
		n := 0
		for _, r := range p.leads {
			t := &c.snap.topics[r.topic]
			id := t.partitions[r.partition].id
			if when, ok := c.questions[tp{t.name, id}]; ok && n < c.conf.Questions {
				ask.AddBlock(t.name, id, when.UnixMilli(), 1)
				n++
			}
		}
		if n == 0 {
			return
		}
		problems[i] = p.ask(ctx, apiListOffsets, func(k *sarama.Broker) (err error) {
			answers[i], err = k.GetAvailableOffsets(ask)
			return err
		})
	})
	for at, when := range c.questions {
		p, history := c.snap.topic(at.topic).partition(at.partition), c.kept.past[at.topic][at.partition]
		for _, answer := range answers {
			if answer == nil {
				continue
			}
			block := answer.GetBlock(at.topic, at.partition)
			switch {
			case block == nil:
			case block.Err != sarama.ErrNoError:
				problems = append(problems, fmt.Errorf("%s for %s/%d: %w", apiListOffsets, at.topic, at.partition, block.Err))
			case block.Offset >= 0:
				history.Learn(when, block.Offset)
			default: // nothing as young as that
				history.Learn(when, p.end.value)
			}
		}
	}
	return errors.Join(problems...)
}
