// Package hist records latencies in the buckets of a Prometheus native histogram, so that the console, the JSON report and PromQL read
// the very same counts.
//
// It promises: recording neither allocates nor locks; every value counts, none is sampled; merging is exact, because recorders share one
// fixed set of buckets; a quantile is within 1.1 % of the true one (one bucket of schema 6) and the very number that PromQL's
// histogram_quantile gives for the same buckets; the least and the greatest latency are exact. Values above 2^18 s (three days) fall into
// the last bucket, values of zero and below into the zero bucket. It leaves out sliding windows: subtract two snapshots.
package hist

import (
	"iter"
	"math"
	"sync/atomic"
	"time"
)

const (
	// Schema is the native histogram's resolution: bucket k ends at 2^(k/64) seconds.
	Schema = 6

	perOctave = 1 << Schema
	minExp    = -30 // 2^-30 s is just under a nanosecond, the clock's unit
	maxExp    = 18
	minKey    = minExp*perOctave + 1 // its lower bound is 2^minExp
	maxKey    = maxExp * perOctave
	buckets   = maxKey - minKey + 1

	// ZeroThreshold is the native histogram's usual one: no real latency is that small.
	ZeroThreshold = 2.938735877055719e-39

	cells = 128 // mantissa cells; finer than the narrowest bucket, so a cell meets at most one bound
)

// layout finds a bucket from a float's bits: the cell of its mantissa gives the first candidate, one comparison decides.
type layout struct {
	bound [perOctave + 1]float64 // 2^(j/64)/2, as fractions of math.Frexp
	first [cells]uint8
}

var scale = newLayout()

func newLayout() *layout {
	l := &layout{}
	for j := range l.bound {
		l.bound[j] = math.Exp2(float64(j)/perOctave) / 2
	}
	for c := range l.first {
		low := 0.5 + float64(c)/(2*cells)
		j := 0
		for l.bound[j] < low {
			j++
		}
		l.first[c] = uint8(j)
	}
	return l
}

// key is the native histogram's bucket for a positive number of seconds.
func key(seconds float64) int {
	const (
		mantissaBits = 52
		half         = 1022 // the biased exponent of [0.5, 1)
	)
	bits := math.Float64bits(seconds)
	exp := int(bits>>mantissaBits) - half
	frac := math.Float64frombits(bits&(1<<mantissaBits-1) | half<<mantissaBits)
	j := int(scale.first[bits>>(mantissaBits-7)&(cells-1)])
	if scale.bound[j] < frac {
		j++
	}
	return j + (exp-1)*perOctave
}

// upper is where bucket k ends, in seconds.
func upper(k int) float64 {
	oct := k >> Schema
	return math.Ldexp(scale.bound[k-oct*perOctave], oct+1)
}

// Recorder counts latencies. One goroutine records; any number may take snapshots meanwhile.
type Recorder struct {
	counts [buckets]atomic.Uint64
	zero   atomic.Uint64
	sum    atomic.Uint64 // float64 bits, seconds

	// The extremes. Record alone reads the first two, in one comparison; others read the last two.
	low, span uint64
	min, max  atomic.Int64
}

// Record counts one latency.
func (r *Recorder) Record(d time.Duration) {
	if d <= 0 {
		r.zero.Add(1)
		return
	}
	// Before the count, so that a snapshot never holds a latency beyond its extremes.
	if uint64(d)-r.low > r.span {
		r.widen(uint64(d))
	}
	seconds := float64(d) / 1e9
	k := min(key(seconds), maxKey)
	r.counts[k-minKey].Add(1)
	r.sum.Store(math.Float64bits(math.Float64frombits(r.sum.Load()) + seconds))
}

// widen takes a latency into the extremes. Both are 0 before the first.
func (r *Recorder) widen(d uint64) {
	high := max(r.low+r.span, d)
	if low := r.low; low == 0 || d < low {
		r.low = d
		r.min.Store(int64(d))
	}
	r.span = high - r.low
	r.max.Store(int64(high))
}

// Snapshot is a set of counts at one moment, or the difference of two. The zero value is empty.
type Snapshot struct {
	counts []uint64 // nil while empty
	zero   uint64
	sum    float64
	// Nothing outside the zero bucket is below min or above max; 0 while there is nothing.
	min, max time.Duration
}

func (s *Snapshot) grow() {
	if s.counts == nil {
		s.counts = make([]uint64, buckets)
	}
}

// Reset empties the snapshot and keeps its memory.
func (s *Snapshot) Reset() {
	clear(s.counts)
	s.zero, s.sum, s.min, s.max = 0, 0, 0, 0
}

// span widens the extremes by another's.
func (s *Snapshot) span(low, high time.Duration) {
	if high == 0 {
		return
	}
	if s.max == 0 || low < s.min {
		s.min = low
	}
	s.max = max(s.max, high)
}

