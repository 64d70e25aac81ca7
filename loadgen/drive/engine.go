// Package drive sends and receives records and keeps what is known about each.
//
// It promises: an open loop (a slow broker never slows the schedule, and a record that goes out late carries the time it was meant for),
// unless the schedule asks for a closed one; bounded memory whatever the broker does (records in flight are slots made in advance; what
// waits for one is a number in the schedule); every record offered ends up acknowledged, failed or, in a transaction aborted on purpose,
// aborted, and every record consumed has its latency counted; sending through an outage and going on within seconds after it. Only this
// package knows sarama. It leaves out deciding the rate.
package drive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/loadgen/keys"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
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
	// Close comes after the last Send and waits for the records under way. Those that are left when ctx ends have failed, and an answer that
	// comes later changes nothing: done has been called once for each when it returns. They may be read still, so they are not to be used again.
	Close(ctx context.Context) error
}

// Share is one of several copies of the generator that send one schedule together. The zero value is the only copy.
type Share struct {
	Index, Count int       // Index is within 0..Count−1
	Start        time.Time // when the schedule begins, the same for all copies; zero: as soon as the clients are connected
}

// Config says what to drive. Workload, Topic, Partitions and Catchup are required.
type Config struct {
	Workload   workload.Workload // with a schedule, that of all copies together
	Topic      string
	Partitions int
	Rate       float64 // records/s of all copies together, constant, instead of the workload's schedule; 0: the workload's schedule
	Run        uint64  // random number of this run
	Share      Share
	Duration   time.Duration // of the schedule; 0: until Run's context ends
	// Catchup is how late a record may go out. After an outage the records that are later have failed; with Restart the schedule then
	// goes on from the present, so that no backlog is sent at all.
	Catchup time.Duration
	Restart bool
	// Joining says that the consumers are still joining when sending begins and that Joined will be called: the warm-up then lasts at least
	// until what was sent meanwhile has been consumed. Copies with a common start have time to join before it, and one warm-up for all.
	Joining bool
	// Sleep waits for at most 2 ms, or is interrupted; nil: by the system's own clock. For a clock that is not the system's.
	Sleep func(time.Duration)
	// Processors is how many this process may use; 0: as many as goroutines may run at once.
	Processors int
	Logger     *slog.Logger
}

// Engine drives one workload.
type Engine struct {
	c       Config
	plan    schedule.Config
	clock   Clock
	log     *slog.Logger
	usage   syscall.Rusage // of the process when the engine was made
	warm    atomic.Int64   // end of the warm-up on the engine's clock; far away until it is known
	began   atomic.Int64   // when the schedule began or begins, likewise
	ended   atomic.Int64   // when it ended; 0 until then
	joining joining
	workers []*worker
	arrived [stripes]*arrivals // by group and partition
	verify  []*verify.Verifier // by group
	reached [][]atomic.Int64   // by group and partition: the offset after the last one read, 0 when none was
	errors  failures
	watch   watch
	blocks  bool // a transaction's end keeps a sender inside its client
}

// never is the time of what has not happened.
const never = int64(schedule.Never)

const (
	expiry      = 2 * time.Second // beyond the time of a record, within which its client has noticed that it is over
	leaveWithin = time.Second     // for clients that have sent nothing
)

