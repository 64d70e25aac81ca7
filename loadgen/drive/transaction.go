package drive

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

const (
	// longestTransaction ends a transaction that does not fill up, so that a slow schedule commits too. It also keeps readers of committed
	// records from waiting longer for the others.
	longestTransaction = time.Second
	// After a commit Kafka writes its markers, and until they are written it refuses the producer's next transaction. That takes a few
	// milliseconds; a client that asked again after its usual 20 ms or more would measure its own pauses.
	firstBackoff = time.Millisecond
	// Brokers allow no longer timeout by default (transaction.max.timeout.ms).
	longestTimeout = 15 * time.Minute
)

// transactor is a producing client that sends its records in transactions and aborts some of them on purpose.
//
// It promises: a record is acknowledged when its transaction has been committed; the records of one transaction end together, committed,
// aborted on purpose (ErrAborted) or failed with the error that broke it. When a commit was asked for and no answer came, its records have
// failed although they may be there: nobody can know.
//
// A transaction that breaks takes its producer with it, whatever the error. Sarama could abort after those that are not fatal, but it sends
// the other batches again and again meanwhile, and its goroutines race over which error was the last; after a fatal one it does so until a
// record may take no longer. The next producer takes over the name, and by that the broker ends what was left open.
type transactor struct {
	connect func() (sarama.Client, error)
	done    func([]*Record, error)
	log     *slog.Logger
	most    int         // records in a transaction
	doomed  func() bool // whether the next transaction is to be aborted
	in      chan *Record
	closing chan struct{}
	ended   chan struct{}
	hurry   *atomic.Bool // sarama waits no longer before it tries again: it has been cut off

	mu   sync.Mutex // guards held and the calls of done
	held []*Record  // taken and not done

	client   sarama.Client
	producer sarama.AsyncProducer // nil: the next transaction needs a new one
	records  []*Record            // of the transaction
	waiting  *Record              // of the transaction, not yet with the producer
	answered int                  // of the records
	look     *time.Ticker         // when to ask sarama how the transaction is
	cause    error                // what broke the transaction
}

// openTransactions connects a producing client that sends in transactions.
func (k Kafka) openTransactions(n int, done func([]*Record, error)) (Sink, error) {
	hurry := new(atomic.Bool)
	c, err := k.transactionConfig(n, hurry)
	if err != nil {
		return nil, err
	}
	p := k.Workload.Producer
	dice := rand.New(rand.NewPCG(k.Workload.Seed, k.First+uint64(n)))
	t := &transactor{
		connect: func() (sarama.Client, error) { return sarama.NewClient(k.Client.Brokers, c) },
		done:    done, log: k.Logger,
		most:   min(p.Transactions.Records, k.Workload.Slots()),
		doomed: func() bool { return dice.Float64() < p.Transactions.AbortRate },
		in:     make(chan *Record), closing: make(chan struct{}), ended: make(chan struct{}),
		hurry: hurry, look: time.NewTicker(20 * time.Millisecond),
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	go t.run()
	return t, nil
}

func (k Kafka) transactionConfig(n int, hurry *atomic.Bool) (*sarama.Config, error) {
	c, err := k.ProducerConfig(n)
	if err != nil {
		return nil, err
	}
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1 // sarama's condition; several clients make up for it
	giveUp := k.Workload.Producer.GiveUp
	t := &c.Producer.Transaction
	// Two producers of one name would end each other's transactions, so each client of each process has its own.
	t.ID = fmt.Sprintf("loadgen-%s-%016x-%d", k.Topic, rand.Uint64(), n)
	// Readers of committed records wait so long for the transaction of a generator that was killed.
	t.Timeout = min(longestTransaction+2*giveUp, longestTimeout)
	t.Retry.Max = int(giveUp/retryBackoff) + 1
	wait := func(d time.Duration) time.Duration {
		if hurry.Load() {
			return 0
		}
		return d
	}
	t.Retry.BackoffFunc = func(retries, _ int) time.Duration { return wait(min(firstBackoff<<min(retries, 10), retryBackoff)) }
	c.Producer.Retry.BackoffFunc = func(int, int) time.Duration { return wait(retryBackoff) }
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configure producer: %w", err)
	}
	return c, nil
}

