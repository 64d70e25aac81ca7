package exporter_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafka"
)

var (
	rounds  = flag.Int("rounds", 15, "scrapes of each kind, interleaved; the medians count")
	program = flag.String("exporter", "", "program to measure instead of the one in this checkout")
)

// format is one way in which a client asks for the metrics.
type format struct {
	name, accept string
	gzip         bool
}

const (
	asText        = "text/plain;version=0.0.4"
	asOpenMetrics = "application/openmetrics-text;version=1.0.0"
	asProtobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

var formats = []format{
	{"text", asText, false}, {"text, gzip", asText, true}, {"OpenMetrics, gzip", asOpenMetrics, true},
	{"protobuf", asProtobuf, false}, {"protobuf, gzip", asProtobuf, true},
}

// BenchmarkScrape prints what a scrape takes, of one exporter that reads the cluster for each and of one that shows again what it has.
func BenchmarkScrape(b *testing.B) {
	addr := start(b)
	binary := build(b)
	reads := run(b, binary, "--kafka.brokers="+addr, "--collect.min-interval=0s")
	shows := run(b, binary, "--kafka.brokers="+addr, "--collect.min-interval=1h", "--collect.max-age=1h")
	for b.Loop() {
		var text strings.Builder
		w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "\nformat\twith a reading, s: median (least to most)\twhat is there, s: median (least to most)\tbytes")
		scrapes := map[*running]map[string][]float64{reads: {}, shows: {}}
		bytes := map[string]int{}
		for round := range *rounds + 3 { // the first are for warming up
			for _, f := range formats {
				for p, taken := range scrapes {
					seconds, n := p.scrape(b, f)
					bytes[f.name] = n
					if round >= 3 {
						taken[f.name] = append(taken[f.name], seconds)
					}
				}
			}
		}
		for _, f := range formats {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", f.name, spread(scrapes[reads][f.name]), spread(scrapes[shows][f.name]), bytes[f.name])
		}
		w.Flush()
		fmt.Println(text.String())
		fmt.Printf("%d scrapes with a reading: %.1f ms of processor time each, resident %d MB, at most %d MB\n", reads.scrapes, 1000*reads.cpu(b)/float64(reads.scrapes),
			reads.memory(b, "VmRSS"), reads.memory(b, "VmHWM"))
		fmt.Printf("%d scrapes of what is there: %.1f ms of processor time each, resident %d MB\n\n", shows.scrapes, 1000*shows.cpu(b)/float64(shows.scrapes), shows.memory(b, "VmRSS"))
		b.ReportMetric(median(scrapes[reads]["protobuf, gzip"]), "s/reading")
		b.ReportMetric(median(scrapes[shows]["protobuf, gzip"]), "s/fresh")
		b.ReportMetric(float64(reads.memory(b, "VmHWM")), "MB-RSS")
	}
}

// BenchmarkCollect reads the cluster from inside this process: for -cpuprofile and -memprofile.
func BenchmarkCollect(b *testing.B) {
	addr := start(b)
	settings, err := kafka.Client{Brokers: []string{addr}, ID: "bench"}.Config()
	if err != nil {
		b.Fatal(err)
	}
	e, err := collector.New(collector.Config{Kafka: settings, Brokers: []string{addr}, MinInterval: -1, TopicConfigs: []string{"min.insync.replicas", "retention.ms"}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Refresh(context.Background())
	}
	b.StopTimer()
	ended, stop := context.WithCancel(context.Background())
	stop()
	_ = e.Run(ended) // closes the connections
}

func build(b *testing.B) string {
	b.Helper()
	if *program != "" {
		return *program
	}
	name := filepath.Join(b.TempDir(), "exporter")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", name, "../../exporter")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build exporter: %v\n%s", err, out)
	}
	return name
}

// running is an exporter's process.
type running struct {
	pid     int
	url     string
	scrapes int
}

func run(b *testing.B, binary string, args ...string) *running {
	b.Helper()
	cmd := exec.Command(binary, append(args, "--web.listen-address=127.0.0.1:0")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	listening := regexp.MustCompile(`msg=listening .*addr=(\S+)`)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go io.Copy(io.Discard, log) //nolint:errcheck // ends with the process
			return &running{pid: cmd.Process.Pid, url: "http://" + m[1] + "/metrics"}
		}
	}
	b.Fatal("the exporter ended before it listened")
	return nil
}

var client = &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: time.Minute}

// scrape reads the metrics once, as Prometheus would: the time until the last byte, and how many there were.
func (r *running) scrape(b *testing.B, f format) (seconds float64, size int) {
	b.Helper()
	r.scrapes++
	ask, err := http.NewRequest(http.MethodGet, r.url, nil)
	if err != nil {
		b.Fatal(err)
	}
	ask.Header.Set("Accept", f.accept)
	ask.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "30")
	if f.gzip {
		ask.Header.Set("Accept-Encoding", "gzip")
	}
	began := time.Now()
	answer, err := client.Do(ask)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	took := time.Since(began)
	_ = answer.Body.Close()
	if err != nil || answer.StatusCode != http.StatusOK {
		b.Fatalf("scrape: status %d, %v", answer.StatusCode, err)
	}
	check(b, f, body)
	return took.Seconds(), len(body)
}

// check fails unless the page has the lag of every group.
func check(b *testing.B, f format, body []byte) {
	b.Helper()
	if f.gzip {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(z)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if f.accept == asProtobuf {
		if !bytes.Contains(body, []byte("kafka_consumer_group_lag")) {
			b.Fatalf("want lag in the page, got %d bytes without", len(body))
		}
		return
	}
	want := *groups * *partitions
	if got := bytes.Count(body, []byte("\nkafka_consumer_group_lag{")); got != want {
		b.Fatalf("want the lag of %d partitions, got %d", want, got)
	}
}

func (r *running) proc(b *testing.B, file string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(r.pid), file))
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// memory is a line of the process's status, in MB.
func (r *running) memory(b *testing.B, name string) int {
	b.Helper()
	_, after, _ := strings.Cut(r.proc(b, "status"), name+":")
	kb, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kb * 1024 / 1e6
}

// cpu is the process's time in user and kernel mode until now, in seconds.
func (r *running) cpu(b *testing.B) float64 {
	b.Helper()
	_, after, _ := strings.Cut(r.proc(b, "stat"), ") ")
	const user, system, perSecond = 11, 12, 100
	fields := strings.Fields(after)
	u, err1 := strconv.Atoi(fields[user])
	s, err2 := strconv.Atoi(fields[system])
	if err := cmp.Or(err1, err2); err != nil {
		b.Fatal(err)
	}
	return float64(u+s) / perSecond
}

func spread(v []float64) string {
	return fmt.Sprintf("%.3f (%.3f to %.3f)", median(v), slices.Min(v), slices.Max(v))
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
