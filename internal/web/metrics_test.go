package web_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/kafkalab/kafkalab/internal/web"
)

// twice is a collector with a mistake: it has one series two times.
type twice struct{ desc *prometheus.Desc }

func (c twice) Describe(out chan<- *prometheus.Desc) { out <- c.desc }
func (c twice) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1)
	out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 2)
}

type log struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *log) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.Write(p) }
func (l *log) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

// run serves a registry until the test ends.
func run(t *testing.T, c web.Config) *web.Server {
	t.Helper()
	c.Name = "prog"
	if !c.SystemdSocket && c.Listen == nil {
		c.Listen = []string{"127.0.0.1:0"}
	}
	s, err := web.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

func metrics(t *testing.T, addr, accept string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, body
}

func TestADuplicateCostsNoOtherMetricItsPlace(t *testing.T) {
	registry := prometheus.NewRegistry()
	healthy := prometheus.NewGauge(prometheus.GaugeOpts{Name: "healthy", Help: "Well."})
	healthy.Set(3)
	registry.MustRegister(healthy, twice{prometheus.NewDesc("doubled", "Twice.", nil, nil)})
	var said log
	addr := run(t, web.Config{Registry: registry, Logger: slog.New(slog.NewTextHandler(&said, nil))}).Addr()
	for _, accept := range []string{"text/plain", "application/openmetrics-text;version=1.0.0", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		answer, body := metrics(t, addr, accept)
		if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "healthy") || !strings.Contains(string(body), "doubled") {
			t.Errorf("%s: got status %d:\n%s", accept, answer.StatusCode, body)
		}
	}
	if !strings.Contains(said.String(), "doubled") || !strings.Contains(said.String(), "collected before") {
		t.Errorf("the log does not tell:\n%s", said.String())
	}
}

func TestProtobufHasNativeHistogramsAndOpenMetricsExemplars(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "took_seconds", Help: "Time.", Buckets: []float64{1}, NativeHistogramBucketFactor: 1.1})
	registry.MustRegister(h)
	h.(prometheus.ExemplarObserver).ObserveWithExemplar(0.5, prometheus.Labels{"trace": "abc"})
	addr := run(t, web.Config{Registry: registry}).Addr()
	if _, body := metrics(t, addr, "application/openmetrics-text;version=1.0.0"); !strings.Contains(string(body), `# {trace="abc"} 0.5`) || !strings.HasSuffix(string(body), "# EOF\n") {
		t.Errorf("OpenMetrics: got\n%s", body)
	}
	answer, body := metrics(t, addr, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	decoder := expfmt.NewDecoder(strings.NewReader(string(body)), expfmt.ResponseFormat(answer.Header))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); err != nil {
			t.Fatalf("protobuf: no native histogram among the families: %v", err)
		}
		if family.GetName() == "took_seconds" {
			if got := family.Metric[0].Histogram; got.Schema == nil || len(got.PositiveSpan) == 0 {
				t.Errorf("got %v", got)
			}
			return
		}
	}
}

func TestEachOfSeveralAddressesIsServed(t *testing.T) {
	one, two := "127.0.0.2:0", "127.0.0.1:0"
	var said log
	run(t, web.Config{Registry: prometheus.NewRegistry(), Listen: []string{one, two}, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	addrs := strings.Split(strings.TrimSpace(said.String()), "\n")
	for deadline := time.Now().Add(10 * time.Second); len(addrs) < 2 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		addrs = strings.Split(strings.TrimSpace(said.String()), "\n")
	}
	for _, line := range addrs {
		_, addr, found := strings.Cut(line, "addr=")
		if !found {
			t.Fatalf("no address in %q", line)
		}
		if answer, _ := metrics(t, addr, ""); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: got status %d", addr, answer.StatusCode)
		}
	}
	if len(addrs) != 2 {
		t.Errorf("got %q, want two addresses", addrs)
	}
}

// activated tells this test program that it was started with a socket, as systemd does it.
const activated = "KAFKALAB_TEST_ACTIVATED"

func TestSocketsOfSystemdAreServed(t *testing.T) {
	if os.Getenv(activated) != "" {
		child(t)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run=TestSocketsOfSystemdAreServed`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", activated+"=1")
	cmd.ExtraFiles = []*os.File{socket} // becomes descriptor 3, the first that systemd passes
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	addr := ""
	for addr == "" && lines.Scan() {
		addr, _ = strings.CutPrefix(lines.Text(), "serving ")
		if addr == lines.Text() {
			addr = ""
		}
	}
	if answer, _ := metrics(t, addr, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("got status %d", answer.StatusCode)
	}
	_ = in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// child is the program that systemd started: it serves until its standard input ends.
func child(t *testing.T) {
	s := run(t, web.Config{Registry: prometheus.NewRegistry(), SystemdSocket: true})
	_, _ = os.Stdout.WriteString("serving " + s.Addr() + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestWithoutASocketOfSystemdItSaysSo(t *testing.T) {
	_, err := web.New(web.Config{Name: "prog", Registry: prometheus.NewRegistry(), SystemdSocket: true})
	if err == nil || !strings.Contains(err.Error(), "started by a socket unit") {
		t.Errorf("got %v", err)
	}
	if _, err := web.New(web.Config{Name: "prog", Registry: prometheus.NewRegistry()}); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("no address at all: got %v", err)
	}
}
