package source

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// ofTopic selects what the reader has chosen.
const ofTopic = `kafka_cluster=~"$cluster", topic=~"$topic"`

// byTopic adds a figure of partitions up for each topic, each partition once however many exporters tell of it.
func byTopic(metric string) string {
	return fmt.Sprintf(`sum by (topic) (max by (kafka_cluster, topic, partition) (%s{%s}))`, metric, ofTopic)
}

func topicsBoard() board {
	return board{
		uid: "kafkalab-topics", title: "Kafka topics", from: "now-1h",
		about:     "What is written to each topic, how it is spread over partitions, and how long it is kept.",
		variables: []cog.Builder[dashboard.VariableModel]{cluster(), topic()},
		rows: []row{
			inRow("",
				figure("Topics", "none", "Topics that are chosen.", q("topics", `count(max by (kafka_cluster, topic) (kafka_topic_partitions{%s}))`, ofTopic)).Span(6),
				figure("Partitions", "none", "Partitions of the chosen topics.", q("partitions", `sum(max by (kafka_cluster, topic) (kafka_topic_partitions{%s}))`, ofTopic)).Span(6),
				figure("Written", "recps", "Records per second that are written to the chosen topics.",
					q("written", `sum(max by (kafka_cluster, topic) (rate(kafka_topic_end_offset{%s}[$__rate_interval])))`, ofTopic)).Span(6),
				figure("On disk", "bytes", "Size of the chosen topics on disk, all replicas together.",
					q("size", `sum(max by (kafka_cluster, topic) (kafka_topic_size_bytes{%s}))`, ofTopic)).Span(6)),
			inRow("Records",
				series("Written", "recps", "Records per second by topic.", q("{{topic}}", `max by (topic) (rate(kafka_topic_end_offset{%s}[$__rate_interval]))`, ofTopic)),
				series("Unevenness", "suffix:×",
					"Records per second of the busiest partition as a multiple of the mean partition's. 1 is even; the number of partitions means that one takes everything.",
					q("{{topic}}", `max by (topic) (rate(kafka_topic_partition_end_offset{%s}[$__rate_interval])) / (avg by (topic) (rate(kafka_topic_partition_end_offset{%s}[$__rate_interval])) > 0)`,
						ofTopic, ofTopic)),
				series("Retained", "short", "Records between the oldest that can be read and the end.",
					q("{{topic}}", byTopic("kafka_topic_partition_end_offset")+" - "+byTopic("kafka_topic_partition_start_offset")))),
			inRow("Room and health",
				series("Size on disk", "bytes", "All replicas together.", q("{{topic}}", `max by (topic) (kafka_topic_size_bytes{%s})`, ofTopic)),
				series("Partitions that are not well", "short", "Partitions that are under-replicated, refuse records with acks=all, or have no leader.",
					q("{{topic}} under-replicated", `max by (topic) (kafka_topic_under_replicated_partitions{%s})`, ofTopic),
					q("{{topic}} under min ISR", `max by (topic) (kafka_topic_under_min_isr_partitions{%s})`, ofTopic),
					q("{{topic}} offline", `max by (topic) (kafka_topic_offline_partitions{%s})`, ofTopic)),
				series("Deleted by retention", "recps", "Records per second that can no longer be read.", q("{{topic}}",
					`sum by (topic) (rate(kafka_topic_partition_start_offset{%s}[$__rate_interval]))`, ofTopic))),
			inRow("Each of them", topicTable(), partitionTable()),
		},
	}
}

func topicTable() cog.Builder[dashboard.Panel] {
	config := func(key string) string {
		return fmt.Sprintf(`max by (topic) (kafka_topic_config{%s, key="%s"})`, ofTopic, key)
	}
	return grid("Topics", "One row for each topic, with the settings that decide how long records are kept and when they are refused.",
		[]column{{"topic", "topic", ""}, {"Value #A", "partitions", "none"}, {"Value #B", "written", "recps"}, {"Value #C", "size", "bytes"}, {"Value #D", "retention", "ms"},
			{"Value #E", "retained at most", "bytes"}, {"Value #F", "min.insync.replicas", "none"}, {"Value #G", "largest message", "bytes"}},
		fmt.Sprintf(`max by (topic) (kafka_topic_partitions{%s})`, ofTopic),
		fmt.Sprintf(`max by (topic) (rate(kafka_topic_end_offset{%s}[$__rate_interval]))`, ofTopic),
		fmt.Sprintf(`max by (topic) (kafka_topic_size_bytes{%s})`, ofTopic),
		config("retention.ms"), config("retention.bytes"), config("min.insync.replicas"), config("max.message.bytes")).
		OverrideByName("topic", []dashboard.DynamicConfigValue{{Id: "links", Value: []map[string]any{{
			"title": "Groups that read it",
			"url":   "/d/kafkalab-groups?var-topic=${__value.raw}&${datasource:queryparam}&${cluster:queryparam}&${__url_time_range}",
		}}}})
}

func partitionTable() cog.Builder[dashboard.Panel] {
	one := func(metric string) string {
		return fmt.Sprintf(`max by (topic, partition) (kafka_topic_partition_%s{%s})`, metric, ofTopic)
	}
	return grid("Partitions", "One row for each partition. Choose a topic above: there can be many.",
		[]column{{"topic", "topic", ""}, {"partition", "partition", ""}, {"Value #A", "leader", "none"}, {"Value #B", "epoch", "none"}, {"Value #C", "replicas", "none"},
			{"Value #D", "in sync", "none"}, {"Value #E", "oldest", "none"}, {"Value #F", "end", "none"}},
		one("leader"), one("leader_epoch"), one("replicas"), one("in_sync_replicas"), one("start_offset"), one("end_offset"))
}
