package drive_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// load drives a topic of its own from the first record to the end of the run.
type load struct {
	kafka  drive.Kafka
	plain  string // address for the witness
	engine *drive.Engine

	partitions  int
	group       sync.WaitGroup
	stopSending func()
	stopEating  func()
	ended       chan error
}

// mode is a small workload with the given parts.
func mode(t *testing.T, topic, parts string) workload.Workload {
	t.Helper()
	return mustWorkload(t, "name: mode\nwarmup: 0s\ntopic: {partitions: 3}\n"+parts+"\n"+consumer(topic, parts))
}

func consumer(topic, parts string) string {
	if strings.Contains(parts, "transactions") {
		return "consumer: {group: " + topic + ", max_wait: 20ms, isolation: read_committed}\n"
	}
	return "consumer: {group: " + topic + ", max_wait: 20ms}\n"
}

// patience is how long a record may take before a test gives it up: no record fails because the machine is busy.
const patience = 2 * time.Minute

// begin starts a load. Records come at the given rate until end, which waits for those under way.
func begin(t *testing.T, b *kafkatest.Broker, addr, topic string, w workload.Workload, rate float64) *load {
	t.Helper()
	w.Producer.GiveUp = patience
	return beginDraining(t, b, addr, topic, w, rate, patience)
}

func beginDraining(t *testing.T, b *kafkatest.Broker, addr, topic string, w workload.Workload, rate float64, drain time.Duration) *load {
	t.Helper()
	log := &syncBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(topic + ":\n" + log.String())
		}
	})
	logger := slog.New(slog.NewTextHandler(log, nil))
	client := kafka.Client{Brokers: []string{addr}, Security: w.Security}
	l := &load{kafka: drive.Kafka{Client: client, Topic: topic, Workload: w, Logger: logger}, plain: b.Addr, ended: make(chan error, 1)}
	var err error
	if l.partitions, err = l.kafka.EnsureTopic(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends, err := l.kafka.Ends(t.Context(), l.partitions)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.kafka.Pin(t.Context(), ends); err != nil {
		t.Fatal(err)
	}
	l.engine, err = drive.New(drive.Config{
		Workload: w, Topic: topic, Partitions: l.partitions, Joining: true, Rate: rate, Run: 1, Catchup: w.Producer.GiveUp, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	var eating, sending context.Context
	eating, l.stopEating = context.WithCancel(t.Context())
	sending, l.stopSending = context.WithCancel(t.Context())
	for n := range w.Consumer.Groups * w.Consumer.Clients {
		l.consume(t, eating, n)
	}
	l.group.Go(func() {
		if err := l.engine.Watch(eating, nil); err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	go func() { l.ended <- l.engine.Run(sending, l.kafka, drain) }()
	t.Cleanup(func() { // a test that failed has not come to the end
		l.stopSending()
		l.stopEating()
		l.group.Wait()
	})
	return l
}

// consume starts consumer n, which reads until ctx ends or it is left.
func (l *load) consume(t *testing.T, ctx context.Context, n int) (leave func()) {
	ctx, end := context.WithCancel(ctx)
	left := make(chan struct{})
	l.group.Go(func() {
		defer close(left)
		defer end()
		if err := l.kafka.Consume(ctx, n, l.engine); err != nil {
			t.Errorf("consume: %v", err)
		}
	})
	return func() { end(); <-left }
}

// end stops sending, waits for what is to come, and gives the sums.
func (l *load) end(t *testing.T) *drive.Totals {
	t.Helper()
	l.stopSending()
	if err := <-l.ended; err != nil {
		t.Errorf("run: %v", err)
	}
	for more, began := true, time.Now(); more && l.engine.Outstanding() > 0 && time.Since(began) < patience; { // what is lost keeps it waiting, but not for ever
		seen := l.engine.Totals().Consumed
		l.engine.Settle(t.Context(), 15*time.Second) // a group that lost its broker takes some time to be one again
		more = l.engine.Totals().Consumed > seen
	}
	ends, err := l.kafka.Ends(t.Context(), l.partitions)
	if err != nil {
		t.Error(err)
	}
	l.engine.Finish(ends)
	l.stopEating()
	l.group.Wait()
	total := l.engine.Totals()
	if total.Offered != total.Acked+total.Aborted+total.Failed {
		t.Errorf("got %d offered, but %d acknowledged, %d aborted and %d failed", total.Offered, total.Acked, total.Aborted, total.Failed)
	}
	return total
}

// witness reads the whole topic with a client of its own and counts the different records in it, and all. Once there are as many as expected
// it need not wait for long to see that there are no more.
func (l *load) witness(t *testing.T, isolation sarama.IsolationLevel, expected uint64) (different, all int) {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{l.plain}, ID: "witness"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Consumer.IsolationLevel, conf.Consumer.MaxWaitTime = isolation, 50*time.Millisecond
	consumer, err := sarama.NewConsumer([]string{l.plain}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	type identity struct {
		partition int32
		producer  uint32
		sequence  uint64
	}
	arrived := make(chan *sarama.ConsumerMessage)
	var readers sync.WaitGroup
	defer readers.Wait()
	reading, stop := context.WithCancel(t.Context())
	defer stop()
	for p := range int32(l.partitions) {
		part, err := consumer.ConsumePartition(l.kafka.Topic, p, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		defer part.AsyncClose()
		readers.Go(func() {
			for m := range part.Messages() {
				select {
				case arrived <- m:
				case <-reading.Done():
				}
			}
		})
	}
	seen := make(map[identity]bool)
	// Kafka says nothing when a partition is at its end, so silence has to: the broker is beside us and has nothing else to do, but the machine may.
	const briefly = 300 * time.Millisecond
	silence := 30 * time.Second
	for quiet := time.NewTimer(silence); ; quiet.Reset(silence) {
		select {
		case m := <-arrived:
			s, err := decode(m)
			if err != nil {
				t.Fatalf("partition %d, offset %d: %v", m.Partition, m.Offset, err)
			}
			seen[identity{m.Partition, s.Producer, s.Sequence}] = true
			all++
			if uint64(len(seen)) >= expected {
				silence = briefly
			}
		case <-quiet.C:
			return len(seen), all
		}
	}
}

func decode(m *sarama.ConsumerMessage) (stamp.Stamp, error) {
	for _, h := range m.Headers {
		if string(h.Key) == drive.StampHeader {
			return stamp.DecodeHeader(h.Value, m.Value)
		}
	}
	return stamp.Decode(m.Value)
}
