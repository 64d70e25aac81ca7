package source

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func clusterBoard() board {
	return board{
		uid: "kafkalab-cluster", title: "Kafka cluster", from: "now-1h",
		about:     "Whether the cluster is whole: brokers, leaders, replicas, disks, and what goes through them.",
		variables: []cog.Builder[dashboard.VariableModel]{cluster(), broker()},
		rows: []row{
			inRow("",
				judged(figure("Exporter sees the cluster", "none", "1 if the last collection reached the cluster.", q("up", `min(kafka_up{%s})`, ofCluster)),
					"red", 1.0, "green").Mappings(words(word{"0", "no", "red"}, word{"1", "yes", "green"})).GraphMode(common.BigValueGraphModeNone),
				figure("Brokers", "none", "Brokers that are registered and live.", q("brokers", `sum(max by (kafka_cluster) (kafka_brokers{%s}))`, ofCluster)),
				none("Offline partitions", "Partitions without a live leader: they can be neither written nor read.", "kafka_topic_offline_partitions"),
				none("Under min.insync.replicas", "Partitions that refuse records with acks=all.", "kafka_topic_under_min_isr_partitions"),
				none("Under-replicated", "Partitions whose in-sync set is smaller than the set of replicas.", "kafka_topic_under_replicated_partitions"),
				judged(figure("Fullest disk", "percentunit", "Used part of the fullest volume that a broker keeps logs on.",
					q("used", `max(1 - kafka_log_dir_usable_bytes{%s} / kafka_log_dir_total_bytes{%s})`, ofBroker, ofBroker)), "green", 0.75, "orange", 0.9, "red")),
			inRow("Traffic",
				series("Records written by topic", "recps", "The ten topics that most is written to.",
					q("{{topic}}", `topk(10, sum by (topic) (rate(kafka_topic_end_offset{%s}[$__rate_interval])))`, ofCluster)),
				series("Bytes by broker", "Bps", "Bytes of records that brokers take from producers and give to consumers, as they are on the wire.",
					q("{{pod}} in", `sum by (pod) (rate(kafka_server_bytes_in_total{%s}[$__rate_interval]))`, ofCluster),
					q("{{pod}} out", `sum by (pod) (rate(kafka_server_bytes_out_total{%s}[$__rate_interval]))`, ofCluster)),
				series("Failed requests", "reqps", "Produce and fetch requests that failed for a partition.",
					q("{{request}}", `sum by (request) (rate(kafka_server_failed_requests_total{%s}[$__rate_interval]))`, ofCluster))),
			inRow("Leaders and replicas",
				series("Partitions led by broker", "short", "Leaders spread evenly share the load evenly.",
					q("broker {{broker}}", `max by (broker) (kafka_broker_leaders{%s})`, ofBroker)),
				series("Partitions that are not well", "short", "Under-replicated, under min.insync.replicas, offline, being moved, or not led by the preferred replica.",
					q("under-replicated", sumOnce("kafka_topic_under_replicated_partitions", "topic")),
					q("under min ISR", sumOnce("kafka_topic_under_min_isr_partitions", "topic")),
					q("offline", sumOnce("kafka_topic_offline_partitions", "topic")),
					q("being moved", sumOnce("kafka_topic_partition_reassigning", "topic, partition")),
					q("not preferred leader", `count(kafka_topic_partition_leader_is_preferred{%s} == 0) or (sum(kafka_brokers{%s}) * 0)`, ofCluster, ofCluster)),
				series("Elections", "short", "Leaders that were elected, by the growth of their epochs, and how often the in-sync sets shrank or grew.",
					q("leader elections", `sum(increase(kafka_topic_partition_leader_epoch{%s}[$__rate_interval]))`, ofCluster),
					q("unclean elections", `sum(increase(kafka_controller_unclean_leader_elections_total{%s}[$__rate_interval]))`, ofCluster),
					q("in-sync sets: {{change}}", `sum by (change) (increase(kafka_server_isr_changes_total{%s}[$__rate_interval]))`, ofCluster),
					q("active controllers", `sum(kafka_controller_active{%s})`, ofCluster))),
			inRow("Disks",
				series("Log directories", "bytes", "Bytes of partitions in each log directory.", q("broker {{broker}} {{dir}}", `max by (broker, dir) (kafka_log_dir_size_bytes{%s})`, ofBroker)).Span(12),
				series("Room left", "bytes", "What brokers can still use of the volumes that their log directories are on.",
					q("broker {{broker}} {{dir}}", `max by (broker, dir) (kafka_log_dir_usable_bytes{%s})`, ofBroker)).Span(12)),
			inRow("Brokers",
				grid("Brokers", "Where each broker is, what it leads and keeps.",
					[]column{{"broker", "broker", ""}, {"address", "address", ""}, {"rack", "rack", ""}, {"Value #A", "", ""}, {"Value #B", "leads", "none"}, {"Value #C", "log", "bytes"}, {"Value #D", "room left", "bytes"}},
					fmt.Sprintf(`max by (broker, address, rack) (kafka_broker_info{%s})`, ofBroker),
					fmt.Sprintf(`max by (broker) (kafka_broker_leaders{%s})`, ofBroker),
					fmt.Sprintf(`sum by (broker) (max by (broker, dir) (kafka_log_dir_size_bytes{%s}))`, ofBroker),
					fmt.Sprintf(`min by (broker) (kafka_log_dir_usable_bytes{%s})`, ofBroker)).Span(16),
				grid("Feature levels", "Levels of features in force in the whole cluster.", []column{{"feature", "feature", ""}, {"Value", "level", "none"}},
					fmt.Sprintf(`max by (feature) (kafka_cluster_feature_level{%s})`, ofCluster)).Span(8)),
		},
	}
}

// ofCluster and ofBroker select what the reader has chosen.
const (
	ofCluster = `kafka_cluster=~"$cluster"`
	ofBroker  = `kafka_cluster=~"$cluster", broker=~"$broker"`
)

// sumOnce adds a figure up over all clusters, each thing in it once however many exporters tell of it.
func sumOnce(metric, things string) string {
	return fmt.Sprintf(`sum(max by (kafka_cluster, %s) (%s{%s}))`, things, metric, ofCluster)
}

// none is a figure that should be zero.
func none(title, about, metric string) cog.Builder[dashboard.Panel] {
	return judged(figure(title, "none", about, q("partitions", sumOnce(metric, "topic"))), "green", 1.0, "red")
}
