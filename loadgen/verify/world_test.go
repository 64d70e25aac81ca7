package verify_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/verify"
)

// world is a topic with its producers and consumers and what goes wrong among them. Its own process and two copies of it share the topic
// and the group. It knows nothing of how faults are found: it keeps a book of those that it makes.
type world struct {
	t           testing.TB
	r           *rand.Rand
	v           *verify.Verifier
	run         uint64 // of the process that verifies
	runs        uint64 // so far
	now         time.Duration
	parts       []*part
	chance      uint64                // of each kind of fault, for each record, in 2^-63
	made        map[string]int        // what was done, faults and others
	want, got   map[finding]int       // faults
	redelivered uint64                // expected
	counts      verify.Counts         // of verifiers that have ended
	does        []func(*world, *turn) // what may happen to a record
	clean       bool                  // nothing happens
	turn        turn
}

// finding names a fault as people would.
type finding struct {
	kind      string
	partition int32
	offset    int64
	run       uint64
	producer  uint32
	sequence  uint64
}

const (
	worldGrace = time.Second
	perGrace   = 50  // records of each stream in a grace time
	behind     = 20  // records of its stream after which the latest consequence of a fault has come
	reread     = 256 // records that are consumed and not committed, at most
	valueSize  = stamp.Size + 8
)

// part is a partition: the end of its log and who reads it.
type part struct {
	n       int32
	sources []*source
	now     *source // whose batch is being written
	left    int     // records left in that batch
	end     int64   // offset of the next record
	tail    [reread][valueSize]byte
	since   int64 // offset from which our process has been reading
	slow    int64 // where the consumer is that took over while the one before goes on reading; 0: nobody
	away    bool  // read by a copy
}

// source is one stream.
type source struct {
	copy     int // which process: 0 is the one that verifies
	run      uint64
	producer uint32
	next     uint64
	failed   uint32
	busy     bool          // something has happened to it, and its consequences are not over
	until    uint64        // the last of them comes with this number,
	calm     time.Duration // and is certain with a record stamped then
	later    []later       // in order
}

// later is something that happens once the stream has come to a number: before is called before that record is stamped, value is appended
// to the log after it.
type later struct {
	at     uint64
	before func()
	value  *[valueSize]byte
	kind   string
	number uint64
}

// turn is one record on its way. It is used again for the next.
type turn struct {
	p       *part
	s       *source
	n       uint64
	value   [valueSize]byte
	kind    string // the fault that its arrival shows
	dropped bool
}

func newWorld(t testing.TB, seed uint64, partitions, producers int, rate float64, does ...func(*world, *turn)) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 2)), chance: uint64(rate * (1 << 63)), does: does,
		made: make(map[string]int), want: make(map[finding]int), got: make(map[finding]int)}
	for n := range partitions {
		p := &part{n: int32(n)}
		for i := range producers {
			p.sources = append(p.sources, &source{copy: max(0, i-producers/2) % 3, producer: uint32(i)})
		}
		w.parts = append(w.parts, p)
	}
	for copy := range 3 {
		w.restart(copy)
	}
	return w
}

func (w *world) tick() time.Duration {
	return worldGrace / time.Duration(perGrace*len(w.parts)*len(w.parts[0].sources))
}

// restart gives a process a new run. Ours begins with a new verifier, and reads again what it had not committed.
func (w *world) restart(copy int) {
	w.runs++
	run := w.runs << 40
	for _, p := range w.parts {
		for _, s := range p.sources {
			if s.copy == copy {
				if s.run > 0 && copy > 0 && w.r.IntN(2) == 0 {
					w.kill(p, s)
				}
				s.run, s.next, s.failed, s.later, s.busy = run, 0, 0, nil, false
			}
		}
	}
	if copy > 0 {
		return
	}
	w.end()
	w.run = run
	var err error
	w.v, err = verify.New(verify.Config{Topic: "lab", Partitions: len(w.parts), Run: run, Grace: worldGrace, Committed: true,
		Now: func() time.Duration { return w.now }, Found: w.found})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range w.parts {
		w.v.Assigned(p.n, -1)
		again := min(w.again(p), int64(behind*len(p.sources))) // the rest before has nothing to be found twice
		p.since, p.slow = p.end-again, 0
		w.v.Assigned(p.n, p.since)
		w.read(p, p.since, p.end)
	}
	w.v.Began()
	for _, p := range w.parts { // what gets lost before the first that we see of a copy nobody can miss
		w.round(p, func(s *source) bool { return s.copy > 0 && s.run > 0 })
	}
}

