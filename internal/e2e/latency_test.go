//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// sample is one record as an independent consumer saw it.
type sample struct {
	at      time.Time
	latency time.Duration
}

// witness consumes the lab's topic by itself, on the machine and not in the cluster, and takes the time of each record.
type witness struct {
	mu      sync.Mutex
	samples []sample
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	// It fetches as the workload says that its consumers fetch: how long a broker may wait for more is part of a consumer's latency.
	load, err := workload.Preset(workload.Default)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := kafka.Client{Brokers: []string{kafkaAddr}, ID: "e2e-witness"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Consumer.Fetch.Min, conf.Consumer.Fetch.Default = int32(load.Consumer.FetchMin), int32(load.Consumer.FetchMax)
	conf.Consumer.MaxWaitTime = load.Consumer.MaxWait
	consumer, err := sarama.NewConsumer([]string{kafkaAddr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	partitions, err := consumer.Partitions(labTopic)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{}
	var wg sync.WaitGroup
	var open []sarama.PartitionConsumer
	for _, p := range partitions {
		pc, err := consumer.ConsumePartition(labTopic, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for m := range pc.Messages() {
				now := time.Now()
				s, err := stamp.Decode(m.Value)
				if err != nil {
					t.Errorf("partition %d, offset %d: %v", m.Partition, m.Offset, err)
					continue
				}
				w.mu.Lock()
				w.samples = append(w.samples, sample{now, now.Sub(time.Unix(0, s.Wall))})
				w.mu.Unlock()
			}
		})
		open = append(open, pc)
	}
	t.Cleanup(func() { // partitions first: the consumer's Close waits for them
		for _, pc := range open {
			pc.AsyncClose()
		}
		wg.Wait()
		consumer.Close()
	})
	return w
}

// p99 is that of the records consumed in a span of time, exactly, and between which two values it is known to lie: some hundreds of batches in a
// window leave half a point of rank to chance, and at the edge of a pause that is the pause.
func (w *witness) p99(from, to time.Time) (p99, low, high time.Duration, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var in []time.Duration
	for _, s := range w.samples {
		if s.at.After(from) && !s.at.After(to) {
			in = append(in, s.latency)
		}
	}
	if len(in) == 0 {
		return 0, 0, 0, 0
	}
	slices.Sort(in)
	at := func(q float64) time.Duration { return in[int(math.Ceil(q*float64(len(in))))-1] }
	return at(0.99), at(0.985), at(0.995), len(in)
}

func readLatency(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(statusDir, "latency.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func latencyFile(t *testing.T) {
	t.Run("it agrees with an independent consumer over a minute", agreesWithWitness)
	t.Run("no reader sees part of a file", neverPartial)
}

// agreesWithWitness reads the files every two seconds for a minute. latency.json says which ten seconds latency.txt speaks of: the witness's
// exact figure for the same ten seconds stands beside each.
func agreesWithWitness(t *testing.T) {
	w := newWitness(t)
	time.Sleep(15 * time.Second) // the first window of the comparison has to be the witness's too
	var files, witnessed, ratios, apart []float64
	records, reads := 0, 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Second) {
		var about struct {
			Timestamp time.Time `json:"timestamp"`
			Age       float64   `json:"age_seconds"`
			Window    float64   `json:"window_seconds"`
			P99       float64   `json:"p99_ms"`
		}
		reads++
		text := readLatency(t)
		data, err := os.ReadFile(filepath.Join(statusDir, "latency.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &about); err != nil {
			t.Fatal(err)
		}
		if text != fmt.Sprintf("%.2f\n", about.P99) {
			continue // the one is a version older than the other
		}
		newest := about.Timestamp.Add(-time.Duration(about.Age * float64(time.Second)))
		// A rate over ten seconds spans from the first scrape in them to the last one: one interval of two seconds less.
		p99, low, high, n := w.p99(newest.Add(2*time.Second-time.Duration(about.Window*float64(time.Second))), newest)
		if n == 0 {
			t.Fatal("the independent consumer got nothing in ten seconds")
		}
		ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
		files, witnessed, ratios, records = append(files, about.P99), append(witnessed, ms(p99)), append(ratios, about.P99/ms(p99)), records+n
		apart = append(apart, about.P99/min(max(about.P99, ms(low)), ms(high)))
	}
	if reads < 10 || 3*len(ratios) < 2*reads { // a slow machine reads fewer than thirty times, and now and then in the middle of an update
		t.Fatalf("only %d figures of %d in a minute", len(ratios), reads)
	}
	t.Logf("each: %.1f against %.1f", files, witnessed)
	t.Logf("latency.txt %.2f ms, independent consumer %.2f ms (medians of %d windows of 10 s, %d records each); median ratio %.3f, to what the P99 is known to be %.3f",
		median(files), median(witnessed), len(files), records/len(files), median(ratios), median(apart))
	if ratio := median(apart); ratio < 0.9 || ratio > 1.1 {
		t.Errorf("latency.txt is %.2f of the independent consumer's P99: %v against %v", ratio, files, witnessed)
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// neverPartial reads while the tuner writes: far more often than any person or agent would.
func neverPartial(t *testing.T) {
	whole := regexp.MustCompile(`^(\d+\.\d\d|N/A)\n$`)
	versions, reads := map[string]bool{}, 0
	for end := time.Now().Add(time.Minute); (reads < 100_000 || len(versions) < 5) && time.Now().Before(end); reads++ {
		text := readLatency(t)
		if !whole.MatchString(text) {
			t.Fatalf("half a file: %q", text)
		}
		versions[text] = true
	}
	t.Logf("%d reads, %d versions", reads, len(versions))
	if reads < 100_000 || len(versions) < 5 {
		t.Errorf("%d reads of %d versions within a minute prove little", reads, len(versions))
	}
}

func stopsAndFollows(t *testing.T, l *lab) {
	l.admin(t, "scale", "deployment", "loadgen", "-n", "kafkalab", "--replicas=0")
	began := time.Now()
	eventually(t, 30*time.Second, "N/A", func() error {
		if text := readLatency(t); text != "N/A\n" {
			return fmt.Errorf("latency.txt says %q", text)
		}
		return nil
	})
	t.Logf("N/A %s after the load generator was told to stop", time.Since(began).Round(100*time.Millisecond))
	l.admin(t, "scale", "deployment", "loadgen", "-n", "kafkalab", "--replicas=1")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	eventually(t, 2*time.Minute, "load", func() error {
		rate, err := l.value(ctx, `sum(rate(loadgen_end_to_end_seconds_count[4s]))`)
		if err == nil && !(rate > 0) {
			return fmt.Errorf("rate %v", rate)
		}
		return err
	})
	began = time.Now()
	eventually(t, 6*time.Second, "a figure within two scrapes and a refresh", func() error {
		if text := readLatency(t); text == "N/A\n" {
			return fmt.Errorf("latency.txt says %q", text)
		}
		return nil
	})
	t.Logf("a figure %s after Prometheus had one", time.Since(began).Round(100*time.Millisecond))
}
