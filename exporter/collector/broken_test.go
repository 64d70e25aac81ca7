package collector_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// scrapeHTTP asks as Prometheus does and wants the answer before Prometheus would give up.
func (e *exporter) scrapeHTTP(timeout time.Duration) samples {
	e.t.Helper()
	ask := httptest.NewRequestWithContext(e.t.Context(), http.MethodGet, "/metrics", nil)
	ask.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(timeout.Seconds()))
	answer := httptest.NewRecorder()
	began := time.Now()
	e.handler(promhttp.HandlerFor(e.reg, promhttp.HandlerOpts{})).ServeHTTP(answer, ask)
	if took := time.Since(began); took > timeout {
		e.t.Errorf("want an answer within the %s that the scrape gives, took %s", timeout, took)
	}
	if answer.Code != http.StatusOK {
		e.t.Errorf("want status 200, got %d:\n%s", answer.Code, answer.Body)
	}
	return samples(answer.Body.String())
}

// groupOf finds a name for a group that the broker coordinates.
func (c *client) groupOf(broker int32) string {
	c.t.Helper()
	for i := range 100 {
		group := fmt.Sprintf("group-%d", i)
		var coordinator *sarama.Broker
		waitFor(c.t, 30*time.Second, "the coordinator of "+group, func() (found bool) {
			if err := c.kafka.RefreshCoordinator(group); err != nil {
				return false
			}
			var err error
			coordinator, err = c.kafka.Coordinator(group)
			return err == nil
		})
		if coordinator.ID() == broker {
			return group
		}
	}
	c.t.Fatalf("no group is coordinated by broker %d", broker)
	return ""
}

func TestARealBrokerThatHangsAndOneThatIsGoneHideNothingOfTheThird(t *testing.T) {
	cluster := kafkatest.StartCluster(t, 3, kafkatest.Env(map[string]string{"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "12"}))
	c := newClient(t, cluster.Addrs()...)
	// Partition 0 of topic "one" is on broker 1 alone, and so on; topic "all" is on all of them, and broker 1 leads it.
	for topic, replicas := range map[string]map[int32][]int32{"one": {0: {1}, 1: {2}, 2: {3}}, "all": {0: {1, 2, 3}}} {
		if err := c.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: replicas}, false); err != nil {
			t.Fatal(err)
		}
		for id := range replicas {
			c.produce(topic, id, 100+int(id))
		}
	}
	groups := map[int32]string{}
	for _, b := range cluster.Brokers {
		groups[b.ID] = c.groupOf(b.ID)
		for id := range int32(3) {
			c.commit(groups[b.ID], "one", id, 40)
		}
	}
	end := func(id int32) string {
		return fmt.Sprintf(`kafka_topic_partition_end_offset{partition="%d",topic="one"}`, id)
	}
	lag := func(coordinator, id int32) string {
		return fmt.Sprintf(`kafka_consumer_group_lag{group=%q,partition="%d",topic="one"}`, groups[coordinator], id)
	}
	success := func(id int32) string { return fmt.Sprintf(`kafka_exporter_broker_success{broker="%d"}`, id) }
	whole := map[string]string{
		"kafka_up": "1", "kafka_brokers": "3", success(1): "1", success(2): "1", success(3): "1",
		end(0): "100", end(1): "101", end(2): "102",
		`kafka_exporter_collector_success{collector="groups"}`:  "1",
		`kafka_exporter_collector_success{collector="offsets"}`: "1",
	}
	for _, b := range cluster.Brokers {
		for id := range int32(3) {
			whole[lag(b.ID, id)] = fmt.Sprint(60 + id)
		}
	}

	e := newExporter(t, cluster.Addrs(), nil)
	got := e.scrapeHTTP(10 * time.Second)
	got.want(t, whole)
	if errors := got.of("kafka_exporter_kafka_request_errors_total"); len(errors) > 0 {
		t.Errorf("whole cluster: want no errors, got %v", errors)
	}

	cluster.Broker(2).Pause(t)
	cluster.Broker(3).Kill(t)
	got = e.scrapeHTTP(3 * time.Second)
	got.want(t, map[string]string{
		"kafka_up": "1", "kafka_brokers": "3", success(1): "1", success(2): "0", success(3): "0",
		end(0): "100", end(1): "", end(2): "",
		`kafka_topic_partition_end_offset{partition="0",topic="all"}`: "100",
		lag(1, 0): "60", lag(1, 1): "", lag(1, 2): "", lag(2, 0): "", lag(3, 0): "",
		fmt.Sprintf(`kafka_consumer_group_topic_unknown_lag_partitions{group=%q,topic="one"}`, groups[1]): "2",
		fmt.Sprintf(`kafka_consumer_group_topic_lag{group=%q,topic="one"}`, groups[1]):                    "",
		`kafka_exporter_collector_success{collector="metadata"}`:                                          "1",
		`kafka_exporter_collector_success{collector="groups"}`:                                            "0",
		`kafka_exporter_collector_success{collector="offsets"}`:                                           "0",
	})
	errors := strings.Join(got.of("kafka_exporter_kafka_request_errors_total"), "\n")
	if !strings.Contains(errors, `code="timeout"`) || !strings.Contains(errors, `code="connection"`) {
		t.Errorf("want errors counted of a request without an answer and of a connection refused, got:\n%s", errors)
	}

	// While the cluster finds out, and once it has, every scrape is answered in time. Then what only the two had is offline, and what they had
	// of the rest is broker 1's.
	waitFor(t, time.Minute, "the cluster to do without the two brokers", func() bool {
		got = e.scrapeHTTP(3 * time.Second)
		got.want(t, map[string]string{"kafka_up": "1", end(0): "100", success(1): "1"})
		brokers, _ := got.value("kafka_brokers")
		moved, _ := got.value(lag(3, 0))
		return brokers == "1" && moved == "60"
	})
	got.want(t, map[string]string{
		end(1): "", end(2): "", success(2): "", success(3): "",
		`kafka_topic_partition_offline{partition="0",topic="one"}`:                   "0",
		`kafka_topic_partition_offline{partition="1",topic="one"}`:                   "1",
		`kafka_topic_partition_offline{partition="2",topic="one"}`:                   "1",
		`kafka_topic_partition_leader{partition="2",topic="one"}`:                    "",
		`kafka_topic_partition_in_sync_replicas{partition="0",topic="all"}`:          "1",
		`kafka_topic_partition_under_replicated{partition="0",topic="all"}`:          "1",
		`kafka_exporter_collector_success{collector="groups"}`:                       "1",
		fmt.Sprintf(`kafka_consumer_group_members{group=%q}`, groups[2]):             "0",
		fmt.Sprintf(`kafka_consumer_group_state{group=%q,state="Empty"}`, groups[2]): "1",
	})

	cluster.Broker(2).Resume(t)
	cluster.Broker(3).Restart(t)
	waitFor(t, time.Minute, "all of it to be shown again", func() bool {
		got = e.scrapeHTTP(10 * time.Second)
		for series, want := range whole {
			if v, _ := got.value(series); v != want {
				return false
			}
		}
		return true
	})
}