// kill ends a copy amid its sending: of four numbers only the last got through. No one can say whether the others were acknowledged.
func (w *world) kill(p *part, s *source) {
	s.next += 3
	w.send(&turn{p: p, s: s, n: s.next})
	w.made["killed"]++
}

func (w *world) found(f verify.Fault) {
	if f.Count != f.Last-f.First+1 || f.Topic != "lab" {
		w.t.Errorf("not named: %v", f)
	}
	for n := f.First; n <= f.Last; n++ {
		w.got[finding{f.Kind, f.Partition, f.Offset, f.Run, f.Producer, n}]++
	}
}

func (w *world) fault(kind string, p *part, offset int64, s *source, n uint64) {
	w.made[kind]++
	w.want[finding{kind, p.n, offset, s.run, s.producer, n}]++
}

// step is one record more in a partition.
func (w *world) step(p *part) {
	if p.left == 0 {
		p.now, p.left = p.sources[w.r.IntN(len(p.sources))], 1+w.r.IntN(20)
		if i := slices.IndexFunc(p.sources, func(s *source) bool { return len(s.later) > 0 }); i >= 0 {
			p.now = p.sources[i] // what is out of order is so for less than the grace time
		}
	}
	p.left--
	w.produce(p, p.now)
}

func (w *world) produce(p *part, s *source) {
	w.now += w.tick()
	for len(s.later) > 0 && s.later[0].at <= s.next && s.later[0].before != nil {
		s.later[0].before()
		s.later = s.later[1:]
	}
	turn := &w.turn
	turn.p, turn.s, turn.n, turn.kind, turn.dropped = p, s, s.next, "", false
	s.next++
	w.stamp(turn)
	if kinds := uint64(len(w.does)); !s.busy && !w.clean && w.r.Uint64()>>1 < w.chance*kinds {
		s.busy, s.until, s.calm = true, turn.n+behind, 0
		w.does[w.r.IntN(len(w.does))](w, turn)
	}
	if !turn.dropped {
		w.append(p, s, turn.n, &turn.value, turn.kind)
	}
	for len(s.later) > 0 && s.later[0].at <= turn.n && s.later[0].value != nil {
		l := s.later[0]
		s.later = s.later[1:]
		w.append(p, s, l.number, l.value, l.kind)
	}
	switch {
	case !s.busy || turn.n < s.until:
	case s.calm == 0:
		s.calm = w.now + worldGrace
	default:
		s.busy = w.now < s.calm
	}
}

func (w *world) stamp(t *turn) {
	body := t.value[stamp.Size:]
	body[0] = byte(t.n)
	stamp.Put(t.value[:], stamp.Stamp{Run: t.s.run, Producer: t.s.producer, Sequence: t.n, Failed: t.s.failed, Wall: int64(w.now)}, stamp.Sum(body))
}

func (w *world) send(t *turn) {
	w.stamp(t)
	t.s.next = t.n + 1
	w.append(t.p, t.s, t.n, &t.value, "")
}

