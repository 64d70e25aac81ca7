package drive

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/keys"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

type phase int

const (
	warmup phase = iota
	measure
	phases
)

func (p phase) String() string {
	return [phases]string{"warmup", "measure"}[p]
}

const (
	// Due records are taken from the schedule so many at a time: one lock and one look at the clock for all of them.
	atOnce = 64
	// Of the records that go out one behind the other without a wait, every eighth looks at the clock: eight take a few microseconds.
	glance = 8
)

// worker sends the share of one client: run does, and second in its place while the machine keeps it from doing so. done is called from the client's goroutines.
type worker struct {
	e       *Engine
	n       int
	sink    Sink
	free    *queue
	maxLate time.Duration
	changed chan struct{} // the schedule is another than run believes

	mu     sync.Mutex // guards the next four
	plan   *schedule.Schedule
	end    time.Duration // nothing is offered from then on
	taken  [phases]uint64
	unsent uint64 // of those taken, given up before they became a record

	turn chan struct{} // holds the right to send

	// Of the goroutine that has the turn.
	due         []time.Duration // taken and not yet sent
	keys        *keys.Source
	partitioner sarama.Partitioner
	sequence    []uint64 // by partition
	partition   int
	inRow       int

	gaveUp     []atomic.Uint32 // by partition: records of the stream that have failed
	out        atomic.Uint64   // records sent, as of the last time that the sender looked up from them
	failed     [phases]atomic.Uint64
	aborted    [phases]atomic.Uint64
	retried    [phases]atomic.Uint64
	acked      [phases]atomic.Uint64 // for those who want to know often; exported is the count of response
	ackedBytes [phases]atomic.Uint64
	ended      atomic.Uint64         // records no longer under way
	waited     atomic.Int64          // ns without a free slot, or with a client that takes nothing, while records were due
	lag        [phases]hist.Recorder // for each record sent
	response   [phases]hist.Recorder // written by done
	service    [phases]hist.Recorder // written by done
	overslept  hist.Recorder         // how late they were woken up, for no other reason than the machine
	covered    bool                  // the second has sent since run looked last
}

// start sets the schedule. What was due before now is given up: a copy that comes late has not offered it.
func (w *worker) start(plan *schedule.Schedule, now, end time.Duration) {
	w.mu.Lock()
	w.plan, w.end = plan, end
	late := w.skip(now - 1)
	w.mu.Unlock()
	w.e.errors.add(startedLate, late)
}

func (w *worker) setRate(now time.Duration, rate float64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan == nil || now >= w.end {
		return nil // a controller may not notice for a moment
	}
	if err := w.plan.SetRate(now, rate); err != nil {
		return err
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return nil
}

func (w *worker) rate(now time.Duration) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan == nil || now >= w.end {
		return 0
	}
	return w.plan.RateAt(now)
}

// dueBy is how many records up to t are neither taken nor skipped. w.mu is held.
func (w *worker) dueBy(t time.Duration) uint64 {
	if w.plan == nil {
		return 0
	}
	return w.plan.Due(min(t, w.end-1))
}

// offered is how many records were intended up to now, by phase.
func (w *worker) offered(now time.Duration) [phases]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.taken
	warm := w.dueBy(min(now, w.e.warmEnd()-1))
	out[warmup] += warm
	out[measure] += w.dueBy(now) - warm
	return out
}

// outstanding is how many records are due and have not become one, and how many have.
func (w *worker) outstanding(now time.Duration) (due, issued uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dueBy(now), w.taken[warmup] + w.taken[measure] - w.unsent
}

func (w *worker) endsAt() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end
}

// take fills due with records that are due, and returns the intended time of the one after them, Never if there is none before the end.
// Records that are too late are given up here.
func (w *worker) take(now time.Duration) (next time.Duration) {
	w.due = w.due[:0]
	w.mu.Lock()
	defer w.mu.Unlock()
	last := min(now, w.end-1)
	if now-w.plan.Next() > w.maxLate {
		until := now - w.maxLate
		if w.e.c.Restart {
			until = last
		}
		w.e.errors.add(tooLate, w.skip(until))
	}
	warm := w.e.warmEnd()
	for len(w.due) < atOnce {
		at, ok := w.plan.Take(last)
		if !ok {
			break
		}
		w.due = append(w.due, at)
		if at < warm {
			w.taken[warmup]++
		} else {
			w.taken[measure]++
		}
	}
	if next = w.plan.Next(); next >= w.end {
		return schedule.Never
	}
	return next
}

// skip gives up what is due and returns how many. w.mu is held.
func (w *worker) skip(until time.Duration) uint64 {
	until = min(until, w.end-1)
	warm := w.plan.Skip(min(until, w.e.warmEnd()-1))
	rest := w.plan.Skip(until)
	w.taken[warmup] += warm
	w.failed[warmup].Add(warm)
	w.taken[measure] += rest
	w.failed[measure].Add(rest)
	w.unsent += warm + rest
	return warm + rest
}

