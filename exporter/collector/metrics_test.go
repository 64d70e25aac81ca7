package collector_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/kafkalab/kafkalab/exporter/collector"
	endtoend "github.com/kafkalab/kafkalab/exporter/probe" // a test beside this one has the name for a broker that is looked at
)

var update = flag.Bool("update", false, "write the golden files and METRICS.md instead of comparing with them")

// richCluster has every kind of thing that there is a metric for.
func richCluster(t *testing.T) *cluster {
	c := newCluster(t, 3, false)
	c.partition("orders", 0, 1, []int32{1, 2, 3}, []int32{1, 2, 3}, 100, 250)
	c.partition("orders", 1, 3, []int32{2, 3, 1}, []int32{3, 1}, 0, 80)
	c.partition("orders", 2, 0, []int32{9}, []int32{9}, 0, 0)
	c.partition(`odd "name"`, 0, 2, []int32{2}, []int32{2}, 7, 7)
	c.group("billing", 1, "Stable", 2, "orders", map[int32]int64{0: 200, 1: 80})
	c.groups[0].AddGroupDescription("billing", &sarama.GroupDescription{
		GroupId: "billing", State: "Stable", ProtocolType: "consumer", Protocol: "range", Members: map[string]*sarama.GroupMemberDescription{
			"a": {MemberId: "a", MemberAssignment: assignment("orders", 0, 1)}, "b": {MemberId: "b", MemberAssignment: assignment("orders", 2)}, "c": {MemberId: "c"},
		},
	})
	c.group("audit", 2, "Empty", 0, "orders", map[int32]int64{0: 250, 2: 5})
	c.group("idle", 3, "Empty", 0, "", nil)
	c.group("done", 1, "Empty", 0, "orders", map[int32]int64{0: 250, 1: 80})
	c.listed[2].Groups["new"] = "consumer"
	c.listed[2].GroupsData["new"] = sarama.GroupData{GroupState: "Stable", GroupType: "consumer"}
	c.answers[2]["ConsumerGroupDescribeRequest"] = sarama.NewMockConsumerGroupDescribeResponse(t).AddGroupDescription("new", sarama.ConsumerGroupDescription{
		GroupID: "new", GroupState: "Reconciling", AssignorName: "uniform", Members: []sarama.ConsumerGroupMemberDescription{
			{MemberID: "a", Assignment: sarama.ConsumerGroupAssignment{TopicPartitions: []sarama.ConsumerGroupTopicPartitions{{TopicName: "orders", Partitions: []int32{0, 1, 2}}}}},
			{MemberID: "b"},
		},
	})
	c.listed[2].Groups["shared"] = "share"
	c.listed[2].GroupsData["shared"] = sarama.GroupData{GroupState: "Stable", GroupType: "share"}
	c.listed[1].Groups["flow"] = "streams"
	c.listed[1].GroupsData["flow"] = sarama.GroupData{GroupState: "NotReady", GroupType: "streams"}
	for i := range c.answers {
		c.answers[i]["ApiVersionsRequest"] = sarama.NewMockWrapper(&sarama.ApiVersionsResponse{
			Version: 3, ApiKeys: kafka43.apis, FinalizedFeaturesEpoch: 7, FinalizedFeatures: []sarama.FinalizedFeatureKey{{Name: "metadata.version", MaxVersionLevel: 25, MinVersionLevel: 25}},
		})
	}
	for _, topic := range []string{"orders", `odd "name"`} {
		c.configs.Resources = append(c.configs.Resources, &sarama.ResourceResponse{Type: sarama.TopicResource, Name: topic, Configs: []*sarama.ConfigEntry{
			{Name: "min.insync.replicas", Value: "2"}, {Name: "cleanup.policy", Value: "delete"},
		}})
	}
	c.moves.AddBlock("orders", 1, []int32{2, 3, 1}, []int32{2}, []int32{1})
	for i, d := range c.dirs {
		d.LogDirs[0].TotalBytes, d.LogDirs[0].UsableBytes = 1000, 900-int64(i)
		d.LogDirs[0].Topics = []sarama.DescribeLogDirsResponseTopic{{Topic: "orders", Partitions: []sarama.DescribeLogDirsResponsePartition{{PartitionID: 0, Size: 70}, {PartitionID: 1, Size: 7}}}}
	}
	c.dirs[1].LogDirs = append(c.dirs[1].LogDirs, sarama.DescribeLogDirsResponseDirMetadata{Path: "/broken", ErrorCode: sarama.ErrKafkaStorageError})
	return c.start()
}

