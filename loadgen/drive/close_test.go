package drive_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/loadgen/drive"
)

// stuck is a stand-in that acknowledges what is sent up to a moment and then nothing. What it holds fails when it may wait no longer.
type stuck struct {
	from   time.Duration
	refuse error // instead of a client
	engine *drive.Engine

	order   sync.Mutex // of the calls of done
	answers sync.WaitGroup
	mu      sync.Mutex
	held    []*drive.Record
	offset  int64
	done    func([]*drive.Record, error)
	waited  time.Duration // by Close
	clients int           // made
	closed  int
}

func (s *stuck) Open(n int, done func([]*drive.Record, error)) (drive.Sink, error) {
	if n > 0 && s.refuse != nil {
		return nil, s.refuse
	}
	s.done = done
	s.clients++
	return s, nil
}

func (s *stuck) Send(_ context.Context, r *drive.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Sent >= s.from {
		s.held = append(s.held, r)
		return true
	}
	s.engine.Arrived(drive.Arrival{Partition: r.Partition, Offset: s.offset, Value: r.Value})
	s.offset++
	s.answers.Go(func() {
		s.order.Lock()
		defer s.order.Unlock()
		s.done([]*drive.Record{r}, nil)
	})
	return true
}

func (s *stuck) Close(ctx context.Context) error {
	began := time.Now()
	s.closed++
	s.answers.Wait()
	if len(s.held) == 0 {
		return nil
	}
	<-ctx.Done()
	s.waited = time.Since(began)
	s.done(s.held, sarama.ErrShuttingDown)
	return nil
}

// Whether the run is told to end or comes to its end, what is under way then has failed once it has had its time, and is not lost.
func TestWhatIsUnderWayAtTheEndHasFailed(t *testing.T) {
	const giveUp = 10 * time.Second
	for name, c := range map[string]struct{ duration, stop, waits time.Duration }{
		"told to end":        {0, 3 * time.Second, time.Second},
		"the schedule's end": {3 * time.Second, time.Minute, giveUp + 2*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := mustWorkload(t, small+"producer: {clients: 1, give_up: "+giveUp.String()+"}\n")
				s := &stuck{from: 2 * time.Second}
				e, err := drive.New(drive.Config{Sleep: time.Sleep, Workload: w, Topic: "lab", Partitions: 1, Rate: 100, Run: 7, Catchup: giveUp, Duration: c.duration})
				if err != nil {
					t.Fatal(err)
				}
				s.engine = e
				ctx, stop := context.WithTimeout(t.Context(), c.stop)
				defer stop()
				err = e.Run(ctx, s, time.Second)
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("drain producers: %d records were still under way", len(s.held))) {
					t.Errorf("got %v, want it to say that %d records were under way", err, len(s.held))
				}
				if s.waited != c.waits {
					t.Errorf("got %v waited, want %v", s.waited, c.waits)
				}
				total := e.Totals()
				if total.Offered != total.Acked+total.Failed || int(total.Failed) != len(s.held) || total.Failed < 95 {
					t.Errorf("got %d offered, %d acknowledged and %d failed, want the %d of the last second failed", total.Offered, total.Acked, total.Failed, len(s.held))
				}
				e.Finish([]int64{s.offset})
				if faults := e.Faults(); faults.Lost > 0 || e.InFlight() > 0 || e.Outstanding() > 0 {
					t.Errorf("got %+v, %d in flight, %d outstanding", faults, e.InFlight(), e.Outstanding())
				}
			})
		})
	}
}