// Send implements Sink. It waits while a transaction is being ended.
func (t *transactor) Send(ctx context.Context, r *Record) bool {
	select {
	case t.in <- r:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close implements Sink.
func (t *transactor) Close(ctx context.Context) error {
	close(t.closing)
	select {
	case <-t.ended:
	case <-ctx.Done(): // sarama ends by itself, when it has tried for long enough
		t.finish(errNotDrained)
	}
	return nil
}

// hold notes a record that has come.
func (t *transactor) hold(r *Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = append(t.held, r)
}

// finish tells what became of the records that have come and that nothing has been told of.
func (t *transactor) finish(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.held) > 0 {
		t.done(t.held, err)
		t.held = t.held[:0]
	}
}

func (t *transactor) run() {
	defer close(t.ended)
	defer t.look.Stop()
	for {
		select {
		case r := <-t.in:
			t.hold(r)
			t.transact(r)
		case <-t.closing:
			t.discard()
			return
		}
	}
}

// transact is one transaction from its first record to the end of all.
func (t *transactor) transact(first *Record) {
	t.records, t.waiting, t.answered, t.cause = t.records[:0], first, 0, nil
	if err := t.begin(); err != nil {
		t.finish(fmt.Errorf("begin transaction: %w", err))
		return
	}
	doomed := t.doomed()
	t.fill()
	t.flush()
	var err error
	if t.cause == nil {
		err = t.end(!doomed)
	}
	switch {
	case t.cause != nil:
		err = fmt.Errorf("transaction broke: %w", t.cause)
	case doomed:
		err = ErrAborted // if the abort did not reach the broker, the next producer ends the transaction
	case err != nil:
		err = fmt.Errorf("commit transaction: %w", err)
	}
	status := t.producer.TxnStatus()
	broken := status&sarama.ProducerTxnFlagReady == 0
	if broken {
		t.discard() // before the records are used again
	}
	t.finish(err)
	if broken {
		t.replace(status, err)
	}
}

// replace makes the next producer now and not when it is needed: until there is one the broker keeps the transaction open, and readers of
// committed records see nothing that comes after it, from no producer.
func (t *transactor) replace(status sarama.ProducerTxnStatusFlag, cause error) {
	t.log.Warn("transactional producer cannot go on, taking a new one", "status", status, "err", cause)
	if err := t.open(); err != nil {
		t.log.Warn("no transactional producer yet", "err", err)
	}
}

// begin makes sure of a producer.
func (t *transactor) begin() error {
	if t.producer == nil {
		if err := t.open(); err != nil {
			wait := time.NewTimer(retryBackoff)
			defer wait.Stop()
			select {
			case <-wait.C:
			case <-t.closing:
			}
			return err
		}
	}
	if err := t.producer.BeginTxn(); err != nil {
		t.discard()
		return err
	}
	return nil
}

func (t *transactor) open() (err error) {
	t.hurry.Store(false)
	if t.client, err = t.connect(); err != nil {
		return fmt.Errorf("connect producer: %w", err)
	}
	if t.producer, err = sarama.NewAsyncProducerFromClient(t.client); err != nil {
		t.producer = nil
		_ = t.client.Close() // what is wrong with the producer is wrong with it
		return fmt.Errorf("make transactional producer: %w", err)
	}
	return nil
}

// fill sends records until the transaction is full, old or broken, or there are no more.
func (t *transactor) fill() {
	late := time.NewTimer(longestTransaction)
	defer late.Stop()
	over, closing := false, t.closing
	for t.cause == nil {
		var in chan *Record
		var out chan<- *sarama.ProducerMessage
		var next *sarama.ProducerMessage
		switch {
		case t.waiting != nil:
			out, next = t.producer.Input(), t.waiting.message()
		case over || len(t.records) == t.most:
			return
		default:
			in = t.in
		}
		select {
		case t.waiting = <-in:
			t.hold(t.waiting)
		case out <- next:
			t.records, t.waiting = append(t.records, t.waiting), nil
		case <-t.producer.Successes():
			t.answered++
		case e := <-t.producer.Errors():
			t.refused(e)
		case <-t.look.C:
			t.inspect()
		case <-late.C:
			over = true
		case <-closing:
			over, closing = true, nil
		}
	}
}

// flush waits until each record has its answer. A transaction is ended only then: sarama waits for the answers too, but deaf to what goes
// wrong meanwhile.
func (t *transactor) flush() {
	if t.waiting != nil { // the transaction broke before this one's turn
		t.records, t.waiting = append(t.records, t.waiting), nil
		t.answered++
	}
	for t.answered < len(t.records) {
		select {
		case <-t.producer.Successes():
			t.answered++
		case e := <-t.producer.Errors():
			t.refused(e)
		case <-t.look.C:
			t.inspect()
		}
	}
}

// refused counts the answer, unless the message is one of sarama's own.
func (t *transactor) refused(e *sarama.ProducerError) {
	if _, ours := e.Msg.Metadata.(*Record); ours {
		t.answered++
	}
	t.broke(e.Err)
}

// inspect notices an error that no record has brought, such as that of adding a partition to the transaction.
func (t *transactor) inspect() {
	if status := t.producer.TxnStatus(); status&sarama.ProducerTxnFlagInError != 0 {
		t.broke(fmt.Errorf("the broker refused something other than a record: %v", status))
	}
}

// broke keeps the first error, those that follow are its consequences, and cuts sarama off, so that it ends what it is doing.
func (t *transactor) broke(err error) {
	if t.cause != nil {
		return
	}
	t.cause = err
	t.hurry.Store(true)
	_ = t.client.Close() // it was open
}

// end commits or aborts.
func (t *transactor) end(commit bool) error {
	result := make(chan error, 1)
	finish := t.producer.AbortTxn
	if commit {
		finish = t.producer.CommitTxn
	}
	go func() { result <- finish() }()
	for {
		select {
		case e := <-t.producer.Errors(): // sarama's own messages: ours have their answers
			t.log.Warn("transactional producer", "err", e.Err)
		case err := <-result:
			return err
		}
	}
}

// discard closes the producer.
func (t *transactor) discard() {
	if t.producer == nil {
		return
	}
	t.producer.AsyncClose()
	successes, errs := t.producer.Successes(), t.producer.Errors()
	for successes != nil || errs != nil {
		select {
		case _, ok := <-successes:
			if !ok {
				successes = nil
			}
		case _, ok := <-errs:
			if !ok {
				errs = nil
			}
		}
	}
	if !t.client.Closed() {
		_ = t.client.Close() // nothing is left to flush
	}
	t.producer = nil
}

// message is the record as sarama's producer takes it.
func (r *Record) message() *sarama.ProducerMessage {
	r.msg.Partition = r.Partition
	r.msg.Timestamp = time.Time{} // sarama overwrites it on topics with LogAppendTime
	return &r.msg
}
