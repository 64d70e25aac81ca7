package collector_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// past writes records that are as old as said, oldest first.
func (c *client) past(topic string, partition int32, ages []time.Duration) {
	c.t.Helper()
	p, err := sarama.NewSyncProducerFromClient(c.kafka)
	if err != nil {
		c.t.Fatal(err)
	}
	defer p.Close()
	now := time.Now()
	messages := make([]*sarama.ProducerMessage, len(ages))
	for i, age := range ages {
		messages[i] = &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder("x"), Timestamp: now.Add(-age)}
	}
	if err := p.SendMessages(messages); err != nil {
		c.t.Fatal(err)
	}
}

// An exporter that has just started has seen nothing of the past, and finds out by a few questions in each collection.
func TestAfterAStartTheAgeOfUnreadRecordsIsAskedFor(t *testing.T) {
	t.Parallel()
	const hours = 3
	broker := kafkatest.Start(t)
	c := newClient(t, broker.Addr)
	c.topic("past", 3)
	var steady, bursts, idle []time.Duration
	for s := hours * 3600; s > 0; s -= 2 {
		steady = append(steady, time.Duration(s)*time.Second)
	}
	for s := hours * 3600; s > 0; s -= 600 {
		for i := range 300 {
			bursts = append(bursts, time.Duration(s)*time.Second-time.Duration(i)*time.Millisecond)
		}
	}
	for i := range 1000 {
		idle = append(idle, 2*time.Hour-time.Duration(i)*100*time.Millisecond)
	}
	all := [][]time.Duration{steady, bursts, idle}
	var written [3]time.Time // from when the ages count
	for partition, ages := range all {
		written[partition] = time.Now()
		c.past("past", int32(partition), ages)
	}
	type reader struct {
		group     string
		partition int
		offset    int
	}
	var readers []reader
	for partition, ages := range all {
		for i, part := range []float64{0, 0.3, 0.8, 0.99, 1} {
			r := reader{fmt.Sprintf("g%d", i), partition, int(part * float64(len(ages)))}
			c.commit(r.group, "past", int32(r.partition), int64(r.offset))
			readers = append(readers, r)
		}
	}
	e := newExporter(t, []string{broker.Addr}, func(conf *collector.Config) { conf.Questions = 500 })
	var got samples
	collections := 0
	known := func() int { return len(got.of("kafka_consumer_group_lag_seconds")) }
	// One partition is asked about once in a collection, whoever reads it: five groups of eight questions each take forty.
	for ; collections < 60; collections++ {
		got = e.collect(10 * time.Second)
	}
	if known() != len(readers) {
		t.Errorf("got %d ages after %d collections, want %d", known(), collections, len(readers))
	}
	for _, r := range readers {
		v, _ := got.value(fmt.Sprintf(`kafka_consumer_group_lag_seconds{group=%q,partition="%d",topic="past"}`, r.group, r.partition))
		seconds, err := strconv.ParseFloat(v, 64)
		want := 0.0
		if ages := all[r.partition]; r.offset < len(ages) {
			want = (ages[r.offset] + time.Since(written[r.partition])).Seconds()
		}
		if err != nil || math.Abs(seconds-want) > max(2, 0.05*want) {
			t.Errorf("%+v: got %q s, want %.0f s", r, v, want)
		}
	}
}