// guarded has a limit of series that no test meets.
func guarded(c *collector.Config) { c.MaxSeries = 1_000_000 }

func TestMetricsOfARichCluster(t *testing.T) {
	c := richCluster(t)
	e := newExporter(t, c.addrs(), guarded)
	e.collect(20 * time.Second) // what is read seldom comes one after the other
	got := e.collect(20 * time.Second)
	golden(t, filepath.Join("testdata", "rich.prom"), stable(got))
}

// stable is a scrape without what differs from run to run, one family after another, the samples of each sorted.
func stable(got samples) string {
	volatile := regexp.MustCompile(`^(kafka_exporter_[a-z_]*(?:_seconds|_bytes_total)[^ ]*) .*$`)
	ports := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	var lines []string
	for line := range strings.Lines(string(got)) {
		line = ports.ReplaceAllString(volatile.ReplaceAllString(strings.TrimSpace(line), "$1 VARIES"), "host:9092")
		switch {
		case strings.Contains(line, "_duration_seconds_bucket"), strings.HasPrefix(line, "# TYPE"):
		default:
			lines = append(lines, line)
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(family(a), family(b)) })
	for i := 0; i < len(lines); {
		n := i + 1
		for n < len(lines) && family(lines[n]) == family(lines[i]) {
			n++
		}
		slices.Sort(lines[i:n])
		i = n
	}
	return strings.Join(lines, "\n") + "\n"
}

func family(line string) string {
	line = strings.TrimPrefix(line, "# HELP ")
	return line[:strings.IndexAny(line, "{ ")]
}

func TestMetricsFollowTheConventions(t *testing.T) {
	c := richCluster(t)
	e := newExporter(t, c.addrs(), guarded)
	e.collect(20 * time.Second)
	e.collect(20 * time.Second)
	problems, err := promlint.NewWithMetricFamilies(e.gather()).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryFamilyIsDocumentedAndReal(t *testing.T) {
	c := richCluster(t)
	c.setAnswers(2, map[string]sarama.MockResponse{"ListGroupsRequest": sarama.NewMockWrapper(&sarama.ListGroupsResponse{Version: 5, Err: sarama.ErrOffsetsLoadInProgress})})
	e := newExporter(t, c.addrs(), guarded)
	e.collect(20 * time.Second)
	e.collect(20 * time.Second)
	var got, want []string
	for _, f := range e.gather() {
		got = append(got, fmt.Sprintf("%s %s %s", f.GetName(), strings.ToLower(f.GetType().String()), f.GetHelp()))
	}
	for _, f := range collector.Families() {
		want = append(want, fmt.Sprintf("%s %s %s", f.Name, f.Kind, f.Help))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("families that Families lists and that a cluster shows (-listed +shown):\n%s", diff)
	}
}

func TestMetricsDocumentIsUpToDate(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`# Metrics of the exporter

Made by ` + "`go test ./exporter/collector -run Document -update`" + `; do not edit.

All metrics of a scrape come from one reading of the cluster. What is not known is absent; there is no −1 and no invented 0.

Lag is reckoned to the high water mark, as Kafka's own kafka-consumer-groups does. So the records of a transaction that is still open count, also for a group that
reads only what is committed and is not given them yet: its lag in seconds then says for how long the transaction has held it up. The marker by which a transaction
ends takes an offset too.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
`)
	for _, f := range collector.Families() {
		fmt.Fprintf(&doc, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, strings.Join(f.Labels, ", "), f.Help)
	}
	doc.WriteString(`
The end-to-end probe has these, once it is [switched on](PROBE.md). A latency's exemplar names the partition and offset, or the group, that it was measured on.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
`)
	for _, f := range endtoend.Families() {
		fmt.Fprintf(&doc, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, strings.Join(f.Labels, ", "), f.Help)
	}
	doc.WriteString(`
Besides: ` + "`kafka_exporter_build_info`, `go_*`, `process_*` and `promhttp_*`" + ` of the Prometheus client library.
`)
	golden(t, filepath.Join("..", "METRICS.md"), doc.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; -update writes it (-want +got):\n%s", file, diff)
	}
}
