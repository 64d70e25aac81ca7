package collector

import (
	"time"

	"github.com/kafkalab/kafkalab/exporter/lag"
)

// remember is how far back the age of a record is looked for: Kafka's own default of retention.
const remember = 7 * 24 * time.Hour

// addTimes sets how old the oldest unread record of each commit is, and how long groups will take to catch up. Only partitions that somebody
// has committed are remembered.
func (c *collection) addTimes() {
	seen := make(map[string]past, len(c.kept.past))
	drains := make(map[groupTopic]*lag.Drain, len(c.kept.drains))
	for g := range c.snap.groups {
		group := &c.snap.groups[g]
		for name, commits := range byTopic(group.commits) {
			t := c.snap.topic(name)
			if t == nil {
				continue
			}
			if seen[name] == nil {
				seen[name] = make(past, len(t.partitions))
			}
			var sum lagSum
			for i := range commits {
				if p := t.partition(commits[i].partition); p != nil {
					c.addTime(&commits[i], p, seen[name])
					sum.add(commits[i].lag)
				}
			}
			at := groupTopic{group.id, name}
			d := c.kept.drains[at]
			if d == nil {
				d = &lag.Drain{}
			}
			drains[at] = d
			if sum.unknown > 0 {
				continue
			}
			d.Observe(c.snap.taken, sum.lag)
			if left, ok := d.Left(); ok {
				group.drains = append(group.drains, drain{name, left})
			}
		}
	}
	c.carry(seen)
	c.kept.past, c.kept.drains = seen, drains
}

type lagSum struct {
	lag     int64
	unknown int
}

func (s *lagSum) add(lag optional) {
	s.lag += lag.value
	if !lag.known {
		s.unknown++
	}
}

func (c *collection) addTime(m *commit, p *partition, seen past) {
	h := seen[p.id]
	if h == nil {
		if h = c.kept.past[m.topic][p.id]; h == nil {
			h = &memory{}
		}
		seen[p.id] = h
		if p.end.known {
			h.observe(p.endAt, p.end.value)
		}
	}
	if !m.lag.known || !p.start.known {
		return
	}
	// What was deleted unread is not behind any more: the oldest record that can still be read is.
	next := max(m.offset.value, p.start.value)
	m.lost = some(next - m.offset.value)
	if held := p.end.value - p.start.value; held > 0 {
		m.retained, m.retainedKnown = min(1, float64(m.lag.value)/float64(held)), true
	} else {
		m.retainedKnown = true
	}
	u := unaged{m, p, h, next}
	if _, more := u.age(c.interval); more {
		c.unaged = append(c.unaged, u)
	}
}
