package loadgen_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

const partitions = 12

var (
	rounds  = flag.Int("rounds", 5, "runs of each peer, interleaved; the medians are compared")
	seconds = flag.Float64("seconds", 6, "length of a run")
	clients = flag.Int("clients", 1, "producing clients of loadgen and of the bare loop")
	profile = flag.String("profile", "", "folder for processor profiles of the bare loop")
	sizes   = flag.String("sizes", "100,1024,10240", "bytes of a record")
	program = flag.String("loadgen", "", "program to measure instead of the one in this checkout")
)

// BenchmarkProduce prints what each peer did and the ratios of the medians: rate to kafka-producer-perf-test's, processor time per record to
// the bare loop's.
func BenchmarkProduce(b *testing.B) {
	broker := kafkatest.Start(b, kafkatest.Deployed(), kafkatest.Env(map[string]string{
		"KAFKA_HEAP_OPTS":                   "", // Kafka's own default, 1 GB
		"KAFKA_LOG_SEGMENT_DELETE_DELAY_MS": "0",
	}))
	folder := b.TempDir()
	build(b, filepath.Join(folder, "loadgen"))
	for text := range strings.SplitSeq(*sizes, ",") {
		size, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text+"B", func(b *testing.B) {
			for range b.N {
				compare(b, job{Broker: broker.Addr, Bytes: size, Clients: *clients, Seconds: *seconds, Folder: folder})
			}
		})
	}
}

func build(b *testing.B, name string) {
	b.Helper()
	if *program != "" {
		if err := os.Symlink(*program, name); err != nil {
			b.Fatal(err)
		}
		return
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", name, "../../loadgen")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build loadgen: %v\n%s", err, out)
	}
}

// compare runs all peers in turn, once for nothing and then as often as asked.
func compare(b *testing.B, j job) {
	all := []string{ours, bare, java, file}
	results := make(map[string][]outcome)
	records := make(map[string]int) // that Kafka's tool sends in the time
	for round := range *rounds + 1 {
		for n, peer := range all {
			j := j
			j.Topic = fmt.Sprintf("bench-%d-%d-%d", j.Bytes, round, n)
			j.Records = cmp.Or(records[peer], int(j.Seconds*2e8)/(j.Bytes+500))
			if *profile != "" {
				j.Profile = filepath.Join(*profile, j.Topic+".pprof")
			}
			create(b, j)
			o := j.run(b, peer)
			remove(b, j)
			records[peer] = int(o.rate() * j.Seconds)
			if round > 0 {
				results[peer] = append(results[peer], o)
			}
		}
	}
	report(b, all, results, j.Bytes)
}

func report(b *testing.B, all []string, results map[string][]outcome, size int) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\npeer\trecords/s\tlowest\thighest\tMB/s\tCPU µs/record\tRSS MB\tat most")
	rate, cpu := make(map[string]float64), make(map[string]float64)
	for _, peer := range all {
		rates := each(results[peer], outcome.rate)
		rate[peer] = median(rates)
		cpu[peer] = median(each(results[peer], func(o outcome) float64 { return o.CPU / float64(o.All) * 1e6 }))
		rss := each(results[peer], func(o outcome) float64 { return float64(o.RSS) / 1e6 })
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.1f\t%.2f\t%.0f\t%.0f\n", peer, rate[peer], slices.Min(rates), slices.Max(rates), rate[peer]*float64(size)/1e6,
			cpu[peer], median(rss), slices.Max(rss))
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Log(text.String())
	goal := 1.5
	if size < 1024 {
		goal = 0.9 // where a record costs less than making it
	}
	atLeast(b, "rate/perf-test", rate[ours]/rate[java], goal)
	atMost(b, "cpu/sarama", cpu[ours]/cpu[bare], 1.10)
	b.ReportMetric(rate[ours]/rate[file], "rate/perf-test-from-file")
	b.ReportMetric(rate[ours]/rate[bare], "rate/sarama")
	if size == 1024 {
		atMost(b, "MB-resident", slices.Max(each(results[ours], func(o outcome) float64 { return float64(o.RSS) / 1e6 })), 150)
	}
	b.ReportMetric(0, "ns/op")
}

// atMost reports a figure, and fails where it is beyond its goal.
func atMost(b *testing.B, unit string, value, goal float64) {
	b.Helper()
	b.ReportMetric(value, unit)
	if !(value <= goal) {
		b.Errorf("%s: got %.4g, want at most %.4g", unit, value, goal)
	}
}

func atLeast(b *testing.B, unit string, value, goal float64) {
	b.Helper()
	b.ReportMetric(value, unit)
	if !(value >= goal) {
		b.Errorf("%s: got %.4g, want at least %.4g", unit, value, goal)
	}
}

func each(all []outcome, of func(outcome) float64) []float64 {
	var out []float64
	for _, o := range all {
		out = append(out, of(o))
	}
	return out
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func create(b *testing.B, j job) {
	b.Helper()
	admin := connect(b, j)
	defer admin.Close()
	if err := admin.CreateTopic(j.Topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		b.Fatal(err)
	}
}

func remove(b *testing.B, j job) {
	b.Helper()
	admin := connect(b, j)
	defer admin.Close()
	if err := admin.DeleteTopic(j.Topic); err != nil {
		b.Fatal(err)
	}
}

func connect(b *testing.B, j job) sarama.ClusterAdmin {
	b.Helper()
	c, err := kafka.Client{ID: "bench"}.Config()
	if err != nil {
		b.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin([]string{j.Broker}, c)
	if err != nil {
		b.Fatal(err)
	}
	return admin
}
