package drive_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/loadgen/drive"
)

// answers is what a sink said of its records, in the order in which it said it.
type answers struct {
	mu    sync.Mutex
	began time.Time
	all   []answer
}

type answer struct {
	r   *drive.Record
	err error
	at  time.Duration
}

func (a *answers) done(records []*drive.Record, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range records {
		a.all = append(a.all, answer{r, err, time.Since(a.began)})
	}
}

func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}

// client opens a sink of a workload whose producer is described by the text.
func client(t *testing.T, producer string, brokers ...string) (drive.Sink, *answers) {
	t.Helper()
	w := mustWorkload(t, "name: w\nproducer: {clients: 1, "+producer+"}\n")
	a := &answers{began: time.Now()}
	s, err := drive.Kafka{Client: kafka.Client{Brokers: brokers}, Topic: "lab", Workload: w, Logger: slog.New(slog.DiscardHandler)}.Open(0, a.done)
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

// send gives the sink n records for a partition.
func (a *answers) send(t *testing.T, s drive.Sink, partition int32, n int) {
	t.Helper()
	for range n {
		if !s.Send(t.Context(), &drive.Record{Partition: partition, Sent: time.Since(a.began), Value: []byte("value")}) {
			t.Error("a record was refused")
		}
	}
}

// mock is a broker that answers as told. It knows a leader for each partition of the topic.
func mock(t *testing.T, id int32) *sarama.MockBroker {
	b := sarama.NewMockBroker(t, id)
	t.Cleanup(b.Close)
	return b
}

func answering(t *testing.T, b *sarama.MockBroker, metadata, produce sarama.MockResponse) {
	b.SetHandlerByMap(map[string]sarama.MockResponse{
		"ApiVersionsRequest": sarama.NewMockApiVersionsResponse(t).SetApiKeys([]sarama.ApiVersionsResponseKey{
			{ApiKey: 0, MinVersion: 3, MaxVersion: 7}, {ApiKey: 3, MinVersion: 1, MaxVersion: 4}, {ApiKey: 18, MaxVersion: 3}, {ApiKey: 22, MaxVersion: 1},
		}),
		"MetadataRequest":       metadata,
		"ProduceRequest":        produce,
		"InitProducerIDRequest": sarama.NewMockInitProducerIDResponse(t),
	})
}

// led is metadata by which one broker leads all of three partitions.
func led(t *testing.T, by *sarama.MockBroker, brokers ...*sarama.MockBroker) *sarama.MockMetadataResponse {
	m := sarama.NewMockMetadataResponse(t).SetController(by.BrokerID())
	for _, b := range append(brokers, by) {
		m.SetBroker(b.Addr(), b.BrokerID())
	}
	for p := range int32(3) {
		m.SetLeader("lab", p, by.BrokerID())
	}
	return m
}

// says is an answer to a produce request: the same error for each partition.
func says(t *testing.T, err sarama.KError) *sarama.MockProduceResponse {
	m := sarama.NewMockProduceResponse(t)
	for p := range int32(3) {
		m.SetError("lab", p, err)
	}
	return m
}

func requests[T any](b *sarama.MockBroker) int {
	n := 0
	for _, h := range b.History() {
		if _, is := h.Request.(T); is {
			n++
		}
	}
	return n
}

func TestWhatTheBrokerSaysDecides(t *testing.T) {
	for name, c := range map[string]struct {
		says  []sarama.KError
		fails error
	}{
		"it has the record":                      {[]sarama.KError{sarama.ErrNoError}, nil},
		"it had the record before":               {[]sarama.KError{sarama.ErrDuplicateSequenceNumber}, nil},
		"it leads no more, and does again":       {[]sarama.KError{sarama.ErrNotLeaderForPartition, sarama.ErrNoError}, nil},
		"there is no leader for a moment":        {[]sarama.KError{sarama.ErrLeaderNotAvailable, sarama.ErrLeaderNotAvailable, sarama.ErrNoError}, nil},
		"too few replicas for a moment":          {[]sarama.KError{sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrNoError}, nil},
		"its replicas were too slow":             {[]sarama.KError{sarama.ErrRequestTimedOut, sarama.ErrNoError}, nil},
		"its disk failed and another took over":  {[]sarama.KError{sarama.ErrKafkaStorageError, sarama.ErrNoError}, nil},
		"it does not know the topic yet":         {[]sarama.KError{sarama.ErrUnknownTopicOrPartition, sarama.ErrNoError}, nil},
		"one record alone is too large":          {[]sarama.KError{sarama.ErrMessageSizeTooLarge}, sarama.ErrMessageSizeTooLarge},
		"we may not write":                       {[]sarama.KError{sarama.ErrTopicAuthorizationFailed}, sarama.ErrTopicAuthorizationFailed},
		"a retry finds that the record is wrong": {[]sarama.KError{sarama.ErrRequestTimedOut, sarama.ErrInvalidTimestamp}, sarama.ErrInvalidTimestamp},
	} {
		t.Run(name, func(t *testing.T) {
			b := mock(t, 1)
			var sequence []any
			for _, err := range c.says {
				sequence = append(sequence, says(t, err))
			}
			answering(t, b, led(t, b), sarama.NewMockSequence(sequence...))
			s, a := client(t, "acks: all", b.Addr())
			a.send(t, s, 0, 1)
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if len(a.all) != 1 || !errors.Is(a.all[0].err, c.fails) || (c.fails == nil) != (a.all[0].err == nil) {
				t.Errorf("got %v, want the record once with %v", a.all, c.fails)
			}
			if got := requests[*sarama.ProduceRequest](b); got != len(c.says) {
				t.Errorf("got %d requests, want %d", got, len(c.says))
			}
		})
	}
}

// Also by a producer that lets records wait for others: what is to be sent again waits no more.
func TestALeaderIsFollowed(t *testing.T) {
	for _, producer := range []string{"acks: all", "acks: all, linger: 5ms"} {
		t.Run(producer, func(t *testing.T) {
			old, next := mock(t, 1), mock(t, 2)
			answering(t, old, sarama.NewMockSequence(led(t, old, next), led(t, next, old)), sarama.NewMockSequence(says(t, sarama.ErrNoError), says(t, sarama.ErrNotLeaderForPartition)))
			answering(t, next, led(t, next, old), says(t, sarama.ErrNoError))
			s, a := client(t, producer, old.Addr())
			a.send(t, s, 1, 1)
			until(t, "the first record", time.Minute, func() bool { return a.count() == 1 })
			a.send(t, s, 1, 1)
			until(t, "the second record", time.Minute, func() bool { return a.count() == 2 })
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			for _, got := range a.all {
				if got.err != nil {
					t.Errorf("got %v", got.err)
				}
			}
			if got := requests[*sarama.ProduceRequest](next); got != 1 {
				t.Errorf("the new leader got %d requests, want 1", got)
			}
		})
	}
}

func TestTheOrderOfAPartitionIsKept(t *testing.T) {
	b := mock(t, 1)
	var sequence []any
	for range 20 {
		sequence = append(sequence, says(t, sarama.ErrNoError), says(t, sarama.ErrRequestTimedOut))
	}
	answering(t, b, led(t, b), sarama.NewMockSequence(append(sequence, says(t, sarama.ErrNoError))...))
	s, a := client(t, "acks: leader, max_batch: 50", b.Addr())
	for i := range 999 {
		a.send(t, s, int32(i%3), 1)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var last [3]time.Duration
	for _, got := range a.all {
		if got.err != nil {
			t.Fatal(got.err)
		}
		if got.r.Sent < last[got.r.Partition] {
			t.Errorf("partition %d: a record of %v was done after one of %v", got.r.Partition, got.r.Sent, last[got.r.Partition])
		}
		last[got.r.Partition] = got.r.Sent
	}
	if len(a.all) != 999 {
		t.Errorf("got %d records done, want each of 999 once", len(a.all))
	}
	if s.Send(t.Context(), &drive.Record{}) {
		t.Error("a closed client took a record")
	}
}

// Each record has its own time: one that was sent later is given up later, also when a batch would hold both.
func TestARecordIsGivenUpAfterItsTime(t *testing.T) {
	gone := sarama.NewMockBroker(t, 1)
	answering(t, gone, led(t, gone), says(t, sarama.ErrNoError))
	addr := gone.Addr()
	s, a := client(t, "acks: leader, give_up: 1s", addr)
	a.send(t, s, 0, 1)
	until(t, "the first record", time.Minute, func() bool { return a.count() == 1 })
	gone.Close()
	for range 5 {
		a.send(t, s, 0, 3)
		a.send(t, s, 1, 3)
		time.Sleep(200 * time.Millisecond) // what is sent later
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if len(a.all) != 31 {
		t.Errorf("got %d records done, want 31", len(a.all))
	}
	for _, got := range a.all[1:] {
		if got.err == nil || !strings.Contains(got.err.Error(), "give up after 1s: ") {
			t.Errorf("got %v, want it given up and the reason", got.err)
		}
		if got.at-got.r.Sent < time.Second {
			t.Errorf("given up after %v", got.at-got.r.Sent)
		}
	}
}

func TestBatchesAreWhatTheWorkloadSays(t *testing.T) {
	for name, c := range map[string]struct {
		producer                string
		records, done, requests int
	}{
		"they wait for more records":                 {"linger: 10s, batch: 5", 4, 0, 0},
		"enough records do not wait":                 {"linger: 10s, batch: 5", 5, 5, 1},
		"records of all partitions count":            {"linger: 10s, batch: 5, sticky: 1", 5, 5, 1},
		"a request holds no more than the limit":     {"linger: 10s, batch: 3, max_batch: 3", 6, 6, 2},
		"each record alone, whatever its partition":  {"max_batch: 1, sticky: 1", 5, 5, 5},
		"the time has passed":                        {"linger: 100ms", 5, 5, 0},
		"the time has passed though batches are not": {"linger: 100ms, batch: 100", 5, 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := mock(t, 1)
			answering(t, b, led(t, b), says(t, sarama.ErrNoError))
			s, a := client(t, "acks: leader, "+c.producer, b.Addr())
			for i := range c.records {
				partition := 0
				if strings.Contains(c.producer, "sticky") {
					partition = i % 3
				}
				a.send(t, s, int32(partition), 1)
			}
			until(t, "the records that should be", time.Minute, func() bool { return a.count() == c.done })
			if got := requests[*sarama.ProduceRequest](b); c.requests > 0 && got != c.requests {
				t.Errorf("got %d requests, want %d", got, c.requests)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if len(a.all) != c.records {
				t.Errorf("got %d done after Close, want %d", len(a.all), c.records)
			}
			for _, got := range a.all {
				if got.err != nil || got.at >= 10*time.Second {
					t.Errorf("got %v after %v: nothing waits out its linger when its batch is full or the client is closed", got.err, got.at)
				}
			}
			if first := a.all[0]; strings.Contains(c.producer, "100ms") && first.at-first.r.Sent < 100*time.Millisecond {
				t.Errorf("got the first record after %v: it did not wait for others", first.at-first.r.Sent)
			}
		})
	}
}

// A topic can allow less than a batch would hold. Each record is small enough, so none may fail.
func TestABatchThatIsTooLargeIsSentInParts(t *testing.T) {
	b := mock(t, 1)
	answering(t, b, led(t, b), sarama.NewMockSequence(says(t, sarama.ErrMessageSizeTooLarge), says(t, sarama.ErrMessageSizeTooLarge), says(t, sarama.ErrNoError)))
	s, a := client(t, "acks: all, idempotent: true, linger: 1s, batch: 100", b.Addr())
	a.send(t, s, 0, 100)
	until(t, "all records", time.Minute, func() bool { return a.count() == 100 })
	a.send(t, s, 0, 10)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for i, got := range a.all {
		if got.err != nil || i > 0 && got.r.Sent < a.all[i-1].r.Sent {
			t.Errorf("record %d: got %v, sent at %v after %v", i, got.err, got.r.Sent, a.all[max(0, i-1)].r.Sent)
		}
	}
	if got := requests[*sarama.ProduceRequest](b); len(a.all) != 110 || got < 6 {
		t.Errorf("got %d records done in %d requests, want 110 in at least 2 that are refused, 3 parts and another", len(a.all), got)
	}
	if got := requests[*sarama.InitProducerIDRequest](b); got != 1 {
		t.Errorf("got %d producer ids, want 1: the numbers of what was refused are free", got)
	}
}

// What failed may be at the broker or not, so its numbers can be used no more, nor those that would follow.
func TestAfterAFailureTheProducerGetsAnotherID(t *testing.T) {
	b := mock(t, 1)
	answering(t, b, led(t, b), sarama.NewMockSequence(says(t, sarama.ErrNoError), says(t, sarama.ErrOutOfOrderSequenceNumber), says(t, sarama.ErrNoError)))
	s, a := client(t, "acks: all, idempotent: true", b.Addr())
	for i, ids := range []int{1, 1, 2} {
		a.send(t, s, 0, 1)
		until(t, fmt.Sprintf("record %d", i), time.Minute, func() bool { return a.count() == i+1 })
		if got := requests[*sarama.InitProducerIDRequest](b); got != ids {
			t.Errorf("record %d: got %d ids, want %d", i, got, ids)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if a.all[0].err != nil || !errors.Is(a.all[1].err, sarama.ErrOutOfOrderSequenceNumber) || a.all[2].err != nil {
		t.Errorf("got %v", a.all)
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	b := mock(t, 1)
	answering(t, b, led(t, b), sarama.NewMockSequence(says(t, sarama.ErrNotLeaderForPartition), says(t, sarama.ErrNoError)))
	for range 5 {
		s, a := client(t, "acks: leader", b.Addr())
		a.send(t, s, 0, 10)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if len(a.all) != 10 {
			t.Errorf("got %d done when Close returned, want 10", len(a.all))
		}
	}
	s, _ := client(t, "acks: leader", b.Addr())
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("a client that was never used: %v", err)
	}
	// A goroutine that has said its last word may still be on its way out.
	left := ""
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left = running("drive.(*batcher)", "drive.(*link)", "sarama.(*Broker)", "sarama.(*client)")
		if left == "" || time.Now().After(deadline) {
			break
		}
	}
	if left != "" {
		t.Error(left)
	}
}

// running tells of a goroutine that is inside one of the types' methods; empty: there is none.
func running(types ...string) string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, whose := range types {
		if bytes.Contains(stacks, []byte(whose)) {
			return fmt.Sprintf("a goroutine of %s is left:\n%s", whose, stacks)
		}
	}
	return ""
}
