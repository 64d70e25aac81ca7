package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

const (
	commitVersion      = 8
	coordinatorVersion = 3

	// commitEvery is the pause between two commits of a group: they go to a topic that the whole cluster shares. A connection's commits
	// follow each other, so it is also longer than any way to a broker and back.
	commitEvery = time.Second

	lookupsAtOnce = 32              // bounds the search for groups in one look at the cluster
	lookupHolds   = 5 * time.Minute // then coordinators may have moved
)

// group is one that commits are made to. It keeps being used once it is, whoever coordinates it: a group that is left alone would show a lag
// that grows.
type group struct {
	name        string
	coordinator int32 // -1: not known
}

// lookup is what was found out about a group that is not in use.
type lookup struct {
	coordinator int32
	at          time.Time
}

// candidates is how many names are tried: with ten for each broker one that hashes to each is as good as certain.
func candidates(brokers int) int { return 10*brokers + 10 }

func (p *Probe) groupName(i int) string { return fmt.Sprintf("%s-%d", p.conf.Topic, i) }

// coordinated are the brokers that coordinate a group in use.
func (p *Probe) coordinated() map[int32]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[int32]bool{}
	for _, g := range p.groups {
		out[g.coordinator] = true
	}
	return out
}

// coordinator of a group in use.
func (p *Probe) coordinator(g *group) int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return g.coordinator
}

func (p *Probe) setCoordinator(g *group, broker int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g.coordinator = broker
}

// seek finds out who coordinates the groups in use and looks for more until every live broker coordinates one, by names that are the same
// after each start. It asks at most so many questions; the next look at the cluster goes on.
func (p *Probe) seek(ask func(group string) (int32, error), s *shape) error {
	p.mu.Lock()
	inUse := slices.Clone(p.groups)
	p.mu.Unlock()
	names := map[string]bool{}
	for _, g := range inUse {
		names[g.name] = true
		if at := p.coordinator(g); s.brokers[at] != "" {
			continue
		}
		p.setCoordinator(g, -1)
		broker, err := ask(g.name)
		if err != nil {
			return err
		}
		p.setCoordinator(g, broker)
	}
	covered := p.coordinated()
	missing := slices.DeleteFunc(s.ids(), func(b int32) bool { return covered[b] })
	for i, left := 0, lookupsAtOnce; i < candidates(len(s.brokers)) && len(missing) > 0; i++ {
		if names[p.groupName(i)] {
			continue
		}
		found, known := p.asked[i]
		// One that would be used is asked about again: while a broker was away others coordinated its groups, and a group that is used once stays.
		if !known || time.Since(found.at) > lookupHolds || slices.Contains(missing, found.coordinator) {
			if left--; left < 0 {
				return nil
			}
			broker, err := ask(p.groupName(i))
			if err != nil {
				return err
			}
			found = lookup{broker, time.Now()}
			p.asked[i] = found
		}
		if n := slices.Index(missing, found.coordinator); n >= 0 {
			missing = slices.Delete(missing, n, n+1)
			delete(p.asked, i)
			p.use(&group{name: p.groupName(i), coordinator: found.coordinator})
		}
	}
	return nil
}

// use begins to commit to a group.
func (p *Probe) use(g *group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups = append(p.groups, g)
	p.start(func(ctx context.Context) { p.commitTo(ctx, g) })
}

// findCoordinator asks whoever b is.
func findCoordinator(b *sarama.Broker, group string) (int32, error) {
	answer, err := b.FindCoordinator(&sarama.FindCoordinatorRequest{Version: coordinatorVersion, CoordinatorKey: group, CoordinatorType: sarama.CoordinatorGroup})
	switch {
	case err != nil:
		return -1, err
	case answer.Err != sarama.ErrNoError:
		return -1, answer.Err
	case answer.Coordinator == nil:
		return -1, sarama.ErrIncompleteResponse
	}
	return answer.Coordinator.ID(), nil
}

// commitTo commits to a group on schedule until ctx ends.
func (p *Probe) commitTo(ctx context.Context, g *group) {
	at := p.coordinator(g)
	l := p.linkTo(ctx, at)
	defer func() { l.close() }()
	_, _ = l.get(time.Now()) // as for records: connecting is no part of the first latency
	every := max(p.conf.Interval, commitEvery)
	paced(ctx, p.phase(), every, max(p.conf.Deadline, every), func(due time.Time) {
		broker, offsets := p.coordinator(g), p.positions()
		if broker < 0 || len(offsets) == 0 {
			return // shown as not covered, or there is nothing to commit yet
		}
		if broker != at {
			l.close()
			l, at = p.linkTo(ctx, broker), broker
		}
		p.commit(l, g, broker, offsets, due)
	}, func(n int) { p.meas.skipped(at, n) })
}

func (p *Probe) linkTo(ctx context.Context, broker int32) *link {
	return newLink(ctx, p.kafka, func() string { return p.address(broker) })
}

// positions are the next offsets to read of the partitions that the topic has.
func (p *Probe) positions() map[int32]int64 {
	p.mu.Lock()
	readers := make([]*reader, 0, len(p.readers))
	for _, r := range p.readers {
		if _, ok := p.shape.leader(r.partition); ok {
			readers = append(readers, r)
		}
	}
	p.mu.Unlock()
	out := map[int32]int64{}
	for _, r := range readers {
		if next := r.position(); next >= 0 {
			out[r.partition] = next
		}
	}
	return out
}

// commit is that of a client that is no member: Kafka takes it as long as the group has none, from whoever may, however many they are.
func (p *Probe) commit(l *link, g *group, broker int32, offsets map[int32]int64, due time.Time) {
	err := p.commitOnce(l, g.name, offsets, due)
	if err == nil {
		p.meas.committed(broker, time.Since(due), g.name)
		return
	}
	if p.ending() {
		return
	}
	p.meas.failed(broker, apiCommit, err)
	var code sarama.KError
	if !errors.As(err, &code) || code == sarama.ErrNotCoordinatorForConsumer || code == sarama.ErrConsumerCoordinatorNotAvailable {
		p.setCoordinator(g, -1) // until it has been asked for again
	}
	p.doubt(err)
}

func (p *Probe) commitOnce(l *link, group string, offsets map[int32]int64, due time.Time) error {
	ask := &sarama.OffsetCommitRequest{Version: commitVersion, ConsumerGroup: group, ConsumerGroupGeneration: sarama.GroupGenerationUndefined}
	for number, offset := range offsets {
		ask.AddBlockWithLeaderEpoch(p.conf.Topic, number, offset, -1, 0, "")
	}
	b, err := l.get(due)
	if err != nil {
		return err
	}
	answer, err := b.CommitOffset(ask)
	if err != nil {
		l.drop(b)
		return err
	}
	for number := range offsets {
		code, ok := answer.Errors[p.conf.Topic][number]
		switch {
		case !ok:
			return sarama.ErrIncompleteResponse
		case code != sarama.ErrNoError:
			return code
		}
	}
	return nil
}
