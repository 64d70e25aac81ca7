package collector_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

// withoutRaceDetector leaves to a run without it what only counts and weighs, in clusters so large that it takes minutes for them. Where there are
// races, small clusters have them too.
func withoutRaceDetector(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("too large for the race detector; .ci/unit runs it without")
	}
}

func TestScaleRequestsDependOnBrokersNotOnPartitionsOrGroups(t *testing.T) {
	for name, s := range map[string]shape{
		"a small cluster": small, "a middle cluster": middle, "a large cluster": large,
		"more groups per broker than one request": {brokers: 2, partitions: 40, groups: 1200, commits: 2},
	} {
		t.Run(name, func(t *testing.T) {
			if s != small {
				withoutRaceDetector(t)
			}
			if s == large {
				s.commits = 2 // they change no count, but how long this takes
			}
			f := newShaped(t, s).fronted().warm(t)
			e := newExporter(t, f.addrs()[:1], patient)
			// What is read seldom comes one part after the other.
			for i, more := range []map[string]int{{"DescribeConfigs": chunks(s.partitions/perTopic, 2000)}, {"DescribeLogDirs": s.brokers}, {}} {
				before := f.calls()
				e.refresh()
				got := f.since(before)
				parts := s.brokers * chunks(s.groups/s.brokers, 500)
				want := map[string]int{
					"Metadata": 1, "ListOffsets": 2 * s.brokers, "ListGroups": s.brokers, "OffsetFetch": parts, "DescribeGroups": parts,
				}
				maps.Copy(want, more)
				if i == 0 {
					delete(got, "ApiVersions") // for each connection
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("requests of collection %d (-want +got):\n%s", i+1, diff)
				}
				if most := 7*s.brokers + 2 + 2*(parts-s.brokers) + max(0, more["DescribeConfigs"]-1); sum(got) > most {
					t.Errorf("collection %d took %d requests, want at most %d", i+1, sum(got), most)
				}
			}
			if s.partitions > 10_000 {
				return
			}
			n := e.count()
			if want := s.groups * s.commits; n["kafka_consumer_group_lag"] != want {
				t.Errorf("want lag for %d commits, got %d", want, n["kafka_consumer_group_lag"])
			}
			if n["kafka_topic_partition_end_offset"] != s.partitions {
				t.Errorf("want %d end offsets, got %d", s.partitions, n["kafka_topic_partition_end_offset"])
			}
		})
	}
}

// patient waits for fake brokers that encode big answers under the race detector.
func patient(c *collector.Config) {
	c.Timeout = 2 * time.Minute
	c.Kafka.Net.ReadTimeout = time.Minute
}

func chunks(n, size int) int { return (n + size - 1) / size }

// refresh makes one collection.
func (e *exporter) refresh() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*time.Minute)
	defer cancel()
	e.Refresh(ctx)
	if err := e.Ready(); err != nil {
		e.t.Fatal(err)
	}
}

// count is the number of series of each family.
func (e *exporter) count() map[string]int {
	e.t.Helper()
	n := map[string]int{}
	for _, f := range e.gather() {
		n[f.GetName()] = len(f.GetMetric())
	}
	return n
}

// BenchmarkCollection reads a whole cluster whose brokers take 5 ms for each answer.
func BenchmarkCollection(b *testing.B) {
	for _, s := range []shape{small, middle, large} {
		b.Run(fmt.Sprintf("brokers=%d/partitions=%d/groups=%d/commits=%d", s.brokers, s.partitions, s.groups, s.groups*s.commits), func(b *testing.B) {
			f := newShaped(b, s).fronted().warm(b)
			e := newExporter(b, f.addrs(), patient)
			for range 3 { // once with each part that is read seldom
				e.refresh()
			}
			f.setLatency(5 * time.Millisecond)
			before := f.calls()
			b.ReportAllocs()
			for b.Loop() {
				e.refresh()
			}
			b.ReportMetric(float64(sum(f.since(before)))/float64(b.N), "requests/op")
		})
	}
}

// held is what a process holds that must not grow.
type held struct {
	goroutines, descriptors, connections int
	heap, resident                       uint64
}

// holds lets go of all garbage first.
func holds(t testing.TB, f fronts) held {
	t.Helper()
	debug.FreeOSMemory()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return held{
		goroutines: runtime.NumGoroutine(), descriptors: len(descriptors), connections: f.connections(),
		heap: mem.HeapAlloc, resident: resident * uint64(os.Getpagesize()),
	}
}