// New makes an engine whose clock starts now; Run starts the sending.
func New(c Config) (*Engine, error) {
	if c.Share.Count == 0 {
		c.Share.Count = 1
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Processors == 0 {
		c.Processors = runtime.GOMAXPROCS(0)
	}
	e := &Engine{c: c, plan: c.Workload.Schedule, clock: NewClock(), log: c.Logger, blocks: c.Workload.Producer.Transactions.Records > 0}
	if c.Rate > 0 {
		e.plan = schedule.Config{Shape: schedule.Constant, Rate: c.Rate}
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	e.errors.log.log = c.Logger
	e.usage = usage()
	e.joining.waiting = c.Joining && groups(c.Workload) > 0 && c.Share.Start.IsZero()
	e.warm.Store(never)
	e.began.Store(never)
	for i := range e.arrived {
		e.arrived[i] = &arrivals{}
	}
	for range groups(c.Workload) {
		v, err := verify.New(verify.Config{
			Topic: c.Topic, Partitions: c.Partitions, Run: c.Run, Now: e.clock.Now, Found: e.errors.log.found,
			Committed: c.Workload.Consumer.Isolation == "read_committed",
			Grace:     2 * max(c.Catchup, c.Workload.Producer.GiveUp),
		})
		if err != nil {
			return nil, err
		}
		if c.Share.Count == 1 { // no other copy reads a partition, so what our consumers come to late is theirs all the same
			for p := range c.Partitions {
				v.Assigned(int32(p), -1)
			}
		}
		e.verify = append(e.verify, v)
		e.reached = append(e.reached, make([]atomic.Int64, c.Partitions))
	}
	for n := range c.Workload.Producer.Clients {
		w, err := e.worker(n)
		if err != nil {
			return nil, fmt.Errorf("make producer %d: %w", n, err)
		}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

func (e *Engine) check() error {
	c := e.c
	errs := []error{c.Workload.Validate()}
	if err := e.plan.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("schedule: %w", err))
	}
	if c.Topic == "" || c.Partitions < 1 {
		errs = append(errs, fmt.Errorf("topic: a name and at least one partition are needed (got %q with %d)", c.Topic, c.Partitions))
	}
	if c.Catchup <= 0 {
		errs = append(errs, fmt.Errorf("catchup: must be above 0 (got %v)", c.Catchup))
	}
	if c.Share.Index < 0 || c.Share.Index >= c.Share.Count {
		errs = append(errs, fmt.Errorf("share: the index must be within 0..%d (got %d)", c.Share.Count-1, c.Share.Index))
	}
	return errors.Join(errs...)
}

func (e *Engine) worker(n int) (*worker, error) {
	c := e.c
	clients := c.Workload.Producer.Clients
	plan, err := e.schedule(n, schedule.Never)
	if err != nil {
		return nil, err
	}
	room := c.Workload.Slots()
	if e.plan.Shape == schedule.Closed {
		room = min(plan.InFlight(), room+1) // the first clients have one more where they do not come out even
	}
	return &worker{
		e: e, n: n, maxLate: c.Catchup, plan: plan, free: newQueue(newRecords(room, c.Topic, c.Workload.Payload, e.stream(n))), changed: make(chan struct{}, 1), turn: make(chan struct{}, 1), due: make([]time.Duration, 0, atOnce),
		keys: keys.New(c.Workload.Keys, e.stream(n)), partitioner: sarama.NewMurmur2Partitioner(c.Topic), sequence: make([]uint64, c.Partitions), gaveUp: make([]atomic.Uint32, c.Partitions),
		partition: n * c.Partitions / clients,
	}, nil
}

// stream numbers the clients of all copies, so that each has keys and bodies of its own.
func (e *Engine) stream(n int) uint64 {
	return uint64(e.c.Share.Index*e.c.Workload.Producer.Clients + n)
}

// schedule is the part of client n.
func (e *Engine) schedule(n int, origin time.Duration) (*schedule.Schedule, error) {
	clients := e.c.Workload.Producer.Clients
	return schedule.New(e.plan, origin, int(e.stream(n)), e.c.Share.Count*clients, e.c.Workload.Seed)
}

// groups is how many consumer groups read.
func groups(w workload.Workload) int {
	if w.Consumer.Clients == 0 {
		return 0
	}
	return w.Consumer.Groups
}

// Clock is the engine's clock.
func (e *Engine) Clock() Clock { return e.clock }

// Run sends by the schedule until it or ctx ends, and then waits for the records under way: up to drain after the end of ctx, otherwise
// until each has used up its time. What is not acknowledged by then has failed.
func (e *Engine) Run(ctx context.Context, out Outlet, drain time.Duration) error {
	drained, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for _, w := range e.workers {
		var err error
		w.sink, err = within(ctx, func() (Sink, error) { return out.Open(w.n, w.done) })
		if ctx.Err() != nil {
			return e.leave(ctx) // ended before it began
		}
		if err != nil {
			return errors.Join(fmt.Errorf("open producer %d: %w", w.n, err), e.leave(ctx))
		}
	}
	sending, end := context.WithCancel(ctx)
	defer end()
	if err := e.begin(end); err != nil {
		return errors.Join(err, e.leave(ctx))
	}
	var senders, seconds sync.WaitGroup
	defer seconds.Wait()
	for _, w := range e.workers {
		if e.plan.Shape == schedule.Closed {
			senders.Go(func() { w.loop(sending, drained) })
		} else {
			senders.Go(func() { w.run(sending, drained) })
			seconds.Go(func() { w.second(sending, drained) })
		}
	}
	<-sending.Done()
	e.ended.Store(int64(min(e.clock.Now(), e.endsAt())))
	defer time.AfterFunc(max(drain, e.c.Workload.Producer.GiveUp+expiry), stop).Stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drain, stop) })()
	senders.Wait()
	return e.close(drained)
}

// begin starts the schedules; end is called when they are over.
func (e *Engine) begin(end func()) error {
	now := e.clock.Now()
	origin := now
	if at := e.c.Share.Start; !at.IsZero() {
		origin = e.clock.Since(at.UnixNano())
	}
	e.began.Store(int64(origin))
	for _, v := range e.verify {
		v.Began()
	}
	if e.caughtUp() {
		e.warm.CompareAndSwap(never, int64(origin+e.c.Workload.Warmup))
	}
	for _, w := range e.workers {
		plan, err := e.schedule(w.n, origin)
		if err != nil {
			return err
		}
		w.start(plan, now, e.endsAt())
	}
	if e.c.Duration > 0 {
		time.AfterFunc(e.endsAt()-now, end)
	}
	if late := e.errors.counts()[startedLate]; late > 0 {
		e.log.Warn("started late: what was due before has failed", "records", late, "late", (now - origin).Round(time.Millisecond))
	}
	return nil
}

