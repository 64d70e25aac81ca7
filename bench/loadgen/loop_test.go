package loadgen_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// TestMain makes this binary the bare loop when it is asked to be.
func TestMain(m *testing.M) {
	text := os.Getenv(jobVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	if err := work(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	if j.Profile != "" {
		f, err := os.Create(j.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	o, err := j.loop()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// loop is as little as a program around AsyncProducer can do: it sends the same bytes again and again and counts what comes back. Settings,
// records in flight and garbage collection are loadgen's.
func (j job) loop() (outcome, error) {
	w, err := workload.Parse(j.workload())
	if err != nil {
		return outcome{}, err
	}
	k := drive.Kafka{Client: kafka.Client{Brokers: []string{j.Broker}}, Topic: j.Topic, Workload: w, Logger: slog.New(slog.DiscardHandler)}
	debug.SetGCPercent(200)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(j.Seconds*1e9))
	defer cancel()
	var acked atomic.Uint64
	var group errgroup.Group
	for n := range j.Clients {
		group.Go(func() error {
			c, err := k.ProducerConfig(n)
			if err != nil {
				return err
			}
			producer, err := sarama.NewAsyncProducer(k.Client.Brokers, c)
			if err != nil {
				return err
			}
			return j.pump(ctx, producer, w.Slots(), n*partitions/j.Clients, &acked)
		})
	}
	err = group.Wait()
	return outcome{Acked: acked.Load(), Seconds: time.Since(began).Seconds()}, err
}

func (j job) pump(ctx context.Context, producer sarama.AsyncProducer, inFlight, partition int, acked *atomic.Uint64) error {
	free := make(chan *sarama.ProducerMessage, inFlight)
	for range inFlight {
		free <- &sarama.ProducerMessage{Topic: j.Topic, Value: sarama.ByteEncoder(make([]byte, j.Bytes))}
	}
	var group errgroup.Group
	group.Go(func() (first error) {
		for e := range producer.Errors() {
			first = e
		}
		return first
	})
	group.Go(func() error {
		for m := range producer.Successes() {
			acked.Add(1)
			free <- m
		}
		return nil
	})
	for ; ctx.Err() == nil; partition++ {
		m := <-free
		m.Partition, m.Timestamp = int32(partition%partitions), time.Time{}
		producer.Input() <- m
	}
	producer.AsyncClose()
	return group.Wait()
}
