package verify

import (
	"sync"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

// forgetAfter is for how many grace times a stream of another run has to be silent to be forgotten.
const forgetAfter = 10

// partition is what is known about one partition of the topic. All of it is guarded by mu.
type partition struct {
	mu       sync.Mutex
	v        *Verifier
	n        int32
	assigned bool
	held     bool    // read by us without a break since before our producers began, so that our streams are seen from 0
	next     int64   // one above the highest offset consumed, or where reading begins; -1: unknown
	last     *stream // of the record before: batches hold many records of one producer
	streams  map[streamID]*stream
	counts   Counts
	_        [64]byte // partitions are consumed by different processors
}

type streamID struct {
	run      uint64
	producer uint32
}

func (p *partition) init(v *Verifier, n int32) {
	p.v, p.n, p.held, p.next = v, n, true, -1
	p.streams = make(map[streamID]*stream)
}

// take begins reading at an offset.
func (p *partition) take(offset int64) {
	if !p.assigned && p.v.began.Load() || p.next >= 0 && offset > p.next {
		p.held = false
		for _, st := range p.streams {
			st.resume, st.plain = true, false
		}
	}
	p.assigned = true
	p.next = max(p.next, offset)
}

func (p *partition) open(id streamID) *stream {
	own := id.run == p.v.c.Run
	st := &stream{run: id.run, producer: id.producer, own: own, resume: !own || !p.held, quiet: p.v.c.Now()}
	p.streams[id] = st
	return st
}

// judge takes any record in and says whether it was read for the first time. st is nil for a new stream.
func (p *partition) judge(st *stream, offset int64, s stamp.Stamp) bool {
	if offset < p.next {
		// Consumers mark what they have consumed and read on without a break, so this offset has been here before; unless the log was cut
		// back or made anew, which a number that nobody has seen proves.
		if st == nil || st.resume || s.Sequence < st.next {
			p.counts.Redelivered++
			return false
		}
	}
	p.next = offset + 1
	if st == nil {
		st = p.open(streamID{s.Run, s.Producer})
		st.failed = s.Failed
	}
	before := st.ranges()
	st.touched = true
	if st.resume {
		st.resume = false
		if s.Sequence > st.next {
			st.next, st.floor = s.Sequence, s.Sequence
		}
	}
	p.place(st, offset, s)
	if rise := int32(s.Failed - st.failed); rise > 0 {
		st.failed = s.Failed
		if !st.own {
			// All of them are below this record, so none excuses a gap that comes later.
			st.allow = min(st.allow+uint64(rise), st.missing)
		}
	}
	if !st.own {
		for st.gaps.len() > 0 && time.Duration(s.Wall)-st.gaps.first().since >= p.v.c.Grace {
			p.lose(st, st.gaps.pop())
		}
	}
	p.account(st, before)
	return true
}

// place finds where in its stream the record belongs.
func (p *partition) place(st *stream, offset int64, s stamp.Stamp) {
	n := s.Sequence
	if n >= st.next {
		since := time.Duration(s.Wall)
		if st.own && n > st.next {
			since = p.v.c.Now()
		}
		st.skip(n, since)
		st.next = n + 1
		if e, ok := st.excused.remove(n); ok && e.aborted {
			p.fault(Uncommitted, &p.counts.Uncommitted, st, offset, n)
		}
		return
	}
	if _, ok := st.gaps.remove(n); ok {
		if st.allow == 0 { // otherwise this may be one that was given up and arrived all the same
			p.fault(Reordered, &p.counts.Reordered, st, offset, n)
		}
		st.settle(1)
		return
	}
	if e, ok := st.excused.remove(n); ok {
		if e.aborted {
			p.fault(Uncommitted, &p.counts.Uncommitted, st, offset, n)
		}
		return
	}
	if n >= st.floor {
		p.fault(Duplicated, &p.counts.Duplicated, st, offset, n)
	}
}

func (p *partition) excuse(producer uint32, n uint64, aborted bool) {
	id := streamID{p.v.c.Run, producer}
	st := p.streams[id]
	if st == nil {
		st = p.open(id)
	}
	before := st.ranges()
	if n < st.next {
		if _, ok := st.gaps.remove(n); !ok { // has arrived already
			if aborted && n >= st.floor && !st.excused.has(n) {
				p.fault(Uncommitted, &p.counts.Uncommitted, st, -1, n)
			}
			return
		}
		st.settle(1)
	}
	st.excused.add(span{from: n, to: n + 1, since: p.v.c.Now(), aborted: aborted})
	p.account(st, before)
}

func (p *partition) end(producer uint32, n uint64) {
	id := streamID{p.v.c.Run, producer}
	st := p.streams[id]
	if st == nil {
		st = p.open(id)
	}
	if st.resume || n <= st.next {
		return
	}
	before := st.ranges()
	st.skip(n, p.v.c.Now())
	st.next = n
	p.account(st, before)
}

func (p *partition) sweep(now time.Duration, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, st := range p.streams {
		if !st.own {
			p.retire(id, st, now)
			continue
		}
		before := st.ranges()
		if before == 0 {
			continue
		}
		for st.gaps.len() > 0 && (all || now-st.gaps.first().since >= p.v.c.Grace) {
			p.lose(st, st.gaps.pop())
		}
		// What was given up may still arrive late, but not for ever.
		st.excused.keep(func(e span) bool { return e.to > st.next || now-e.since < p.v.c.Grace })
		p.account(st, before)
	}
}

// retire forgets a stream that has been silent for long.
func (p *partition) retire(id streamID, st *stream, now time.Duration) {
	if st.touched {
		st.touched, st.quiet = false, now
		return
	}
	if now-st.quiet <= forgetAfter*p.v.c.Grace {
		return
	}
	p.v.ranges.Add(-int64(st.ranges()))
	delete(p.streams, id)
	if p.last == st {
		p.last = nil
	}
}

// account keeps the number of ranges within its bound.
func (p *partition) account(st *stream, before int) {
	if d := st.ranges() - before; d != 0 {
		for total := p.v.ranges.Add(int64(d)); total > MaxRanges && st.ranges() > fewRanges; {
			p.giveUp(st)
			total = p.v.ranges.Add(-1)
		}
	}
	st.plain = !st.resume && st.excused.len() == 0 && (st.own || st.gaps.len() == 0)
}

// giveUp drops the oldest range of a stream that may not have another.
func (p *partition) giveUp(st *stream) {
	switch {
	case st.excused.len() > 0: // first, since no number that is excused without its name raises a false alarm
		if e := st.excused.pop(); e.to > st.next {
			st.allow += e.to - max(e.from, st.next)
		}
	case st.own:
		p.lose(st, st.gaps.pop())
	default:
		g := st.gaps.pop()
		st.settle(g.size())
	}
}

// lose counts the numbers of a gap as lost, but for as many as are excused by number only.
func (p *partition) lose(st *stream, g span) {
	excused := min(st.allow, g.size())
	st.allow -= excused
	st.settle(g.size())
	lost := g.size() - excused
	if lost == 0 {
		return
	}
	p.counts.Lost += lost
	p.report(Fault{Kind: Lost, Offset: -1, Run: st.run, Producer: st.producer, First: g.from, Last: g.to - 1, Count: lost})
}

func (p *partition) fault(kind string, count *uint64, st *stream, offset int64, n uint64) {
	*count++
	p.report(Fault{Kind: kind, Offset: offset, Run: st.run, Producer: st.producer, First: n, Last: n, Count: 1})
}

func (p *partition) report(f Fault) {
	f.Topic, f.Partition = p.v.c.Topic, p.n
	p.v.c.Found(f)
}
