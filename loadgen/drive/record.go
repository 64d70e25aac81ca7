package drive

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/loadgen/payload"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

// StampHeader is the name of the record header that carries the stamp of a workload whose values are opaque.
const StampHeader = "klr"

// Record is one slot for a record under way. Slots are made once, body and checksum included, and used again and again: sending one
// allocates nothing.
type Record struct {
	Partition int32
	Sequence  uint64
	Intended  time.Duration // on the engine's clock
	Sent      time.Duration
	Key       []byte // nil: none
	Value     []byte
	Header    []byte // the stamp when it is not in the value, nil otherwise

	sum    uint32 // of what the stamp does not cover
	key    keyBytes
	passes int                    // requests that held it, as far as is known: what sarama's producer repeats is not
	wire   sarama.Record          // for our own batches
	msg    sarama.ProducerMessage // for sarama's producer
}

// Encode and Length make the record its own sarama.Encoder: a byte slice in an interface would be allocated for each record.
func (r *Record) Encode() ([]byte, error) { return r.Value, nil }

// Length is the size of the value.
func (r *Record) Length() int { return len(r.Value) }

// keyBytes is the memory of a record's key, for the same reason an Encoder of its own.
type keyBytes []byte

func (k *keyBytes) Encode() ([]byte, error) { return *k, nil }
func (k *keyBytes) Length() int             { return len(*k) }

// setKey copies the key.
func (r *Record) setKey(key []byte) {
	if key == nil {
		return // slots are of one workload: if this record has none, none had
	}
	r.key = append(r.key[:0], key...)
	r.Key, r.wire.Key, r.msg.Key = r.key, r.key, &r.key
}

// stamp writes the stamp where the workload wants it.
func (r *Record) stamp(s stamp.Stamp) {
	if r.Header != nil {
		stamp.PutHeader((*[stamp.Size]byte)(r.Header), s, len(r.Value), r.sum)
		return
	}
	stamp.Put(r.Value, s, r.sum)
}

// newRecords makes n slots with the values of the stream of the given number.
func newRecords(n int, topic string, c payload.Config, stream uint64) []*Record {
	head := c.Smallest(stamp.Size)
	out := make([]*Record, n)
	for i, value := range payload.Values(c, stream, n, head) {
		r := &Record{Value: value, sum: stamp.Sum(value[head:])}
		r.msg = sarama.ProducerMessage{Topic: topic, Value: r, Metadata: r}
		r.wire.Value = value
		if head == 0 {
			r.Header = make([]byte, stamp.Size)
			r.msg.Headers = []sarama.RecordHeader{{Key: []byte(StampHeader), Value: r.Header}}
			r.wire.Headers = []*sarama.RecordHeader{&r.msg.Headers[0]}
		}
		out[i] = r
	}
	return out
}
