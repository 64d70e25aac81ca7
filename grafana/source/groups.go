package source

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// ofGroup and ofTopicOfGroup select what the reader has chosen.
const (
	ofGroup        = `kafka_cluster=~"$cluster", group=~"$group"`
	ofTopicOfGroup = `kafka_cluster=~"$cluster", topic=~"$topic", group=~"$group"`
)

// byGroup is a figure of groups and topics, once however many exporters tell of it.
func byGroup(metric string) string {
	return fmt.Sprintf(`max by (group, topic) (kafka_consumer_group_topic_%s{%s})`, metric, ofTopicOfGroup)
}

func groupsBoard() board {
	return board{
		uid: "kafkalab-groups", title: "Kafka consumer groups", from: "now-1h",
		about:     "How far consumers are behind, in time first and in records second, whether they catch up, and whether they lose anything.",
		variables: []cog.Builder[dashboard.VariableModel]{cluster(), topic(), group()},
		rows: []row{
			inRow("",
				figure("Groups", "none", "Groups that are chosen.", q("groups", `count(max by (kafka_cluster, group) (kafka_consumer_group_members{%s}))`, ofGroup)),
				judged(figure("Furthest behind", "s", "Age of the oldest record that a chosen group has not committed.", q("age", "max("+byGroup("lag_seconds")+")")),
					"green", 60.0, "orange", 300.0, "red"),
				figure("Lag", "short", "Records that the chosen groups have not committed.", q("lag", "sum("+byGroup("lag")+")")),
				figure("Time to drain", "s", "Until the slowest of the groups that catch up has done so, if it goes on as in the last five minutes.",
					q("left", "max("+byGroup("time_to_drain_seconds")+")")),
				judged(figure("Nearest to loss", "percentunit", "Lag as a part of what is retained. At 100 % the next records that are deleted were never read.",
					q("ratio", "max("+byGroup("retention_ratio")+")")), "green", 0.5, "orange", 0.8, "red"),
				judged(figure("Lost to groups", "short", "Records that were deleted before the group read them.", q("lost", "sum("+byGroup("lost_records")+")")),
					"green", 1.0, "red")),
			inRow("Behind",
				series("Behind by time", "s", "Age of the oldest record that can be read and that the group has not committed.", q("{{group}} {{topic}}", byGroup("lag_seconds"))),
				series("Behind by records", "short", "Records that the group has not committed.", q("{{group}} {{topic}}", byGroup("lag"))),
				series("Partitions furthest behind", "short", "The ten partitions with the most records that were not committed. One among many that stands out is stalled.",
					q("{{group}} {{topic}}-{{partition}}", `topk(10, max by (group, topic, partition) (kafka_consumer_group_lag{%s}))`, ofTopicOfGroup))),
			inRow("Catching up",
				series("Consumed against written", "recps", "Records per second that groups commit, and that are written to the topics. Below, a group falls behind.",
					q("{{group}} {{topic}} consumed", `max by (group, topic) (rate(kafka_consumer_group_topic_committed_offset{%s}[$__rate_interval]))`, ofTopicOfGroup),
					q("{{topic}} written", `max by (topic) (rate(kafka_topic_end_offset{%s}[$__rate_interval]))`, ofTopic)),
				series("Time to drain", "s", "Until the group has caught up, if it goes on as in the last five minutes. Nothing is shown while it does not catch up.",
					q("{{group}} {{topic}}", byGroup("time_to_drain_seconds"))),
				series("Lag as a part of what is retained", "percentunit", "At 100 % the next records that retention deletes were never read.",
					q("{{group}} {{topic}}", byGroup("retention_ratio")))),
			inRow("Members",
				timeline("State", "The state that each group is in. A group that rebalances reads nothing.",
					q("{{group}}: {{state}}", `max by (group, state) (kafka_consumer_group_state{%s}) == 1`, ofGroup)).
					ColorScheme(fixed("blue")).Mappings(words(word{"1", "in this state", "blue"})),
				series("Members", "short", "Members of each group, and those that no partition is assigned to: more members than partitions do nothing.",
					q("{{group}}", `max by (group) (kafka_consumer_group_members{%s})`, ofGroup),
					q("{{group}} without partitions", `max by (group) (kafka_consumer_group_empty_members{%s})`, ofGroup)).Span(12),
				groupTable()),
		},
	}
}

func groupTable() cog.Builder[dashboard.Panel] {
	return grid("Groups", "One row for each group and topic.",
		[]column{{"group", "group", ""}, {"topic", "topic", ""}, {"Value #A", "lag", "short"}, {"Value #B", "behind", "s"}, {"Value #C", "part of retained", "percentunit"},
			{"Value #D", "lost", "short"}, {"Value #E", "partitions of unknown lag", "none"}},
		byGroup("lag"), byGroup("lag_seconds"), byGroup("retention_ratio"), byGroup("lost_records"), byGroup("unknown_lag_partitions")).
		OverrideByName("topic", []dashboard.DynamicConfigValue{{Id: "links", Value: []map[string]any{{
			"title": "The topic",
			"url":   "/d/kafkalab-topics?var-topic=${__value.raw}&${datasource:queryparam}&${cluster:queryparam}&${__url_time_range}",
		}}}})
}
