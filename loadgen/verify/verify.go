// Package verify finds records that were lost, repeated, reordered or damaged between producing and consuming, and names each.
//
// Each producer numbers its records 0, 1, 2… for each partition (one stream), and Kafka keeps the order within a partition. So a number
// that is skipped opens a gap; a record that fills a gap stands out of order in the log; one that is neither new nor fills a gap stands in
// it twice; a gap that stays open is a loss. The offset tells what the consumers did from what the log holds: an offset that has been
// consumed before is a re-delivery, as every rebalance may bring them, and not judged again; a consumer that takes a partition over beyond
// the last offset consumed here shows that others have read it meanwhile, and the streams are followed from there on.
//
// Records that a producer gave up are excused: they may arrive or not. Our own producers say which (Failed, Aborted). Those of other runs,
// copies of this program that share topic and group or have ended, say how many, in every stamp. Their gaps count as losses once a record
// stamped the grace time later has arrived that still does not excuse them; gaps that nothing proves, because the copy was killed or the
// partition went elsewhere, are no losses.
//
// It promises no false alarm as long as the grace time exceeds the time for which a producer keeps trying plus the time by which a record
// may go out late, and as long as consumers mark a record only after Consumed. A stream of another run is judged from where it is first
// seen, and so is one of ours in a partition that others have read: what got lost just where a partition changed hands between two
// processes nobody sees. Memory grows with the streams of the last ten grace times and with open gaps, of which MaxRanges are kept.
//
// There is one Verifier for each consumer group. It leaves out judging the body: package stamp does that.
package verify

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

// MaxRanges bounds how many ranges of numbers, missing or excused, all streams remember together. Beyond it the oldest of the stream that
// needs one more are given up: missing ones of our own are lost, those of other runs are not judged, excused ones are remembered by their
// number only. Each stream may keep fewRanges in any case.
const (
	MaxRanges = 1 << 19
	fewRanges = 4
)

// Config says what to verify. Topic, Partitions, Grace and Now are required.
type Config struct {
	Topic      string
	Partitions int
	Run        uint64               // our own run: its streams begin with 0
	Grace      time.Duration        // a gap open for longer is a loss
	Committed  bool                 // the consumers read committed records only
	Found      func(Fault)          // called for each fault, while the partition is locked; nil: counted only
	Now        func() time.Duration // since any epoch
}

// Verifier follows every stream. All methods may be called from any goroutine; partitions do not wait for each other.
type Verifier struct {
	c          Config
	began      atomic.Bool
	ranges     atomic.Int64 // remembered by all streams
	partitions []partition
}

