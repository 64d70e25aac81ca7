package verify_test

import (
	"runtime"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/verify"
)

const limit = 64 << 20

// A thousand partitions with 64 producers each, three quarters of them ours, and every stream has as many gaps and as many numbers given up
// as it may remember. What it cannot remember by name is still excused by number: no more is lost than was.
func TestMemoryStaysWithinItsLimit(t *testing.T) {
	const partitions, producers, pairs, ahead = 1000, 64, 16, 40
	before := heap()
	v := mustNew(t, func(c *verify.Config) { c.Partitions, c.Found = partitions, nil })
	each := func(consume func(p int32, s stamp.Stamp)) {
		for p := range int32(partitions) {
			for producer := range uint32(producers) {
				consume(p, stamp.Stamp{Run: run + uint64(producer%4/3), Producer: producer})
			}
		}
	}
	offset := int64(0)
	consumed := func(p int32, s stamp.Stamp, n uint64) {
		offset++
		s.Sequence = n
		v.Consumed(p, offset, s)
	}
	for i := range uint64(pairs) {
		each(func(p int32, s stamp.Stamp) {
			consumed(p, s, 2*i)
			if s.Run == run {
				v.Failed(p, s.Producer, ahead+2*i)
			}
		})
	}
	grown := heap() - before
	t.Logf("%d streams with %d records missing: %.1f MB", partitions*producers, v.Missing(), float64(grown)/(1<<20))
	if grown > limit {
		t.Errorf("got %d bytes on the heap, want at most %d", grown, limit)
	}
	if got := v.Missing(); got < verify.MaxRanges/4 {
		t.Errorf("got %d records missing: too few for this test", got)
	}
	each(func(p int32, s stamp.Stamp) {
		for n := uint64(2*pairs - 1); n < ahead+2*pairs && s.Run == run; n++ {
			if n < ahead || n%2 == 1 {
				consumed(p, s, n)
			}
		}
	})
	closeAll(v.Verifier, partitions)
	if got, want := v.Counts().Lost, uint64(partitions*producers*3/4*(pairs-1)); got != want {
		t.Errorf("got %d lost, want %d", got, want)
	}
}

// One stream may take the whole bound, and pays no more for each further gap.
func TestAStreamOfGapsStaysBounded(t *testing.T) {
	const gaps = 2 * verify.MaxRanges
	before := heap()
	v := mustNew(t, func(c *verify.Config) { c.Found = nil })
	for s := uint64(0); s <= 2*gaps; s += 2 {
		v.consume(s)
	}
	if got := v.Missing(); got != verify.MaxRanges {
		t.Errorf("got %d open gaps, want %d", got, verify.MaxRanges)
	}
	if got := v.Counts().Lost + v.Missing(); got != gaps {
		t.Errorf("got %d lost or missing, want %d", got, gaps)
	}
	if grown := heap() - before; grown > limit/2 {
		t.Errorf("grew by %d bytes", grown)
	}
	for _, n := range []uint64{0, 2} { // another stream may have its few all the same
		v.offset++
		v.Consumed(0, v.offset, stamp.Stamp{Run: run, Producer: 2, Sequence: n})
	}
	v.Failed(0, 2, 1)
	v.pass(grace)
	v.consume(2*gaps + 1)
	if grown := heap() - before; grown > 1<<16 {
		t.Errorf("kept %d bytes after all had been settled", grown)
	}
	if got := v.Counts().Lost; got != gaps {
		t.Errorf("got %d lost, want %d", got, gaps)
	}
}

// What was given up and may no longer arrive takes no memory, whether some of it is still ahead or not.
func TestWhatWasGivenUpIsForgotten(t *testing.T) {
	for name, ahead := range map[string]uint64{"all": 0, "all but one": 1} {
		t.Run(name, func(t *testing.T) {
			const n = 100_000
			v := mustNew(t, nil)
			before := heap()
			for s := range n + ahead {
				v.failed(2 * s)
			}
			if grown := heap() - before; grown < n*16 {
				t.Fatalf("got %d bytes for %d numbers: too few for this test", grown, n)
			}
			v.consume(2*n - 1)
			v.pass(grace)
			if got := v.Counts().Lost; got != n-1 { // every other one
				t.Errorf("got %d lost, want %d", got, n-1)
			}
			v.faults = nil
			if grown := heap() - before; grown > 1<<16 {
				t.Errorf("kept %d bytes", grown)
			}
			runtime.KeepAlive(v)
		})
	}
}

func TestGapsThatFillLeaveNothingBehind(t *testing.T) {
	const n = 50_000
	v := mustNew(t, func(c *verify.Config) { c.Found = nil })
	before := heap()
	for s := range uint64(n) {
		v.consume(4 * s)
	}
	for s := range uint64(n - 1) {
		v.consume(4*s+3, 4*s+1, 4*s+2)
	}
	if grown := heap() - before; grown > 1<<16 {
		t.Errorf("kept %d bytes", grown)
	}
	if got, want := v.Counts(), (verify.Counts{Reordered: 3 * (n - 1)}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Every restart of a copy brings new streams; those of the runs before go.
func TestRunsLongGoneAreForgotten(t *testing.T) {
	v := mustNew(t, func(c *verify.Config) { c.Partitions = 64 })
	before := heap()
	for restart := range uint64(300) {
		for p := range int32(64) {
			for producer := range uint32(8) {
				for _, n := range []uint64{5, 7, 9, 11, 13} {
					v.offset++
					v.Consumed(p, v.offset, stamp.Stamp{Run: 1000 + restart, Producer: producer, Sequence: n})
				}
			}
		}
		v.pass(6 * grace)
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("grew by %d bytes over 300 restarts", grown)
	}
	if got := v.Counts().Lost; got != 0 {
		t.Errorf("got %d lost: a killed copy proves nothing", got)
	}
	v.pass(11 * grace)
	if got := v.Missing(); got != 0 {
		t.Errorf("got %d missing after all was forgotten", got)
	}
	for n := range uint64(100) { // their ranges are free again
		v.consume(2 * n)
	}
	if got := v.Missing(); got != 99 {
		t.Errorf("got %d missing of a new stream, want 99", got)
	}
}

func TestConsumingDoesNotAllocate(t *testing.T) {
	v := mustNew(t, nil)
	var n uint64
	if got := testing.AllocsPerRun(10_000, func() {
		v.Consumed(0, int64(2*n), stamp.Stamp{Run: run, Sequence: n})
		v.Consumed(0, int64(2*n+1), stamp.Stamp{Run: run + 1, Sequence: n})
		n++
	}); got != 0 {
		t.Errorf("got %v allocations a record, want none", got)
	}
}
