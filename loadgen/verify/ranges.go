package verify

import (
	"slices"
	"time"
)

// span is the numbers from up to, not including, to, and since when they have been of interest.
type span struct {
	from, to uint64
	since    time.Duration
}

// ranges are disjoint spans in rising order.
type ranges struct{ list []span }

// find is the index of the first span that ends above n.
func (r *ranges) find(n uint64) int {
	i, _ := slices.BinarySearchFunc(r.list, n, func(s span, n uint64) int {
		if s.to <= n {
			return -1
		}
		return 1
	})
	return i
}

// add inserts a span that overlaps none. It grows a neighbour instead when it touches one, which then keeps its own time.
func (r *ranges) add(s span) {
	i := r.find(s.from)
	if i > 0 && r.list[i-1].to == s.from {
		r.list[i-1].to = s.to
		return
	}
	if i < len(r.list) && r.list[i].from <= s.from {
		return // known already
	}
	r.list = slices.Insert(r.list, i, s)
}

// remove takes one number out and says whether it was in.
func (r *ranges) remove(n uint64) bool {
	i := r.find(n)
	if i == len(r.list) || n < r.list[i].from {
		return false
	}
	s := r.list[i]
	switch {
	case s.to-s.from == 1:
		r.list = slices.Delete(r.list, i, i+1)
	case n == s.from:
		r.list[i].from++
	case n == s.to-1:
		r.list[i].to--
	default:
		r.list[i].to = n
		r.list = slices.Insert(r.list, i+1, span{from: n + 1, to: s.to, since: s.since})
	}
	return true
}
