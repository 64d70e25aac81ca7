package drive

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/loadgen/payload"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

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

	sum    uint32                 // of the body
	passes int                    // how often sarama took the value to put it into a request
	wire   sarama.Record          // for our own batches
	msg    sarama.ProducerMessage // for sarama's producer
}

// Encode and Length make the record its own sarama.Encoder: a byte slice in an interface would be allocated for each record. Sarama
// encodes a record again when it sends it again, which is how retries are seen.
func (r *Record) Encode() ([]byte, error) {
	r.passes++
	return r.Value, nil
}

// Length is the size of the value.
func (r *Record) Length() int { return len(r.Value) }

// newRecords makes n slots with bodies from the source.
func newRecords(n int, topic string, s *payload.Source) []*Record {
	out := make([]*Record, n)
	for i := range out {
		r := &Record{Value: make([]byte, s.Size())}
		s.Fill(r.Value[stamp.Size:])
		r.sum = stamp.Sum(r.Value[stamp.Size:])
		r.wire.Value = r.Value
		r.msg = sarama.ProducerMessage{Topic: topic, Value: r, Metadata: r}
		out[i] = r
	}
	return out
}

// arenaBytes bounds the memory of all slots; with large records it bounds the records in flight too.
const arenaBytes = 64 << 20

// slots is how many records of a workload may be in flight per client.
func slots(inFlight, clients int, p payload.Config) int {
	return max(1, min(inFlight, arenaBytes/p.MeanBytes())/clients)
}
