package collector_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// After a start the past is asked about in as many rounds as leave a collection within its number of requests: on one broker nine.
func TestThePastIsAskedAboutWithinTheNumberOfRequests(t *testing.T) {
	t.Parallel()
	const topics = 8
	broker := kafkatest.Start(t)
	c := newClient(t, broker.Addr)
	for i := range topics {
		topic := fmt.Sprintf("past-%d", i)
		c.topic(topic, 1)
		var ages []time.Duration
		for s := 3600; s > 0; s -= 2 {
			ages = append(ages, time.Duration(s)*time.Second)
		}
		c.past(topic, 0, ages)
		c.commit("late", topic, 0, int64(100+150*i))
	}
	e := newExporter(t, []string{broker.Addr}, func(conf *collector.Config) { conf.Questions = 500 })
	sent := func(got samples) (n int) {
		for _, line := range got.of("kafka_exporter_kafka_request_duration_seconds_count") {
			if strings.Contains(line, `"ApiVersions"`) {
				continue // of the connection
			}
			_, count, _ := strings.Cut(line, "} ")
			v, err := strconv.Atoi(count)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			n += v
		}
		return n
	}
	before, most, needed := 0, 0, 0
	for i := 1; i <= 10; i++ {
		got := e.collect(10 * time.Second)
		n := sent(got)
		if n-before > 7+2 {
			t.Errorf("collection %d took %d requests, want 9 at the most", i, n-before)
		}
		before, most = n, max(most, n-before)
		if known := len(got.of("kafka_consumer_group_lag_seconds")); known == topics && needed == 0 {
			needed = i
		}
	}
	if needed == 0 || needed > 4 {
		t.Errorf("want all ages within 4 collections, got them in collection %d (0: never)", needed)
	}
	t.Logf("all ages are known in collection %d; the largest collection took %d requests", needed, most)
}
