package verify_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/verify"
)

// heap is what is reachable now.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkConsumed(b *testing.B) {
	for name, batch := range map[string]uint64{"one producer": 1 << 62, "64 producers in batches of 20": 20, "64 producers in turn": 1} {
		b.Run(name, func(b *testing.B) {
			v := mustNew(b, nil)
			var next [64]uint64
			var s stamp.Stamp
			s.Run = run
			var offset int64
			var left uint64
			b.ReportAllocs()
			for b.Loop() {
				if left == 0 {
					left = batch
					s.Producer = (s.Producer + 1) % 64
				}
				left--
				s.Sequence = next[s.Producer]
				next[s.Producer]++
				v.Consumed(0, offset, s)
				offset++
			}
			if got := v.Counts(); got != (verify.Counts{}) {
				b.Errorf("a false alarm: %+v", got)
			}
		})
	}
}

// Four partitions are read at once, by as many goroutines as there are processors.
func BenchmarkConsumedInParallel(b *testing.B) {
	v := mustNew(b, func(c *verify.Config) { c.Partitions = 64 })
	part := make(chan int32, 64)
	for p := range int32(64) {
		part <- p
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		p := <-part
		s := stamp.Stamp{Run: run}
		for pb.Next() {
			v.Consumed(p, int64(s.Sequence), s)
			s.Sequence++
		}
	})
	if got := v.Counts(); got != (verify.Counts{}) {
		b.Errorf("a false alarm: %+v", got)
	}
}

func BenchmarkSweep(b *testing.B) {
	v := mustNew(b, func(c *verify.Config) { c.Partitions = 1000 })
	for p := range int32(1000) {
		for producer := range uint32(64) {
			v.Consumed(p, int64(producer), stamp.Stamp{Run: run + uint64(producer%2), Producer: producer})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		v.now += time.Second
		v.Sweep()
		v.now -= time.Second
	}
}

// BenchmarkCleanRecords stamps, reads and verifies a hundred million records of 1,024 streams, in which nothing is wrong: transactions are
// aborted, producers give records up, processes restart, partitions change hands. It fails on any alarm.
func BenchmarkCleanRecords(b *testing.B) {
	const records = 100_000_000
	before := heap()
	for b.Loop() {
		w := newWorld(b, 9, 64, 16, 1e-4, abort, fail)
		w.live(records, 20)
		w.compare(b)
		b.ReportMetric(float64(heap()-before), "heap-bytes")
		b.Logf("made %v, read again %d", w.made, w.redelivered)
		runtime.KeepAlive(w)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}