// append writes to the log, and whoever has the partition reads it.
func (w *world) append(p *part, s *source, n uint64, value *[valueSize]byte, kind string) {
	p.tail[p.end%reread] = *value
	if kind != "" {
		w.fault(kind, p, p.end, s, n)
	}
	p.end++
	if p.away {
		return
	}
	w.read(p, p.end-1, p.end)
	if p.slow > 0 {
		to := min(p.slow+3, p.end)
		w.read(p, p.slow, to)
		w.redelivered += uint64(to - p.slow)
		if p.slow = to; to == p.end {
			p.slow = 0
		}
	}
}

// read consumes what stands from an offset up to another.
func (w *world) read(p *part, from, to int64) {
	for ; from < to; from++ {
		s, err := stamp.Decode(p.tail[from%reread][:])
		if err == nil {
			w.v.Consumed(p.n, from, s)
		} else {
			w.v.Corrupted(p.n, from, s, !errors.Is(err, stamp.ErrHead))
		}
	}
}

// again is how many records of a partition are to be read a second time.
func (w *world) again(p *part) int64 { return w.r.Int64N(min(p.end-p.since, reread-1) + 1) }

// rebalance hands a partition from one of our consumers to another, to a copy, or back.
func (w *world) rebalance(p *part) {
	quiet := !slices.ContainsFunc(p.sources, func(s *source) bool { return s.busy })
	switch {
	case p.away:
		w.made["came back"]++
		p.away, p.since = false, p.end
		w.v.Assigned(p.n, p.end)
		w.round(p, func(*source) bool { return true }) // what gets lost just where it changes hands nobody sees
	case p.slow > 0:
	case quiet && w.r.IntN(3) == 0:
		w.leave(p)
	default:
		w.made["handed over"]++
		again := w.again(p)
		w.v.Assigned(p.n, p.end-again)
		if w.r.IntN(2) == 0 {
			p.slow = p.end - again
			return
		}
		w.read(p, p.end-again, p.end)
		w.redelivered += uint64(again)
	}
}

// leave lets a copy have a partition and read on there.
func (w *world) leave(p *part) {
	p.away, p.slow = true, 0
	w.round(p, func(*source) bool { return true })
}

// round writes one sound record of each source.
func (w *world) round(p *part, of func(*source) bool) {
	clean := w.clean
	w.clean = true
	for _, s := range p.sources {
		if of(s) {
			w.produce(p, s)
		}
	}
	w.clean = clean
}

// work writes so many records, with a rebalance now and then.
func (w *world) work(records int) {
	const burst = 40
	for i := 0; i < records; i += burst {
		p := w.parts[w.r.IntN(len(w.parts))]
		if w.r.IntN(25) == 0 {
			w.rebalance(p)
		}
		w.clean = p.away
		for range burst {
			w.step(p)
		}
		w.clean = false
		if i%(burst*1000) == 0 {
			w.v.Sweep()
		}
	}
}

// rest lets every consequence come: all partitions are ours, every stream goes on without faults for longer than the grace time.
func (w *world) rest() {
	for _, p := range w.parts {
		if p.away {
			w.rebalance(p)
		}
		p.left = 0
	}
	for i := range behind + 3 {
		if i == behind+2 {
			w.now += 2 * worldGrace
		}
		for _, p := range w.parts {
			w.round(p, func(*source) bool { return true })
		}
	}
	w.v.Sweep()
}

// end takes leave of a verifier.
func (w *world) end() {
	if w.v == nil {
		return
	}
	closeAll(w.v, len(w.parts))
	c := w.v.Counts()
	w.counts.Lost += c.Lost
	w.counts.Duplicated += c.Duplicated
	w.counts.Reordered += c.Reordered
	w.counts.Corrupted += c.Corrupted
	w.counts.Uncommitted += c.Uncommitted
	w.counts.Redelivered += c.Redelivered
}

// live goes through so many records; between the phases a process restarts.
func (w *world) live(records, phases int) {
	for phase := range phases {
		w.work(records / phases)
		w.rest()
		w.restart(phase % 3)
		w.leave(w.parts[phase%len(w.parts)])
	}
	w.end()
}
