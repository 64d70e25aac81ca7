package collector

import (
	"cmp"
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
	seen := make(map[tp]*lag.History, len(c.kept.history))
	drains := make(map[groupTopic]*lag.Drain, len(c.kept.drains))
	for g := range c.snap.groups {
		group := &c.snap.groups[g]
		sums := map[string]*lagSum{}
		for i := range group.commits {
			m := &group.commits[i]
			p := c.snap.partition(m.topic, m.partition)
			if p == nil {
				continue
			}
			c.addTime(m, p, seen)
			sum := sums[m.topic]
			if sum == nil {
				sum = &lagSum{}
				sums[m.topic] = sum
			}
			sum.add(m.lag)
		}
		for topic, sum := range sums {
			at := groupTopic{group.id, topic}
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
				group.drains = append(group.drains, drain{topic, left})
			}
		}
		slices.SortFunc(group.drains, func(a, b drain) int { return cmp.Compare(a.topic, b.topic) })
	}
	c.kept.history, c.kept.drains = seen, drains
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

func (c *collection) addTime(m *commit, p *partition, seen map[tp]*lag.History) {
	at := tp{m.topic, m.partition}
	h := seen[at]
	if h == nil {
		if h = c.kept.history[at]; h == nil {
			h = &lag.History{}
		}
		seen[at] = h
		if p.end.known {
			h.Observe(p.endAt, p.end.value, remember)
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
		c.questions[at] = when // if several groups read the partition, for one after the other
		return
	}
	m.behind, m.behindKnown = h.Behind(p.endAt, next)
}

// askPast asks the leaders which offset their partitions had at the moments in question, in one request each. The answers serve the next
// collection.
func (c *collection) askPast(ctx context.Context) error {
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
		p := c.snap.partition(at.topic, at.partition)
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
				c.kept.history[at].Learn(when, block.Offset)
			default: // nothing as young as that
				c.kept.history[at].Learn(when, p.end.value)
			}
		}
	}
	return errors.Join(problems...)
}