func TestScaleAThousandCollectionsHoldNoMoreThanTheFirst(t *testing.T) {
	withoutRaceDetector(t)
	f := newShaped(t, shape{brokers: 3, partitions: 200, groups: 20, commits: 10}).fronted()
	// What is read seldom is read all the time.
	e := newExporter(t, f.addrs(), func(c *collector.Config) { c.SlowInterval = time.Nanosecond })
	for range 200 { // the histograms of requests get their buckets
		e.refresh()
	}
	before := holds(t, f)
	for range 1000 {
		e.refresh()
	}
	after := holds(t, f)
	if before.connections != 3 || after.connections != 3 {
		t.Errorf("want one connection per broker, 3 at the start and at the end, got %d and %d", before.connections, after.connections)
	}
	if after.goroutines > before.goroutines || after.descriptors > before.descriptors {
		t.Errorf("want no more than %d goroutines and %d file descriptors, got %d and %d", before.goroutines, before.descriptors, after.goroutines, after.descriptors)
	}
	// A kilobyte per collection would be a fifth of the heap.
	if grown := float64(after.heap) / float64(before.heap); grown > 1.05 {
		t.Errorf("want the heap to stay within 5 %%, got %d bytes after 200 collections and %d after 1,200", before.heap, after.heap)
	}
}

// BenchmarkThousandCollections tells how much more memory is resident after a thousand readings of the middle cluster.
func BenchmarkThousandCollections(b *testing.B) {
	f := newShaped(b, middle).fronted().warm(b)
	e := newExporter(b, f.addrs(), patient)
	for range 200 { // the garbage collector finds its pace, the histograms their buckets
		e.refresh()
	}
	before := holds(b, f)
	for b.Loop() {
		for range 1000 {
			e.refresh()
		}
	}
	after := holds(b, f)
	b.ReportMetric(100*(float64(after.resident)/float64(before.resident)-1), "%RSS")
	b.ReportMetric(100*(float64(after.heap)/float64(before.heap)-1), "%heap")
	b.ReportMetric(float64(after.connections-before.connections), "reconnects")
	b.ReportMetric(float64(after.goroutines-before.goroutines), "more-goroutines")
	b.ReportMetric(float64(after.descriptors-before.descriptors), "more-descriptors")
}

func TestAnAnswerThatIsTooLargeIsAskedForInParts(t *testing.T) {
	largest := sarama.MaxResponseSize
	t.Cleanup(func() { sarama.MaxResponseSize = largest })
	s := shape{brokers: 2, partitions: 40, groups: 80, commits: 20}
	f := newShaped(t, s).fronted()
	sarama.MaxResponseSize = 8_000 // the commits of 40 groups are three times as much, those of all partitions a tenth
	e := newExporter(t, f.addrs(), nil)
	e.refresh()
	before := f.calls()
	opened := f.connections()
	e.refresh()
	if n := e.count()["kafka_consumer_group_lag"]; n != s.groups*s.commits {
		t.Errorf("want lag for %d commits, got %d", s.groups*s.commits, n)
	}
	e.samples().want(t, map[string]string{
		`kafka_exporter_collector_success{collector="groups"}`:                          "1",
		`kafka_exporter_kafka_request_errors_total{api="OffsetFetch",code="too_large"}`: "4", // 40, 20 are too many, of both brokers
	})
	if n := f.since(before)["OffsetFetch"]; n != 8 {
		t.Errorf("want 10 groups at a time from then on, 8 requests, got %d", n)
	}
	if n := f.connections() - opened; n != 0 {
		t.Errorf("want no connection lost from then on, got %d", n)
	}
}

// BenchmarkLeaderless reads the middle cluster without and with 1,000 partitions that have no leader.
func BenchmarkLeaderless(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newShaped(b, middle)
			for p := range int32(n) {
				c.partition("lost", p, 0, []int32{1, 2, 3}, []int32{2}, 0, 0)
			}
			f := c.fronted().warm(b)
			e := newExporter(b, f.addrs(), patient)
			for range 3 {
				e.refresh()
			}
			f.setLatency(5 * time.Millisecond)
			before := f.calls()
			for b.Loop() {
				e.refresh()
			}
			b.ReportMetric(float64(sum(f.since(before)))/float64(b.N), "requests/op")
		})
	}
}
