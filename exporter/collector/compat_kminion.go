package collector

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/version"
)

const stable = "Stable"

// What kminion shows. COMPAT.md says where the values differ from its own, and why.
var (
	famKmUp           = kmFamily("exporter_up", "1 if the last collection got all that it asked for of metadata, groups, offsets, configs and log directories, 0 if not. Absent before the first one has ended.", "version")
	famKmClusterInfo  = kmFamily("kafka_cluster_info", "Always 1; the labels hold what they are called, empty where it is not known.", "cluster_version", "broker_count", "controller_id", "cluster_id")
	famKmBrokerInfo   = kmFamily("kafka_broker_info", "Always 1; the labels hold the broker's advertised address, its rack, and whether it is the controller, empty where that is not known.", "broker_id", "address", "port", "rack_id", "is_controller")
	famKmBrokerSize   = kmFamily("kafka_broker_log_dir_size_total_bytes", "Bytes of partitions that the broker keeps in all its log directories. Absent unless it has told the size of each.", "broker_id", "address", "port", "rack_id")
	famKmTopicSize    = kmFamily("kafka_topic_log_dir_size_total_bytes", famTopicSize.Help, "topic_name")
	famKmTopicInfo    = kmFamily("kafka_topic_info", "Always 1; the labels hold the number of partitions, the replicas of the first one, and the topic's configs, empty where they are not known.", "topic_name", "partition_count", "replication_factor")
	famKmStart        = kmFamily("kafka_topic_partition_low_water_mark", famStart.Help, "topic_name", "partition_id")
	famKmEnd          = kmFamily("kafka_topic_partition_high_water_mark", famEnd.Help, "topic_name", "partition_id")
	famKmStartSum     = kmFamily("kafka_topic_low_water_mark_sum", "Sum of the topic's low water marks. Absent unless each of them is known.", "topic_name")
	famKmEndSum       = kmFamily("kafka_topic_high_water_mark_sum", "Sum of the topic's high water marks. Absent unless each of them is known.", "topic_name")
	famKmGroupInfo    = kmFamily("kafka_consumer_group_info", "1 if the group is stable, 0 if not. Absent while its state is not known.", "group_id", "protocol", "protocol_type", "state", "coordinator_id")
	famKmMembers      = kmFamily("kafka_consumer_group_members", famGroupMembers.Help, "group_id")
	famKmCommittedSum = kmFamily("kafka_consumer_group_topic_offset_sum", famKeCommittedSum.Help, "group_id", "topic_name")
	famKmLag          = kmFamily("kafka_consumer_group_topic_partition_lag", famLag.Help, "group_id", "topic_name", "partition_id")
	famKmTopicLag     = kmFamily("kafka_consumer_group_topic_lag", famTopicLag.Help, "group_id", "topic_name")
	famKmIdle         = kmFamily("kafka_consumer_group_empty_members", famIdle.Help, "group_id")
	famKmTopicMembers = kmFamily("kafka_consumer_group_topic_members", famTopicMembers.Help, "group_id", "topic_name")
	famKmAssigned     = kmFamily("kafka_consumer_group_topic_assigned_partitions", famAssigned.Help, "group_id", "topic_name")
	famKmRequestsSent = kmCounter("kafka_requests_sent_total", famRequests.Help)
	famKmAnswers      = kmCounter("kafka_requests_received_total", "Answers received from Kafka.")
	famKmSent         = kmCounter("kafka_sent_bytes", famSent.Help)
	famKmReceived     = kmCounter("kafka_received_bytes", famReceived.Help)
)

func kmFamily(name, help string, labels ...string) Family {
	return Family{"kminion_" + name, "gauge", labels, help}
}

func kmCounter(name, help string) Family { return Family{"kminion_" + name, "counter", nil, help} }

func kminionFamilies(topicConfigs []string) []Family {
	info := famKmTopicInfo
	info.Labels = append(slices.Clone(info.Labels), kmConfigLabels(topicConfigs)...)
	return []Family{
		famKmUp, famKmClusterInfo, famKmBrokerInfo, famKmBrokerSize, famKmTopicSize, info, famKmStart, famKmEnd, famKmStartSum, famKmEndSum,
		famKmGroupInfo, famKmMembers, famKmIdle, famKmTopicMembers, famKmAssigned, famKmCommittedSum, famKmLag, famKmTopicLag,
		famKmRequestsSent, famKmAnswers, famKmSent, famKmReceived,
	}
}

// kmConfigLabels are the labels that kminion gives to topic configs.
func kmConfigLabels(keys []string) []string {
	labels := make([]string, len(keys))
	for i, key := range keys {
		labels[i] = strings.ReplaceAll(key, ".", "_")
	}
	return labels
}

func (s sink) kminion(snap *snapshot, topicConfigs []string) {
	s.kminionCluster(snap)
	for _, t := range snap.topics {
		s.kminionTopic(snap, t, topicConfigs)
	}
	for _, g := range snap.groups {
		s.kminionGroup(g)
	}
}

