package probe_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/probe"
	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

func TestEachBrokerOfAClusterIsProbed(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.StartCluster(t, 3, kafkatest.Env(map[string]string{
		"KAFKA_BROKER_SESSION_TIMEOUT_MS": "4500", "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500", // a broker that hangs is missed soon, one that is slow is not
		"KAFKA_AUTO_LEADER_REBALANCE_ENABLE": "false", // so that leaders move when somebody says so
	}))
	conf, err := kafka.Client{Brokers: cluster.Addrs(), ID: "kafkalab-probe"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	// However busy the machine is, what is confirmed has been read within a minute; the brokers may miss their timeouts.
	c := probe.Config{Kafka: conf, Brokers: cluster.Addrs(), Deadline: time.Minute}
	a := admin(t, cluster.Broker(1).Addr)
	goesOn := func(r *running, brokers ...int) {
		t.Helper()
		for _, id := range brokers {
			label := fmt.Sprintf("broker=%d", id)
			r.more(10, "kafka_probe_received_total", label)
			r.more(10, "kafka_probe_produce_seconds", label)
			r.more(1, "kafka_probe_commit_seconds", label)
			r.covers(label, 1)
		}
	}
	// The leaders of Kafka's own topic are nothing that the probe may move.
	coordinates := func(r *running, broker int) {
		t.Helper()
		label, asked := fmt.Sprintf("broker=%d", broker), time.Time{}
		before := r.sum("kafka_probe_commit_seconds", label)
		// Not when it is shown as a coordinator: it may be shown because nobody has noticed yet that it is none any more.
		waitFor(t, "commits to the broker again", func() bool {
			if time.Since(asked) > time.Second {
				_, _ = a.ElectLeaders(sarama.PreferredElection, map[string][]int32{"__consumer_offsets": {0, 1, 2, 3}}) // an error: not in sync yet
				asked = time.Now()
			}
			return r.sum("kafka_probe_commit_seconds", label) > before
		})
	}
	t.Run("by a topic that it makes", func(t *testing.T) {
		c := c
		c.Manage, c.Topic = true, "made"
		one, two := start(t, c), start(t, c)
		for _, r := range []*running{one, two} {
			goesOn(r, 1, 2, 3)
			r.lostNothing()
		}
		topics, err := a.DescribeTopics([]string{"made"})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range topics[0].Partitions {
			if len(p.Replicas) != 3 || len(topics[0].Partitions) != 3 {
				t.Errorf("want three partitions with three replicas, got %+v", p)
			}
		}
	})
	t.Run("by one that has no leader on a broker, until it has", func(t *testing.T) {
		if err := a.CreateTopic("uneven", &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: map[int32][]int32{
			0: {1}, 1: {2}, 2: {2},
		}}, false); err != nil {
			t.Fatal(err)
		}
		c := c
		c.Topic = "uneven"
		r := start(t, c)
		goesOn(r, 1, 2)
		r.says("are not probed: 3;")
		if got := r.metrics("kafka_probe_leader_covered", "broker=3"); len(got) != 1 || got[0].Gauge.GetValue() != 0 {
			t.Errorf("want broker 3 shown as not covered, got %v", got)
		}
		if n := r.sum("kafka_probe_sent_total", "broker=3"); n != 0 {
			t.Errorf("want nothing sent to broker 3, got %v", n)
		}
		// The partition by which broker 1 is probed moves to 3: the probe must notice, and no record may be lost on the way.
		if err := a.AlterPartitionReassignments("uneven", [][]int32{{3}, {2}, {1}}); err != nil {
			t.Fatal(err)
		}
		goesOn(r, 1, 2, 3)
		r.lostNothing()
	})
	t.Run("while one is stopped, comes back, and hangs", func(t *testing.T) {
		c := c
		c.Manage, c.Topic = true, "failover"
		r := start(t, c)
		goesOn(r, 1, 2, 3)
		cluster.Broker(2).Stop(t)
		waitFor(t, "broker 2 to be absent", func() bool { return len(r.metrics("kafka_probe_leader_covered", "broker=2")) == 0 })
		goesOn(r, 1, 3)
		cluster.Broker(2).Restart(t)
		r.says("that begin with \\\"failover\\\", so that no offsets are committed to them: 2")
		coordinates(r, 2)
		goesOn(r, 1, 2, 3) // it leads again, since the probe may say so
		cluster.Broker(3).Pause(t)
		waitFor(t, "timeouts of broker 3", func() bool { return r.sum("kafka_probe_failed_total", "broker=3", "code=timeout", "api=Produce") > 0 })
		goesOn(r, 1, 2)
		cluster.Broker(3).Resume(t)
		coordinates(r, 3)
		goesOn(r, 1, 2, 3)
		r.stop()
		r.accounted()
	})
}
