package collector

import (
	"slices"
	"strconv"
)

var (
	famGroupInfo    = Family{"kafka_consumer_group_info", "gauge", []string{"group", "type", "protocol_type", "protocol", "coordinator"}, "Always 1; the labels hold the group's type (classic, consumer, …), its protocols and the id of the broker that coordinates it."}
	famGroupState   = Family{"kafka_consumer_group_state", "gauge", []string{"group", "state"}, "1 for the state that the group is in, 0 for the other states of its type."}
	famGroupMembers = Family{"kafka_consumer_group_members", "gauge", []string{"group"}, "Members of the group."}
	famIdle         = Family{"kafka_consumer_group_empty_members", "gauge", []string{"group"}, "Members of the group that no partition is assigned to. Absent while partitions are being assigned anew."}
	famTopicMembers = Family{"kafka_consumer_group_topic_members", "gauge", []string{"group", "topic"}, "Members of the group that partitions of the topic are assigned to."}
	famAssigned     = Family{"kafka_consumer_group_topic_assigned_partitions", "gauge", []string{"group", "topic"}, "Partitions of the topic that are assigned to members of the group."}
	famCommitted    = Family{"kafka_consumer_group_committed_offset", "gauge", []string{"group", "topic", "partition"}, "Offset that the group has committed. Absent where it has committed none."}
	famLag          = Family{"kafka_consumer_group_lag", "gauge", []string{"group", "topic", "partition"}, "Records between the group's committed offset and the partition's end offset, which is read later. Absent where either is unknown or the commit lies beyond the end."}
	famTopicLag     = Family{"kafka_consumer_group_topic_lag", "gauge", []string{"group", "topic"}, "Sum of the group's lag over the partitions of the topic that it has committed. Absent unless the lag of each of them is known."}
	famLagSeconds   = Family{"kafka_consumer_group_lag_seconds", "gauge", []string{"group", "topic", "partition"}, "Age of the oldest record that can be read and that the group has not committed, from the growth of the end offset; 0 at the end. Absent until it is known within two collections or one part in twenty."}
	famLost         = Family{"kafka_consumer_group_lost_records", "gauge", []string{"group", "topic", "partition"}, "Records behind the group's commit that were deleted before it read them, by retention or on request."}
	famRetained     = Family{"kafka_consumer_group_retention_ratio", "gauge", []string{"group", "topic", "partition"}, "Lag as a part of the records that the partition holds, 0 to 1: at 1 the next ones that are deleted are lost to the group."}
	famDrain        = Family{"kafka_consumer_group_topic_time_to_drain_seconds", "gauge", []string{"group", "topic"}, "Time until the group's lag on the topic is 0 if it goes on falling as in the last 5 minutes. Absent while it does not fall."}
	famTopicCommit  = Family{"kafka_consumer_group_topic_committed_offset", "gauge", []string{"group", "topic"}, "Sum of the offsets that the group has committed in the topic, so that its rate is that of the records consumed. Absent unless each is known."}
	famTopicSeconds = Family{"kafka_consumer_group_topic_lag_seconds", "gauge", []string{"group", "topic"}, "The largest kafka_consumer_group_lag_seconds of the topic's partitions. Absent unless each is known."}
	famTopicLost    = Family{"kafka_consumer_group_topic_lost_records", "gauge", []string{"group", "topic"}, "Sum of kafka_consumer_group_lost_records over the topic's partitions. Absent unless each is known."}
	famTopicKept    = Family{"kafka_consumer_group_topic_retention_ratio", "gauge", []string{"group", "topic"}, "The largest kafka_consumer_group_retention_ratio of the topic's partitions. Absent unless each is known."}
	famTopicUnknown = Family{"kafka_consumer_group_topic_unknown_lag_partitions", "gauge", []string{"group", "topic"}, "Partitions of the topic that the group has committed and whose lag is unknown."}
)

func groupFamilies() []Family {
	return []Family{famGroupInfo, famGroupState, famGroupMembers, famIdle, famTopicMembers, famAssigned, famCommitted, famLag, famLagSeconds, famLost, famRetained, famTopicLag, famTopicUnknown, famTopicCommit, famTopicSeconds, famTopicLost, famTopicKept, famDrain}
}

func (s sink) groups(snap *snapshot) {
	for _, g := range snap.groups {
		s.gauge(famGroupInfo, 1, g.id, g.kind, g.protocolType, g.protocol, strconv.Itoa(int(g.coordinator)))
		s.known(famGroupMembers, g.members, g.id)
		s.known(famIdle, g.idle, g.id)
		for _, a := range g.assigned {
			s.gauge(famTopicMembers, float64(a.members), g.id, a.topic)
			s.gauge(famAssigned, float64(a.partitions), g.id, a.topic)
		}
		if g.state != "" {
			s.state(g)
		}
		for topic, commits := range byTopic(g.commits) {
			s.commits(g.id, topic, commits)
		}
		for _, d := range g.drains {
			s.gauge(famDrain, d.left.Seconds(), g.id, d.topic)
		}
	}
}

func (s sink) state(g group) {
	var states []string
	switch g.kind {
	case "", kindClassic:
		states = []string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}
	case kindConsumer:
		states = []string{"Empty", "Assigning", "Reconciling", "Stable", "Dead"}
	case kindStreams:
		states = []string{"Empty", "NotReady", "Assigning", "Reconciling", "Stable", "Dead"}
	default:
		states = []string{"Empty", "Stable", "Dead"}
	}
	if !slices.Contains(states, g.state) {
		states = append(states, g.state) // one that Kafka got since
	}
	for _, state := range states {
		s.gauge(famGroupState, truth(state == g.state), g.id, state)
	}
}

func (s sink) commits(group, topic string, commits []commit) {
	unknown := 0
	for i := range commits {
		c := &commits[i]
		labels := []string{group, topic, strconv.Itoa(int(c.partition))}
		s.known(famCommitted, c.offset, labels...)
		s.known(famLag, c.lag, labels...)
		s.known(famLost, c.lost, labels...)
		if c.behindKnown {
			s.gauge(famLagSeconds, c.behind.Seconds(), labels...)
		}
		if c.retainedKnown {
			s.gauge(famRetained, c.retained, labels...)
		}
		if !c.lag.known {
			unknown++
		}
	}
	s.gauge(famTopicUnknown, float64(unknown), group, topic)
	s.known(famTopicLag, sum(commits, func(c *commit) optional { return c.lag }), group, topic)
	s.known(famTopicCommit, sum(commits, func(c *commit) optional { return c.offset }), group, topic)
	s.known(famTopicLost, sum(commits, func(c *commit) optional { return c.lost }), group, topic)
	s.worst(famTopicSeconds, commits, func(c *commit) (float64, bool) { return c.behind.Seconds(), c.behindKnown }, group, topic)
	s.worst(famTopicKept, commits, func(c *commit) (float64, bool) { return c.retained, c.retainedKnown }, group, topic)
}

// worst is the largest value, known only if each is: the one that is not could be larger.
func (s sink) worst(f Family, commits []commit, of func(*commit) (float64, bool), labels ...string) {
	most := 0.0
	for i := range commits {
		v, known := of(&commits[i])
		if !known {
			return
		}
		most = max(most, v)
	}
	s.gauge(f, most, labels...)
}
