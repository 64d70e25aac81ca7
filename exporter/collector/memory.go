package collector

import (
	"time"

	"github.com/kafkalab/kafkalab/exporter/lag"
)

// past is what is known of a topic's partitions, by their ids, nil for those that nobody has committed.
type past map[int32]*memory

// memory is how one partition has grown, as far back as its slowest reader needs: a week of it would be ten kilobytes for each partition.
type memory struct {
	lag.History
	need time.Duration // the largest age that was shown or asked for, of late
}

// atLeast is remembered for readers that are quick now.
const atLeast = 15 * time.Minute

// observe notes the end for a new collection.
func (m *memory) observe(at time.Time, end int64) {
	m.Observe(at, end, min(max(2*m.need, atLeast), remember))
	m.need -= m.need / 32 // gone by half after 22 collections: a reader that is not seen in one, or has caught up, may be back in the next
}

// needs notes an age that is shown or asked for.
func (m *memory) needs(age time.Duration) { m.need = max(m.need, age) }

// carry keeps the past of partitions whose readers were not told of because a broker did not answer about its groups: they are still there,
// and asking Kafka for all of it anew would take many collections. Those of partitions that are gone are given up.
func (c *collection) carry(seen map[string]past) {
	whole := c.problems(func(p *peer) error { return p.groupsProblem }) == nil
	if whole {
		return
	}
	for name, partitions := range c.kept.past {
		t := c.snap.topic(name)
		if t == nil {
			continue
		}
		if seen[name] == nil {
			seen[name] = make(past, len(partitions))
		}
		for id, m := range partitions {
			p := t.partition(id)
			if p == nil || seen[name][id] != nil {
				continue
			}
			if p.end.known {
				m.observe(p.endAt, p.end.value)
			}
			seen[name][id] = m
		}
	}
}