// New makes a verifier.
func New(c Config) (*Verifier, error) {
	var errs []error
	if c.Topic == "" {
		errs = append(errs, errors.New("topic: must be set (got none)"))
	}
	if c.Partitions < 1 {
		errs = append(errs, fmt.Errorf("partitions: must be 1 or more (got %d)", c.Partitions))
	}
	if c.Grace <= 0 {
		errs = append(errs, fmt.Errorf("grace: must be above 0 (got %v)", c.Grace))
	}
	if c.Now == nil {
		errs = append(errs, errors.New("now: a clock is needed (got none)"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if c.Found == nil {
		c.Found = func(Fault) {}
	}
	v := &Verifier{c: c, partitions: make([]partition, c.Partitions)}
	for i := range v.partitions {
		v.partitions[i].init(v, int32(i))
	}
	return v, nil
}

// partition is nil for a partition that was added while running: it carries none of our records.
func (v *Verifier) partition(n int32) *partition {
	if n < 0 || int(n) >= len(v.partitions) {
		return nil
	}
	return &v.partitions[n]
}

// Began says that our producers are about to send their first record. A partition that no consumer has been assigned by then is read by
// another copy.
func (v *Verifier) Began() { v.began.Store(true) }

// Assigned says that one of our consumers takes the partition over and will read from the offset; below 0: not known yet.
func (v *Verifier) Assigned(part int32, offset int64) {
	if p := v.partition(part); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.take(offset)
	}
}

// Consumed says that a sound record has arrived.
func (v *Verifier) Consumed(part int32, offset int64, s stamp.Stamp) {
	p := v.partition(part)
	if p == nil {
		return
	}
	p.mu.Lock()
	st := p.last
	if st == nil || st.run != s.Run || st.producer != s.Producer {
		st = p.streams[streamID{s.Run, s.Producer}]
		p.last = st
	}
	if st != nil && st.plain && s.Sequence == st.next && s.Failed == st.failed {
		// Nearly every record: the next one of a stream of which nothing is open. No offset says otherwise: it has not been here before.
		st.next, st.touched = st.next+1, true
		p.next = offset + 1
		p.mu.Unlock()
		return
	}
	defer p.mu.Unlock()
	p.judge(st, offset, s)
}

// Corrupted says that a record arrived damaged. named tells whether its stamp is known all the same: then it is not missed as well.
func (v *Verifier) Corrupted(part int32, offset int64, s stamp.Stamp, named bool) {
	p := v.partition(part)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := Fault{Kind: Corrupted, Offset: offset}
	switch {
	case named:
		st := p.streams[streamID{s.Run, s.Producer}]
		if !p.judge(st, offset, s) {
			return
		}
		f.Run, f.Producer, f.First, f.Last, f.Count = s.Run, s.Producer, s.Sequence, s.Sequence, 1
	case offset < p.next:
		p.counts.Redelivered++
		return
	default:
		p.next = offset + 1
	}
	p.counts.Corrupted++
	p.report(f)
}

// Failed says that the producer gave a record of our own run up: it is no loss if it never arrives, and no fault if it does.
func (v *Verifier) Failed(part int32, producer uint32, sequence uint64) {
	v.excuse(part, producer, sequence, false)
}

// Aborted says that the transaction of a record of our own run was aborted: it is no loss if it never arrives, and a fault if it reaches a
// reader of committed records. It has to be called before the producer sends its next record to the partition.
func (v *Verifier) Aborted(part int32, producer uint32, sequence uint64) {
	v.excuse(part, producer, sequence, v.c.Committed)
}

func (v *Verifier) excuse(part int32, producer uint32, sequence uint64, aborted bool) {
	if p := v.partition(part); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.excuse(producer, sequence, aborted)
	}
}

// Ended says that the producer has given out the numbers below sequence and that our consumers have read the partition to its end, so that
// what has not arrived is missing also where no later record shows it.
func (v *Verifier) Ended(part int32, producer uint32, sequence uint64) {
	if p := v.partition(part); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.end(producer, sequence)
	}
}

// Closed says that nobody writes to the partition any more and our consumers have read it to its end: nothing can close a gap there, so every
// one of our own run counts.
func (v *Verifier) Closed(part int32) {
	if p := v.partition(part); p != nil {
		p.sweep(v.c.Now(), true)
	}
}

// Sweep declares gaps of our own run lost that have been open for the grace time, and forgets streams of other runs that have ended. Call
// it every second or so.
func (v *Verifier) Sweep() {
	now := v.c.Now()
	for i := range v.partitions {
		v.partitions[i].sweep(now, false)
	}
}

// Counts sums all partitions.
func (v *Verifier) Counts() Counts {
	var sum Counts
	for i := range v.partitions {
		p := &v.partitions[i]
		p.mu.Lock()
		sum.add(p.counts)
		p.mu.Unlock()
	}
	return sum
}

// Missing is the number of records in gaps that are neither lost nor excused yet.
func (v *Verifier) Missing() uint64 {
	return v.sum(func(st *stream) uint64 { return st.missing })
}

// Seen is the number of records of our own run that are behind us: those up to the highest number seen of each stream, and those given up
// beyond it. What the producers have sent and this does not count is still under way; a gap is not, since its successors have arrived.
func (v *Verifier) Seen() uint64 {
	return v.sum(func(st *stream) uint64 {
		if st.run != v.c.Run {
			return 0
		}
		n := st.next
		for _, e := range st.excused.live() {
			if e.to > st.next {
				n += e.to - max(e.from, st.next)
			}
		}
		return n
	})
}

func (v *Verifier) sum(of func(*stream) uint64) uint64 {
	var n uint64
	for i := range v.partitions {
		p := &v.partitions[i]
		p.mu.Lock()
		for _, st := range p.streams {
			n += of(st)
		}
		p.mu.Unlock()
	}
	return n
}
