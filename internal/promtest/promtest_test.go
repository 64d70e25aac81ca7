package promtest_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kafkalab/kafkalab/internal/promtest"
)

// serve exposes a registry on loopback and returns its address.
func serve(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	s := httptest.NewServer(promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestAServerScrapesItsTargets(t *testing.T) {
	var addrs []string
	var values []*atomic.Int64
	for range 2 {
		r, v := prometheus.NewRegistry(), &atomic.Int64{}
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "value", Help: "A value."}, func() float64 { return float64(v.Load()) }))
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "latency_seconds", Help: "Latency.", Buckets: []float64{1, 2}, NativeHistogramBucketFactor: 1.01})
		r.MustRegister(h)
		h.Observe(1.5)
		addrs, values = append(addrs, serve(t, r)), append(values, v)
	}
	s := promtest.Start(t, addrs...)
	for round := range int64(3) {
		values[0].Store(10 * round)
		values[1].Store(round)
		s.Scraped(t)
		if got, want := s.Number(t, "sum(value)"), float64(11*round); got != want {
			t.Errorf("after round %d: got a sum of %v, want %v", round, got, want)
		}
	}
	if got := s.Number(t, "histogram_count(sum(latency_seconds))"); got != 2 {
		t.Errorf("native histograms: got a count of %v, want 2", got)
	}
	if got := s.Number(t, `sum(latency_seconds_bucket{le="2.0"})`); got != 2 {
		t.Errorf("classic buckets: got %v, want 2", got)
	}
	if got := s.QueryAt(t, "value", time.Now().Add(-time.Hour)); len(got) != 0 {
		t.Errorf("an hour ago: got %v, want nothing", got)
	}
}

// recorder takes what would fail a test; Fatal ends its goroutine as in a real one.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Fatal(args ...any) { r.said = fmt.Sprint(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func failure(t *testing.T, act func(testing.TB)) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		act(r)
	}()
	<-done
	return r.said
}

func TestWhatCannotBeDoneIsSaid(t *testing.T) {
	s := promtest.Start(t)
	for name, c := range map[string]struct {
		act  func(testing.TB)
		want string
	}{
		"a query that Prometheus refuses":  {func(t testing.TB) { s.Query(t, "sum(") }, "parse error"},
		"a number from several series":     {func(t testing.TB) { s.Number(t, `label_replace(vector(1), "a", "b", "", "") or vector(2)`) }, "want one number"},
		"a number from nothing":            {func(t testing.TB) { s.Number(t, "absent_metric") }, "want one number"},
		"an expression that gives a range": {func(t testing.TB) { s.Query(t, "up[1m]") }, "an instant vector is wanted"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := failure(t, c.act); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to contain %q", got, c.want)
			}
		})
	}
}

func TestWithoutTheProgramItSaysHowToGetIt(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := failure(t, func(t testing.TB) { promtest.Start(t) }); !strings.Contains(got, "make build") {
		t.Errorf("got %q, want it to name make build", got)
	}
}

func TestNothingIsLeft(t *testing.T) {
	for name, end := range map[string]string{"when the test ends": "return", "when the test program is killed": "killed"} {
		t.Run(name, func(t *testing.T) { leavesNothing(t, end == "killed") })
	}
}

func leavesNothing(t *testing.T, killed bool) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PROMTEST_CHILD=%v", killed), "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		_, url, _ = strings.Cut(lines.Text(), "child-server ")
	}
	if url == "" {
		t.Error("the child started no server")
	}
	if killed {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
	}
	if err := cmd.Wait(); (err != nil) != killed {
		t.Errorf("the child ended with %v", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		left, err := filepath.Glob(filepath.Join(dir, "promtest-*"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = http.Get(url + "/-/healthy")
		if err != nil && len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server answers: %v; files left: %v", err == nil, left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestChild is what leavesNothing runs in a program of its own; by itself it has nothing to show.
func TestChild(t *testing.T) {
	mode := os.Getenv("PROMTEST_CHILD")
	if mode == "" {
		return
	}
	fmt.Printf("child-server %s\n", promtest.Start(t).URL)
	if mode == "true" {
		select {} // until the parent kills this program
	}
}
