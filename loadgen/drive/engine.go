// Package drive sends and receives records and keeps what is known about each.
//
// It promises: an open loop (a slow broker never slows the schedule, and a record that goes out late carries the time it was meant for);
// bounded memory whatever the broker does (records in flight are slots made in advance; what waits for one is a number in the schedule);
// every record offered ends up acknowledged or failed, and every record consumed has its latency counted; sending through an outage and
// going on within seconds after it. Only this package knows sarama. It leaves out deciding the rate.
package drive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/payload"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/verify"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// Outlet is where records go: a Kafka cluster, or a stand-in in tests.
type Outlet interface {
	// Open makes client n. done is called with the records of one answer at the moment it comes, nil when they were acknowledged: once for
	// each record sent, never from two goroutines at once and never from inside Send. The slice stays the outlet's.
	Open(n int, done func(records []*Record, err error)) (Sink, error)
}

// ErrAborted says that a record's transaction was aborted on purpose: the record is neither acknowledged nor failed.
var ErrAborted = errors.New("transaction aborted on purpose")

// Sink is one producing client.
type Sink interface {
	// Send may block while the client is full. false means that ctx ended first and the record was not sent.
	Send(ctx context.Context, r *Record) bool
	// Close waits for the records under way; done has been called for each when it returns.
	Close() error
}

// Config says what to drive. Workload, Topic, Partitions and Rate are required.
type Config struct {
	Workload   workload.Workload
	Topic      string
	Partitions int
	Rate       float64 // records/s at the start
	Run        uint64  // random number of this run
	// Catchup is how late a record may go out. After an outage the records that are later have failed; with Restart the schedule then
	// goes on from the present, so that no backlog is sent at all.
	Catchup time.Duration
	Restart bool
	Logger  *slog.Logger
}

// Engine drives one workload.
type Engine struct {
	c       Config
	clock   Clock
	log     *slog.Logger
	warm    atomic.Int64 // end of the warm-up on the engine's clock; far away until Run
	began   atomic.Int64 // when the schedule began, likewise
	ended   atomic.Int64 // when it ended; 0 until then
	workers []*worker
	arrived []*arrivals // by partition
	verify  *verify.Verifier
	faults  faultLog
	watch   watch
}

