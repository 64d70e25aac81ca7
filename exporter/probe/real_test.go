package probe_test

import (
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

const topic = "kafkalab-probe"

// nothingFailed allows for what fails while Kafka makes a topic: its metadata are ahead of its brokers.
func (r *running) nothingFailed() {
	r.t.Helper()
	for _, m := range r.metrics("kafka_probe_failed_total") {
		if !slices.ContainsFunc([]string{"COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR", "NOT_LEADER_OR_FOLLOWER", "UNKNOWN_TOPIC_OR_PARTITION"},
			func(code string) bool { return has(m, []string{"code=" + code}) }) {
			r.t.Errorf("want no failure, got %s", m)
		}
	}
	r.lostNothing()
}

// accounted checks that each record has ended in one way, or is in flight. The probe must have ended.
func (r *running) accounted() {
	r.t.Helper()
	sent, received := r.sum("kafka_probe_sent_total"), r.sum("kafka_probe_received_total")
	rest := r.sum("kafka_probe_failed_total", "api=Produce") + r.sum("kafka_probe_lost_total") + r.sum("kafka_probe_in_flight")
	// A record that was read and whose confirmation never came is received and failed, or in flight: so it may be in the sum twice.
	if received > sent || received+rest < sent {
		r.t.Errorf("want each of %v records received, lost, failed or in flight, got %v received and %v", sent, received, rest)
	}
}

func (r *running) lostNothing() {
	r.t.Helper()
	for _, family := range []string{"kafka_probe_lost_total", "kafka_probe_skipped_total"} {
		if n := r.sum(family); n != 0 {
			r.t.Errorf("want no %s, got %v", family, n)
		}
	}
}

func TestAProbeOfARealKafka(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, kafkatest.Env(map[string]string{"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "true"}))
	a := admin(t, broker.Addr)
	t.Run("all that it measures", func(t *testing.T) {
		t.Parallel()
		makeTopic(t, a, "all", 3)
		c := settings(t, broker.Addr)
		c.Topic = "all"
		r := start(t, c)
		r.more(40, "kafka_probe_received_total", "broker=0")
		r.more(3, "kafka_probe_commit_seconds", "broker=0")
		r.nothingFailed()
		r.covers("broker=0", 1)
		for _, family := range []string{"kafka_probe_produce_seconds", "kafka_probe_end_to_end_seconds", "kafka_probe_commit_seconds"} {
			got := r.metrics(family)
			if len(got) != 1 {
				t.Fatalf("want one %s, got %v", family, got)
			}
			h := got[0].Histogram
			if h.Schema == nil || h.GetSchema() < 3 || len(h.PositiveSpan) == 0 || len(h.Bucket) == 0 || len(h.Exemplars) == 0 {
				t.Errorf("want native and classic buckets and exemplars in %s, got %v", family, h)
			}
		}
		r.stop()
		r.accounted()
		if topics, err := a.ListTopics(); err != nil || topics["all"].NumPartitions != 3 {
			t.Errorf("want the topic left as it was with 3 partitions, got %+v, %v", topics["all"], err)
		}
		wantGroups(t, a, "all", "all-0")
	})
	t.Run("two on one topic", func(t *testing.T) {
		t.Parallel()
		makeTopic(t, a, "both", 1)
		c := settings(t, broker.Addr)
		c.Topic = "both"
		one, two := start(t, c), start(t, c)
		for _, r := range []*running{one, two} {
			r.more(50, "kafka_probe_received_total")
			r.more(3, "kafka_probe_commit_seconds")
		}
		for _, r := range []*running{one, two} {
			r.stop()
			r.nothingFailed()
			r.accounted() // with none of the other's
		}
		wantGroups(t, a, "both", "both-0")
	})
	t.Run("a topic that is missing is told and not made", func(t *testing.T) {
		t.Parallel()
		c := settings(t, broker.Addr)
		c.Topic = "missing"
		r := start(t, c)
		r.says(`topic \"missing\" does not exist: make it`)
		r.covers("broker=0", 0)
		if topics, err := a.ListTopics(); err != nil || topics["missing"].NumPartitions != 0 {
			t.Fatalf("want no topic made, got %v, %v", topics, err)
		}
		if n := r.sum("kafka_probe_sent_total"); n != 0 {
			t.Errorf("want nothing sent, got %v", n)
		}
		makeTopic(t, a, "missing", 1)
		r.more(5, "kafka_probe_received_total")
		r.more(1, "kafka_probe_commit_seconds")
		r.says("every broker is probed")
		r.nothingFailed()
	})
	t.Run("a topic that it may make", func(t *testing.T) {
		t.Parallel()
		c := settings(t, broker.Addr)
		c.Manage, c.Topic = true, "made"
		one, two := start(t, c), start(t, c)
		for _, r := range []*running{one, two} {
			r.more(10, "kafka_probe_received_total")
			r.more(1, "kafka_probe_commit_seconds")
			r.nothingFailed()
		}
		topics, err := a.ListTopics()
		if err != nil {
			t.Fatal(err)
		}
		made := topics["made"]
		if made.NumPartitions != 1 || made.ConfigEntries["retention.ms"] == nil || *made.ConfigEntries["retention.ms"] != "600000" {
			t.Errorf("want one partition that keeps ten minutes, got %+v", made)
		}
		wantGroups(t, a, "made", "made-0")
	})
}

// covers checks whether the broker is shown as covered, as leader and as coordinator.
func (r *running) covers(broker string, want float64) {
	r.t.Helper()
	for _, family := range []string{"kafka_probe_leader_covered", "kafka_probe_coordinator_covered"} {
		if got := r.metrics(family, broker); len(got) != 1 || got[0].Gauge.GetValue() != want {
			r.t.Errorf("want %s of %s to be %v, got %v", family, broker, want, got)
		}
	}
}

// wantGroups checks which groups there are whose names begin so.
func wantGroups(t *testing.T, a sarama.ClusterAdmin, prefix string, want ...string) {
	t.Helper()
	groups, err := a.ListConsumerGroups()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for g := range groups {
		if strings.HasPrefix(g, prefix) {
			got = append(got, g)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("want groups %v, as many as there are coordinators, got %v", want, got)
	}
}

func TestRightsThatAreMissingAreTold(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, kafkatest.Secure(t), kafkatest.Authorize())
	a := admin(t, broker.Addr)
	c := secured(t, broker)
	c.Manage = true
	r := start(t, c)
	allow := func(kind sarama.AclResourceType, name string, operation sarama.AclOperation) {
		t.Helper()
		err := a.CreateACLs([]*sarama.ResourceAcls{{
			Resource: sarama.Resource{ResourceType: kind, ResourceName: name, ResourcePatternType: sarama.AclPatternPrefixed},
			Acls:     []*sarama.Acl{{Principal: "User:" + kafkatest.User, Host: "*", Operation: operation, PermissionType: sarama.AclPermissionAllow}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(api, code string) {
		t.Helper()
		waitFor(t, api+" to fail with "+code, func() bool { return r.failures(api)[code] > 0 })
	}
	// Without the right to see a topic Kafka does not say whether it is there.
	r.says("TOPIC_AUTHORIZATION_FAILED")
	allow(sarama.AclResourceTopic, topic, sarama.AclOperationDescribe)
	refused("CreateTopics", "TOPIC_AUTHORIZATION_FAILED")
	r.says("by CreateTopics")
	allow(sarama.AclResourceTopic, topic, sarama.AclOperationCreate)
	refused("Produce", "TOPIC_AUTHORIZATION_FAILED")
	refused("FindCoordinator", "GROUP_AUTHORIZATION_FAILED")
	allow(sarama.AclResourceTopic, topic, sarama.AclOperationWrite)
	r.more(2, "kafka_probe_produce_seconds")
	refused("Fetch", "TOPIC_AUTHORIZATION_FAILED")
	allow(sarama.AclResourceTopic, topic, sarama.AclOperationRead)
	r.more(2, "kafka_probe_received_total")
	allow(sarama.AclResourceGroup, topic, sarama.AclOperationRead)
	r.more(2, "kafka_probe_commit_seconds")
	r.says("every broker is probed")
}

func TestARestartedBrokerIsProbedAgain(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	makeTopic(t, admin(t, broker.Addr), topic, 1)
	r := start(t, settings(t, broker.Addr))
	r.more(10, "kafka_probe_received_total")
	r.more(1, "kafka_probe_commit_seconds")
	for _, end := range []func(){func() { broker.Stop(t) }, func() { broker.Kill(t) }} {
		before := r.sum("kafka_probe_failed_total", "api=Produce")
		end()
		waitFor(t, "failures", func() bool { return r.sum("kafka_probe_failed_total", "api=Produce") > before })
		broker.Restart(t)
		r.more(20, "kafka_probe_received_total")
		r.more(2, "kafka_probe_commit_seconds")
	}
	r.stop()
	r.accounted()
	r.lostNothing()
	if got := r.failures("Produce"); got["connection"] == 0 {
		t.Errorf("want failures of the connection, got %v", got)
	}
}

// A broker that stands still for 3 s is 60 records late, not one.
func TestABrokerThatStandsStillShowsInEveryRecordThatWasDue(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	makeTopic(t, admin(t, broker.Addr), topic, 1)
	r := start(t, settings(t, broker.Addr))
	r.more(20, "kafka_probe_received_total")
	slow := func(family string) (n float64) { // in more than a second
		for _, m := range r.metrics(family) {
			n += float64(m.Histogram.GetSampleCount())
			for _, b := range m.Histogram.Bucket {
				if b.GetUpperBound() > 1 && b.GetUpperBound() < 1.1 {
					n -= float64(b.GetCumulativeCount())
				}
			}
		}
		return n
	}
	produce, endToEnd := slow("kafka_probe_produce_seconds"), slow("kafka_probe_end_to_end_seconds")
	broker.Pause(t)
	time.Sleep(3 * time.Second) // the stall itself
	broker.Resume(t)
	r.more(20, "kafka_probe_received_total")
	waitFor(t, "nothing to be in flight from before", func() bool { return r.sum("kafka_probe_in_flight") < 10 })
	for family, before := range map[string]float64{"kafka_probe_produce_seconds": produce, "kafka_probe_end_to_end_seconds": endToEnd} {
		if n := slow(family) - before; n < 35 { // 3 s less 1.024 s, at 20 a second
			t.Errorf("want at least 35 records slower than a second in %s, got %v", family, n)
		}
	}
	r.nothingFailed()
}

func TestAProbeEndsWhileABrokerIsSilent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel's backlog and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := settings(t, silent.Addr().String())
	c.Kafka.Net.ReadTimeout, c.Kafka.Net.DialTimeout = 50*time.Second, 50*time.Second
	r := start(t, c)
	waitFor(t, "the probe to ask", func() bool { return goroutine("sarama.(*Broker).Open") })
	r.stop()
	waitFor(t, "nothing of it to run", func() bool { return !goroutine("exporter/probe.(*Probe)") && !goroutine("sarama.(*Broker)") })
	if strings.Contains(r.log.String(), "level=WARN") {
		t.Error("want nothing said of what the probe stopped itself")
	}
}

// goroutine says whether a goroutine runs that has the text in its stack.
func goroutine(text string) bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), text)
}
