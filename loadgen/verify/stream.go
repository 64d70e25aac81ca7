package verify

import "time"

// stream is the records of one producer in one partition.
type stream struct {
	run      uint64
	producer uint32
	failed   uint32 // given up according to the stamps

	own     bool
	plain   bool // nothing is open and nothing excused: the next number needs no look
	resume  bool // the next record tells where to follow from
	touched bool // since the sweep before

	next    uint64 // one above the highest number seen
	floor   uint64 // numbers below were not followed and are not judged
	gaps    ranges // missing; since our clock for our own run, since the wall clock of the stamp for others
	excused ranges // given up, by name
	missing uint64 // numbers in gaps
	allow   uint64 // how many numbers are given up that are known by number only
	quiet   time.Duration
}

func (st *stream) ranges() int { return st.gaps.len() + st.excused.len() }

// skip notes the numbers from next up to n as missing, but for the excused ones.
func (st *stream) skip(n uint64, since time.Duration) {
	miss := func(from, to uint64) {
		if from < to {
			st.gaps.add(span{from: from, to: to, since: since})
			st.missing += to - from
		}
	}
	at := st.next
	for _, e := range st.excused.live() {
		if e.to > at && e.from < n {
			miss(at, min(e.from, n))
			at = e.to
		}
	}
	miss(at, n)
}

// settle says that so many numbers are missing no longer. What excuses numbers of another run without naming them excuses no others.
func (st *stream) settle(n uint64) {
	st.missing -= n
	if !st.own {
		st.allow = min(st.allow, st.missing)
	}
}
