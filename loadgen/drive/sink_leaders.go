package drive

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// ageEvery is how often queues are looked through for records that are too old.
const ageEvery = time.Second

// lead finds leaders for partitions that have none, and ends what has waited for too long.
func (b *batcher) lead() {
	for first := true; ; first = false {
		select {
		case <-b.ctx.Done():
			return
		case <-b.lost:
		}
		began, said := time.Now(), false
		for ; ; first = false {
			if !first { // what went wrong a moment ago would go wrong again
				pause(b.ctx, b.conf.Producer.Retry.Backoff)
			}
			left, err := b.settle()
			if left == 0 {
				break
			}
			if !said {
				b.Logger.Warn("producer waits for leaders", "client", b.n, "partitions", left, "err", err)
				said = true
			}
		}
		if said {
			b.Logger.Info("producer has its leaders again", "client", b.n, "after", time.Since(began).Round(time.Millisecond))
		}
	}
}

// settle gives all partitions leaders, once, and fails those records of the strays that are too old. It returns how many strays are left, and
// why.
func (b *batcher) settle() (left int, err error) {
	leaders, err := b.leaders()
	id, errID := b.producerID()
	err = errors.Join(err, errID)
	b.mu.Lock()
	if id != nil {
		b.id = id
	}
	b.spread(leaders)
	stray := b.stray
	b.stray = nil
	var ended []*batch
	for _, p := range stray {
		p.listed = false
		if addr, found := leaders[p.number]; found {
			p.leader = b.link(addr)
		}
		if p.id == nil {
			p.id = b.id
		}
		old := p.expire(b.now() - b.Workload.Producer.GiveUp)
		for _, x := range old {
			x.err = b.tooOld(cmp.Or(x.err, err, error(sarama.ErrLeaderNotAvailable)))
		}
		if p.id == nil {
			b.id = nil
		}
		ended = append(ended, old...)
		b.offer(p)
	}
	left = len(b.stray)
	b.mu.Unlock()
	b.finish(ended)
	return left, err
}

// spread tells the partitions that have nothing to send, those that nobody has sent to included, where they will send it, so that their next
// record need not ask. The batcher's lock is held.
func (b *batcher) spread(leaders map[int32]string) {
	for n, addr := range leaders {
		p := b.partition(n)
		if p.listed || p.sending {
			continue
		}
		if p.leader == nil || p.leader.broken {
			p.leader = b.link(addr)
		}
		if p.id == nil {
			p.id = b.id
		}
	}
}

// age fails, now and then, what waits for a connection that holds while its broker does not answer.
func (b *batcher) age() {
	tick := time.NewTicker(ageEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			b.finish(b.expire())
		}
	}
}

// expire takes out the records that are too old and wait for their partition's turn. What is on its way ends with its request, and what is to
// be sent again has used sequence numbers: its connection sends it, or breaks, and then settle sees to it.
func (b *batcher) expire() (ended []*batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.origin.IsZero() {
		return nil
	}
	until := b.now() - b.Workload.Producer.GiveUp
	if !b.closed {
		until -= b.conf.Producer.Flush.Frequency // it could have been sent after that only
	}
	for _, p := range b.parts {
		if p.leader == nil {
			continue
		}
		before, cause := p.queued, cmp.Or(p.cause, error(sarama.ErrRequestTimedOut))
		old := p.expireQueue(until)
		for _, x := range old {
			x.err = b.tooOld(cause)
		}
		ended = append(ended, old...)
		if p.listed {
			p.leader.waiting -= before - p.queued
		}
		if p.listed && p.flight == nil && p.first == nil {
			p.listed = false
			p.leader.ready = slices.DeleteFunc(p.leader.ready, func(q *partition) bool { return q == p })
		}
	}
	return ended
}

func (b *batcher) tooOld(cause error) error {
	return fmt.Errorf("give up after %v: %w", b.Workload.Producer.GiveUp, cause)
}

// leaders asks for the topic's metadata and returns the addresses of the leaders by partition: of some only, and an error, when others have
// none.
func (b *batcher) leaders() (map[int32]string, error) {
	missing := b.client.RefreshMetadata(b.Topic)
	if missing != nil && !errors.Is(missing, sarama.ErrLeaderNotAvailable) {
		return nil, fmt.Errorf("find leaders: %w", missing)
	}
	numbers, err := b.client.WritablePartitions(b.Topic)
	if err != nil {
		return nil, fmt.Errorf("find leaders: %w", err)
	}
	leaders := make(map[int32]string, len(numbers))
	for _, n := range numbers {
		if leader, err := b.client.Leader(b.Topic, n); err == nil { // otherwise it has gone between the two questions
			leaders[n] = leader.Addr()
		}
	}
	return leaders, missing
}

// producerID asks for an id if one is needed.
func (b *batcher) producerID() (*producerID, error) {
	b.mu.Lock()
	needed := b.idempotent && b.id == nil
	b.mu.Unlock()
	if !needed {
		return nil, nil
	}
	res, err := b.client.InitProducerID()
	if err == nil && res.Err != sarama.ErrNoError {
		err = res.Err
	}
	if err != nil {
		return nil, fmt.Errorf("get producer id: %w", err)
	}
	return &producerID{id: res.ProducerID, epoch: res.ProducerEpoch}, nil
}
