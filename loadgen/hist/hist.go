// Package hist records latencies in the buckets of a Prometheus native histogram, so that the console, the JSON report and PromQL read
// the very same counts.
//
// It promises: recording neither allocates nor locks; every value counts, none is sampled; merging is exact, because recorders share one
// fixed set of buckets; a quantile is within 1.1 % of the true one (one bucket of schema 6). Values above 2^18 s (three days) fall into the
// last bucket, values of zero and below into the zero bucket. It leaves out sliding windows: subtract two snapshots.
package hist

import (
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
}

// Record counts one latency.
func (r *Recorder) Record(d time.Duration) {
	if d <= 0 {
		r.zero.Add(1)
		return
	}
	seconds := float64(d) / 1e9
	k := min(key(seconds), maxKey)
	r.counts[k-minKey].Add(1)
	r.sum.Store(math.Float64bits(math.Float64frombits(r.sum.Load()) + seconds))
}

// Snapshot is a set of counts at one moment, or the difference of two. The zero value is empty.
type Snapshot struct {
	counts []uint64 // nil while empty
	zero   uint64
	sum    float64
}

func (s *Snapshot) grow() {
	if s.counts == nil {
		s.counts = make([]uint64, buckets)
	}
}

// Reset empties the snapshot and keeps its memory.
func (s *Snapshot) Reset() {
	clear(s.counts)
	s.zero, s.sum = 0, 0
}

// Add adds what the recorder has counted so far.
func (s *Snapshot) Add(r *Recorder) {
	s.grow()
	for i := range s.counts {
		s.counts[i] += r.counts[i].Load()
	}
	s.zero += r.zero.Load()
	s.sum += math.Float64frombits(r.sum.Load())
}

// Merge adds another snapshot.
func (s *Snapshot) Merge(o *Snapshot) {
	s.grow()
	for i, n := range o.counts {
		s.counts[i] += n
	}
	s.zero += o.zero
	s.sum += o.sum
}

// Sub takes away an earlier snapshot of the same recorders.
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

// Quantile is the latency that the fraction q of all stays under, interpolated inside the bucket as Prometheus does. ok is false when
// there is nothing to tell from or q is not within 0..1.
func (s *Snapshot) Quantile(q float64) (d time.Duration, ok bool) {
	n := s.Count()
	if n == 0 || !(q >= 0 && q <= 1) {
		return 0, false
	}
	rank := q * float64(n)
	cumulative := float64(s.zero)
	if cumulative >= rank && s.zero > 0 {
		return 0, true
	}
	last := 0
	for i, c := range s.counts {
		if c == 0 {
			continue
		}
		last = i
		cumulative += float64(c)
		if cumulative >= rank {
			inside := (rank - (cumulative - float64(c))) / float64(c)
			low, high := upper(minKey+i-1), upper(minKey+i)
			return time.Duration(low * math.Pow(high/low, inside) * 1e9), true
		}
	}
	return time.Duration(upper(minKey+last) * 1e9), true // q = 1 after rounding
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
