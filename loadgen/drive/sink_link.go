package drive

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/IBM/sarama"
)

// maxRequest bounds the bytes of a request, before compression, as the default of Kafka's own client does. More is not faster, and the broker
// holds a request in memory whole.
const maxRequest = 1 << 20

// produceVersion is the newest version of the request that sarama knows. Each connection takes a lower one if its broker has to.
const produceVersion = 10

// link is one connection to one broker, as long as it holds. The batcher's lock guards its fields.
type link struct {
	b      *batcher
	broker *sarama.Broker
	wake   chan struct{}

	ready   []*partition  // with something to send, in the order in which they came to have it
	waiting int           // records in their batches
	due     time.Duration // when the first of them has lingered long enough
	open    int           // requests without an answer
	idle    bool          // waits to be woken
	worked  bool          // it has brought an answer
	broken  bool
}

// link is the connection to an address. The batcher's lock is held.
func (b *batcher) link(addr string) *link {
	if l := b.links[addr]; l != nil {
		return l
	}
	l := &link{b: b, broker: sarama.NewBroker(addr), wake: make(chan struct{}, 1)}
	b.links[addr] = l
	// It says at once only that the settings are wrong, and they were checked; whether it could connect comes with the first request.
	_ = l.broker.Open(b.conf)
	b.running.Go(l.run)
	return l
}

// kick wakes the link's goroutine.
func (l *link) kick() {
	if l.idle {
		l.idle = false
		signal(l.wake)
	}
}

// list takes a partition that has something to send.
func (l *link) list(p *partition) {
	due := p.oldest()
	if due > math.MinInt64 {
		due += l.b.conf.Producer.Flush.Frequency
	}
	if len(l.ready) == 0 || due < l.due {
		l.due = due
	}
	l.ready = append(l.ready, p)
	l.waits(p.queued)
	l.kick()
}

// waits counts further records of listed partitions.
func (l *link) waits(n int) {
	l.waiting += n
	if full := l.b.conf.Producer.Flush.Messages; full > 0 && l.waiting >= full {
		l.kick()
	}
}

// run sends until the connection breaks or the client is closed.
func (l *link) run() {
	defer func() { _ = l.broker.Close() }() // nothing is owed: what had no answer is sent again or has failed
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		batches, wait, ended := l.take()
		switch {
		case ended:
			return
		case len(batches) > 0:
			l.send(batches)
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-l.wake:
			case <-timer.C:
			}
		default:
			<-l.wake
		}
	}
}

// take is what the next request holds. If there is nothing to send yet, it says how long to wait; 0 is until the link is woken.
func (l *link) take() (batches []*batch, wait time.Duration, ended bool) {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	l.idle = false
	if l.broken || b.ctx.Err() != nil {
		return nil, 0, true
	}
	if len(l.ready) == 0 || l.open >= b.conf.Net.MaxOpenRequests {
		l.idle = true
		return nil, 0, false
	}
	flush := b.conf.Producer.Flush
	if full := flush.Messages > 0 && l.waiting >= flush.Messages; flush.Frequency > 0 && !full && !b.closed {
		// Compared and not subtracted: what is to be sent again is due since before the beginning of time, and a difference to that would overflow.
		if now := b.now(); l.due > now {
			l.idle = true
			return nil, l.due - now, false
		}
	}
	records, bytes, n := 0, 0, 0
	for _, p := range l.ready {
		x := p.peek()
		if n > 0 && (bytes+x.bytes > maxRequest || flush.MaxMessages > 0 && records+len(x.records) > flush.MaxMessages) {
			break
		}
		n++
		records, bytes = records+len(x.records), bytes+x.bytes
		l.waiting -= p.queued
		p.take()
		batches = append(batches, x)
	}
	l.ready = append(l.ready[:0], l.ready[n:]...)
	l.open++
	return batches, 0, false
}

func (l *link) send(batches []*batch) {
	c := l.b.conf.Producer
	request := &sarama.ProduceRequest{RequiredAcks: c.RequiredAcks, Timeout: int32(c.Timeout / time.Millisecond), Version: produceVersion}
	for _, x := range batches {
		request.AddBatch(l.b.Topic, x.p.number, x.seal(c.Compression, c.CompressionLevel))
	}
	err := l.broker.AsyncProduce(request, func(res *sarama.ProduceResponse, err error) { l.answered(batches, res, err) })
	if err != nil || c.RequiredAcks == sarama.NoResponse {
		l.answered(batches, nil, err)
	}
}

// answered ends the batches of a request or has them sent again. It runs on the goroutine that reads the broker's answers, so it must not
// use the connection.
func (l *link) answered(batches []*batch, res *sarama.ProduceResponse, err error) {
	b := l.b
	var ended []*batch
	b.mu.Lock()
	l.open--
	l.worked = l.worked || err == nil
	for _, x := range batches {
		p := x.p
		if p.flight != x { // it was abandoned
			continue
		}
		p.sending = false
		cause := b.verdict(x, res, err)
		switch {
		case cause == nil:
			ended = append(ended, p.drop(nil))
		case passes(cause):
			p.leader, p.cause = nil, cause
		case errors.Is(cause, sarama.ErrMessageSizeTooLarge) && len(x.records) > 1:
			b.limit = x.bytes / 2
			b.split(p)
		default:
			ended = append(ended, p.drop(cause))
			b.id = nil
		}
		b.offer(p)
	}
	if err != nil {
		b.cut(l, err)
	}
	if len(l.ready) > 0 {
		l.kick()
	}
	b.mu.Unlock()
	b.finish(ended)
}

// trouble is an error of the connection. Whatever a broker says when a client connects may be different once it has started.
type trouble struct{ error }

func (t trouble) Unwrap() error { return t.error }

// verdict is what became of a batch: nil when the broker has it.
func (b *batcher) verdict(x *batch, res *sarama.ProduceResponse, err error) error {
	var unencodable sarama.PacketEncodingError
	switch {
	case errors.As(err, &unencodable), errors.Is(err, sarama.ErrUnsupportedVersion):
		return err
	case err != nil:
		return trouble{err}
	case res == nil: // none was asked for
		return nil
	}
	block := res.GetBlock(b.Topic, x.p.number)
	switch {
	case block == nil:
		return sarama.ErrIncompleteResponse
	case block.Err == sarama.ErrNoError, block.Err == sarama.ErrDuplicateSequenceNumber:
		return nil
	default:
		return block.Err
	}
}

// passes says whether what failed so can succeed later.
func passes(err error) bool {
	if _, is := err.(trouble); is {
		return true
	}
	switch err {
	case sarama.ErrInvalidMessage, sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition, sarama.ErrRequestTimedOut,
		sarama.ErrNetworkException, sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrKafkaStorageError:
		return true
	}
	return false
}

// cut gives a connection up. What it would have sent needs another one.
func (b *batcher) cut(l *link, err error) {
	if l.broken {
		return
	}
	l.broken = true
	level := slog.LevelDebug // a broker that is away is tried again and again
	if l.worked {
		level = slog.LevelWarn
	}
	b.Logger.Log(b.ctx, level, "producer's connection broke", "client", b.n, "broker", l.broker.Addr(), "err", err)
	delete(b.links, l.broker.Addr())
	for _, p := range l.ready {
		p.leader, p.listed = nil, false
		b.offer(p)
	}
	l.ready = nil
	l.kick()
}
