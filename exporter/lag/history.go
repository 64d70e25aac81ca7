// Package lag says how long ago the oldest record that a consumer group has not read was written.
//
// It promises: an answer from the growth of the partition's end offset alone, which whoever may describe the topic can see; within two
// intervals between observations, or one part in twenty of the answer where that is more; memory in proportion to the logarithm of the
// time that is remembered, and none for what does not grow; no answer rather than a wrong one where the log was cut or begun anew. Where
// the consumer is further back than what was observed, as after a restart, it names the moments about which Kafka has to be asked, two or
// three of them mostly and fifteen at the most. It is a pure function of what it is told. It leaves out asking.
package lag

import (
	"math"
	"slices"
	"sort"
	"time"
)

const (
	// fine is the part of its age within which a moment is known.
	fine = 0.04
	// thinAt is how many moments a history has, at least, before the superfluous ones are looked for.
	thinAt = 32
)

// moment is a time, in milliseconds since 1970, at which the next record of the partition was given the offset.
type moment struct{ at, end int64 }

// History is how the end of one partition has grown. The zero value knows nothing.
type History struct {
	moments []moment // both fields ascend; of moments with the same end only the first and the last are kept
	thin    int      // length at which to thin out next
	learned int      // answers of Kafka
}

// Observe notes that the end offset was end. An end below the last one is that of another log: all that was known is forgotten.
func (h *History) Observe(at time.Time, end int64, remember time.Duration) {
	now := moment{at.UnixMilli(), end}
	n := len(h.moments)
	switch {
	case n > 0 && now.at <= h.moments[n-1].at:
		return // the clock was set back; what comes later counts again
	case n > 0 && end < h.moments[n-1].end:
		h.moments = h.moments[:0]
	case n > 1 && end == h.moments[n-1].end && end == h.moments[n-2].end:
		h.moments[n-1] = now
		return
	}
	h.moments = append(h.moments, now)
	if len(h.moments) >= max(thinAt, h.thin) {
		h.thinOut(now.at, now.at-remember.Milliseconds())
		h.thin = 2 * len(h.moments)
	}
}

// thinOut drops what is older than oldest, and moments so close to each other, for their age, that fewer tell as much.
func (h *History) thinOut(now, oldest int64) {
	first := sort.Search(len(h.moments), func(i int) bool { return h.moments[i].at >= oldest })
	kept := h.moments[:0]
	for i, m := range h.moments[first:] {
		i += first
		if n := len(kept); n > 0 && i+1 < len(h.moments) {
			next := h.moments[i+1]
			if float64(next.at-kept[n-1].at) <= fine*float64(now-next.at) {
				continue
			}
		}
		kept = append(kept, m)
	}
	h.moments = kept
}

// Behind is how long before now the record at the offset was written, and whether that is known. The record that is not written yet, at
// the end, is not behind at all.
func (h *History) Behind(now time.Time, offset int64) (time.Duration, bool) {
	n := len(h.moments)
	if n == 0 {
		return 0, false
	}
	if offset >= h.moments[n-1].end {
		return 0, offset == h.moments[n-1].end
	}
	i := sort.Search(n, func(i int) bool { return h.moments[i].end > offset }) // the first by which it had been written
	if i == 0 {
		return 0, false
	}
	before, after := h.moments[i-1], h.moments[i]
	// Between two observations records are taken to have come evenly: the one after the last of before came one step later.
	part := float64(offset-before.end+1) / float64(after.end-before.end)
	at := float64(before.at) + part*float64(after.at-before.at)
	return max(0, time.Duration((float64(now.UnixMilli())-at)*1e6)), true
}

// Ask is the moment about which Kafka has to be asked next, to find out when the record at the offset was written; false when that is
// known within two intervals between observations or a part of its age, or lies further back than anybody remembers. Two, so that an
// observation that was missed leaves no hole in what is shown when its time comes. Start is the oldest offset that the partition holds; it
// matters only for how soon the answer is found.
func (h *History) Ask(now time.Time, offset, start int64, interval, remember time.Duration) (time.Time, bool) {
	n := len(h.moments)
	if n == 0 || offset >= h.moments[n-1].end {
		return time.Time{}, false
	}
	i := sort.Search(n, func(i int) bool { return h.moments[i].end > offset })
	young := float64(now.UnixMilli() - h.moments[i].at)
	old := float64(remember.Milliseconds())
	if i > 0 {
		old, start = float64(now.UnixMilli()-h.moments[i-1].at), h.moments[i-1].end
	}
	// A second is as close as it gets: the records' times are those of other clocks.
	coarse := max(1000, 2*float64(interval.Milliseconds()))
	if young = max(young, 1000); old-young <= max(fine*young, coarse) {
		return time.Time{}, false
	}
	age := math.Sqrt(young * old) // half way, by the ratio of the ages
	if h.learned%(2*guesses) < guesses {
		if part := float64(h.moments[i].end-offset) / float64(h.moments[i].end-start); part > 0 && part <= 1 {
			age = aim(young, old, part, coarse)
		}
	}
	return now.Add(-time.Duration(age) * time.Millisecond), true
}

// guesses is how many questions in a row trust that records come evenly, before as many do not. Where they do, or in bursts, two or three
// are enough; to halve alone takes eight, always. Where guesses mislead, it is fifteen.
const guesses = 3

// aim is the age to ask about if a part of the records between the two ages came after the one that is sought, evenly. It keeps to one side
// of that age, and then to the other, so that the two answers enclose it closely enough.
func aim(young, old, part, coarse float64) float64 {
	age := young + part*(old-young)
	near := 0.9 * max(fine*age, coarse)
	switch {
	case old-age < near:
		age = old - near
	case age-young < near:
		age = young + near
	default:
		age += near / 2
	}
	if age <= young || age >= old {
		return math.Sqrt(young * old)
	}
	return age
}

// Learn notes what Kafka answered about a moment: the first offset whose record is not older, and when that was written, or the end and no
// time where there is none.
func (h *History) Learn(at time.Time, offset int64, written time.Time) {
	h.learned++
	h.insert(moment{at.UnixMilli(), offset})
	if !written.IsZero() {
		h.insert(moment{written.UnixMilli(), offset})
		h.insert(moment{written.UnixMilli() + 1, offset + 1})
	}
}

func (h *History) insert(m moment) {
	n := len(h.moments)
	i := sort.Search(n, func(i int) bool { return h.moments[i].at >= m.at })
	if i == n || h.moments[i].at == m.at {
		return // only what lies before the last observation can be learned
	}
	// Producers' clocks may disagree with ours; that the end never shrinks is certain.
	m.end = min(m.end, h.moments[i].end)
	if i > 0 {
		m.end = max(m.end, h.moments[i-1].end)
	}
	h.moments = slices.Insert(h.moments, i, m)
}

// Len is how many moments are remembered, sixteen bytes each.
func (h *History) Len() int { return len(h.moments) }