// Add adds what the recorder has counted so far.
func (s *Snapshot) Add(r *Recorder) {
	s.grow()
	for i := range s.counts {
		s.counts[i] += r.counts[i].Load()
	}
	s.zero += r.zero.Load()
	s.sum += math.Float64frombits(r.sum.Load())
	s.span(time.Duration(r.min.Load()), time.Duration(r.max.Load()))
}

// Merge adds another snapshot.
func (s *Snapshot) Merge(o *Snapshot) {
	s.grow()
	for i, n := range o.counts {
		s.counts[i] += n
	}
	s.zero += o.zero
	s.sum += o.sum
	s.span(o.min, o.max)
}

// Sub takes away an earlier snapshot of the same recorders. Of what is left the extremes are known to the bucket only.
func (s *Snapshot) Sub(earlier *Snapshot) {
	s.grow()
	for i, n := range earlier.counts {
		s.counts[i] -= n
	}
	s.zero -= earlier.zero
	s.sum -= earlier.sum
}

// Count is the number of latencies.
func (s *Snapshot) Count() uint64 {
	n := s.zero
	for _, c := range s.counts {
		n += c
	}
	return n
}

// Sum is the total of all latencies in seconds.
func (s *Snapshot) Sum() float64 { return s.sum }

// Buckets are the native histogram's bucket indexes with their counts, in ascending order; empty ones and the zero bucket are left out.
func (s *Snapshot) Buckets() iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for i, n := range s.counts {
			if n > 0 && !yield(minKey+i, n) {
				return
			}
		}
	}
}

// Max is the greatest latency, 0 when there is none. A quantile in its bucket may come out above it, by one bucket at most, as in PromQL.
func (s *Snapshot) Max() time.Duration {
	for i := len(s.counts) - 1; i >= 0; i-- {
		if s.counts[i] == 0 {
			continue
		}
		if k := minKey + i; k < maxKey {
			return min(s.max, nanoseconds(upper(k)))
		}
		return s.max
	}
	return 0
}

// Min is the least latency, 0 when there is none.
func (s *Snapshot) Min() time.Duration {
	k := s.lowest()
	if s.zero > 0 || k < minKey {
		return 0
	}
	return max(s.min, nanoseconds(upper(k-1)))
}

// lowest is the first bucket that holds something, below minKey when none does.
func (s *Snapshot) lowest() int {
	for k := range s.Buckets() {
		return k
	}
	return minKey - 1
}

func nanoseconds(seconds float64) time.Duration { return time.Duration(math.Round(seconds * 1e9)) }

// Quantile is the latency that the fraction q of all stays under, to the nanosecond what PromQL's histogram_quantile answers from the same
// buckets: it interpolates like that, and in the same order of operations. ok is false when there is nothing to tell from or q is not
// within 0..1.
func (s *Snapshot) Quantile(q float64) (d time.Duration, ok bool) {
	n := s.Count()
	if n == 0 || !(q >= 0 && q <= 1) {
		return 0, false
	}
	k, fraction := s.locate(q, float64(n))
	if k < minKey {
		return 0, true
	}
	low, high := math.Log2(upper(k-1)), math.Log2(upper(k))
	return nanoseconds(math.Exp2(low + (high-low)*fraction)), true
}

// locate finds the bucket of a quantile, and how far into it; below minKey it is the zero bucket. From the median on it counts from the
// top, as Prometheus does: 1 - q is then the smaller number, and the tail is what its digits are needed for.
func (s *Snapshot) locate(q, n float64) (k int, fraction float64) {
	var rank, cumulative, count float64
	step, i, end := 1, -1, len(s.counts)
	rank = q * n
	if q >= 0.5 {
		step, i, end = -1, len(s.counts)-1, -2
		rank = (1 - q) * n
	}
	for ; i != end; i += step {
		c := float64(s.zero)
		if i >= 0 {
			c = float64(s.counts[i])
		}
		if c == 0 {
			continue
		}
		k, count = minKey+i, c
		if cumulative += c; cumulative >= rank {
			break
		}
	}
	if q < 0.5 {
		return k, (rank - (cumulative - count)) / count
	}
	return k, (cumulative - rank) / count
}

// Over is the fraction of latencies in buckets that end above d; 0 when there are none.
func (s *Snapshot) Over(d time.Duration) float64 {
	n := s.Count()
	if n == 0 {
		return 0
	}
	first := 0
	if d > 0 {
		first = max(0, min(key(float64(d)/1e9), maxKey)-minKey+1)
	}
	var over uint64
	for _, c := range s.counts[min(first, len(s.counts)):] {
		over += c
	}
	return float64(over) / float64(n)
}
