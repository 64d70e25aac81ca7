package collector_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// toolLag is what Kafka's own tool says of all groups: committed offset, end offset and lag by group, topic and partition, "-" where it knows none.
func toolLag(t *testing.T, broker *kafkatest.Broker) map[string]string {
	t.Helper()
	said := broker.Tool(t, "consumer-groups", "--describe", "--all-groups", "--offsets")
	rows := map[string]string{}
	for line := range strings.Lines(said) {
		// GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID
		f := strings.Fields(line)
		if len(f) < 6 || f[3] == "-" { // of a partition without a commit we show nothing
			continue
		}
		if _, err := strconv.Atoi(f[2]); err == nil {
			rows[strings.Join(f[:3], " ")] = fmt.Sprintf("committed %s, end %s, lag %s", f[3], f[4], f[5])
		}
	}
	return rows
}

// shownLag is what the exporter shows, in the same form.
func shownLag(got samples) map[string]string {
	rows := map[string]string{}
	for _, line := range got.of("kafka_consumer_group_committed_offset") {
		series, committed, _ := strings.Cut(strings.TrimPrefix(line, "kafka_consumer_group_committed_offset"), " ")
		var group, topic, partition string
		for label := range strings.SplitSeq(strings.Trim(series, "{}"), ",") {
			name, value, _ := strings.Cut(label, "=")
			value, _ = strconv.Unquote(value)
			switch name {
			case "group":
				group = value
			case "topic":
				topic = value
			case "partition":
				partition = value
			}
		}
		known := func(series string) string {
			if v, found := got.value(series); found {
				return v
			}
			return "-"
		}
		rows[group+" "+topic+" "+partition] = fmt.Sprintf("committed %s, end %s, lag %s", committed,
			known(fmt.Sprintf(`kafka_topic_partition_end_offset{partition=%q,topic=%q}`, partition, topic)), known("kafka_consumer_group_lag"+series))
	}
	return rows
}

// toolGroups is the state and the number of members of each group by Kafka's own tool.
func toolGroups(t *testing.T, broker *kafkatest.Broker) map[string]string {
	t.Helper()
	said := broker.Tool(t, "consumer-groups", "--describe", "--all-groups", "--state")
	rows := map[string]string{}
	for line := range strings.Lines(said) {
		// GROUP, COORDINATOR and (ID), ASSIGNMENT-STRATEGY if there is one, STATE, #MEMBERS
		f := strings.Fields(line)
		n := len(f)
		if n < 5 {
			continue
		}
		if _, err := strconv.Atoi(f[n-1]); err == nil {
			rows[f[0]] = f[n-2] + ", members " + f[n-1]
		}
	}
	return rows
}

// longSession is how long a stopped consumer stays a member, in milliseconds: two more JVMs start meanwhile, on a machine that may be busy.
const longSession = "300000"

func TestLagIsWhatKafkasOwnToolSays(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, kafkatest.Env(map[string]string{
		"KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS": longSession, "KAFKA_GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS": longSession,
	}))
	c := newClient(t, broker.Addr)
	c.topic("orders", 3)
	for id := range int32(3) {
		c.produce("orders", id, 50)
	}
	c.commit("left", "orders", 0, 20) // an empty group, that has not committed all partitions
	c.commit("left", "orders", 2, 50)

	// Consumers of Kafka's own, of each protocol. They read all, and are then stopped where they are, so that they stay members and fall behind.
	consumers := map[string]*kafkatest.Tool{}
	for protocol, session := range map[string]string{"classic": "session.timeout.ms=" + longSession, "consumer": "auto.offset.reset=earliest"} { // the latter's is the broker's
		consumers[protocol] = broker.StartTool(t, "console-consumer", "--topic", "orders", "--group", protocol, "--command-property", session,
			"--command-property", "group.protocol="+protocol, "--command-property", "auto.commit.interval.ms=100", "--command-property", "auto.offset.reset=earliest")
	}
	e := newExporter(t, []string{broker.Addr}, nil)
	var got samples
	for protocol, consumer := range consumers {
		waitFor(t, 3*time.Minute, protocol+" consumer to read all, commit and stay", func() bool {
			got = e.collect(10 * time.Second)
			lag, _ := got.value(fmt.Sprintf(`kafka_consumer_group_topic_lag{group=%q,topic="orders"}`, protocol))
			members, _ := got.value(fmt.Sprintf(`kafka_consumer_group_members{group=%q}`, protocol))
			return lag == "0" && members == "1"
		})
		consumer.Pause(t)
	}
	c.produce("orders", 0, 7)
	c.produce("orders", 1, 30)

	got = e.collect(10 * time.Second)
	shown := shownLag(got)
	if diff := cmp.Diff(toolLag(t, broker), shown); diff != "" {
		t.Errorf("lag (-kafka-consumer-groups +exporter):\n%s", diff)
	}
	for series, want := range map[string]string{
		"left orders 0": "committed 20, end 57, lag 37", "left orders 2": "committed 50, end 50, lag 0",
		"classic orders 1": "committed 50, end 80, lag 30", "consumer orders 1": "committed 50, end 80, lag 30", "consumer orders 2": "committed 50, end 50, lag 0",
	} {
		if shown[series] != want {
			t.Errorf("%s: want %s, got %q", series, want, shown[series])
		}
	}
	states := toolGroups(t, broker)
	if len(states) != 3 {
		t.Errorf("kafka-consumer-groups: want three groups, got %v", states)
	}
	for group, said := range states {
		state, members, _ := strings.Cut(said, ", members ")
		got.want(t, map[string]string{
			fmt.Sprintf(`kafka_consumer_group_state{group=%q,state=%q}`, group, state): "1",
			fmt.Sprintf(`kafka_consumer_group_members{group=%q}`, group):               members,
		})
	}
	for _, kind := range []string{"classic", "consumer"} {
		if info := got.of("kafka_consumer_group_info"); !strings.Contains(strings.Join(info, "\n"), fmt.Sprintf(`group=%q,protocol=`, kind)) ||
			!strings.Contains(strings.Join(info, "\n"), fmt.Sprintf(`type=%q`, kind)) {
			t.Errorf("want a group of type %s, got %v", kind, info)
		}
	}
}
