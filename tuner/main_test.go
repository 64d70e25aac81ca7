package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// buffer can be read while the program writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ledgerFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, _, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	change := &ledger.Change{Knob: "io_threads", Env: "KAFKA_NUM_IO_THREADS", Old: 2, New: 4, OldText: "2", NewText: "4"}
	point := space.Point{"io_threads": 4}
	for _, r := range []ledger.Record{
		{Kind: ledger.Session, Point: space.Point{"io_threads": 2}},
		{Kind: ledger.Edge, Phase: ledger.Proposed, Trial: 1, Change: change, Point: point},
		{Kind: ledger.Edge, Phase: ledger.Applying, Trial: 1, Point: point},
		{Kind: ledger.Edge, Phase: ledger.Judged, Trial: 1, Outcome: ledger.OutcomeKept, Reason: "goodput went up"},
		{Kind: ledger.Edge, Phase: ledger.Kept, Trial: 1, Point: point},
		{Kind: ledger.Outside, Author: "kubectl-patch", Point: space.Point{"io_threads": 8}, Changes: []ledger.Change{{Knob: "io_threads", OldText: "4", NewText: "8"}}},
	} {
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func unordered(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, _, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ledger.Record{Kind: ledger.Edge, Phase: ledger.Kept, Trial: 1}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommands(t *testing.T) {
	good := ledgerFile(t)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	damaged := write(t, "damaged.jsonl", strings.Replace(string(text), "io_threads", "io_threadz", 1))
	torn := write(t, "torn.jsonl", string(text[:len(text)-10]))
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"the demo's file is good":      {[]string{"--config.check", "--config.file=../lab.yaml"}, 0, "good", ""},
		"a file that is not there":     {[]string{"--config.check", "--config.file=none.yaml"}, 2, "", "none.yaml"},
		"a bad file":                   {[]string{"--config.check", "--config.file=" + write(t, "bad.yaml", "version: 1\nmode: yolo\n")}, 2, "", `mode: want observe, recommend or auto (got "yolo")`},
		"a flag that is not there":     {[]string{"--verbose"}, 2, "", "see --help"},
		"help":                         {[]string{"--help"}, 0, "ledger verify", ""},
		"show":                         {[]string{"ledger", "show", good}, 0, "outside by kubectl-patch", ""},
		"show names the effect":        {[]string{"ledger", "show", good}, 0, "goodput went up", ""},
		"show as JSON":                 {[]string{"ledger", "show", "--json", good}, 0, `"phase":"kept"`, ""},
		"show what is torn":            {[]string{"ledger", "show", torn}, 0, "unfinished record", ""},
		"verify":                       {[]string{"ledger", "verify", good}, 0, "6 records, checksums and order are right", ""},
		"verify what is torn":          {[]string{"ledger", "verify", torn}, 0, "unfinished record", ""},
		"verify what was changed":      {[]string{"ledger", "verify", damaged}, 1, "", "line 1: damaged: its checksum"},
		"verify names the head":        {[]string{"ledger", "verify", good}, 0, "\nhead ", ""},
		"verify what is out of turn":   {[]string{"ledger", "verify", unordered(t)}, 1, "", "record 1: phase kept of trial 1, which is not running"},
		"no ledger":                    {[]string{"ledger", "verify", "none.jsonl"}, 2, "", "none.jsonl"},
		"no ledger to show":            {[]string{"ledger", "show", "none.jsonl"}, 2, "", "none.jsonl"},
		"a report":                     {[]string{"report", good}, 0, "# Tuning report", ""},
		"a report as JSON":             {[]string{"report", "--format=json", good}, 0, `"schema": 1`, ""},
		"a report as a page":           {[]string{"report", "--format=html", good}, 0, "<!doctype html>", ""},
		"a report of another form":     {[]string{"report", "--format=pdf", good}, 2, "", "markdown,json,html"},
		"a report of what was changed": {[]string{"report", damaged}, 1, "", "line 1: damaged"},
		"a report of no ledger":        {[]string{"report", "none.jsonl"}, 2, "", "none.jsonl"},
		"a report into no folder":      {[]string{"report", "--out=none/report.md", good}, 1, "", "write report"},
		"a tuner that is not there":    {[]string{"status", "--address=http://127.0.0.1:1"}, 1, "", "ask tuner"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("want code %d, %q, %q (got %d)\n%s\n%s", c.code, c.stdout, c.stderr, code, stdout, stderr)
			}
		})
	}
}

