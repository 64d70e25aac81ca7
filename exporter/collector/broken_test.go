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

	"github.com/kafkalab/kafkalab/exporter/collector"
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
	t.Parallel()
	// The one that lives is the last: nobody has been served before the one that hangs.
	const hangs, gone, lives = 1, 2, 3
	cluster := kafkatest.StartCluster(t, 3, kafkatest.Env(map[string]string{"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "12"}))
	c := newClient(t, cluster.Addrs()...)
	// Partition 0 of topic "one" is on broker 1 alone, and so on; topic "all" is on all of them, and the one that lives leads it.
	for topic, replicas := range map[string]map[int32][]int32{"one": {0: {1}, 1: {2}, 2: {3}}, "all": {0: {lives, hangs, gone}}} {
		if err := c.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: replicas}, false); err != nil {
			t.Fatal(err)
		}
		c.usable(topic, int32(len(replicas)))
		for id := range replicas {
			c.produce(topic, id, 101+int(id))
		}
	}
	groups := map[int32]string{}
	for _, b := range cluster.Brokers {
		groups[b.ID] = c.groupOf(b.ID)
		for id := range int32(3) {
			c.commit(groups[b.ID], "one", id, 40)
		}
	}
	of := func(family string, leader int32) string {
		return fmt.Sprintf(`kafka_topic_partition_%s{partition="%d",topic="one"}`, family, leader-1)
	}
	end := func(leader int32) string { return of("end_offset", leader) }
	lag := func(coordinator, leader int32) string {
		return fmt.Sprintf(`kafka_consumer_group_lag{group=%q,partition="%d",topic="one"}`, groups[coordinator], leader-1)
	}
	success := func(id int32) string { return fmt.Sprintf(`kafka_exporter_broker_success{broker="%d"}`, id) }
	whole := map[string]string{
		"kafka_up": "1", "kafka_brokers": "3",
		`kafka_exporter_collector_success{collector="groups"}`:  "1",
		`kafka_exporter_collector_success{collector="offsets"}`: "1",
	}
	for _, b := range cluster.Brokers {
		whole[success(b.ID)], whole[end(b.ID)] = "1", fmt.Sprint(100+b.ID)
		for _, leader := range cluster.Brokers {
			whole[lag(b.ID, leader.ID)] = fmt.Sprint(60 + leader.ID)
		}
	}

	// Longer than any scrape: nobody gets along without the scrape's own deadline.
	e := newExporter(t, cluster.Addrs(), func(c *collector.Config) { c.Kafka.Net.ReadTimeout = time.Minute })
	got := e.scrapeHTTP(10 * time.Second)
	got.want(t, whole)
	if errors := got.of("kafka_exporter_kafka_request_errors_total"); len(errors) > 0 {
		t.Errorf("whole cluster: want no errors, got %v", errors)
	}

	cluster.Broker(hangs).Pause(t)
	cluster.Broker(gone).Kill(t)
	got = e.scrapeHTTP(10 * time.Second)
	got.want(t, map[string]string{
		"kafka_up": "1", "kafka_brokers": "3", success(lives): "1", success(hangs): "0", success(gone): "0",
		end(lives): "103", end(hangs): "", end(gone): "",
		`kafka_topic_partition_end_offset{partition="0",topic="all"}`: "101",
		lag(lives, lives): "63", lag(lives, hangs): "", lag(lives, gone): "", lag(hangs, lives): "", lag(gone, lives): "",
		fmt.Sprintf(`kafka_consumer_group_topic_unknown_lag_partitions{group=%q,topic="one"}`, groups[lives]): "2",
		fmt.Sprintf(`kafka_consumer_group_topic_lag{group=%q,topic="one"}`, groups[lives]):                    "",
		`kafka_exporter_collector_success{collector="metadata"}`:                                              "1",
		`kafka_exporter_collector_success{collector="groups"}`:                                                "0",
		`kafka_exporter_collector_success{collector="offsets"}`:                                               "0",
	})
	errors := strings.Join(got.of("kafka_exporter_kafka_request_errors_total"), "\n")
	if !strings.Contains(errors, `code="timeout"`) || !strings.Contains(errors, `code="connection"`) {
		t.Errorf("want errors counted of a request without an answer and of a connection refused, got:\n%s", errors)
	}

	// While the cluster finds out, and once it has, every scrape is answered in time. Then what only the two had is offline, and what they had
	// of the rest belongs to the third.
	after := map[string]string{
		"kafka_brokers": "1", lag(gone, lives): "63", lag(hangs, lives): "63",
		end(hangs): "", end(gone): "", success(hangs): "", success(gone): "",
		of("offline", lives): "0", of("offline", hangs): "1", of("offline", gone): "1", of("leader", gone): "",
		`kafka_topic_partition_in_sync_replicas{partition="0",topic="all"}`:              "1",
		`kafka_topic_partition_under_replicated{partition="0",topic="all"}`:              "1",
		`kafka_exporter_collector_success{collector="groups"}`:                           "1",
		fmt.Sprintf(`kafka_consumer_group_members{group=%q}`, groups[hangs]):             "0",
		fmt.Sprintf(`kafka_consumer_group_state{group=%q,state="Empty"}`, groups[hangs]): "1",
	}
	shows := func(want map[string]string) bool {
		for series, w := range want {
			if v, found := got.value(series); v != w || found != (w != "") {
				return false
			}
		}
		return true
	}
	defer func() {
		if t.Failed() {
			t.Logf("the last scrape:\n%s", got)
		}
	}()
	waitFor(t, 2*time.Minute, "the cluster to do without the two brokers", func() bool {
		got = e.scrapeHTTP(10 * time.Second)
		got.want(t, map[string]string{"kafka_up": "1", end(lives): "103", success(lives): "1"})
		return shows(after)
	})

	cluster.Broker(hangs).Resume(t)
	cluster.Broker(gone).Restart(t)
	waitFor(t, 2*time.Minute, "all of it to be shown again", func() bool {
		got = e.scrapeHTTP(10 * time.Second)
		return shows(whole)
	})
}
