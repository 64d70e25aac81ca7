package collector_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

// authorized is what the exporter says of its rights, in short.
func authorized(s samples) string {
	var all []string
	for _, line := range s.of("kafka_exporter_authorized") {
		line = strings.NewReplacer(`kafka_exporter_authorized{operation="`, "", `",resource="`, " ", `"}`, "").Replace(line)
		all = append(all, line)
	}
	return strings.Join(all, ", ")
}

func TestItSaysWhichRightsAreMissingAndHowToAddThem(t *testing.T) {
	const granted = "Describe Cluster 1, Describe Group 1, Describe Topic 1, DescribeConfigs Topic 1"
	refusedConfigs := &sarama.DescribeConfigsResponse{Version: 4, Resources: []*sarama.ResourceResponse{{
		Type: sarama.TopicResource, Name: "a", ErrorCode: int16(sarama.ErrTopicAuthorizationFailed),
	}}}
	refusedOffsets := &sarama.OffsetResponse{Version: 6, Blocks: map[string]map[int32]*sarama.OffsetResponseBlock{
		"a": {0: {Err: sarama.ErrTopicAuthorizationFailed, Offset: -1}, 1: {Err: sarama.ErrTopicAuthorizationFailed, Offset: -1}},
	}}
	for name, tt := range map[string]struct {
		change func(*cluster)
		want   string
		log    []string
	}{
		"none": {func(*cluster) {}, granted, nil},
		"the cluster may not be described": {func(c *cluster) {
			c.metadata.ClusterAuthorizedOperations = 1 << sarama.AclOperationAlter
		}, strings.Replace(granted, "Cluster 1", "Cluster 0", 1), []string{
			"operation=Describe resource=Cluster", "--add --allow-principal 'User:NAME' --operation Describe --cluster",
		}},
		"the broker does not tell what may be done with the cluster": {func(c *cluster) {
			c.metadata.ClusterAuthorizedOperations = -1 << 31
		}, granted, nil}, // that log directories are told shows it
		"log directories may not be described": {func(c *cluster) {
			c.dirs[0].LogDirs = nil
		}, strings.Replace(granted, "Cluster 1", "Cluster 0", 1), []string{"--operation Describe --cluster"}},
		"groups may not be described": {func(c *cluster) {
			c.answers[1]["OffsetFetchRequest"] = sarama.NewMockOffsetFetchResponse(t).SetError(sarama.ErrGroupAuthorizationFailed)
		}, strings.Replace(granted, "Group 1", "Group 0", 1), []string{"--operation Describe --group '*'"}},
		"configs may not be described": {func(c *cluster) {
			c.answers[0]["DescribeConfigsRequest"] = sarama.NewMockWrapper(refusedConfigs)
		}, strings.Replace(granted, "DescribeConfigs Topic 1", "DescribeConfigs Topic 0", 1), []string{"--operation DescribeConfigs --topic '*'"}},
		"a topic that is listed may not be described": {func(c *cluster) {
			c.answers[0]["OffsetRequest"] = sarama.NewMockWrapper(refusedOffsets)
		}, strings.Replace(granted, "Describe Topic 1", "Describe Topic 0", 1), []string{"--operation Describe --topic '*'"}},
		"a topic is stored that nobody lists": {func(c *cluster) {
			c.dirs[0].LogDirs[0].Topics = []sarama.DescribeLogDirsResponseTopic{
				{Topic: "a", Partitions: []sarama.DescribeLogDirsResponsePartition{{Size: 1}}},
				{Topic: "secret", Partitions: []sarama.DescribeLogDirsResponsePartition{{Size: 1}}},
			}
		}, strings.Replace(granted, "Describe Topic 1", "Describe Topic 0", 1), []string{"--operation Describe --topic '*'"}},
		"the controller's own log is no topic": {func(c *cluster) {
			c.dirs[0].LogDirs[0].Topics = []sarama.DescribeLogDirsResponseTopic{
				{Topic: "__cluster_metadata", Partitions: []sarama.DescribeLogDirsResponsePartition{{Size: 1}}},
			}
		}, granted, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := twoBrokers(t)
			c.configs.Resources = []*sarama.ResourceResponse{{Type: sarama.TopicResource, Name: "a"}}
			tt.change(c)
			c.start()
			var log bytes.Buffer
			e := newExporter(t, c.addrs(), func(conf *collector.Config) {
				conf.Logger = slog.New(slog.NewTextHandler(&log, nil))
				conf.SlowInterval = time.Nanosecond // configs and log directories by turns
			})
			for range 5 {
				e.refresh()
			}
			if got := authorized(e.samples()); got != tt.want {
				t.Errorf("want %s, got %s", tt.want, got)
			}
			for _, want := range tt.log {
				if n := strings.Count(log.String(), want); n != 1 {
					t.Errorf("want %q told once, got it %d times in:\n%s", want, n, log.String())
				}
			}
			if n := strings.Count(log.String(), "kafka-acls.sh"); n != min(1, len(tt.log)) {
				t.Errorf("want %d commands in the log, got %d:\n%s", min(1, len(tt.log)), n, log.String())
			}
		})
	}
}

// A topic that was just made is stored before the exporter's broker lists it.
func TestATopicThatIsStoredBeforeItIsListedIsNoMissingRight(t *testing.T) {
	c := twoBrokers(t)
	c.dirs[0].LogDirs[0].Topics = []sarama.DescribeLogDirsResponseTopic{{Topic: "young", Partitions: []sarama.DescribeLogDirsResponsePartition{{Size: 1}}}}
	c.start()
	e := newExporter(t, c.addrs(), nil)
	e.refresh()
	e.refresh()
	if got := authorized(e.samples()); !strings.Contains(got, "Describe Topic 1") {
		t.Errorf("want the right to describe topics taken as granted, got %s", got)
	}
}