func TestReportIntoAFile(t *testing.T) {
	path := write(t, "report.html", "an older one")
	if code, stdout, stderr := call(t, "report", "--format=html", "--out="+path, ledgerFile(t)); code != 0 || stdout != "" {
		t.Fatalf("got %d %s %s", code, stdout, stderr)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if text := string(read(t, path)); err != nil || !strings.HasPrefix(text, "<!doctype html>") || len(left) != 1 {
		t.Errorf("want the report and nothing else (got %v, %.40s, %v)", left, text, err)
	}
}

func TestStatusCommand(t *testing.T) {
	s := status.Snapshot{State: status.Done, Mode: "auto", Live: status.Live{P99: status.Ptr(12.5)}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/status" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	defer server.Close()
	if code, stdout, _ := call(t, "status", "--address="+server.URL+"/"); code != 0 || !strings.Contains(stdout, "12.50 ms") {
		t.Errorf("got %d %s", code, stdout)
	}
	if code, stdout, _ := call(t, "status", "--json", "--address="+server.URL); code != 0 || !json.Valid([]byte(stdout)) {
		t.Errorf("got %d %s", code, stdout)
	}
	if code, _, stderr := call(t, "status", "--address="+server.URL+"/x"); code != 1 || !strings.Contains(stderr, "404") {
		t.Errorf("got %d %s", code, stderr)
	}
}

// TestAlone runs the whole program where nothing else runs: it serves, says what it waits for, shows N/A, and ends soon when told to.
func TestAlone(t *testing.T) {
	nobody := freePort(t)
	config := strings.NewReplacer("http://prometheus.kafkalab.svc.cluster.local:9090", "http://"+nobody, "kafka.kafka.svc.cluster.local:9092", nobody,
		"http://kafka-0.kafka-headless.kafka.svc.cluster.local:9404", "http://"+nobody).Replace(string(read(t, "../lab.yaml")))
	kubeconfig := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"http://%s"}}],"users":[{"name":"u","user":{}}]}`, nobody)
	dir, address := t.TempDir(), freePort(t)
	args := []string{
		"--config.file=" + write(t, "lab.yaml", config), "--kubeconfig=" + write(t, "kubeconfig", kubeconfig), "--listen=" + address,
		"--status-dir=" + filepath.Join(dir, "status"), "--ledger=" + filepath.Join(dir, "ledger.jsonl"), "--sandbox.memory=4Gi",
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, args, &out, &errs) }()

	var s status.Snapshot
	eventually(t, func() error {
		resp, err := http.Get("http://" + address + "/api/v1/status")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
			return err
		}
		if s.State != status.Holding || !strings.Contains(s.Live.Missing["p99"], "unreachable") {
			return fmt.Errorf("want it holding without figures (got %s, %v)", s.State, s.Live.Missing)
		}
		return nil
	})
	if !strings.Contains(s.Reason, "get statefulset kafka/kafka") || s.Limits.Memory != "4Gi" {
		t.Errorf("want the reason and the limits shown (got %q, %+v)", s.Reason, s.Limits)
	}
	for path, want := range map[string]string{"/": "holding", "/metrics": `tuner_state{state="holding"} 1`, "/-/ready": "ready"} {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: want %q (got %s, %v)", path, want, body, err)
		}
	}
	if got := string(read(t, filepath.Join(dir, "status", status.LatencyText))); got != "N/A\n" {
		t.Errorf("want N/A (got %q)", got)
	}
	code, _, stderr := call(t, args...) // a second tuner on the same ledger
	if code != 1 || !strings.Contains(stderr, "another tuner writes it") {
		t.Errorf("want the second tuner refused (got %d, %s)", code, stderr)
	}
	start := time.Now()
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("want code 0 (got %d)\n%s", code, errs.String())
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s to end", took)
	}
	var latency struct{ State, Timestamp string }
	if err := json.Unmarshal(read(t, filepath.Join(dir, "status", status.LatencyJSON)), &latency); err != nil || latency.State != "stopped" {
		t.Errorf("want the end shown (got %+v, %v)", latency, err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
