package verify

import (
	"fmt"
	"log/slog"
)

// Kinds of faults.
const (
	Lost        = "lost"        // never arrived, and nobody gave it up
	Duplicated  = "duplicated"  // stands in the log twice
	Reordered   = "reordered"   // stands in the log after a later record of its stream
	Corrupted   = "corrupted"   // arrived damaged
	Uncommitted = "uncommitted" // belongs to an aborted transaction and reached a reader of committed records
)

// Counts are totals since the start. The first five count faulty records.
type Counts struct {
	Lost, Duplicated, Reordered, Corrupted, Uncommitted uint64
	// Redelivered records were read again after a rebalance: the consumer's doing, no fault, and not judged again.
	Redelivered uint64
}

func (c *Counts) add(d Counts) {
	c.Lost += d.Lost
	c.Duplicated += d.Duplicated
	c.Reordered += d.Reordered
	c.Corrupted += d.Corrupted
	c.Uncommitted += d.Uncommitted
	c.Redelivered += d.Redelivered
}

// Fault is one finding.
type Fault struct {
	Kind      string
	Topic     string
	Partition int32
	Offset    int64 // of the record that showed it; -1 where none did
	Run       uint64
	Producer  uint32
	First     uint64 // sequence numbers First to Last
	Last      uint64
	// Count is how many of these numbers it concerns: all, unless some were given up by a producer that told no more than how many. It is
	// 0 when the record was too damaged to say which it is; then Offset is all that is known.
	Count uint64
}

// String names the fault for people.
func (f Fault) String() string {
	at := fmt.Sprintf("%s: topic %s, partition %d", f.Kind, f.Topic, f.Partition)
	if f.Offset >= 0 {
		at += fmt.Sprintf(", offset %d", f.Offset)
	}
	if f.Count == 0 {
		return at + ", stamp unreadable"
	}
	which := fmt.Sprintf("sequence %d", f.First)
	if f.Last != f.First {
		which = fmt.Sprintf("sequence %d..%d", f.First, f.Last)
	}
	if f.Count != f.Last-f.First+1 {
		which = fmt.Sprintf("%d of %s", f.Count, which)
	}
	return fmt.Sprintf("%s, producer %d, %s (run %016x)", at, f.Producer, which, f.Run)
}

// LogValue names the fault in a log line.
func (f Fault) LogValue() slog.Value {
	return slog.GroupValue(slog.String("kind", f.Kind), slog.String("topic", f.Topic), slog.Int("partition", int(f.Partition)),
		slog.Int64("offset", f.Offset), slog.String("run", fmt.Sprintf("%016x", f.Run)), slog.Uint64("producer", uint64(f.Producer)),
		slog.Uint64("first", f.First), slog.Uint64("last", f.Last), slog.Uint64("count", f.Count))
}