func TestARunThatCannotBeginClosesItsClients(t *testing.T) {
	w := mustWorkload(t, small+"producer: {clients: 2}\n")
	e, err := drive.New(drive.Config{Sleep: time.Sleep, Workload: w, Topic: "lab", Partitions: 1, Rate: 100, Run: 7, Catchup: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	s := &stuck{refuse: refused}
	if err := e.Run(t.Context(), s, time.Second); !errors.Is(err, refused) || strings.Contains(err.Error(), "drain") {
		t.Errorf("got %v, want that a client was refused and nothing of records", err)
	}
	if s.clients != 1 || s.closed != 1 {
		t.Errorf("got %d clients made and %d closed, want the one there was closed", s.clients, s.closed)
	}
}

// slow is a stand-in whose client keeps its caller: as one does that ends a transaction.
type slow struct{ *stuck }

func (s slow) Open(_ int, done func([]*drive.Record, error)) (drive.Sink, error) {
	s.done = done
	return s, nil
}

func (s slow) Send(ctx context.Context, r *drive.Record) bool {
	time.Sleep(500 * ms)
	return s.stuck.Send(ctx, r)
}

func TestAClientThatBlocksMakesNoRecordLaterThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small+"producer: {clients: 1, acks: all, idempotent: true, transactions: {records: 10}}\n")
		e, err := drive.New(drive.Config{Sleep: time.Sleep, Workload: w, Topic: "lab", Partitions: 1, Rate: 100, Run: 7, Catchup: time.Second, Duration: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Run(t.Context(), slow{&stuck{from: time.Hour, engine: e}}, time.Second); err != nil {
			t.Error(err)
		}
		total := e.Totals()
		if latest, _ := total.Lag.Quantile(1); latest > 1020*ms || total.Acked < 35 {
			t.Errorf("got a record sent %v late, and %d in all, want at most 1 s and two in each second", latest, total.Acked)
		}
		if total.Offered != total.Acked+total.Failed {
			t.Errorf("got %d offered, %d acknowledged, %d failed", total.Offered, total.Acked, total.Failed)
		}
	})
}

// silent is a client whose broker has acknowledged one record of each of two partitions and from then on is not heard.
func silent(t *testing.T, producer string) (*proxy, drive.Sink, *answers) {
	t.Helper()
	p, b := newProxy(t), mock(t, 1)
	p.leadsTo(b.Addr())
	m := sarama.NewMockMetadataResponse(t).SetController(1).SetBroker(p.listener.Addr().String(), 1)
	for n := range int32(3) {
		m.SetLeader("lab", n, 1)
	}
	answering(t, b, m, says(t, sarama.ErrNoError))
	s, a := client(t, producer, p.listener.Addr().String())
	a.send(t, s, 0, 1)
	a.send(t, s, 1, 1)
	until(t, "two records", time.Minute, func() bool { return a.count() == 2 })
	p.lose(true)
	before := requests[*sarama.ProduceRequest](b)
	a.send(t, s, 0, 1)
	until(t, "a request", time.Minute, func() bool { return requests[*sarama.ProduceRequest](b) > before })
	a.send(t, s, 0, 3) // they wait for the one before
	return p, s, a
}

func TestClosingEndsWithItsContext(t *testing.T) {
	for _, producer := range []string{"acks: leader", "acks: all, idempotent: true", "acks: leader, max_batch: 1"} {
		t.Run(producer, func(t *testing.T) {
			p, s, a := silent(t, producer)
			soon, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer stop()
			began := time.Now()
			if err := s.Close(soon); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 10*time.Second { // not the 15 s for which a client waits for an answer
				t.Errorf("it took %v", took)
			}
			if got := a.count(); got != 6 {
				t.Fatalf("got %d records done, want 6", got)
			}
			p.cut() // which answers what is under way: it failed
			until(t, "the client's goroutines gone", time.Minute, func() bool { return running("drive.(*batcher)", "drive.(*link)") == "" })
			seen := make(map[*drive.Record]bool)
			for i, got := range a.all {
				if seen[got.r] || (i >= 2) != (got.err != nil && strings.Contains(got.err.Error(), "run had ended")) {
					t.Errorf("record %d: got %v, the same record before: %v", i, got.err, seen[got.r])
				}
				seen[got.r] = true
			}
			if len(a.all) != 6 {
				t.Errorf("got %d done after a late answer, want 6 still", len(a.all))
			}
		})
	}
}

