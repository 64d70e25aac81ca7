package collector

import "strconv"

// What kafka_exporter shows. COMPAT.md says where the values differ from its own, and why.
var (
	famKeBrokerInfo      = Family{famBrokerInfo.Name, "gauge", []string{"id", "address"}, "Always 1; the labels hold the broker's id and its advertised address."}
	famBrokerInfoBoth    = Family{famBrokerInfo.Name, "gauge", []string{"broker", "address", "rack", "id"}, famBrokerInfo.Help + " The label id is the same as broker."}
	famKeEnd             = partitionFamily("current_offset", famEnd.Help)
	famKeStart           = partitionFamily("oldest_offset", famStart.Help)
	famKeInSync          = partitionFamily("in_sync_replica", famInSync.Help)
	famKeUnderReplicated = partitionFamily("under_replicated_partition", famUnderReplicated.Help)
	famKeCommitted       = keGroupFamily("current_offset", famCommitted.Help, "topic", "partition")
	famKeCommittedSum    = keGroupFamily("current_offset_sum", "Sum of the offsets that the group has committed in the topic. Absent unless each of them is known.", "topic")
	famKeLag             = keGroupFamily("lag", famLag.Help, "topic", "partition")
	famKeLagSum          = keGroupFamily("lag_sum", famTopicLag.Help, "topic")
	famKeMembers         = keGroupFamily("members", famGroupMembers.Help)
)

func keGroupFamily(name, help string, labels ...string) Family {
	return Family{"kafka_consumergroup_" + name, "gauge", append([]string{"consumergroup"}, labels...), help}
}

func kafkaExporterFamilies() []Family {
	return []Family{
		famKeEnd, famKeStart, famKeInSync, famKeUnderReplicated,
		famKeCommitted, famKeCommittedSum, famKeLag, famKeLagSum, famKeMembers,
	}
}

// commonFamilies are those of kafka_exporter that have the name of one of ours.
func commonFamilies() []Family {
	return []Family{famBrokers, famKeBrokerInfo, famPartitions, famLeader, famPreferred, famReplicas}
}

// kafkaExporter shows what only kafka_exporter's naming has; common shows the rest where our own naming does not.
func (s sink) kafkaExporter(snap *snapshot) {
	for _, t := range snap.topics {
		for _, p := range t.partitions {
			labels := []string{t.name, strconv.Itoa(int(p.id))}
			s.known(famKeEnd, p.end, labels...)
			s.known(famKeStart, p.start, labels...)
			if len(p.replicas) > 0 {
				s.gauge(famKeInSync, float64(p.inSync), labels...)
				s.gauge(famKeUnderReplicated, truth(p.inSync < len(p.replicas)), labels...)
			}
		}
	}
	for _, g := range snap.groups {
		s.known(famKeMembers, g.members, g.id)
		for topic, commits := range byTopic(g.commits) {
			for _, c := range commits {
				labels := []string{g.id, topic, strconv.Itoa(int(c.partition))}
				s.known(famKeCommitted, c.offset, labels...)
				s.known(famKeLag, c.lag, labels...)
			}
			s.known(famKeCommittedSum, sum(commits, func(c *commit) optional { return c.offset }), g.id, topic)
			s.known(famKeLagSum, sum(commits, func(c *commit) optional { return c.lag }), g.id, topic)
		}
	}
}

func (s sink) brokerInfoBoth(snap *snapshot) {
	for _, b := range snap.brokers {
		id := strconv.Itoa(int(b.id))
		s.gauge(famBrokerInfoBoth, 1, id, b.addr, b.rack, id)
	}
}

func (s sink) common(snap *snapshot) {
	s.gauge(famBrokers, float64(len(snap.brokers)))
	for _, b := range snap.brokers {
		s.gauge(famKeBrokerInfo, 1, strconv.Itoa(int(b.id)), b.addr)
	}
	for _, t := range snap.topics {
		s.gauge(famPartitions, float64(len(t.partitions)), t.name)
		for _, p := range t.partitions {
			labels := []string{t.name, strconv.Itoa(int(p.id))}
			s.known(famLeader, p.leader, labels...)
			if len(p.replicas) == 0 {
				continue
			}
			s.gauge(famReplicas, float64(len(p.replicas)), labels...)
			if p.leader.known {
				s.gauge(famPreferred, truth(p.leader.value == int64(p.replicas[0])), labels...)
			}
		}
	}
}
