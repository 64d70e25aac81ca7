package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output can be written by the program and read by the test at the same time.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func TestCommandLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, tt := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"help":                 {[]string{"--help"}, 0, []string{"--kafka.brokers", "--topic.filter", "--group.exclude", "127.0.0.1:9308"}},
		"version":              {[]string{"--version"}, 0, []string{"exporter"}},
		"an unknown flag":      {[]string{"--topics=a"}, 2, []string{"--topics", "--help"}},
		"an argument":          {[]string{"broker:9092"}, 2, []string{"broker:9092"}},
		"a bad expression":     {[]string{"--topic.filter=a(b"}, 2, []string{"--topic.filter", `"a(b"`}},
		"a broken parenthesis": {[]string{"--group.exclude=a)(b"}, 2, []string{"--group.exclude", `"a)(b"`}},
		"brokers without port": {[]string{"--kafka.brokers=a:9092,b"}, 2, []string{"--kafka.brokers", `"b"`, "host:port"}},
		"no broker":            {[]string{"--kafka.brokers=,"}, 2, []string{"--kafka.brokers", "at least one"}},
		"every mistake at once": {[]string{"--kafka.timeout=0s", "--collect.timeout=-1s", "--collect.min-interval=2h"}, 2,
			[]string{"--kafka.timeout", "--collect.timeout", "--collect.min-interval"}},
		"a busy address": {[]string{"--web.listen-address=" + busy.Addr().String()}, 1, []string{busy.Addr().String(), "in use"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out output
			if code := run(t.Context(), tt.args, &out, &out); code != tt.code {
				t.Errorf("want exit code %d, got %d", tt.code, code)
			}
			for _, s := range tt.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("want %q in the output, got:\n%s", s, out.String())
				}
			}
		})
	}
}

func TestItServesWithoutKafkaAndEndsOnSIGTERM(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel's backlog and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var out output
	ended := make(chan int, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	go func() {
		ended <- run(ctx, []string{"--web.listen-address=127.0.0.1:0", "--kafka.brokers=" + silent.Addr().String()}, &out, &out)
	}()
	addr := listening(t, &out)
	for path, status := range map[string]int{"/-/healthy": http.StatusOK, "/-/ready": http.StatusServiceUnavailable} {
		if code, body := get(t, addr+path, ""); code != status {
			t.Errorf("%s: want status %d, got %d: %s", path, status, code, body)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("want answers at once, took %s", took)
	}
	if code, body := get(t, addr+"/metrics", "0.5"); code != http.StatusOK || !strings.Contains(body, "kafka_exporter_build_info") {
		t.Errorf("want status 200 and the exporter's own metrics, got %d:\n%s", code, body)
	}

	answered := make(chan int, 1)
	go func() {
		code, _ := get(t, addr+"/metrics", "30")
		answered <- code
	}()
	waitForScrape(t)
	began = time.Now()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("want exit code 0, got %d; log:\n%s", code, out.String())
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("want the end within 5 s, took %s", took)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("not ended 20 s after SIGTERM; log:\n%s", out.String())
	}
	if code := <-answered; code != http.StatusOK {
		t.Errorf("want the scrape under way answered with 200, got %d", code)
	}
}

// listening waits for the address in the log.
func listening(t testing.TB, out *output) string {
	t.Helper()
	addr := regexp.MustCompile(`msg=listening addr=(\S+)`)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if m := addr.FindStringSubmatch(out.String()); m != nil {
			return "http://" + m[1]
		}
	}
	t.Fatalf("not listening within 10 s; log:\n%s", out.String())
	return ""
}

// waitForScrape waits until the server is handling a request.
func waitForScrape(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("http.serverHandler.ServeHTTP")) {
			return
		}
	}
	t.Fatalf("no scrape under way within 10 s; goroutines:\n%s", stacks[:runtime.Stack(stacks, true)])
}

func get(t *testing.T, url, timeout string) (int, string) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	if timeout != "" {
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(body)
}
