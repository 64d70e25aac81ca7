package drive_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// quick is a client that costs nothing: it acknowledges each record at once, in batches as a client that writes requests does.
type quick struct {
	batch int
}

func (q *quick) Open(_ int, done func([]*drive.Record, error)) (drive.Sink, error) {
	return &quickSink{quick: q, done: done, held: make([]*drive.Record, 0, q.batch)}, nil
}

type quickSink struct {
	*quick
	done func([]*drive.Record, error)
	held []*drive.Record
}

func (s *quickSink) Send(_ context.Context, r *drive.Record) bool {
	s.held = append(s.held, r)
	if len(s.held) == s.batch {
		s.flush()
	}
	return true
}

func (s *quickSink) flush() {
	s.done(s.held, nil)
	s.held = s.held[:0]
}

func (s *quickSink) Close(context.Context) error {
	s.flush()
	return nil
}

// What the generator itself costs for each record: schedule, key, partition, stamp, and the books, without any client. The goal is 150 ns
// and no allocation.
func BenchmarkOwnWork(b *testing.B) {
	const text = "name: own\nwarmup: 0s\ntopic: {partitions: 12}\nproducer: {clients: 1, in_flight: 4096}\nconsumer: {clients: 0}\n"
	for name, c := range map[string]struct {
		more  string
		batch int
	}{
		"without keys":          {"", 64},
		"answers one by one":    {"", 1},
		"uniform keys":          {"keys: {distribution: uniform, count: 100000}\n", 64},
		"zipf keys":             {"keys: {distribution: zipf, count: 100000, exponent: 0.99}\n", 64},
		"the stamp in a header": {"payload: {bytes: 1024, stamp: header}\n", 64},
	} {
		b.Run(name, func(b *testing.B) {
			w, err := workload.Parse([]byte(text + c.more))
			if err != nil {
				b.Fatal(err)
			}
			// All is due long before it can be sent, so what is measured is work, not waiting.
			const rate = 5e7
			e, err := drive.New(drive.Config{
				Workload: w, Topic: "lab", Partitions: 12, Rate: rate, Duration: time.Duration(float64(b.N) / rate * 1e9), Run: 7, Catchup: time.Hour,
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			before := cpu(b)
			b.ResetTimer()
			if err := e.Run(b.Context(), &quick{batch: c.batch}, time.Hour); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op") // of other work on the machine, only the caches are in it
			if total := e.Totals(); total.Acked != total.Offered || math.Abs(float64(total.Offered)-float64(b.N)) > 1 {
				b.Errorf("got %d offered and %d acknowledged, want %d", total.Offered, total.Acked, b.N)
			}
		})
	}
}

// seconds is a client that costs next to nothing and counts what is sent in each second.
type seconds struct {
	engine *drive.Engine
	mu     sync.Mutex
	sent   map[int64]int
}

func (c *seconds) Open(_ int, done func([]*drive.Record, error)) (drive.Sink, error) {
	return &secondsSink{seconds: c, done: done, one: make([]*drive.Record, 1), counted: make(map[int64]int)}, nil
}

type secondsSink struct {
	*seconds
	done    func([]*drive.Record, error)
	one     []*drive.Record
	counted map[int64]int
}

func (s *secondsSink) Send(_ context.Context, r *drive.Record) bool {
	s.counted[int64((r.Sent-s.engine.Began())/time.Second)]++
	s.one[0] = r
	s.done(s.one, nil)
	return true
}

func (s *secondsSink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for second, n := range s.counted {
		s.sent[second] += n
	}
	return nil
}

// How well the schedule is kept on a real clock: the goals are an offered count within 0.1 %, every second within 1 %, and a P99 of schedule
// lag of 2 ms at most.
func BenchmarkFidelity(b *testing.B) {
	const (
		length = 10
		text   = "name: fidelity\nwarmup: 0s\npayload: {bytes: 1024}\ntopic: {partitions: 12}\nproducer: {clients: 2}\nconsumer: {clients: 0}\n"
	)
	for _, rate := range []float64{1000, 10000, 100000, 500000} {
		b.Run(fmt.Sprintf("%.0f per second", rate), func(b *testing.B) {
			w, err := workload.Parse([]byte(text))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				e, err := drive.New(drive.Config{Workload: w, Topic: "lab", Partitions: 12, Rate: rate, Duration: length * time.Second, Run: 7, Catchup: time.Hour})
				if err != nil {
					b.Fatal(err)
				}
				client := &seconds{engine: e, sent: make(map[int64]int)}
				before := cpu(b)
				if err := e.Run(b.Context(), client, time.Minute); err != nil {
					b.Fatal(err)
				}
				total := e.Totals()
				worst := 0.0
				for second := range int64(length) {
					worst = max(worst, math.Abs(float64(client.sent[second])/rate-1))
				}
				lag, _ := total.Lag.Quantile(0.99)
				b.ReportMetric(100*math.Abs(float64(total.Offered)/(rate*length)-1), "%off")
				b.ReportMetric(100*worst, "%off-worst-second")
				b.ReportMetric(float64(lag)/1e6, "ms-lag-p99")
				b.ReportMetric(float64(cpu(b)-before)/float64(max(total.Sent, 1)), "cpu-ns/record")
			}
		})
	}
}

// cpu is the processor time that this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
