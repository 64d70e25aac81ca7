package collector

import (
	"hash/maphash"
	"slices"
	"time"
)

// empty is a group without members.
type empty struct {
	commits uint64    // a hash of all that it has committed
	since   time.Time // when that was first seen
}

// current leaves out the groups that have no members and have not committed for long. That a group commits shows in its offsets: it may do so
// without members, and then "Empty" is its state for ever.
func (c *collection) current(groups []group) []group {
	if c.conf.EmptyGroups == 0 {
		return groups
	}
	seen := map[string]empty{}
	groups = slices.DeleteFunc(groups, func(g group) bool {
		if g.members.value > 0 || !g.members.known && g.state != "Empty" && g.state != "Dead" {
			return false
		}
		e := empty{commits: g.committed(c.kept.seed), since: c.snap.taken}
		if before, ok := c.kept.empty[g.id]; ok && before.commits == e.commits {
			e.since = before.since
		}
		seen[g.id] = e
		return c.snap.taken.Sub(e.since) >= c.conf.EmptyGroups
	})
	c.kept.empty = seen
	return groups
}

func (g group) committed(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, c := range g.commits {
		h.WriteString(c.topic)
		maphash.WriteComparable(&h, c.partition)
		maphash.WriteComparable(&h, c.offset)
	}
	return h.Sum64()
}
