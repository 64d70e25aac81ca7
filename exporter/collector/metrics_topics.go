package collector

import (
	"maps"
	"slices"
	"strconv"
)

var (
	famPartitions      = Family{"kafka_topic_partitions", "gauge", []string{"topic"}, "Partitions of the topic."}
	famStart           = partitionFamily("start_offset", "Oldest offset of the partition that can still be read.")
	famEnd             = partitionFamily("end_offset", "High water mark: the offset after the last record that all in-sync replicas have. Records of open transactions lie below it.")
	famLeader          = partitionFamily("leader", "Id of the broker that leads the partition. Absent without a live leader.")
	famLeaderEpoch     = partitionFamily("leader_epoch", "Epoch of the partition's leader; it grows with each election.")
	famPreferred       = partitionFamily("leader_is_preferred", "1 if the leader is the first of the partition's replicas, 0 if not. Absent without a live leader.")
	famReplicas        = partitionFamily("replicas", "Replicas assigned to the partition.")
	famInSync          = partitionFamily("in_sync_replicas", "Replicas in the partition's in-sync set (ISR).")
	famUnderReplicated = partitionFamily("under_replicated", "1 if the in-sync set is smaller than the set of replicas, 0 if not.")
	famUnderMin        = partitionFamily("under_min_isr", "1 if the in-sync set is smaller than the topic's min.insync.replicas, so that records with acks=all are refused, 0 if not. Absent while that config is unknown.")
	famAtMin           = partitionFamily("at_min_isr", "1 if the in-sync set is as small as the topic's min.insync.replicas allows, 0 if not. Absent while that config is unknown.")
	famReassigning     = partitionFamily("reassigning", "1 while replicas are being moved to other brokers, 0 if not.")
	famConfig          = Family{"kafka_topic_config", "gauge", []string{"topic", "key"}, "Effective value of a topic config that is a number, in the config's own unit."}
	famConfigInfo      = Family{"kafka_topic_config_info", "gauge", []string{"topic", "key", "value"}, "Always 1; the label holds the effective value of a topic config that is no number."}
	famTopicSize       = Family{"kafka_topic_size_bytes", "gauge", []string{"topic"}, "Size of the topic on disk, all replicas together. Absent unless every broker has told its part."}
	famTopicEnd        = Family{"kafka_topic_end_offset", "gauge", []string{"topic"}, "Sum of the end offsets of the topic's partitions, so that its rate is that of the records written. Absent unless each is known."}
	famTopicOffline    = Family{"kafka_topic_offline_partitions", "gauge", []string{"topic"}, "Partitions of the topic that have no live leader."}
	famTopicUnderRepl  = Family{"kafka_topic_under_replicated_partitions", "gauge", []string{"topic"}, "Partitions of the topic whose in-sync set is smaller than the set of replicas."}
	famTopicUnderMin   = Family{"kafka_topic_under_min_isr_partitions", "gauge", []string{"topic"}, "Partitions of the topic whose in-sync set is smaller than min.insync.replicas. Absent while that config is unknown."}
	famOffline         = partitionFamily("offline", "1 if the partition has no live leader and so can be neither written nor read, 0 if it has one.")
)

func partitionFamily(name, help string) Family {
	return Family{"kafka_topic_partition_" + name, "gauge", []string{"topic", "partition"}, help}
}

func topicFamilies() []Family {
	return []Family{
		famPartitions, famStart, famEnd, famLeader, famLeaderEpoch, famPreferred,
		famReplicas, famInSync, famUnderReplicated, famUnderMin, famAtMin, famReassigning, famOffline,
		famTopicEnd, famTopicOffline, famTopicUnderRepl, famTopicUnderMin, famConfig, famConfigInfo, famTopicSize,
	}
}

func (s sink) topics(snap *snapshot) {
	for _, t := range snap.topics {
		s.gauge(famPartitions, float64(len(t.partitions)), t.name)
		min := snap.number(t.name, "min.insync.replicas")
		for i := range t.partitions {
			s.partition(t.name, &t.partitions[i], min)
		}
		s.wholeTopic(t, min)
		s.configs(t.name, snap.configs[t.name])
		if bytes, ok := snap.sizes[t.name]; ok {
			s.gauge(famTopicSize, float64(bytes), t.name)
		}
	}
}

func (s sink) configs(topic string, configs map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		value := configs[key]
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			s.gauge(famConfig, v, topic, key)
		} else {
			s.gauge(famConfigInfo, 1, topic, key, value)
		}
	}
}

// wholeTopic has what partitions add up to.
func (s sink) wholeTopic(t topic, min optional) {
	var offline, under, underMin int64
	for i := range t.partitions {
		p := &t.partitions[i]
		if !p.leader.known {
			offline++
		}
		if p.inSync < len(p.replicas) {
			under++
		}
		if int64(p.inSync) < min.value {
			underMin++
		}
	}
	s.known(famTopicEnd, sum(t.partitions, func(p *partition) optional { return p.end }), t.name)
	s.gauge(famTopicOffline, float64(offline), t.name)
	s.gauge(famTopicUnderRepl, float64(under), t.name)
	if min.known {
		s.gauge(famTopicUnderMin, float64(underMin), t.name)
	}
}

func (s sink) partition(topic string, p *partition, min optional) {
	labels := []string{topic, strconv.Itoa(int(p.id))}
	s.known(famStart, p.start, labels...)
	s.known(famEnd, p.end, labels...)
	s.known(famLeader, p.leader, labels...)
	s.known(famLeaderEpoch, p.leaderEpoch, labels...)
	s.gauge(famOffline, truth(!p.leader.known), labels...)
	if len(p.replicas) == 0 {
		return // the cluster did not tell
	}
	s.gauge(famReplicas, float64(len(p.replicas)), labels...)
	s.gauge(famInSync, float64(p.inSync), labels...)
	s.known(famReassigning, p.reassigning, labels...)
	if min.known {
		s.gauge(famUnderMin, truth(int64(p.inSync) < min.value), labels...)
		s.gauge(famAtMin, truth(int64(p.inSync) == min.value), labels...)
	}
	s.gauge(famUnderReplicated, truth(p.inSync < len(p.replicas)), labels...)
	if p.leader.known {
		s.gauge(famPreferred, truth(p.leader.value == int64(p.replicas[0])), labels...)
	}
}
