package collector

import "strconv"

var (
	famPartitions      = Family{"kafka_topic_partitions", "gauge", []string{"topic"}, "Partitions of the topic."}
	famStart           = partitionFamily("start_offset", "Oldest offset of the partition that can still be read.")
	famEnd             = partitionFamily("end_offset", "High water mark: the offset that the next record readable by a consumer will have.")
	famLeader          = partitionFamily("leader", "Id of the broker that leads the partition. Absent without a live leader.")
	famLeaderEpoch     = partitionFamily("leader_epoch", "Epoch of the partition's leader; it grows with each election.")
	famPreferred       = partitionFamily("leader_is_preferred", "1 if the leader is the first of the partition's replicas, 0 if not. Absent without a live leader.")
	famReplicas        = partitionFamily("replicas", "Replicas assigned to the partition.")
	famInSync          = partitionFamily("in_sync_replicas", "Replicas in the partition's in-sync set (ISR).")
	famUnderReplicated = partitionFamily("under_replicated", "1 if the in-sync set is smaller than the set of replicas, 0 if not.")
	famOffline         = partitionFamily("offline", "1 if the partition has no live leader and so can be neither written nor read, 0 if it has one.")
)

func partitionFamily(name, help string) Family {
	return Family{"kafka_topic_partition_" + name, "gauge", []string{"topic", "partition"}, help}
}

func topicFamilies() []Family {
	return []Family{
		famPartitions, famStart, famEnd, famLeader, famLeaderEpoch, famPreferred,
		famReplicas, famInSync, famUnderReplicated, famOffline,
	}
}

func (s sink) topics(snap *snapshot) {
	for _, t := range snap.topics {
		s.gauge(famPartitions, float64(len(t.partitions)), t.name)
		for _, p := range t.partitions {
			s.partition(t.name, p)
		}
	}
}

func (s sink) partition(topic string, p partition) {
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
	s.gauge(famUnderReplicated, truth(p.inSync < len(p.replicas)), labels...)
	if p.leader.known {
		s.gauge(famPreferred, truth(p.leader.value == int64(p.replicas[0])), labels...)
	}
}
