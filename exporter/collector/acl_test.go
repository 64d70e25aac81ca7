package collector_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// needed are the rights that the exporter asks for, as its documents name them.
var needed = map[string]struct {
	on        sarama.AclResourceType
	name      string
	operation sarama.AclOperation
}{
	"Describe Cluster":      {sarama.AclResourceCluster, "kafka-cluster", sarama.AclOperationDescribe},
	"Describe Topic":        {sarama.AclResourceTopic, "*", sarama.AclOperationDescribe},
	"Describe Group":        {sarama.AclResourceGroup, "*", sarama.AclOperationDescribe},
	"DescribeConfigs Topic": {sarama.AclResourceTopic, "*", sarama.AclOperationDescribeConfigs},
}

func (c *client) grant(right string) {
	c.t.Helper()
	n := needed[right]
	err := c.admin.CreateACLs([]*sarama.ResourceAcls{{
		Resource: sarama.Resource{ResourceType: n.on, ResourceName: n.name, ResourcePatternType: sarama.AclPatternLiteral},
		Acls:     []*sarama.Acl{{Principal: "User:" + kafkatest.User, Host: "*", Operation: n.operation, PermissionType: sarama.AclPermissionAllow}},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) revoke(right string) {
	c.t.Helper()
	n := needed[right]
	gone, err := c.admin.DeleteACL(sarama.AclFilter{
		ResourceType: n.on, ResourceName: &n.name, ResourcePatternTypeFilter: sarama.AclPatternLiteral, Operation: n.operation, PermissionType: sarama.AclPermissionAllow,
	}, false)
	if err != nil || len(gone) != 1 {
		c.t.Fatalf("revoke %s: %v, %v", right, gone, err)
	}
}

// logged is a log that is read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestWithoutARightTheRestIsShownAndTheACLNamed(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, kafkatest.Secure(t), kafkatest.Authorize())
	c := newClient(t, broker.Addr)
	c.topic("orders", 2)
	c.produce("orders", 0, 10)
	c.produce("orders", 1, 5)
	c.commit("billing", "orders", 0, 4)
	c.join("live", "orders")
	for right := range needed {
		c.grant(right)
	}
	waitFor(t, 30*time.Second, "the broker to know of all rights", func() bool {
		resources, err := c.admin.ListAcls(sarama.AclFilter{
			ResourceType: sarama.AclResourceAny, ResourcePatternTypeFilter: sarama.AclPatternAny, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny,
		})
		known := 0
		for _, r := range resources {
			known += len(r.Acls)
		}
		return err == nil && known == len(needed)
	})
	security := kafka.Security{SASL: kafka.SASL{Mechanism: "SCRAM-SHA-512", Username: kafkatest.User, PasswordFile: broker.Secured.PasswordFile}}
	settings, err := kafka.Client{Brokers: []string{broker.Secured.SASLAddr}, ID: "test", Security: security}.Config()
	if err != nil {
		t.Fatal(err)
	}
	var log logged
	e := newExporter(t, []string{broker.Secured.SASLAddr}, func(conf *collector.Config) {
		conf.Kafka, conf.SlowInterval, conf.Logger = settings, time.Nanosecond, slog.New(slog.NewTextHandler(&log, nil))
	})

	// What is shown of each subject with all rights; without one of them the rest of it stays as it is.
	full := map[string]string{
		`kafka_up`: "1", `kafka_brokers`: "1",
		`kafka_broker_leaders{broker="0"}`:                                                    "6", // Kafka's own topic of offsets has four partitions
		`kafka_topic_partitions{topic="orders"}`:                                              "2",
		`kafka_topic_partition_end_offset{partition="0",topic="orders"}`:                      "10",
		`kafka_topic_partition_offline{partition="0",topic="orders"}`:                         "0",
		`kafka_topic_partition_under_replicated{partition="0",topic="orders"}`:                "0",
		`kafka_topic_config{key="min.insync.replicas",topic="orders"}`:                        "1",
		`kafka_topic_partition_under_min_isr{partition="0",topic="orders"}`:                   "0",
		`kafka_consumer_group_committed_offset{group="billing",partition="0",topic="orders"}`: "4",
		`kafka_consumer_group_lag{group="billing",partition="0",topic="orders"}`:              "6",
		`kafka_consumer_group_topic_lag{group="billing",topic="orders"}`:                      "6",
		`kafka_consumer_group_members{group="billing"}`:                                       "0",
		`kafka_consumer_group_members{group="live"}`:                                          "1",
	}
	for right := range needed {
		operation, resource, _ := strings.Cut(right, " ")
		full[rightSeries(operation, resource)] = "1"
	}
	all := func() map[string]string { return maps.Clone(full) }
	await := func(t *testing.T, what string, want map[string]string) {
		t.Helper()
		var got samples
		defer func() {
			if t.Failed() {
				got.want(t, want)
			}
		}()
		waitFor(t, 30*time.Second, what, func() bool {
			got = e.collect(10 * time.Second)
			for series, w := range want {
				if v, found := got.value(series); v != w || found != (w != "") {
					return false
				}
			}
			return true
		})
	}
	await(t, "everything to be shown", all())
	if strings.Contains(log.String(), "kafka-acls") {
		t.Errorf("want no ACL asked for while none is missing, got:\n%s", log.String())
	}

	for right, missing := range map[string]struct {
		unknown []string // families that are absent then: nothing is shown as 0
		acl     string
	}{
		"Describe Group": {
			[]string{`kafka_consumer_group_committed_offset`, `kafka_consumer_group_lag`, `kafka_consumer_group_topic_lag`, `kafka_consumer_group_members`},
			"--operation Describe --group '*'",
		},
		"Describe Cluster": {[]string{`kafka_log_dir_size_bytes`, `kafka_log_dir_offline`, `kafka_topic_size_bytes`}, "--operation Describe --cluster"},
		"Describe Topic": {
			[]string{
				`kafka_broker_leaders`, `kafka_topic_partitions`, `kafka_topic_partition_end_offset`, `kafka_topic_partition_offline`,
				`kafka_topic_partition_under_replicated`, `kafka_topic_partition_under_min_isr`, `kafka_topic_config`, `kafka_consumer_group_committed_offset`, `kafka_consumer_group_lag`,
				`kafka_consumer_group_topic_lag`,
			},
			"--operation Describe --topic '*'",
		},
		"DescribeConfigs Topic": {
			[]string{`kafka_topic_config`, `kafka_topic_partition_under_min_isr`}, "--operation DescribeConfigs --topic '*'",
		},
	} {
		t.Run(right, func(t *testing.T) {
			before := len(log.String())
			c.revoke(right)
			defer c.grant(right) // also when the test fails: a grant that is there changes nothing
			want := all()
			operation, resource, _ := strings.Cut(right, " ")
			want[rightSeries(operation, resource)] = "0"
			for series := range want {
				if family, _, _ := strings.Cut(series, "{"); slices.Contains(missing.unknown, family) {
					want[series] = ""
				}
			}
			await(t, "it to be shown that the right is missing, and the rest", want)
			for _, family := range missing.unknown { // what is read by turns is read again a collection later
				waitFor(t, 30*time.Second, family+" to be absent", func() bool { return len(e.collect(10*time.Second).of(family)) == 0 })
			}
			if said := log.String()[before:]; !strings.Contains(said, missing.acl) || !strings.Contains(said, "User:"+kafkatest.User) {
				t.Errorf("want the ACL to add, %s for the exporter's user, in the log, got:\n%s", missing.acl, said)
			}
			c.grant(right)
			await(t, "everything to be shown again", all())
		})
	}
}

func rightSeries(operation, resource string) string {
	return fmt.Sprintf(`kafka_exporter_authorized{operation=%q,resource=%q}`, operation, resource)
}
