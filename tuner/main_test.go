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
		"a bad file":                   {[]string{"--config.check", "--config.file=" + write(t, "bad.yaml", "version: 1\nmode: yolo\n")}, 2, "", `mode: want observe, recommend, approve or auto (got "yolo")`},
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
	if code, stdout, stderr := call(t, "status", "--check", "--address="+server.URL); code != 0 || stdout+stderr != "" {
		t.Errorf("fresh figures: got %d %s%s", code, stdout, stderr)
	}
	s.Live = status.Live{Missing: map[string]string{"p99": "unreachable: connection refused"}}
	if code, _, stderr := call(t, "status", "--check", "--address="+server.URL); code != 1 || !strings.Contains(stderr, "no P99: unreachable: connection refused") {
		t.Errorf("no figures: got %d %s", code, stderr)
	}
	if code, _, stderr := call(t, "status", "--address="+server.URL+"/x"); code != 1 || !strings.Contains(stderr, "404") {
		t.Errorf("got %d %s", code, stderr)
	}
}

// TestOrderCommands: what is typed is what the tuner is told.
func TestOrderCommands(t *testing.T) {
	var path, body, token string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		path, body, token = r.Method+" "+r.URL.String(), strings.TrimSpace(string(text)), r.Header.Get("Authorization")
		switch {
		case strings.HasSuffix(r.URL.Path, "/abort"):
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"error":"trial 4 does not run"}`)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/trials"):
			_, _ = io.WriteString(w, `[{"number":1,"changes":[{"knob":"io","old":2,"new":4},{"knob":"net","old":1,"new":2}],"outcome":"kept","effect":0.12,"reason":"more"}]`)
		default:
			_, _ = io.WriteString(w, `{"accepted":"it","text":"because\n","trial":3,"env":"IO","old":"2","new":"4","reason":"next"}`)
		}
	}))
	defer server.Close()
	secret := write(t, "token", "a token that is long enough\n")
	for name, c := range map[string]struct {
		args   []string
		path   string
		body   string
		code   int
		output string
	}{
		"pause":        {[]string{"pause", "--by=sre", "--reason=a release"}, "POST /api/v1/pause", `{"by":"sre","reason":"a release"}`, 0, "accepted"},
		"resume":       {[]string{"resume", "--by=sre"}, "POST /api/v1/resume", `{"by":"sre"}`, 0, "accepted"},
		"approve":      {[]string{"approve", "--by=sre", "3"}, "POST /api/v1/approve", `{"by":"sre","trial":3}`, 0, "accepted"},
		"reject":       {[]string{"reject", "--by=sre", "3"}, "POST /api/v1/reject", `{"by":"sre","trial":3}`, 0, "accepted"},
		"rollback":     {[]string{"rollback", "--by=sre", "0"}, "POST /api/v1/rollback", `{"by":"sre","trial":0}`, 0, "accepted"},
		"abort":        {[]string{"abort", "--by=sre", "4"}, "POST /api/v1/abort", `{"by":"sre","trial":4}`, 1, "trial 4 does not run"},
		"propose":      {[]string{"propose", "--by=sre", "io=4", "net=2"}, "POST /api/v1/propose", `{"by":"sre","knobs":{"io":4,"net":2}}`, 0, "accepted"},
		"tell":         {[]string{"tell", "--by=sre", "--goodput=900", "--p99=12.5", "io=4"}, "POST /api/v1/tell", `{"by":"sre","knobs":{"io":4},"goodput":900,"p99_ms":12.5}`, 0, "accepted"},
		"no number":    {[]string{"propose", "--by=sre", "io=many"}, "", "", 1, `io: want a whole number (got "many")`},
		"why":          {[]string{"why"}, "GET /api/v1/why", "", 0, "because"},
		"why a trial":  {[]string{"why", "2"}, "GET /api/v1/why?trial=2", "", 0, "because"},
		"ask":          {[]string{"ask"}, "GET /api/v1/ask", "", 0, "trial 3: IO 2 → 4: next"},
		"trials":       {[]string{"trials"}, "GET /api/v1/trials", "", 0, "io 2 → 4, net 1 → 2  kept     +12.0 %  more"},
		"with a token": {[]string{"pause", "--by=sre", "--token-file=" + secret}, "POST /api/v1/pause", `{"by":"sre"}`, 0, "accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			path, body, token = "", "", ""
			code, stdout, stderr := call(t, append(c.args, "--address="+server.URL)...)
			if code != c.code || !strings.Contains(stdout+stderr, c.output) || path != c.path || body != c.body {
				t.Errorf("want %d %q, %s with %s\ngot %d %q, %s with %s", c.code, c.output, c.path, c.body, code, stdout+stderr, path, body)
			}
			if want := map[bool]string{true: "Bearer a token that is long enough"}[name == "with a token"]; token != want {
				t.Errorf("want the token %q (got %q)", want, token)
			}
		})
	}
}

// TestTheSwitchIsAFile: it is off while the file is there, and when it cannot be read.
func TestTheSwitchIsAFile(t *testing.T) {
	dir := t.TempDir()
	s := settings{stopFile: filepath.Join(dir, "stop")}
	for _, c := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, ""},
		{func() error { return os.WriteFile(s.stopFile, []byte("an incident\n"), 0o600) }, "the switch is off: an incident"},
		{func() error { return os.WriteFile(s.stopFile, nil, 0o600) }, "the switch is off: " + s.stopFile + " is there"},
		{func() error { return os.Remove(s.stopFile) }, ""},
		{func() error { return os.Mkdir(s.stopFile, 0o700) }, "the switch cannot be read"},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if got := s.stopped(); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("want %q (got %q)", c.want, got)
		}
	}
}

// TestAlone runs the whole program where nothing else runs: it serves, says what it waits for, shows N/A, and ends soon when told to.
func TestAlone(t *testing.T) {
	args, address := alone(t)
	dir := t.TempDir()
	args = append(args, "--status-dir="+filepath.Join(dir, "status"), "--ledger="+filepath.Join(dir, "ledger.jsonl"))
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
	if !strings.Contains(s.Reason, "take the lease") || !strings.Contains(s.Reason, "connection refused") || s.Limits.Memory != "4Gi" {
		t.Errorf("want the reason and the limits shown (got %q, %+v)", s.Reason, s.Limits)
	}
	for path, want := range map[string]string{"/": "<!doctype html>", "/page/now": `"holding"`, "/metrics": `tuner_state{state="holding"} 1`, "/-/ready": "ready"} {
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
	code, _, stderr := call(t, args...) // a second tuner on the same address
	if code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("want the second tuner refused (got %d, %s)", code, stderr)
	}
	code, _, stderr = call(t, "pause", "--address=http://"+address, "--by=test")
	if code != 1 || !strings.Contains(stderr, "409") || !strings.Contains(stderr, "does not act now") {
		t.Errorf("want no orders taken while nobody can carry them out (got %d, %s)", code, stderr)
	}
	start := time.Now()
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("want code 0 (got %d)\n%s", code, errs.String())
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("took %s to end", took)
	}
	var latency struct{ State, Timestamp string }
	if err := json.Unmarshal(read(t, filepath.Join(dir, "status", status.LatencyJSON)), &latency); err != nil || latency.State != "stopped" {
		t.Errorf("want the end shown (got %+v, %v)", latency, err)
	}
}

// alone are the arguments of a tuner for which nothing else is there, with the file of the demo, in which each first is replaced by its second.
func alone(t *testing.T, replace ...string) (args []string, address string) {
	t.Helper()
	nobody := freePort(t)
	config := strings.NewReplacer(append(replace, "http://prometheus.kafkalab.svc.cluster.local:9090", "http://"+nobody, "kafka.kafka.svc.cluster.local:9092", nobody,
		"http://kafka-0.kafka-headless.kafka.svc.cluster.local:9404", "http://"+nobody)...).Replace(string(read(t, "../lab.yaml")))
	kubeconfig := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"http://%s"}}],"users":[{"name":"u","user":{}}]}`, nobody)
	address = freePort(t)
	return []string{
		"--config.file=" + write(t, "lab.yaml", config), "--kubeconfig=" + write(t, "kubeconfig", kubeconfig), "--listen=" + address, "--sandbox.memory=4Gi",
	}, address
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