// A request that is not answered holds up those behind it, and their time passes.
func TestRecordsThatWaitForAConnectionAreGivenUp(t *testing.T) {
	for _, producer := range []string{"acks: leader", "acks: all, idempotent: true"} {
		t.Run(producer, func(t *testing.T) {
			t.Parallel()
			p, s, a := silent(t, producer+", give_up: 3s")
			until(t, "what waits given up", time.Minute, func() bool { return a.count() == 5 })
			for _, got := range a.all[2:] {
				if took := got.at - got.r.Sent; got.err == nil || !strings.Contains(got.err.Error(), "give up after 3s") || took < 3*time.Second || took > 10*time.Second {
					t.Errorf("got %v after %v", got.err, took)
				}
			}
			p.lose(false)
			p.cut() // what is under way comes back, and is older than it may be
			until(t, "the rest", time.Minute, func() bool { return a.count() == 6 })
			a.send(t, s, 0, 1)
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if last := a.all[6]; len(a.all) != 7 || last.err != nil {
				t.Errorf("got %d done, the last one with %v: want the client to go on", len(a.all), last.err)
			}
		})
	}
}

func TestTheFirstRecordOfAPartitionNeedsNoLookup(t *testing.T) {
	for _, producer := range []string{"acks: leader", "acks: all, idempotent: true"} {
		t.Run(producer, func(t *testing.T) {
			b := mock(t, 1)
			answering(t, b, led(t, b), says(t, sarama.ErrNoError))
			s, a := client(t, producer, b.Addr())
			a.send(t, s, 1, 1)
			until(t, "a record", time.Minute, func() bool { return a.count() == 1 })
			asked := requests[*sarama.MetadataRequest](b)
			for _, p := range []int32{0, 2} {
				a.send(t, s, p, 1)
			}
			until(t, "the others", time.Minute, func() bool { return a.count() == 3 })
			if got := requests[*sarama.MetadataRequest](b) - asked; got > 0 {
				t.Errorf("got %d more questions for leaders, want none", got)
			}
			if got := requests[*sarama.InitProducerIDRequest](b); got > 1 {
				t.Errorf("got %d producer ids, want one for all partitions", got)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The broker takes records and is not heard: nobody knows of them at the end, they have failed and are not lost, whatever comes to be known.
func notHeard(t *testing.T, b *kafkatest.Broker, p *proxy) {
	for topic, producer := range map[string]string{
		"batches":      "acks: all, idempotent: true",
		"transactions": "acks: all, idempotent: true, transactions: {records: 20, abort_rate: 0.2}",
	} {
		t.Run(topic, func(t *testing.T) {
			w := mode(t, "unheard-"+topic, "payload: {bytes: 200}\nproducer: {clients: 2, "+producer+"}")
			l := beginDraining(t, b, b.Addr, "unheard-"+topic, w, 500, 200*time.Millisecond)
			until(t, "200 records consumed", time.Minute, func() bool { return l.engine.Totals().Consumed > 200 })
			p.lose(true)
			offered := l.engine.Totals().Offered
			until(t, "records under way", time.Minute, func() bool { return l.engine.Totals().Offered > offered+200 })
			l.stopSending()
			began := time.Now()
			err := <-l.ended
			if err == nil || !strings.Contains(err.Error(), "still under way") || time.Since(began) > 10*time.Second {
				t.Errorf("run: got %v after %v, want it to say what was under way", err, time.Since(began))
			}
			l.ended <- nil
			before := l.engine.Totals()
			if before.Offered != before.Acked+before.Aborted+before.Failed || before.Failed == 0 || l.engine.InFlight() > 0 {
				t.Errorf("got %d offered, %d acknowledged, %d aborted, %d failed, %d in flight", before.Offered, before.Acked, before.Aborted, before.Failed, l.engine.InFlight())
			}
			p.lose(false)
			p.cut()
			total := l.end(t)
			if total.Acked != before.Acked || total.Failed != before.Failed || l.engine.Faults().Lost > 0 {
				t.Errorf("got %d acknowledged and %d failed, before %d and %d; %+v", total.Acked, total.Failed, before.Acked, before.Failed, l.engine.Faults())
			}
		})
	}
}
