package collector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// unaged is a commit of which it is not known when its oldest unread record was written.
type unaged struct {
	*commit
	at   *partition
	past *memory
	next int64 // offset of that record
}

// age sets it if it is known; otherwise it is the moment about which to ask Kafka.
func (u unaged) age(interval time.Duration) (time.Time, bool) {
	when, more := u.past.Ask(u.at.endAt, u.next, u.at.start.value, interval, remember)
	if more {
		u.past.needs(remember)
		return when, true
	}
	if u.behind, u.behindKnown = u.past.Behind(u.at.endAt, u.next); u.behindKnown {
		u.past.needs(u.behind)
	}
	return time.Time{}, false
}

// askPast asks the leaders which offset their partitions had at the moments in question, in one request each, and again with what they
// answered, as often as the number of requests of this collection allows.
func (c *collection) askPast(ctx context.Context) error {
	for {
		questions := map[tp]time.Time{} // one of a partition: if several groups read it, an answer may serve them all
		c.unaged = slices.DeleteFunc(c.unaged, func(u unaged) bool {
			when, more := u.age(c.interval)
			if _, asked := questions[tp{u.topic, u.partition}]; more && !asked {
				questions[tp{u.topic, u.partition}] = when
			}
			return !more
		})
		asks := c.share(questions)
		if len(asks) == 0 || c.spent()+len(asks) > mostRequests(len(c.peers)) {
			return nil
		}
		if err := c.askRound(ctx, asks, questions); err != nil {
			return err
		}
	}
}

// mostRequests is how many a collection may have, without those that go on where one was not enough.
func mostRequests(brokers int) int { return 7*brokers + 2 }

// spent is how many this one has had.
func (c *collection) spent() int {
	n := 1 // metadata
	for _, p := range c.peers {
		n += p.asked[apiListOffsets] + len(p.asked)
		if p.asked[apiListOffsets] > 0 {
			n--
		}
	}
	return n
}

// share makes a request for each leader that has partitions in question, of as many as it may still be asked about.
func (c *collection) share(questions map[tp]time.Time) map[*peer]*sarama.OffsetRequest {
	asks := map[*peer]*sarama.OffsetRequest{}
	if len(questions) == 0 {
		return asks
	}
	for _, p := range c.peers {
		for _, r := range p.leads {
			if p.questions >= c.conf.Questions {
				break
			}
			t := &c.snap.topics[r.topic]
			id := t.partitions[r.partition].id
			when, ok := questions[tp{t.name, id}]
			if !ok {
				continue
			}
			if asks[p] == nil {
				asks[p] = sarama.NewOffsetRequest(p.link.conf.Version)
			}
			asks[p].AddBlock(t.name, id, when.UnixMilli(), 1)
			p.questions++
		}
	}
	return asks
}

func (c *collection) askRound(ctx context.Context, asks map[*peer]*sarama.OffsetRequest, questions map[tp]time.Time) error {
	problems := make([]error, len(c.peers))
	answers := make([]*sarama.OffsetResponse, len(c.peers))
	c.onEach(ctx, func(ctx context.Context, p *peer) {
		ask := asks[p]
		if ask == nil {
			return
		}
		i := slices.Index(c.peers, p)
		problems[i] = p.ask(ctx, apiListOffsets, func(k *sarama.Broker) (err error) {
			answers[i], err = k.GetAvailableOffsets(ask)
			return err
		})
	})
	for at, when := range questions {
		p, past := c.snap.topic(at.topic).partition(at.partition), c.kept.past[at.topic][at.partition]
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
				past.Learn(when, block.Offset, time.UnixMilli(block.Timestamp))
			default: // nothing as young as that
				past.Learn(when, p.end.value, time.Time{})
			}
		}
	}
	return errors.Join(problems...)
}
