package drive_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/slo"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// syncBuffer takes log lines from several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// against drives a real broker until during returns, and ends in the order of the program.
func against(t *testing.T, b *kafkatest.Broker, w workload.Workload, rate float64, run uint64, step func(slo.Observation) float64, during func(*drive.Engine)) *drive.Engine {
	t.Helper()
	log := &syncBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	logger := slog.New(slog.NewTextHandler(log, nil))
	k := drive.Kafka{Client: kafka.Client{Brokers: []string{b.Addr}}, Topic: "lab", Workload: w, Logger: logger}
	partitions, err := k.EnsureTopic(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ends, err := k.Ends(t.Context(), partitions)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Pin(t.Context(), ends); err != nil {
		t.Fatal(err)
	}
	e, err := drive.New(drive.Config{Workload: w, Topic: "lab", Partitions: partitions, Joining: true, Rate: rate, Run: run, Catchup: w.Producer.GiveUp, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	consuming, stopConsuming := context.WithCancel(t.Context())
	sending, stopSending := context.WithCancel(t.Context())
	defer stopConsuming()
	defer stopSending()
	var group sync.WaitGroup
	for n := range w.Consumer.Groups * w.Consumer.Clients {
		group.Go(func() {
			if err := k.Consume(consuming, n, e); err != nil {
				t.Errorf("consume: %v", err)
			}
		})
	}
	group.Go(func() {
		if err := e.Watch(consuming, step); err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- e.Run(sending, k, patience) }()
	during(e)
	stopSending()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	e.Settle(t.Context(), patience)
	if ends, err = k.Ends(t.Context(), partitions); err != nil {
		t.Error(err)
	}
	e.Finish(ends)
	stopConsuming()
	group.Wait()
	return e
}

// until polls a condition.
func until(t *testing.T, what string, within time.Duration, is func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > within {
			t.Fatalf("%s: not within %v", what, within)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

// A broker on a busy machine may be away for longer than the usual time to give up.
const restartable = `
name: restartable
payload: {bytes: 500, compressibility: 0.5}
warmup: 1s
topic: {partitions: 4}
producer: {clients: 2, acks: all, in_flight: 200, give_up: 2m}
`

// One broker serves all of these: starting one takes longer than most of them.
func TestWithARealBroker(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	t.Run("the topic becomes what the workload needs", func(t *testing.T) { topicBecomes(t, b) })
	t.Run("offsets at which there is nothing to read count as none", func(t *testing.T) { pins(t, b) })
	t.Run("a restart of the broker loses nothing", func(t *testing.T) { restart(t, b) })
}

// Of three partitions with five records each, one has a good offset, one has lost what its offset names, and one never had it.
func pins(t *testing.T, b *kafkatest.Broker) {
	const topic = "pinned"
	k := drive.Kafka{
		Client: kafka.Client{Brokers: []string{b.Addr}}, Topic: topic, Logger: slog.New(slog.DiscardHandler),
		Workload: mustWorkload(t, "name: w\ntopic: {partitions: 3}\nconsumer: {group: pinned}\n"),
	}
	partitions, err := k.EnsureTopic(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Ends(t.Context(), partitions); err != nil { // there are leaders
		t.Fatal(err)
	}
	a := &answers{began: time.Now()}
	s, err := k.Open(0, a.done)
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		a.send(t, s, p, 5)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := administrate(t, b)
	if err := admin.DeleteRecords(topic, map[int32]int64{1: 4}); err != nil {
		t.Fatal(err)
	}
	if err := k.Pin(t.Context(), []int64{0, 0, 0}); err != nil { // which makes the group, whose coordinator may take a moment
		t.Fatal(err)
	}
	committed := map[int32]sarama.OffsetAndMetadata{0: {Offset: 3}, 1: {Offset: 3}, 2: {Offset: 6}}
	if _, err := admin.AlterConsumerGroupOffsets("pinned", map[string]map[int32]sarama.OffsetAndMetadata{topic: committed}, nil); err != nil {
		t.Fatal(err)
	}
	ends, err := k.Ends(t.Context(), partitions)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Pin(t.Context(), ends); err != nil {
		t.Fatal(err)
	}
	got, err := admin.ListConsumerGroupOffsets("pinned", map[string][]int32{topic: {0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range []int64{3, 5, 5} {
		if block := got.GetBlock(topic, int32(p)); block.Offset != want {
			t.Errorf("partition %d: got offset %d, want %d", p, block.Offset, want)
		}
	}
}

// A broker that takes connections and says nothing: whoever asks it has an answer when its context ends.
func TestAQuestionEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k := drive.Kafka{Client: kafka.Client{Brokers: []string{l.Addr().String()}}, Topic: "lab", Workload: mustWorkload(t, restartable), Logger: slog.New(slog.DiscardHandler)}
	for name, ask := range map[string]func(context.Context) error{
		"the topic":   func(ctx context.Context) error { _, err := k.EnsureTopic(ctx); return err },
		"the ends":    func(ctx context.Context) error { _, err := k.Ends(ctx, 4); return err },
		"the offsets": func(ctx context.Context) error { return k.Pin(ctx, make([]int64, 4)) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer stop()
			began := time.Now()
			if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
				t.Errorf("got %v after %v", err, time.Since(began))
			}
		})
	}
}

func TestBuffersAreSharedByThePartitionsThereAre(t *testing.T) {
	k := drive.Kafka{Workload: mustWorkload(t, "name: w\npayload: {bytes: 100000}\ntopic: {partitions: 6}\n")}
	asked, err := k.ConsumerConfig(0)
	if err != nil {
		t.Fatal(err)
	}
	k.Partitions = 60
	c, err := k.ConsumerConfig(0)
	if err != nil {
		t.Fatal(err)
	}
	if c.ChannelBufferSize*10 > asked.ChannelBufferSize {
		t.Errorf("got %d records for each of 60 partitions, and %d for each of 6", c.ChannelBufferSize, asked.ChannelBufferSize)
	}
}

// A patch of the lab costs a restart of the broker: nothing may be lost by it, and the load must be back within seconds.
func restart(t *testing.T, b *kafkatest.Broker) {
	w := mustWorkload(t, restartable)
	var restarted, back time.Duration
	e := against(t, b, w, 100, 1, nil, func(e *drive.Engine) {
		until(t, "300 records consumed", patience, func() bool { return e.Totals().Consumed > 300 })
		began := time.Now()
		b.Restart(t)
		restarted = time.Since(began)
		before := e.Totals()
		back = until(t, "acknowledged again", 2*time.Minute, func() bool { return e.Totals().Acked > before.Acked+20 })
		until(t, "ready", patience, func() bool { return e.Ready() == nil && e.Outstanding() < 100 })
	})
	t.Logf("acknowledging again %v after the broker was back", back.Round(time.Millisecond))
	total := e.Totals()
	faults := e.Faults()
	if total.Failed > 0 || faults.Lost > 0 || faults.Corrupted > 0 || e.Outstanding() > 0 {
		t.Errorf("got %d failed, %+v and %d outstanding, want none", total.Failed, faults, e.Outstanding())
	}
	// A commit that did not get through before the broker went has records read again, which is no fault.
	if total.Offered != total.Acked || total.Consumed != total.Acked+faults.Duplicated+faults.Redelivered {
		t.Errorf("got %d offered, %d acknowledged, %d consumed with %+v", total.Offered, total.Acked, total.Consumed, faults)
	}
	// What a broker needs to start says how busy the machine is. A client that sat out its connection's timeout would take 15 s.
	if back > min(10*time.Second+restarted, 14*time.Second) {
		t.Errorf("it took %v to be acknowledged again, and the broker %v to restart", back, restarted)
	}

	// The offsets that were committed are still there: a second run begins where the first one ended.
	again := against(t, b, w, 100, 2, nil, func(e *drive.Engine) {
		until(t, "200 records consumed", patience, func() bool { return e.Totals().Consumed > 200 })
	})
	if total := again.Totals(); total.Consumed != total.Acked {
		t.Errorf("second run: got %d consumed and %d acknowledged, want the same: nothing of the first run again", total.Consumed, total.Acked)
	}
}

func topicBecomes(t *testing.T, b *kafkatest.Broker) {
	const topic = "changing"
	log := &syncBuffer{}
	k := drive.Kafka{Client: kafka.Client{Brokers: []string{b.Addr}}, Topic: topic, Logger: slog.New(slog.NewTextHandler(log, nil))}
	ensure := func(text string) int {
		t.Helper()
		k.Workload = mustWorkload(t, text)
		n, err := k.EnsureTopic(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	conf, err := kafka.Client{ID: "test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin([]string{b.Addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	overrides := func() map[string]string {
		t.Helper()
		results, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic}}, sarama.DescribeConfigsOptions{})
		if err != nil || len(results) != 1 {
			t.Fatalf("got %d results, %v", len(results), err)
		}
		out := make(map[string]string)
		for _, e := range results[0].Configs {
			if e.Source == sarama.SourceTopic {
				out[e.Name] = e.Value
			}
		}
		return out
	}

	if n := ensure("name: a\ntopic: {partitions: 2, config: {flush.messages: '1'}}\n"); n != 2 {
		t.Errorf("created: got %d partitions, want 2", n)
	}
	// A broker may tell of what the cluster has taken over a while later.
	until(t, "created with flush.messages", time.Minute, func() bool { return overrides()["flush.messages"] == "1" })
	before := log.String()
	if n := ensure("name: a\ntopic: {partitions: 2, config: {flush.messages: '1'}}\n"); n != 2 || log.String() != before {
		t.Errorf("the same again: got %d partitions and %q, want no change and no word", n, strings.TrimPrefix(log.String(), before))
	}
	name, theirs := "max.message.bytes", "2000000"
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &theirs},
	}, false); err != nil {
		t.Fatal(err)
	}
	if n := ensure("name: b\ntopic: {partitions: 4, config: {compression.type: zstd}}\n"); n != 4 {
		t.Errorf("altered: got %d partitions, want 4", n)
	}
	until(t, "altered: zstd, no flush.messages, and the user's own "+name, time.Minute, func() bool {
		got := overrides()
		return got["compression.type"] == "zstd" && got["flush.messages"] == "" && got[name] == theirs
	})
	for _, want := range []string{"compression.type", "flush.messages", "before=1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not mention %q: %s", want, log.String())
		}
	}
	until(t, "four partitions", time.Minute, func() bool {
		all, err := admin.ListTopics()
		return err == nil && all[topic].NumPartitions == 4
	})
	if n := ensure("name: a\ntopic: {partitions: 2}\n"); n != 4 {
		t.Errorf("fewer asked for: got %d partitions, want the 4 there are", n)
	}
}
