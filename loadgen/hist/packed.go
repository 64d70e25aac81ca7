package hist

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"time"
)

// Packed is a snapshot in little memory: only the buckets that hold something. The zero value is empty. It cannot be changed, so copies
// share their memory.
type Packed struct {
	zero     uint64
	sum      float64
	min, max time.Duration // of what is not in the zero bucket
	runs     string        // uvarints: for each bucket that is not empty the distance of its key from the one before, then its count
}

// Pack is the snapshot in little memory.
func (s *Snapshot) Pack() Packed {
	p := Packed{zero: s.zero, sum: max(s.sum, 0)} // a difference of sums may leave a little less than nothing
	if p.max = s.Max(); p.max > 0 {
		p.min = max(s.min, nanoseconds(upper(s.lowest()-1)))
	}
	var w packer
	for k, n := range s.Buckets() {
		w.put(k, n)
	}
	p.runs = string(w.runs)
	return p
}

// Snapshot is the packed one again.
func (p Packed) Snapshot() *Snapshot {
	s := &Snapshot{}
	s.MergePacked(p)
	return s
}

// MergePacked adds a packed snapshot.
func (s *Snapshot) MergePacked(p Packed) {
	s.grow()
	for k, n := range p.Buckets() {
		s.counts[k-minKey] += n
	}
	s.zero += p.zero
	s.sum += p.sum
	s.span(p.min, p.max)
}

// Plus is both together.
func (p Packed) Plus(o Packed) Packed {
	if p.Count() == 0 {
		return o
	}
	if o.Count() == 0 {
		return p
	}
	extremes := Snapshot{min: p.min, max: p.max}
	extremes.span(o.min, o.max)
	sum := Packed{zero: p.zero + o.zero, sum: p.sum + o.sum, min: extremes.min, max: extremes.max}
	w := packer{runs: make([]byte, 0, len(p.runs)+len(o.runs))}
	a, b := p.cursor(), o.cursor()
	for more, others := a.next(), b.next(); more || others; {
		switch {
		case !others || more && a.k < b.k:
			w.put(a.k, a.n)
			more = a.next()
		case !more || b.k < a.k:
			w.put(b.k, b.n)
			others = b.next()
		default:
			w.put(a.k, a.n+b.n)
			more, others = a.next(), b.next()
		}
	}
	sum.runs = string(w.runs)
	return sum
}

// packer writes runs, bucket by bucket in ascending order.
type packer struct {
	runs []byte
	last int // bucket's distance from the one before the first
}

func (w *packer) put(k int, n uint64) {
	w.runs = binary.AppendUvarint(w.runs, uint64(k-minKey+1-w.last))
	w.runs = binary.AppendUvarint(w.runs, n)
	w.last = k - minKey + 1
}

// cursor reads runs.
type cursor struct {
	rest string
	k    int
	n    uint64
}

func (p Packed) cursor() cursor { return cursor{rest: p.runs, k: minKey - 1} }

func (c *cursor) next() bool {
	if c.rest == "" {
		return false
	}
	c.k += int(c.uvarint())
	c.n = c.uvarint()
	return true
}

// uvarint reads what only a packer has written, so that it is never cut.
func (c *cursor) uvarint() (v uint64) {
	for i := 0; ; i++ {
		b := c.rest[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return v
		}
	}
}

// Count is the number of latencies.
func (p Packed) Count() uint64 {
	n := p.zero
	for _, c := range p.Buckets() {
		n += c
	}
	return n
}

// Buckets are the native histogram's bucket indexes with their counts, in ascending order, empty ones and the zero bucket left out.
func (p Packed) Buckets() iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for c := p.cursor(); c.next(); {
			if !yield(c.k, c.n) {
				return
			}
		}
	}
}

// document is a snapshot in JSON. A run is the index of a bucket, then its count and those of the buckets that follow it.
type document struct {
	Schema int       `json:"schema"`
	Count  uint64    `json:"count"`
	Zero   uint64    `json:"zero"`
	Sum    float64   `json:"sum_seconds"`
	Min    float64   `json:"min_seconds"`
	Max    float64   `json:"max_seconds"`
	Runs   [][]int64 `json:"runs"`
}

// MarshalJSON implements json.Marshaler. The buckets are those of the native histogram, by index; see document.
func (p Packed) MarshalJSON() ([]byte, error) {
	d := document{Schema: Schema, Count: p.Count(), Zero: p.zero, Sum: p.sum, Min: p.min.Seconds(), Max: p.max.Seconds(), Runs: [][]int64{}}
	last := minKey - 2
	for k, n := range p.Buckets() {
		if n > math.MaxInt64 {
			return nil, fmt.Errorf("write histogram: bucket %d counts %d", k, n)
		}
		if k != last+1 {
			d.Runs = append(d.Runs, []int64{int64(k)})
		}
		run := &d.Runs[len(d.Runs)-1]
		*run = append(*run, int64(n))
		last = k
	}
	return json.Marshal(d)
}

// UnmarshalJSON implements json.Unmarshaler. It takes nothing that MarshalJSON could not have written.
func (p *Packed) UnmarshalJSON(data []byte) error {
	var d document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return err
	}
	if d.Schema != Schema {
		return fmt.Errorf("schema: must be %d (got %d)", Schema, d.Schema)
	}
	read := Packed{zero: d.Zero, sum: d.Sum, min: nanoseconds(d.Min), max: nanoseconds(d.Max)}
	var err error
	if read.runs, err = pack(d.Runs); err != nil {
		return err
	}
	if n := read.Count(); n != d.Count {
		return fmt.Errorf("count: must be what zero and runs add up to, %d (got %d)", n, d.Count)
	}
	if err := read.check(); err != nil {
		return err
	}
	*p = read
	return nil
}

func pack(runs [][]int64) (string, error) {
	var w packer
	last := int64(minKey - 1)
	for i, run := range runs {
		if len(run) < 2 {
			return "", fmt.Errorf("runs[%d]: must hold an index and at least one count (got %v)", i, run)
		}
		first, counts := run[0], run[1:]
		if first <= last || first > maxKey-int64(len(counts))+1 {
			return "", fmt.Errorf("runs[%d]: buckets must ascend within %d..%d (got %d of them from %d on)", i, last+1, maxKey, len(counts), first)
		}
		for j, n := range counts {
			if n < 1 {
				return "", fmt.Errorf("runs[%d]: every count must be above 0 (got %d for bucket %d)", i, n, first+int64(j))
			}
			k := first + int64(j)
			w.put(int(k), uint64(n))
			last = k
		}
	}
	return string(w.runs), nil
}

// check compares what is stored beside the buckets with them. The sum is of the same records only when nobody recorded meanwhile.
func (p Packed) check() error {
	low, high := 0.0, 0.0
	for k := range p.Buckets() {
		if high == 0 {
			low = upper(k - 1)
		}
		high = upper(k)
		if k == maxKey {
			high = math.Inf(1)
		}
	}
	// Extremes that come from a difference of two snapshots are bounds of buckets, to the nanosecond.
	if s := p.max.Seconds(); s > high+1e-9 {
		return fmt.Errorf("max_seconds: must be within the highest bucket, at most %v (got %v)", high, s)
	}
	if s := p.min.Seconds(); s < low-1e-9 || p.min > p.max {
		return fmt.Errorf("min_seconds: must be within %v..max_seconds %v (got %v)", low, p.max.Seconds(), s)
	}
	if !(p.sum >= 0) || math.IsInf(p.sum, 1) {
		return fmt.Errorf("sum_seconds: must be 0 or more (got %v)", p.sum)
	}
	return nil
}
