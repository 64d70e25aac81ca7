package verify

import (
	"slices"
	"time"
)

// span is the numbers from up to, not including, to.
type span struct {
	from, to uint64
	since    time.Duration // when they became of interest
	aborted  bool          // of an excused span: must not arrive, rather than may
}

func (s span) size() uint64 { return s.to - s.from }

// ranges are disjoint spans in rising order. They hold little more memory than their spans take, also after they have shrunk.
type ranges struct {
	list []span
	head int // the spans before it have been popped
}

func (r *ranges) live() []span { return r.list[r.head:] }
func (r *ranges) len() int     { return len(r.list) - r.head }
func (r *ranges) first() *span { return &r.list[r.head] }

// find is the index in the list of the first span that ends above n.
func (r *ranges) find(n uint64) int {
	if last := len(r.list) - 1; last < r.head || n >= r.list[last].to {
		return last + 1 // the usual case: numbers rise
	}
	i, _ := slices.BinarySearchFunc(r.live(), n, func(s span, n uint64) int {
		if s.to <= n {
			return -1
		}
		return 1
	})
	return r.head + i
}

func (r *ranges) has(n uint64) bool {
	i := r.find(n)
	return i < len(r.list) && r.list[i].from <= n
}

// add inserts a span that overlaps none. It grows the span before it instead when it touches that and is of the same kind.
func (r *ranges) add(s span) {
	i := r.find(s.from)
	if i < len(r.list) && r.list[i].from < s.to {
		return // known already
	}
	if i > r.head && r.list[i-1].to == s.from && r.list[i-1].aborted == s.aborted {
		r.list[i-1].to, r.list[i-1].since = s.to, s.since
		return
	}
	r.list = slices.Insert(r.list, i, s)
}

// remove takes one number out and returns the span that it was in.
func (r *ranges) remove(n uint64) (in span, ok bool) {
	i := r.find(n)
	if i == len(r.list) || n < r.list[i].from {
		return span{}, false
	}
	s := r.list[i]
	switch { // in place where possible: what is out of order often fills one gap after another
	case s.size() == 1 && i == r.head:
		r.pop()
	case s.size() == 1:
		r.list = slices.Delete(r.list, i, i+1)
		r.shrink()
	case n == s.from:
		r.list[i].from++
	case n == s.to-1:
		r.list[i].to--
	default:
		r.list[i].to = n
		r.list = slices.Insert(r.list, i+1, span{from: n + 1, to: s.to, since: s.since, aborted: s.aborted})
	}
	return s, true
}

// pop takes the lowest span out. It seldom moves the others: a long list gives up its oldest for each new one.
func (r *ranges) pop() span {
	s := *r.first()
	r.head++
	if 2*r.head >= len(r.list) {
		r.list, r.head = slices.Clone(r.live()), 0
		r.shrink()
	}
	return s
}

// keep leaves only the spans that are wanted.
func (r *ranges) keep(wanted func(span) bool) {
	r.list, r.head = slices.DeleteFunc(r.live(), func(s span) bool { return !wanted(s) }), 0
	r.shrink()
}

func (r *ranges) shrink() {
	switch {
	case r.len() == 0:
		*r = ranges{}
	case cap(r.list) > 4*r.len()+4:
		r.list, r.head = slices.Clone(r.live()), 0
	}
}
