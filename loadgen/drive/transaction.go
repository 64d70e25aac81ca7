package drive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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
// aborted on purpose (ErrAborted) or failed with the error that broke it; after an error that makes a producer useless it goes on with a
// new one. When a commit was asked for and no answer came, its records have failed although they may be there: nobody can know.
//
// One goroutine does everything but the call that ends a transaction, for which it keeps sarama's channels empty.
type transactor struct {
	connect func() (sarama.Client, error)
	done    func([]*Record, error)
	log     *slog.Logger
	most    int         // records in a transaction
	doomed  func() bool // whether the next transaction is to be aborted
	in      chan *Record
	closing chan struct{}
	ended   chan struct{}

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
	c, err := k.transactionConfig(n)
	if err != nil {
		return nil, err
	}
	p := k.Workload.Producer
	dice := rand.New(rand.NewPCG(k.Workload.Seed, uint64(n)))
	t := &transactor{
		connect: func() (sarama.Client, error) { return sarama.NewClient(k.Client.Brokers, c) },
		done:    done, log: k.Logger,
		most:   min(p.Transactions.Records, slots(p.InFlight, p.Clients, k.Workload.Payload)),
		doomed: func() bool { return dice.Float64() < p.Transactions.AbortRate },
		in:     make(chan *Record), closing: make(chan struct{}), ended: make(chan struct{}),
		look: time.NewTicker(20 * time.Millisecond),
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	go t.run()
	return t, nil
}

func (k Kafka) transactionConfig(n int) (*sarama.Config, error) {
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
	t.Retry.BackoffFunc = func(retries, _ int) time.Duration { return min(firstBackoff<<min(retries, 10), retryBackoff) }
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
func (t *transactor) Close() error {
	close(t.closing)
	<-t.ended
	return nil
}

func (t *transactor) run() {
	defer close(t.ended)
	defer t.look.Stop()
	for {
		select {
		case r := <-t.in:
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
		t.done([]*Record{first}, fmt.Errorf("begin transaction: %w", err))
		return
	}
	doomed := t.doomed()
	t.fill()
	t.flush()
	if t.waiting != nil { // the transaction broke before this one's turn
		t.records, t.waiting = append(t.records, t.waiting), nil
	}
	err := t.end(!doomed && t.cause == nil)
	switch {
	case t.cause != nil:
		err = fmt.Errorf("transaction broke: %w", t.cause)
	case doomed:
		err = ErrAborted // the next transaction's start ends this one if the abort did not reach the broker
	case err != nil:
		err = fmt.Errorf("commit transaction: %w", err)
	}
	t.done(t.records, err)
}

// begin makes sure of a producer. A new one takes over its predecessor's name, by which the broker ends what that one has left open.
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
	if t.client, err = t.connect(); err != nil {
		return fmt.Errorf("connect producer: %w", err)
	}
	if t.producer, err = sarama.NewAsyncProducerFromClient(t.client); err != nil {
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
		case out <- next:
			t.records, t.waiting = append(t.records, t.waiting), nil
		case <-t.producer.Successes():
			t.answered++
		case e := <-t.producer.Errors():
			t.broke(e.Err)
		case <-t.look.C:
			t.inspect()
		case <-late.C:
			over = true
		case <-closing:
			over, closing = true, nil
		}
	}
}

// flush waits until the broker has taken each record or refused one. While sarama commits it cannot be told to abort, and as long as a
// transaction is broken and not being aborted it sends the other batches again and again, for as long as a record may take.
func (t *transactor) flush() {
	for t.cause == nil && t.answered < len(t.records) {
		select {
		case <-t.producer.Successes():
			t.answered++
		case e := <-t.producer.Errors():
			t.broke(e.Err)
		case <-t.look.C:
			t.inspect()
		}
	}
}

// broke keeps the first error: those that follow are its consequences.
func (t *transactor) broke(err error) {
	if t.cause == nil {
		t.cause = err
	}
}

// inspect notices an error that no record has brought, such as that of adding a partition to the transaction. After a fatal one sarama goes
// on trying to send; it ends at once when its client is closed.
func (t *transactor) inspect() {
	status := t.producer.TxnStatus()
	if status&sarama.ProducerTxnFlagInError == 0 {
		return
	}
	t.broke(fmt.Errorf("%w: %v", errBroken, status))
	if status&sarama.ProducerTxnFlagFatalError != 0 && !t.client.Closed() {
		_ = t.client.Close() // it has been closed before, at worst
	}
}

// errBroken stands for the error that sarama keeps to itself.
var errBroken = errors.New("the broker refused the transaction")

// end commits or aborts, and returns when the producer holds no record of the transaction any more.
func (t *transactor) end(commit bool) error {
	result := make(chan error, 1)
	go func() { result <- finish(t.producer, commit) }()
	for {
		select {
		case <-t.producer.Successes():
		case e := <-t.producer.Errors():
			t.broke(e.Err)
		case <-t.look.C:
			t.inspect()
		case err := <-result:
			if t.producer.TxnStatus()&sarama.ProducerTxnFlagReady == 0 {
				t.log.Warn("producer cannot go on, taking a new one", "status", t.producer.TxnStatus(), "err", errors.Join(t.cause, err))
				t.discard()
			}
			return err
		}
	}
}

// finish follows what sarama says about each state: a transaction in an abortable error must be aborted, after any other error the producer
// has retried for as long as it may.
func finish(p sarama.AsyncProducer, commit bool) error {
	if commit {
		err := p.CommitTxn()
		if err == nil || p.TxnStatus()&sarama.ProducerTxnFlagAbortableError == 0 {
			return err
		}
		return errors.Join(err, p.AbortTxn())
	}
	return p.AbortTxn()
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