// endsAt is when the schedule is over.
func (e *Engine) endsAt() time.Duration {
	if e.c.Duration == 0 {
		return schedule.Never
	}
	return time.Duration(e.began.Load()) + e.c.Duration
}

// Began is when the schedule began or begins on the engine's clock, schedule.Never until that is known.
func (e *Engine) Began() time.Duration { return time.Duration(e.began.Load()) }

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

// Finish takes the offsets at which the partitions end, once Run has returned and consumers are still reading. Where a group has read up to
// the end, what is not there is lost: what was acknowledged at last, and what is missing before it and would be waited for otherwise. Copies
// cannot tell: another one may have read it.
//
// The ends of transactions, and what was aborted, have offsets that readers never see. There a group has read everything when it has seen the last
// record of each producer; what is missing then is missing in between.
func (e *Engine) Finish(ends []int64) {
	if e.c.Share.Count > 1 {
		return
	}
	transactions := e.c.Workload.Producer.Transactions.Records > 0
	if transactions && e.Outstanding() > 0 {
		return
	}
	for g, v := range e.verify {
		for p := range e.reached[g] {
			if at := e.reached[g][p].Load(); !transactions && (p >= len(ends) || at < ends[p] || at == 0 && ends[p] > 0) {
				continue
			}
			for _, w := range e.workers {
				v.Ended(int32(p), uint32(w.n), w.sequence[p])
			}
			v.Closed(int32(p))
		}
	}
}

// leave closes the clients of a run that has not begun.
func (e *Engine) leave(ctx context.Context) error {
	soon, stop := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer stop()
	return e.close(soon)
}

// close ends every client. What is under way when drained ends has failed.
func (e *Engine) close(drained context.Context) error {
	before := e.errors.counts()[notDrained]
	errs := make([]error, len(e.workers)+1)
	var closing sync.WaitGroup
	for i, w := range e.workers {
		if w.sink != nil {
			closing.Go(func() { errs[i] = w.sink.Close(drained) })
		}
	}
	closing.Wait()
	if n := e.errors.counts()[notDrained] - before; n > 0 {
		errs[len(e.workers)] = fmt.Errorf("drain producers: %d records were still under way", n)
	}
	return errors.Join(errs...)
}

// SetRate changes the rate of all copies together from now on.
func (e *Engine) SetRate(rate float64) error {
	now := e.clock.Now()
	for _, w := range e.workers {
		if err := w.setRate(now, rate); err != nil {
			return err
		}
	}
	return nil
}

// Rate is the rate that the schedule intends now, of this copy.
func (e *Engine) Rate() float64 {
	return e.workers[0].rate(e.clock.Now()) / float64(e.c.Share.Count)
}

// InFlight is the number of records sent and neither acknowledged nor given up.
func (e *Engine) InFlight() int {
	var n int
	for _, w := range e.workers {
		n += max(0, int(w.out.Load()-w.ended.Load())) // a sender looks up from time to time only
	}
	return n
}

// Outstanding is the number of records that are due and neither consumed, by every group, nor given up. Where nobody consumes,
// acknowledged is enough.
func (e *Engine) Outstanding() uint64 {
	now := e.clock.Now()
	var due, issued uint64
	for _, w := range e.workers {
		d, i := w.outstanding(now)
		due += d
		issued += i
	}
	if len(e.verify) == 0 {
		return due + uint64(e.InFlight())
	}
	seen := issued
	for _, v := range e.verify {
		seen = min(seen, v.Seen())
	}
	return due + issued - seen
}

// unverified is how many records nobody knows anything of, once everything that can be settled has been: those behind which nothing was read, and those
// that are missing where more may come. Of what other copies consume this one knows nothing.
func (e *Engine) unverified() (n uint64) {
	var issued uint64
	for _, w := range e.workers {
		_, i := w.outstanding(e.clock.Now())
		issued += i
	}
	for _, v := range e.verify {
		n += v.Missing()
		if e.c.Share.Count < 2 {
			n += issued - min(issued, v.Seen())
		}
	}
	return n
}

// Faults are the records that were lost, duplicated, reordered, corrupted or read without having been committed so far, in any group; and those that
// were redelivered, which is no fault.
func (e *Engine) Faults() (sum verify.Counts) {
	for _, v := range e.verify {
		c := v.Counts()
		sum.Lost += c.Lost
		sum.Duplicated += c.Duplicated
		sum.Reordered += c.Reordered
		sum.Corrupted += c.Corrupted
		sum.Uncommitted += c.Uncommitted
		sum.Redelivered += c.Redelivered
	}
	return sum
}

// phase is the label of a record by the time it was intended for: a slow record stays in the phase it belongs to.
func (e *Engine) phase(intended time.Duration) phase {
	if intended < e.warmEnd() {
		return warmup
	}
	return measure
}

func (e *Engine) warmEnd() time.Duration { return time.Duration(e.warm.Load()) }
