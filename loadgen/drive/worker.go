package drive

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
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

// longestSleep bounds how long a rise of the rate goes unnoticed.
const longestSleep = 5 * time.Millisecond

// worker sends the share of one client. run is its only sending goroutine, done is called from the client's.
type worker struct {
	e       *Engine
	n       int
	sink    Sink
	free    chan *Record
	maxLate time.Duration

	mu       sync.Mutex // guards the next five
	plan     *schedule.Schedule
	stopped  bool
	taken    [phases]uint64
	issued   uint64 // sequence numbers given out
	sequence []uint64

	partition int
	inRow     int

	sent, failed [phases]atomic.Uint64
	retried      [phases]atomic.Uint64
	acked        [phases]atomic.Uint64 // for those who want to know often; exported is the count of response
	ackedBytes   [phases]atomic.Uint64
	lag          [phases]hist.Recorder // written by run
	response     [phases]hist.Recorder // written by done
	service      [phases]hist.Recorder // written by done
	overslept    hist.Recorder         // how late run woke up, for no other reason than the machine
}

func (w *worker) restart(origin time.Duration) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := schedule.Config{Shape: schedule.Constant, Rate: w.e.c.Rate}
	w.plan, err = schedule.New(c, origin, w.n, w.e.c.Workload.Producer.Clients, 0)
	return err
}

func (w *worker) setRate(now time.Duration, rate float64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return nil // a controller may not notice for a moment
	}
	return w.plan.SetRate(now, rate)
}

func (w *worker) rate() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plan.RateAt(w.e.clock.Now())
}

// offered is how many records were intended up to now, by phase.
func (w *worker) offered(now time.Duration) [phases]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.taken
	warm := w.plan.Due(min(now, w.e.warmEnd()-1))
	out[warmup] += warm
	out[measure] += w.plan.Due(now) - warm
	return out
}

func (w *worker) outstanding(now time.Duration) (due, issued uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plan.Due(now), w.issued
}

// run sends by the schedule until ctx ends, and then what has become due by that moment, unless drained ends first.
func (w *worker) run(ctx, drained context.Context) {
	for ctx.Err() == nil {
		now := w.e.clock.Now()
		at, due := w.take(now)
		if due {
			w.send(drained, at)
			continue
		}
		wake := min(at, now+longestSleep)
		time.Sleep(wake - now)
		w.overslept.Record(w.e.clock.Now() - wake)
	}
	w.stop()
	for drained.Err() == nil {
		at, due := w.take(w.e.clock.Now())
		if !due {
			return
		}
		w.send(drained, at)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skip(w.e.clock.Now())
}

// take returns the intended time of the next record and whether it is due. Records that are too late are given up here.
func (w *worker) take(now time.Duration) (at time.Duration, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at = w.plan.Next()
	if now-at > w.maxLate {
		until := now - w.maxLate
		if w.e.c.Restart {
			until = now
		}
		w.skip(until)
		at = w.plan.Next()
	}
	if at > now {
		return at, false
	}
	w.plan.Take(now)
	w.taken[w.e.phase(w.e.clock.Wall(at))]++
	return at, true
}

// skip gives up what is due. w.mu is held.
func (w *worker) skip(until time.Duration) {
	warm := w.plan.Skip(min(until, w.e.warmEnd()-1))
	rest := w.plan.Skip(until)
	w.taken[warmup] += warm
	w.failed[warmup].Add(warm)
	w.taken[measure] += rest
	w.failed[measure].Add(rest)
}

// stop ends the schedule: no more is offered.
func (w *worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.plan.End(w.e.clock.Now())
}

// send puts the record due at the given time on its way, waiting for a free slot until drained ends if need be.
func (w *worker) send(drained context.Context, at time.Duration) {
	wall := w.e.clock.Wall(at)
	p := w.e.phase(wall)
	var r *Record
	select {
	case r = <-w.free:
	default:
		select {
		case r = <-w.free:
		case <-drained.Done():
			w.failed[p].Add(1)
			return
		}
		if w.e.clock.Now()-at > w.maxLate {
			w.failed[p].Add(1)
			w.free <- r
			return
		}
	}
	w.mu.Lock()
	r.Partition = int32(w.partition)
	r.Sequence = w.sequence[w.partition]
	w.sequence[w.partition]++
	w.issued++
	w.mu.Unlock()
	if w.inRow++; w.inRow >= w.e.c.Workload.Producer.Sticky {
		w.inRow = 0
		w.partition = (w.partition + 1) % len(w.sequence)
	}
	stamp.Put(r.Value, stamp.Stamp{Run: w.e.c.Run, Producer: uint32(w.n), Sequence: r.Sequence, Wall: wall, Mono: int64(at)}, r.sum)
	r.passes, r.Intended, r.Sent = 0, at, w.e.clock.Now()
	w.sent[p].Add(1)
	w.lag[p].Record(r.Sent - at)
	if !w.sink.Send(drained, r) {
		w.fail(r, p)
	}
}

func (w *worker) done(records []*Record, err error) {
	for _, r := range records {
		w.ended(r, err)
	}
}

func (w *worker) ended(r *Record, err error) {
	p := w.e.phase(w.e.clock.Wall(r.Intended))
	if r.passes > 1 {
		w.retried[p].Add(uint64(r.passes - 1))
	}
	if err != nil {
		w.e.faults.failed(err)
		w.fail(r, p)
		return
	}
	now := w.e.clock.Now()
	w.response[p].Record(now - r.Intended)
	w.service[p].Record(now - r.Sent)
	w.acked[p].Add(1)
	w.ackedBytes[p].Add(uint64(len(r.Value)))
	w.free <- r
}

func (w *worker) fail(r *Record, p phase) {
	w.failed[p].Add(1)
	w.e.verify.Failed(r.Partition, uint32(w.n), r.Sequence)
	w.free <- r
}
