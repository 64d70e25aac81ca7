// Package verify finds records that were lost, repeated, reordered or damaged between producing and consuming.
//
// Each producer numbers its records 0, 1, 2… for each partition, and Kafka keeps the order within a partition. So a number that is skipped
// opens a gap; a record that fills a gap came out of order; one that is neither new nor fills a gap is a repetition; a gap that stays open
// for the grace time is a loss. Records that the producer itself reported as failed are excused: they may arrive or not.
//
// It promises no false alarm as long as the grace time exceeds the time after which the producer gives up, and memory that grows with the
// number of producers, partitions and open gaps only; of the open gaps of one stream the oldest are given up as lost beyond MaxGaps.
// A stream of another run is followed from wherever it is first seen. It leaves out judging the body: package stamp does that.
package verify

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// MaxGaps bounds the open gaps, and likewise the excused ranges, of one stream.
const MaxGaps = 4096

// Counts are totals since the start.
type Counts struct {
	Lost, Duplicated, Reordered, Corrupted uint64
}

// Fault is one finding.
type Fault struct {
	Kind      string // lost, duplicated, reordered or corrupted
	Topic     string
	Partition int32
	Run       uint64
	Producer  uint32
	First     uint64 // sequence numbers First to Last
	Last      uint64
}

// LogValue names the fault in a log line.
func (f Fault) LogValue() slog.Value {
	return slog.GroupValue(slog.String("kind", f.Kind), slog.String("topic", f.Topic), slog.Int("partition", int(f.Partition)),
		slog.String("run", fmt.Sprintf("%016x", f.Run)), slog.Uint64("producer", uint64(f.Producer)), slog.Uint64("first", f.First), slog.Uint64("last", f.Last))
}

// Config says what to verify. Topic, Partitions and Grace are required.
type Config struct {
	Topic      string
	Partitions int
	Run        uint64               // our own run: its streams begin with 0
	Grace      time.Duration        // a gap open for longer is a loss
	Found      func(Fault)          // called for each fault, while the partition is locked; nil: counted only
	Now        func() time.Duration // since any epoch
}

// Verifier follows every stream. All methods may be called from any goroutine; partitions do not wait for each other.
type Verifier struct {
	c          Config
	partitions []partition
}

type partition struct {
	mu      sync.Mutex
	streams map[streamID]*stream
	counts  Counts
}

type streamID struct {
	run      uint64
	producer uint32
}

type stream struct {
	next    uint64 // one above the highest number seen
	gaps    ranges
	excused ranges // failed according to the producer
	seen    time.Duration
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
		v.partitions[i].streams = make(map[streamID]*stream)
	}
	return v, nil
}

func (v *Verifier) partition(n int32) *partition {
	if n < 0 || int(n) >= len(v.partitions) {
		return nil // partitions added while running carry none of our records
	}
	return &v.partitions[n]
}

func (p *partition) stream(id streamID, start uint64) *stream {
	s := p.streams[id]
	if s == nil {
		s = &stream{next: start}
		p.streams[id] = s
	}
	return s
}

func (v *Verifier) start(run, sequence uint64) uint64 {
	if run == v.c.Run {
		return 0
	}
	return sequence
}

// Consumed says that a sound record has arrived.
func (v *Verifier) Consumed(part int32, run uint64, producer uint32, sequence uint64) {
	p := v.partition(part)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := streamID{run, producer}
	s := p.stream(id, v.start(run, sequence))
	s.seen = v.c.Now()
	switch {
	case sequence == s.next:
		s.next++
	case sequence > s.next:
		v.open(p, id, s, part, sequence)
		s.next = sequence + 1
	case s.gaps.remove(sequence):
		p.counts.Reordered++
		v.found("reordered", part, id, sequence, sequence)
	case s.excused.remove(sequence): // reported as failed, and arrived all the same, late
	default:
		p.counts.Duplicated++
		v.found("duplicated", part, id, sequence, sequence)
	}
}

