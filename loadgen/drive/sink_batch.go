package drive

import (
	"math"
	"time"

	"github.com/IBM/sarama"
)

const (
	batchOverhead  = 61      // the head of a batch in Kafka's format
	recordOverhead = 36      // the most that lengths, offset and time of a record take
	headerOverhead = 10      // the same of a header
	noProducer     = -1      // id of a producer that is not idempotent
	recordFormat   = int8(2) // with headers and sequence numbers; Kafka 4 knows no other
)

// partition is one partition as a producing client sees it. The batcher's lock guards it.
type partition struct {
	number      int32
	leader      *link // nil when not known
	first, last *batch
	queued      int    // records in the batches from first to last
	flight      *batch // sent, or to be sent again
	sending     bool   // flight is on its way
	listed      bool   // the leader's link or the strays have it
	cause       error  // why flight has to be sent again

	id       *producerID // nil when it needs one
	sequence int32       // of the next record
}

// producerID makes a producer idempotent: the broker takes each sequence number of a partition once.
type producerID struct {
	id    int64
	epoch int16
}

// peek is what to send: the batch that was sent before if there is one. There must be something.
func (p *partition) peek() *batch {
	if p.flight != nil {
		return p.flight
	}
	return p.first
}

// take puts what peek shows on its way. From here on its records stay as they are, because a broker that has them must be able to
// recognise them.
func (p *partition) take() {
	p.listed, p.sending = false, true
	if p.flight != nil {
		p.flight.tries++
		return
	}
	x := p.first
	x.tries = 1
	p.shift()
	p.queued -= len(x.records)
	p.flight = x
	if p.id != nil {
		x.id, x.sequence = p.id, p.sequence
		p.sequence = following(p.sequence, len(x.records))
	}
}

func (p *partition) push(x *batch) {
	if p.last == nil {
		p.first = x
	} else {
		p.last.next = x
	}
	p.last = x
}

func (p *partition) shift() {
	x := p.first
	if p.first = x.next; p.first == nil {
		p.last = nil
	}
	x.next = nil
}

// following is the sequence number n after s. Kafka counts from 0 again after the highest.
func following(s int32, n int) int32 { return int32((int64(s) + int64(n)) & math.MaxInt32) }

// drop forgets the batch under way. When it failed its sequence numbers are used up, whether the broker has it or not, so that the partition
// can go on with another producer id only.
func (p *partition) drop(err error) *batch {
	x := p.flight
	x.err = err
	p.flight, p.cause = nil, nil
	if err != nil {
		p.id, p.sequence = nil, 0
	}
	return x
}

// expire takes out the records that were sent at or before the given time, with the error of those that have been on their way. Nothing may
// be on its way now.
func (p *partition) expire(until time.Duration) (out []*batch) {
	if x := p.flight; x != nil {
		if x.records[0].Sent > until {
			return nil
		}
		out = append(out, p.drop(p.cause))
	}
	return append(out, p.expireQueue(until)...)
}

// expireQueue does so with what has never been on its way, and so has no sequence numbers.
func (p *partition) expireQueue(until time.Duration) (out []*batch) {
	for p.first != nil && p.first.records[0].Sent <= until {
		x, old := p.first, &batch{p: p}
		for len(x.records) > 0 && x.records[0].Sent <= until {
			old.records = append(old.records, x.records[0])
			x.bytes -= x.records[0].size()
			x.records = x.records[1:]
		}
		p.queued -= len(old.records)
		out = append(out, old)
		if len(x.records) == 0 {
			p.shift()
		}
	}
	return out
}

// oldest is when the record that waits longest was sent. There must be one.
func (p *partition) oldest() time.Duration {
	if p.flight != nil {
		return math.MinInt64 // it has waited before
	}
	return p.first.records[0].Sent
}

// batch is records that reach the broker together or not at all.
type batch struct {
	p       *partition
	next    *batch
	records []*Record
	bytes   int // at most, before compression
	tries   int // requests that held it
	err     error

	id       *producerID
	sequence int32
	wire     sarama.RecordBatch
	wired    []*sarama.Record
}

func (x *batch) reset() {
	clear(x.records)
	clear(x.wired)
	*x = batch{records: x.records[:0], wired: x.wired[:0]}
}

// count adds the batch's attempts to those of its records.
func (x *batch) count() {
	for _, r := range x.records {
		r.passes += x.tries
	}
}

// seal makes the batch what the protocol wants, once: it is the same, compressed form and time included, each time it is sent.
func (x *batch) seal(codec sarama.CompressionCodec, level int) *sarama.RecordBatch {
	if x.wire.Version != 0 {
		return &x.wire
	}
	for i, r := range x.records {
		r.wire.Key, r.wire.Value, r.wire.OffsetDelta = r.Key, r.Value, int64(i)
		x.wired = append(x.wired, &r.wire)
	}
	now := time.Now()
	x.wire = sarama.RecordBatch{
		Version: recordFormat, Codec: codec, CompressionLevel: level, LastOffsetDelta: int32(len(x.wired) - 1),
		FirstTimestamp: now, MaxTimestamp: now, Records: x.wired, ProducerID: noProducer, ProducerEpoch: -1, FirstSequence: -1,
	}
	if x.id != nil {
		x.wire.ProducerID, x.wire.ProducerEpoch, x.wire.FirstSequence = x.id.id, x.id.epoch, x.sequence
	}
	return &x.wire
}

// size is what the record takes in a batch, at most.
func (r *Record) size() int {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.wire.Headers {
		n += len(h.Key) + len(h.Value) + headerOverhead
	}
	return n
}
