package collector_test

import (
	"slices"
	"testing"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
)

// sarama begins with version 4 of ApiVersions, which Kafka 2.8 refuses. Version 0 of most requests was dropped in Kafka 4.0. Where a broker has no other, as of ListPartitionReassignments, there is no choice.
func TestRequestsHaveTheHighestVersionThatBothSidesKnow(t *testing.T) {
	for name, tt := range map[string]struct {
		release release
		want    map[string][]int16
		more    map[string]string
	}{
		"Kafka 2.8": {kafka28, map[string][]int16{
			"ApiVersions": {3, 4}, "Metadata": {10}, "ListOffsets": {6}, "ListGroups": {4}, "OffsetFetch": {7}, "DescribeGroups": {5},
			"DescribeConfigs": {4}, "DescribeLogDirs": {2}, "ListPartitionReassignments": {0},
		}, map[string]string{
			`kafka_consumer_group_state{group="new",state="Stable"}`: "",
			`kafka_log_dir_total_bytes{broker="1",dir="/data"}`:      "",
		}},
		"Kafka 4.3": {kafka43, map[string][]int16{
			"ApiVersions": {3, 4}, "Metadata": {10}, "ListOffsets": {6}, "ListGroups": {5}, "OffsetFetch": {8}, "DescribeGroups": {5},
			"DescribeConfigs": {4}, "DescribeLogDirs": {4}, "ListPartitionReassignments": {0}, "ConsumerGroupDescribe": {1},
		}, map[string]string{
			`kafka_consumer_group_state{group="new",state="Stable"}`: "1",
			`kafka_log_dir_total_bytes{broker="1",dir="/data"}`:      "1000",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClusterOf(t, 2, tt.release)
			c.partition("a", 0, 1, []int32{1, 2}, []int32{1, 2}, 0, 10)
			c.partition("a", 1, 2, []int32{2, 1}, []int32{2}, 0, 10)
			c.group("old", 1, "Stable", 1, "a", map[int32]int64{0: 4, 1: 5})
			c.group("older", 1, "Empty", 0, "a", map[int32]int64{0: 2})
			if tt.release.listGroups >= 5 {
				c.listed[1].Groups["new"] = "consumer"
				c.listed[1].GroupsData["new"] = sarama.GroupData{GroupState: "Stable", GroupType: "consumer"}
				c.answers[1]["ConsumerGroupDescribeRequest"] = sarama.NewMockConsumerGroupDescribeResponse(t).AddGroupDescription("new",
					sarama.ConsumerGroupDescription{GroupState: "Stable"})
			}
			for _, d := range c.dirs {
				d.LogDirs[0].TotalBytes, d.LogDirs[0].UsableBytes = 1000, 900
			}
			c.configs.Resources = []*sarama.ResourceResponse{{Type: sarama.TopicResource, Name: "a", Configs: []*sarama.ConfigEntry{{Name: "min.insync.replicas", Value: "2"}}}}
			f := c.fronted()
			e := newExporter(t, f.addrs(), nil)
			e.refresh()
			e.refresh()
			got := map[string][]int16{}
			for c := range f.calls() {
				got[apiNames[c.api]] = append(got[apiNames[c.api]], c.version)
			}
			for api, versions := range got {
				slices.Sort(versions)
				for _, v := range versions {
					if v == 0 && api != "ListPartitionReassignments" {
						t.Errorf("%s was sent in version 0", api)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("versions of requests (-want +got):\n%s", diff)
			}
			s := e.samples()
			s.want(t, tt.more)
			s.want(t, map[string]string{
				`kafka_exporter_collector_success{collector="groups"}`:            "1",
				`kafka_exporter_collector_success{collector="offsets"}`:           "1",
				`kafka_exporter_collector_success{collector="configs"}`:           "1",
				`kafka_exporter_collector_success{collector="log_dirs"}`:          "1",
				`kafka_exporter_collector_success{collector="reassignments"}`:     "1",
				`kafka_topic_partition_end_offset{partition="1",topic="a"}`:       "10",
				`kafka_topic_partition_under_min_isr{partition="1",topic="a"}`:    "1",
				`kafka_consumer_group_lag{group="old",partition="1",topic="a"}`:   "5",
				`kafka_consumer_group_lag{group="older",partition="0",topic="a"}`: "8",
				`kafka_consumer_group_members{group="old"}`:                       "1",
				`kafka_consumer_group_state{group="older",state="Empty"}`:         "1",
				`kafka_log_dir_size_bytes{broker="2",dir="/data"}`:                "0",
			})
		})
	}
}