// stop ends the schedule: no more is offered.
func (w *worker) stop(now time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = min(w.end, now+1)
}

// sendAll sends what was taken. Each record waits for a free slot, until drained ends if need be.
func (w *worker) sendAll(drained context.Context) {
	var now time.Duration
	sent := uint64(0)
	for i, at := range w.due {
		r := w.free.tryGet()
		held := r == nil || w.e.blocks // this one or the one before may have had to wait
		if r == nil {
			w.out.Add(sent)
			sent = 0
			if r = w.wait(drained); r == nil {
				w.giveUp(at, notDrained)
				continue
			}
		}
		if held || i%glance == 0 {
			now = w.e.clock.Now()
		}
		if held && now-at > w.maxLate {
			w.giveUp(at, tooLate)
			w.free.put(r)
			continue
		}
		w.send(drained, r, at, now)
		sent++
	}
	w.out.Add(sent)
}

// wait waits for a free slot and notes for how long.
func (w *worker) wait(drained context.Context) *Record {
	since := w.e.clock.Now()
	r := w.free.get(drained.Done())
	w.waited.Add(int64(w.e.clock.Now() - since))
	return r
}

// giveUp is for a record that was taken and never became one.
func (w *worker) giveUp(at time.Duration, kind string) {
	w.mu.Lock()
	w.unsent++
	w.mu.Unlock()
	w.failed[w.e.phase(at)].Add(1)
	w.e.errors.add(kind, 1)
}

// send puts the record that was intended for at on its way; now is the time.
func (w *worker) send(drained context.Context, r *Record, at, now time.Duration) {
	p := w.e.phase(at)
	r.setKey(w.keys.Next())
	n := w.choose(r)
	r.Partition, r.Sequence = int32(n), w.sequence[n]
	w.sequence[n]++
	r.stamp(stamp.Stamp{Run: w.e.c.Run, Producer: uint32(w.n), Sequence: r.Sequence, Wall: w.e.clock.Wall(at), Mono: int64(at), Failed: w.gaveUp[n].Load()})
	r.passes, r.Intended, r.Sent = 0, at, now
	w.lag[p].Record(now - at)
	sent := w.sink.Send(drained, r)
	if w.e.blocks {
		w.waited.Add(int64(w.e.clock.Now() - now))
	}
	if !sent {
		w.fail(r, p)
		w.e.errors.add(notDrained, 1)
		w.free.put(r)
	}
}

// choose is the record's partition: by its key as Kafka's own clients do, or some in a row to each in turn.
func (w *worker) choose(r *Record) int {
	if r.Key != nil {
		// The only error is that of encoding the key, which is a slice already.
		n, _ := w.partitioner.Partition(&r.msg, int32(len(w.sequence)))
		return int(n)
	}
	if w.inRow++; w.inRow > w.e.c.Workload.Producer.Sticky {
		w.inRow = 1
		if w.partition++; w.partition == len(w.sequence) {
			w.partition = 0
		}
	}
	return w.partition
}

// done counts the records of one answer. They were answered at the same moment.
func (w *worker) done(records []*Record, err error) {
	switch {
	case err == nil:
		w.acknowledged(records)
	case errors.Is(err, ErrAborted):
		for _, r := range records {
			w.aborted[w.e.phase(r.Intended)].Add(1)
			w.gone(r)
			for _, v := range w.e.verify {
				v.Aborted(r.Partition, uint32(w.n), r.Sequence)
			}
		}
	default:
		w.e.errors.failed(err, uint64(len(records)))
		for _, r := range records {
			w.fail(r, w.e.phase(r.Intended))
		}
	}
	w.free.put(records...)
}

func (w *worker) acknowledged(records []*Record) {
	now := w.e.clock.Now()
	warm := w.e.warmEnd()
	var n, bytes [phases]uint64
	for _, r := range records {
		p := measure
		if r.Intended < warm {
			p = warmup
		}
		w.response[p].Record(now - r.Intended)
		w.service[p].Record(now - r.Sent)
		n[p]++
		bytes[p] += uint64(len(r.Value))
		if r.passes > 1 {
			w.retried[p].Add(uint64(r.passes - 1))
		}
	}
	for p := range phases {
		if n[p] > 0 {
			w.acked[p].Add(n[p])
			w.ackedBytes[p].Add(bytes[p])
		}
	}
	w.ended.Add(uint64(len(records)))
}

func (w *worker) fail(r *Record, p phase) {
	if r.passes > 1 {
		w.retried[p].Add(uint64(r.passes - 1))
	}
	w.failed[p].Add(1)
	w.gone(r)
	for _, v := range w.e.verify {
		v.Failed(r.Partition, uint32(w.n), r.Sequence)
	}
}

// gone notes that the record may arrive or not, for those who read the stamps of other runs.
func (w *worker) gone(r *Record) {
	w.gaveUp[r.Partition].Add(1)
	w.ended.Add(1)
}