// open notes the numbers from s.next up to sequence as missing, but for the excused ones.
func (v *Verifier) open(p *partition, id streamID, s *stream, part int32, sequence uint64) {
	at := s.next
	for _, e := range s.excused.list {
		if e.to <= at || e.from >= sequence {
			continue
		}
		if e.from > at {
			s.gaps.add(span{from: at, to: e.from, since: s.seen})
		}
		at = min(e.to, sequence)
	}
	if at < sequence {
		s.gaps.add(span{from: at, to: sequence, since: s.seen})
	}
	for len(s.gaps.list) > MaxGaps {
		v.lose(p, id, part, s.gaps.list[0])
		s.gaps.list = s.gaps.list[1:]
	}
}

// Failed says that the producer gave a record of our own run up: it is no loss if it never arrives, and no fault if it does.
func (v *Verifier) Failed(part int32, producer uint32, sequence uint64) {
	p := v.partition(part)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stream(streamID{v.c.Run, producer}, 0)
	if sequence < s.next && !s.gaps.remove(sequence) {
		return // has arrived already
	}
	s.excused.add(span{from: sequence, to: sequence + 1, since: v.c.Now()})
	if over := len(s.excused.list) - MaxGaps; over > 0 {
		s.excused.list = s.excused.list[over:]
	}
}

// Corrupted says that a record arrived damaged. id tells whether its stamp could be read: then it is not missed as well.
func (v *Verifier) Corrupted(part int32, run uint64, producer uint32, sequence uint64, id bool) {
	p := v.partition(part)
	if p == nil {
		return
	}
	if id {
		v.Consumed(part, run, producer, sequence)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Corrupted++
	v.found("corrupted", part, streamID{run, producer}, sequence, sequence)
}

// Sweep declares gaps lost that have been open for the grace time, and forgets streams of other runs that have ended. Call it every
// second or so; with all true, at the end, every gap counts.
func (v *Verifier) Sweep(all bool) {
	now := v.c.Now()
	for i := range v.partitions {
		p := &v.partitions[i]
		p.mu.Lock()
		for id, s := range p.streams {
			keep := s.gaps.list[:0]
			for _, g := range s.gaps.list {
				if all || now-g.since >= v.c.Grace {
					v.lose(p, id, int32(i), g)
				} else {
					keep = append(keep, g)
				}
			}
			s.gaps.list = keep
			if id.run != v.c.Run && len(keep) == 0 && now-s.seen > 10*v.c.Grace {
				delete(p.streams, id)
			}
		}
		p.mu.Unlock()
	}
}

func (v *Verifier) lose(p *partition, id streamID, part int32, g span) {
	p.counts.Lost += g.to - g.from
	v.found("lost", part, id, g.from, g.to-1)
}

func (v *Verifier) found(kind string, part int32, id streamID, first, last uint64) {
	v.c.Found(Fault{Kind: kind, Topic: v.c.Topic, Partition: part, Run: id.run, Producer: id.producer, First: first, Last: last})
}

// Counts sums all partitions.
func (v *Verifier) Counts() Counts {
	var sum Counts
	for i := range v.partitions {
		p := &v.partitions[i]
		p.mu.Lock()
		c := p.counts
		p.mu.Unlock()
		sum.Lost += c.Lost
		sum.Duplicated += c.Duplicated
		sum.Reordered += c.Reordered
		sum.Corrupted += c.Corrupted
	}
	return sum
}

// Missing is the number of records in gaps that are still within the grace time.
func (v *Verifier) Missing() uint64 {
	var n uint64
	for i := range v.partitions {
		p := &v.partitions[i]
		p.mu.Lock()
		for _, s := range p.streams {
			for _, g := range s.gaps.list {
				n += g.to - g.from
			}
		}
		p.mu.Unlock()
	}
	return n
}

// Seen is the number of records of our own run that are behind us: those up to the highest number seen of each stream, and those given up
// beyond it. What the producers have sent and this does not count is still under way; a gap is not, since its successors have arrived.
func (v *Verifier) Seen() uint64 {
	var n uint64
	for i := range v.partitions {
		p := &v.partitions[i]
		p.mu.Lock()
		for id, s := range p.streams {
			if id.run != v.c.Run {
				continue
			}
			n += s.next
			for _, e := range s.excused.list {
				if e.to > s.next {
					n += e.to - max(e.from, s.next)
				}
			}
		}
		p.mu.Unlock()
	}
	return n
}