func (s sink) kminionCluster(snap *snapshot) {
	controller := ""
	if snap.controller.known {
		controller = strconv.FormatInt(snap.controller.value, 10)
	}
	s.gauge(famKmClusterInfo, 1, release(snap.features), strconv.Itoa(len(snap.brokers)), controller, snap.clusterID)
	for _, b := range snap.brokers {
		is := ""
		if snap.controller.known {
			is = strconv.FormatBool(snap.controller.value == int64(b.id))
		}
		host, port, err := net.SplitHostPort(b.addr)
		if err != nil {
			host = b.addr
		}
		labels := []string{strconv.Itoa(int(b.id)), host, port, b.rack}
		s.gauge(famKmBrokerInfo, 1, append(labels, is)...)
		s.known(famKmBrokerSize, snap.sizeOn(b.id), labels...)
	}
}

// release is the one that has the cluster's metadata.version: each release has a last one. Empty where it is not known.
func release(features []feature) string {
	last := []struct {
		level   int16
		release string
	}{
		{7, "v3.3"}, {8, "v3.4"}, {11, "v3.5"}, {14, "v3.6"}, {19, "v3.7"}, {20, "v3.8"}, {21, "v3.9"}, {25, "v4.0"}, {27, "v4.1"}, {29, "v4.2"}, {30, "v4.3"},
	}
	for _, f := range features {
		for _, l := range last {
			if f.name == "metadata.version" && f.level <= l.level {
				return l.release
			}
		}
	}
	return ""
}

// sizeOn is what a broker keeps in all its directories.
func (s *snapshot) sizeOn(broker int32) optional {
	size := optional{}
	for _, d := range s.dirs {
		switch {
		case d.broker != broker:
		case d.failed:
			return optional{} // less would look like lost data
		default:
			size = some(size.value + d.used)
		}
	}
	return size
}

func (s sink) kminionTopic(snap *snapshot, t topic, topicConfigs []string) {
	labels := []string{t.name, strconv.Itoa(len(t.partitions)), ""}
	if len(t.partitions) > 0 && len(t.partitions[0].replicas) > 0 {
		labels[2] = strconv.Itoa(len(t.partitions[0].replicas))
	}
	for _, key := range topicConfigs {
		labels = append(labels, snap.configs[t.name][key])
	}
	s.gauge(famKmTopicInfo, 1, labels...)
	for _, p := range t.partitions {
		id := strconv.Itoa(int(p.id))
		s.known(famKmStart, p.start, t.name, id)
		s.known(famKmEnd, p.end, t.name, id)
	}
	s.known(famKmStartSum, sum(t.partitions, func(p *partition) optional { return p.start }), t.name)
	s.known(famKmEndSum, sum(t.partitions, func(p *partition) optional { return p.end }), t.name)
	if bytes, ok := snap.sizes[t.name]; ok {
		s.gauge(famKmTopicSize, float64(bytes), t.name)
	}
}

func (s sink) kminionGroup(g group) {
	if g.state != "" {
		s.gauge(famKmGroupInfo, truth(g.state == stable), g.id, g.protocol, g.protocolType, g.state, strconv.Itoa(int(g.coordinator)))
	}
	s.known(famKmMembers, g.members, g.id)
	s.known(famKmIdle, g.idle, g.id)
	for _, a := range g.assigned {
		s.gauge(famKmTopicMembers, float64(a.members), g.id, a.topic)
		s.gauge(famKmAssigned, float64(a.partitions), g.id, a.topic)
	}
	for topic, commits := range byTopic(g.commits) {
		for _, c := range commits {
			s.known(famKmLag, c.lag, g.id, topic, strconv.Itoa(int(c.partition)))
		}
		s.known(famKmCommittedSum, sum(commits, func(c *commit) optional { return c.offset }), g.id, topic)
		s.known(famKmTopicLag, sum(commits, func(c *commit) optional { return c.lag }), g.id, topic)
	}
}

// kminionSelf shows whether all is well with what kminion reads, in the one bit that it has for it, and what it counts of its requests.
func (s sink) kminionSelf(r report, meas *requests) {
	failed := func(o outcome) bool { return !o.ok() && o.part != partMoves && o.part != partTimes }
	if r.ended {
		s.gauge(famKmUp, truth(!slices.ContainsFunc(r.outcomes, failed)), version.Version)
	}
	s.gauge(famKmRequestsSent, total(meas.total))
	s.gauge(famKmAnswers, float64(meas.answers.Load()))
	s.gauge(famKmSent, total(meas.sent))
	s.gauge(famKmReceived, total(meas.received))
}

// total adds up the series of a counter.
func total(c prometheus.Collector) float64 {
	series := make(chan prometheus.Metric)
	go func() {
		defer close(series)
		c.Collect(series)
	}()
	var all float64
	for m := range series {
		var data dto.Metric
		if err := m.Write(&data); err == nil {
			all += data.GetCounter().GetValue()
		}
	}
	return all
}
