package collector

import (
	"cmp"
	"slices"

	"github.com/IBM/sarama"
)

// assignedClassic reads the assignments, which in a classic group are bytes that only the members need to understand: those of consumers have
// a known form. While the group is being rebalanced the broker tells none.
func (c *collection) assignedClassic(g *group, d *sarama.GroupDescription) {
	if d.State != "Empty" && (d.State != "Stable" || d.ProtocolType != "consumer") {
		return
	}
	tally := tally{takes: c.conf.Topics.Takes}
	for _, m := range d.Members {
		if len(m.MemberAssignment) > 0 {
			a, err := m.GetMemberAssignment()
			if err != nil {
				return // an assignor with a form of its own
			}
			for topic, partitions := range a.Topics {
				tally.add(topic, len(partitions))
			}
		}
		tally.endMember()
	}
	tally.into(g)
}

// tally adds up what the members of a group have, one member after the other.
type tally struct {
	takes func(topic string) bool
	has   bool // the member has a partition, of whatever topic
	idle  int64
	all   map[string]*assigned
}

func (t *tally) add(topic string, partitions int) {
	if partitions == 0 {
		return
	}
	t.has = true
	a := t.all[topic]
	if a == nil {
		if !t.takes(topic) {
			return
		}
		if t.all == nil {
			t.all = map[string]*assigned{}
		}
		a = &assigned{topic: topic}
		t.all[topic] = a
	}
	a.members++
	a.partitions += partitions
}

func (t *tally) endMember() {
	if !t.has {
		t.idle++
	}
	t.has = false
}

func (t *tally) into(g *group) {
	g.idle = some(t.idle)
	for _, a := range t.all {
		g.assigned = append(g.assigned, *a)
	}
	slices.SortFunc(g.assigned, func(a, b assigned) int { return cmp.Compare(a.topic, b.topic) })
}