// New makes an engine whose clock starts now; Run starts the sending.
func New(c Config) (*Engine, error) {
	if err := c.Workload.Validate(); err != nil {
		return nil, err
	}
	if c.Topic == "" || c.Partitions < 1 {
		return nil, fmt.Errorf("topic: a name and at least one partition are needed (got %q with %d)", c.Topic, c.Partitions)
	}
	if c.Catchup <= 0 {
		return nil, fmt.Errorf("catchup: must be above 0 (got %v)", c.Catchup)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{c: c, clock: NewClock(), log: c.Logger}
	e.faults.log = c.Logger
	var err error
	e.verify, err = verify.New(verify.Config{
		Topic: c.Topic, Partitions: c.Partitions, Run: c.Run, Now: e.clock.Now, Found: e.faults.found,
		Grace: 2 * max(c.Catchup, c.Workload.Producer.GiveUp),
	})
	if err != nil {
		return nil, err
	}
	for range c.Partitions {
		e.arrived = append(e.arrived, &arrivals{})
	}
	clients := c.Workload.Producer.Clients
	for n := range clients {
		w := &worker{e: e, n: n, maxLate: c.Catchup, sequence: make([]uint64, c.Partitions), partition: n * c.Partitions / clients}
		records := newRecords(slots(c.Workload.Producer.InFlight, clients, c.Workload.Payload), c.Topic, payload.NewSource(c.Workload.Payload, uint64(n)))
		w.free = make(chan *Record, len(records))
		for _, r := range records {
			w.free <- r
		}
		e.workers = append(e.workers, w)
	}
	e.warm.Store(int64(schedule.Never))
	e.began.Store(int64(schedule.Never))
	for _, w := range e.workers {
		if err := w.restart(schedule.Never); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Clock is the engine's clock.
func (e *Engine) Clock() Clock { return e.clock }

// Run sends by the schedule until ctx ends, then waits up to drain for the records under way. What is not acknowledged by then has failed.
func (e *Engine) Run(ctx context.Context, out Outlet, drain time.Duration) error {
	for _, w := range e.workers {
		var err error
		if w.sink, err = out.Open(w.n, w.done); err != nil {
			return errors.Join(fmt.Errorf("open producer %d: %w", w.n, err), e.close(drain))
		}
	}
	if err := e.begin(); err != nil {
		return err
	}
	drained, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		e.ended.Store(int64(e.clock.Now()))
		time.AfterFunc(drain, stop)
	})()
	var senders sync.WaitGroup
	for _, w := range e.workers {
		senders.Go(func() { w.run(ctx, drained) })
	}
	senders.Wait()
	return e.close(drain - min(drain, e.clock.Now()-time.Duration(e.ended.Load())))
}

// Lasted is how long records have been offered.
func (e *Engine) Lasted() time.Duration {
	end := e.clock.Now()
	if at := e.ended.Load(); at > 0 {
		end = time.Duration(at)
	}
	return max(0, end-time.Duration(e.began.Load()))
}

// Settle waits until what was sent has been consumed, at most for the given time.
func (e *Engine) Settle(ctx context.Context, longest time.Duration) {
	end := e.clock.Now() + longest
	for ctx.Err() == nil && e.Outstanding() > 0 && e.clock.Now() < end {
		pause(ctx, 10*time.Millisecond)
	}
}

// close ends every client, and waits no longer than drain.
func (e *Engine) close(drain time.Duration) error {
	ended := make(chan error, len(e.workers))
	open := 0
	for _, w := range e.workers {
		if w.sink != nil {
			open++
			go func() { ended <- w.sink.Close() }()
		}
	}
	late := time.NewTimer(drain)
	defer late.Stop()
	var errs []error
	for range open {
		select {
		case err := <-ended:
			errs = append(errs, err)
		case <-late.C:
			return errors.Join(append(errs, fmt.Errorf("drain producers: %d records were still under way after %v", e.InFlight(), drain))...)
		}
	}
	return errors.Join(errs...)
}

// begin starts the schedules, from now.
func (e *Engine) begin() error {
	now := e.clock.Now()
	e.began.Store(int64(now))
	e.warm.Store(int64(now + e.c.Workload.Warmup))
	for _, w := range e.workers {
		if err := w.restart(now); err != nil {
			return err
		}
	}
	return nil
}

// SetRate changes the total rate from now on.
func (e *Engine) SetRate(rate float64) error {
	now := e.clock.Now()
	for _, w := range e.workers {
		if err := w.setRate(now, rate); err != nil {
			return err
		}
	}
	return nil
}

// Rate is the total rate set last.
func (e *Engine) Rate() float64 {
	return e.workers[0].rate()
}

// InFlight is the number of records sent and neither acknowledged nor failed.
func (e *Engine) InFlight() int {
	n := 0
	for _, w := range e.workers {
		n += cap(w.free) - len(w.free)
	}
	return n
}

// Outstanding is the number of records that are due and neither consumed nor given up.
func (e *Engine) Outstanding() uint64 {
	now := e.clock.Now()
	var due, sent uint64
	for _, w := range e.workers {
		d, s := w.outstanding(now)
		due += d
		sent += s
	}
	return due + max(sent, e.verify.Seen()) - min(sent, e.verify.Seen())
}

// Faults are the records that were lost, duplicated, reordered or corrupted so far.
func (e *Engine) Faults() verify.Counts { return e.verify.Counts() }

// phase is the label of a record by the time it was intended for: a slow record stays in the phase it belongs to.
func (e *Engine) phase(wall int64) phase {
	if time.Duration(wall-e.clock.base.UnixNano()) < e.warmEnd() {
		return warmup
	}
	return measure
}

func (e *Engine) warmEnd() time.Duration { return time.Duration(e.warm.Load()) }

// Arrived counts a consumed record. All records of a partition come from one goroutine at a time.
func (e *Engine) Arrived(partition int32, value []byte) {
	if int(partition) >= len(e.arrived) {
		return
	}
	a := e.arrived[partition]
	a.read++
	s, err := stamp.Decode(value)
	switch {
	case errors.Is(err, stamp.ErrForeign):
		a.foreign.Add(1)
		return
	case errors.Is(err, stamp.ErrHead):
		e.verify.Corrupted(partition, a.read, s, false)
		return
	case err != nil:
		e.verify.Corrupted(partition, a.read, s, true)
	default:
		e.verify.Consumed(partition, a.read, s)
	}
	now := e.clock.Now()
	latency := now - time.Duration(s.Mono)
	own := s.Run == e.c.Run
	if !own {
		latency = time.Duration(e.clock.Wall(now) - s.Wall)
	}
	if latency < 0 {
		a.skewed.Add(1)
	}
	a.record(own, e.phase(s.Wall), latency, len(value))
}
