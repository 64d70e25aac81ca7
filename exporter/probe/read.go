package probe

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	fetchVersion = 12
	fetchWait    = 500 * time.Millisecond // a broker with nothing new answers after that
	fetchBytes   = 1 << 20                // bounds what one answer holds, unless a single record is larger
	fetchAgain   = 100 * time.Millisecond // after a failure
)

// reader follows one partition from broker to broker.
type reader struct {
	partition int32
	wake      chan struct{} // has something to read from

	mu   sync.Mutex
	next int64 // offset to read from; -1 until a record's is known
	at   int32 // broker that it reads from; -1 before
	link *link
}

// readFrom tells the partition's reader, which it starts if there is none, where a record of ours is.
func (p *Probe) readFrom(partition int32, offset int64) {
	r := p.reader(partition)
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next < 0 {
		r.next = offset
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// reader of a partition; nil when the probe has ended.
func (p *Probe) reader(partition int32) *reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.readers[partition]
	if r == nil {
		r = &reader{partition: partition, wake: make(chan struct{}, 1), next: -1, at: -1}
		if !p.start(func(ctx context.Context) { p.read(ctx, r) }) {
			return nil
		}
		p.readers[partition] = r
	}
	return r
}

// position is where the reader is; -1 when it knows no offset.
func (r *reader) position() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// moveOn sets the position.
func (r *reader) moveOn(next int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = next
}

// moved cuts off a question to a broker that leads no longer: it may never be answered.
func (r *reader) moved(leader int32) {
	r.mu.Lock()
	l, at := r.link, r.at
	r.mu.Unlock()
	if l != nil && at != leader {
		l.cut()
	}
}

// retired takes the reader out of use when its partition is no longer probed and nothing of ours is left in it.
func (p *Probe) retired(r *reader) bool {
	waiting := p.sent.waitsFor(r.partition)
	p.mu.Lock()
	defer p.mu.Unlock()
	if waiting || p.shape == nil || p.shape.probed(r.partition) {
		return false
	}
	delete(p.readers, r.partition)
	return true
}

func (p *Probe) read(ctx context.Context, r *reader) {
	defer func() {
		if r.link != nil {
			r.link.close()
		}
	}()
	for ctx.Err() == nil && !p.retired(r) {
		s := p.now()
		leader, ok := s.leader(r.partition)
		if !ok {
			wait(ctx, s, fetchAgain)
			continue
		}
		l := r.follow(ctx, p, leader)
		if r.position() < 0 {
			_, _ = l.get(time.Now()) // connected by the time there is something to read
			r.sleep(ctx, s)
			continue
		}
		err := p.fetch(r, l, leader)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if now, _ := p.now().leader(r.partition); now != leader {
			continue // cut off for that
		}
		p.meas.failed(leader, apiFetch, err)
		p.doubt(err)
		again := fetchAgain
		if !errors.As(err, new(sarama.KError)) {
			again = pause
		}
		wait(ctx, s, again)
	}
}

// follow is the connection to the leader.
func (r *reader) follow(ctx context.Context, p *Probe, leader int32) *link {
	r.mu.Lock()
	l, at := r.link, r.at
	r.mu.Unlock()
	if l != nil && at == leader {
		return l
	}
	if l != nil {
		l.close()
	}
	l = p.linkTo(ctx, leader)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.link, r.at = l, leader
	return l
}

// sleep until there is something to read, or the cluster has changed.
func (r *reader) sleep(ctx context.Context, s *shape) {
	timer := time.NewTimer(time.Second) // to see whether the reader is still needed
	defer timer.Stop()
	select {
	case <-r.wake:
	case <-s.replaced:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// wait some time, unless the cluster is seen to have changed before.
func wait(ctx context.Context, s *shape, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.replaced:
	case <-ctx.Done():
	}
}

// fetch reads once.
func (p *Probe) fetch(r *reader, l *link, leader int32) error {
	b, err := l.get(time.Now())
	if err != nil {
		return err
	}
	next := r.position()
	ask := &sarama.FetchRequest{
		Version: fetchVersion, MaxWaitTime: int32(min(fetchWait, p.kafka.Net.ReadTimeout/2).Milliseconds()), MinBytes: 1, MaxBytes: fetchBytes,
		SessionEpoch: -1, // no session: what changes hands rarely is asked for in full
	}
	ask.AddBlock(p.conf.Topic, r.partition, next, fetchBytes, -1)
	answer, err := b.Fetch(ask)
	if err != nil {
		l.drop(b)
		return err
	}
	now := time.Now()
	if answer.ErrorCode != 0 {
		return sarama.KError(answer.ErrorCode)
	}
	block := answer.GetBlock(p.conf.Topic, r.partition)
	switch {
	case block == nil:
		return sarama.ErrIncompleteResponse
	case block.Err == sarama.ErrOffsetOutOfRange: // truncated, or deleted before we came: what is acknowledged next can be read
		r.moveOn(-1)
		return block.Err
	case block.Err != sarama.ErrNoError:
		return block.Err
	}
	for _, set := range block.RecordsSet {
		if batch := set.RecordBatch; batch != nil {
			p.take(batch, r.partition, next, now)
			next = max(next, batch.LastOffset()+1)
		}
	}
	r.moveOn(next)
	return nil
}

// take looks for our own records in a batch.
func (p *Probe) take(batch *sarama.RecordBatch, partition int32, from int64, now time.Time) {
	for _, rec := range batch.Records {
		offset := batch.FirstOffset + rec.OffsetDelta
		number, ok := own(p.run, rec.Value)
		if !ok || offset < from {
			continue
		}
		if r, ok := p.sent.see(number); ok {
			p.meas.received(r.broker, now.Sub(r.due), partition, offset)
		}
	}
}
