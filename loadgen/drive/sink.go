package drive

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// batcher is a producing client that hands records to the broker by the batch. Sarama's AsyncProducer moves each record through five
// channels; here a record is put into its partition's batch under one lock and that is all (bench/LOADGEN.md has the figures of both).
//
// It promises: records of a partition in the order they were sent in, because one batch of a partition is under way at a time; each record
// done exactly once; a record that could not be sent for as long as the workload says has failed, and none fails earlier for a broker that
// is away, moves a leader or restarts. A record arrives twice only where Kafka's protocol cannot know better: when the answer to a request
// was lost and the producer is not idempotent.
//
// Connections, the protocol's encoding, compression, TLS and SASL are sarama's.
type batcher struct {
	Kafka
	n          int
	conf       *sarama.Config
	client     sarama.Client // for metadata and producer ids; records have connections of their own, so that neither waits for the other
	idempotent bool
	done       func([]*Record, error)
	order      sync.Mutex // of the calls of done

	mu     sync.Mutex // guards what follows, and partitions and links
	parts  []*partition
	links  map[string]*link // by address
	stray  []*partition     // with something to send and nowhere to send it
	id     *producerID      // for partitions that have none
	limit  int              // bytes of a batch
	spare  []*batch
	origin time.Time // of the clock by which records say when they were sent
	left   int       // records not done
	closed bool

	lost    chan struct{} // there may be strays
	drained chan struct{} // closed when nothing is left after Close
	running sync.WaitGroup
	ctx     context.Context // ends the goroutines
	end     context.CancelFunc
}

// Open connects a producing client of its own.
func (k Kafka) Open(n int, done func([]*Record, error)) (Sink, error) {
	if k.Workload.Producer.Transactions.Records > 0 {
		return k.openTransactions(n, done)
	}
	c, err := k.ProducerConfig(n)
	if err != nil {
		return nil, err
	}
	c.Metadata.Retry.Max = 0 // trying again is ours
	client, err := sarama.NewClient(k.Client.Brokers, c)
	if err != nil {
		return nil, fmt.Errorf("connect producer: %w", err)
	}
	b := &batcher{
		Kafka: k, n: n, conf: c, client: client, idempotent: k.Workload.Producer.Idempotent, done: done, limit: c.Producer.MaxMessageBytes,
		links: make(map[string]*link), lost: make(chan struct{}, 1), drained: make(chan struct{}),
	}
	b.ctx, b.end = context.WithCancel(context.Background())
	b.running.Go(b.lead)
	b.running.Go(b.age)
	return b, nil
}

// Send puts the record into its partition's batch. It never blocks: the engine's slots bound what waits here.
func (b *batcher) Send(_ context.Context, r *Record) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	if b.origin.IsZero() {
		b.origin = time.Now().Add(-r.Sent)
	}
	b.left++
	p := b.partition(r.Partition)
	b.add(p, r)
	b.offer(p)
	return true
}

// partition is the one of the given number.
func (b *batcher) partition(n int32) *partition {
	for int(n) >= len(b.parts) {
		b.parts = append(b.parts, &partition{number: int32(len(b.parts))})
	}
	return b.parts[n]
}

// Close sends what waits and ends when each record is done.
func (b *batcher) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	for _, l := range b.links {
		l.kick() // no batch waits for more records
	}
	if b.left == 0 {
		close(b.drained)
	}
	b.mu.Unlock()
	select {
	case <-b.drained:
	case <-ctx.Done():
		b.abandon()
		<-b.drained // what was answered just before
	}
	left := make(chan error, 1)
	go func() { left <- b.leave() }()
	select {
	case err := <-left:
		return err
	case <-ctx.Done(): // what still waits for a broker ends with its timeout, and has nothing of ours
		return nil
	}
}

// leave ends the goroutines and the connections.
func (b *batcher) leave() error {
	b.end()
	b.mu.Lock()
	for _, l := range b.links {
		l.kick()
	}
	b.mu.Unlock()
	b.running.Wait()
	if err := b.client.Close(); err != nil {
		return fmt.Errorf("close producer: %w", err)
	}
	return nil
}

// abandon fails every record that is left. Whatever is answered from now on finds its batch under way no more.
func (b *batcher) abandon() {
	b.mu.Lock()
	b.end() // so that no connection takes a batch that is not there
	var ended []*batch
	for _, p := range b.parts {
		if x := p.flight; x != nil {
			// Its connection may be writing it, so it stays as it is.
			p.drop(errNotDrained)
			ended = append(ended, &batch{p: p, records: slices.Clone(x.records), tries: x.tries, err: errNotDrained})
		}
		for p.first != nil {
			x := p.first
			x.err = errNotDrained
			p.queued -= len(x.records)
			p.shift()
			ended = append(ended, x)
		}
	}
	b.mu.Unlock()
	b.finish(ended)
}

// now is the time on the clock of the records.
func (b *batcher) now() time.Duration { return time.Since(b.origin) }

// add puts a record into the partition's last batch, or a new one when that is full.
func (b *batcher) add(p *partition, r *Record) {
	p.queued++
	if p.listed && p.leader != nil {
		p.leader.waits(1)
	}
	size, most := r.size(), b.conf.Producer.Flush.MaxMessages
	if x := p.last; x != nil && x.bytes+size <= b.limit && (most == 0 || len(x.records) < most) {
		x.records = append(x.records, r)
		x.bytes += size
		return
	}
	x := b.fresh()
	x.p, x.records, x.bytes = p, append(x.records, r), batchOverhead+size
	p.push(x)
}

func (b *batcher) fresh() *batch {
	n := len(b.spare)
	if n == 0 {
		return &batch{}
	}
	x := b.spare[n-1]
	b.spare = b.spare[:n-1]
	return x
}

// split has the batch under way, which the broker found too large, sent again in smaller ones, before anything else. The broker has taken
// none of it, so its sequence numbers are free.
func (b *batcher) split(p *partition) {
	large, first, last := p.flight, p.first, p.last
	large.count()
	p.flight, p.first, p.last = nil, nil, nil
	if large.id != nil {
		p.sequence = large.sequence
	}
	for _, r := range large.records {
		b.add(p, r)
	}
	if first != nil {
		p.last.next, p.last = first, last
	}
	large.reset()
	b.spare = append(b.spare, large)
}

// offer lists a partition that has something to send: with the connection to its leader, or as a stray without.
func (b *batcher) offer(p *partition) {
	if p.listed || p.sending || p.flight == nil && p.first == nil {
		return
	}
	p.listed = true
	if p.leader != nil && p.leader.broken {
		p.leader = nil
	}
	if p.leader == nil || b.idempotent && p.id == nil {
		p.leader = nil // it is listed in one place only
		b.stray = append(b.stray, p)
		signal(b.lost)
		return
	}
	p.leader.list(p)
}

// finish calls done for each record of the batches.
func (b *batcher) finish(batches []*batch) {
	if len(batches) == 0 {
		return
	}
	n := 0
	b.order.Lock()
	for _, x := range batches {
		x.count()
		b.done(x.records, x.err)
		n += len(x.records)
	}
	b.order.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range batches {
		x.reset()
		b.spare = append(b.spare, x)
	}
	if b.left -= n; b.left == 0 && b.closed {
		close(b.drained)
	}
}

// signal wakes whoever waits for the channel, or who will next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
