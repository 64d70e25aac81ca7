package mcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/mcp"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// world is the cluster, its broker and its load: what it measures depends on its configuration alone.
type world struct {
	mu         sync.Mutex
	env        map[string]string
	generation int64
	knobs      []space.Knob
	patches    []string
}

func (w *world) Look(context.Context) (apply.View, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return apply.View{Env: maps.Clone(w.env), Generation: w.generation, Memory: 1 << 30}, nil
}

func (w *world) Set(ctx context.Context, variable, old, new string) (apply.View, error) {
	w.mu.Lock()
	if w.env[variable] == old {
		w.env[variable] = new
		w.generation++
		w.patches = append(w.patches, variable+"="+new)
	}
	w.mu.Unlock()
	return w.Look(ctx)
}

func (w *world) Restore(ctx context.Context, variable, old, new string) (apply.View, error) {
	return w.Set(ctx, variable, old, new)
}

func (w *world) changes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.patches...)
}

func (w *world) point() (space.Point, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return space.Parse(w.knobs, w.env)
}

// Redeploy takes part in what the tuner does at the end of a search.
func (w *world) Redeploy(ctx context.Context, _ string) (apply.View, error) {
	w.mu.Lock()
	w.generation++
	w.mu.Unlock()
	return w.Look(ctx)
}

func (w *world) Measure(context.Context, observe.Span) (judge.Window, error) {
	p, err := w.point()
	return judge.Window{Goodput: 1000 + 100*float64(p["io"]), P99: 0.1}, err
}

func (w *world) Rights(context.Context) error                   { return nil }
func (w *world) Restarts(string) bool                           { return true }
func (w *world) Rollout(context.Context) error                  { return nil }
func (w *world) Rollback(context.Context) error                 { return nil }
func (w *world) Lives(context.Context) (apply.Lives, error)     { return apply.Lives{}, nil }
func (w *world) Effective(context.Context) (space.Point, error) { return w.point() }
func (w *world) Healthy(context.Context) error                  { return nil }
func (w *world) Emit(context.Context, apply.Event) error        { return nil }
func (w *world) Live(context.Context) observe.Live {
	return observe.Live{P99: status.Ptr(0.1), Acked: status.Ptr(1000.0)}
}

const file = `
version: 1
mode: MODE
target: {namespace: kafka, name: kafka, container: kafka, bootstrap: ["kafka:9092"], jvm_metrics: ["http://kafka:9404/metrics"]}
prometheus: {url: "http://prometheus:9090", scrape_interval: 100ms}
knobs:
- {name: heap, env: HEAP, format: "-Xmx{v}m", unit: MiB, min: 256, max: 2048, steps: [256, 512], memory_fraction: 0.75, readback: jvm-heap}
- {name: io, env: IO, format: "{v}", unit: threads, min: 1, max: 8, steps: [2, 4], readback: "broker-config:num.io.threads"}
- {name: codec, type: categorical, choices: [none, lz4, zstd], env: CODEC, format: "{v}", readback: "broker-config:compression.type"}
limits: ["heap + 50*io <= 1000"]
objective: {slo: 200ms}
guards:
- {name: nothing lost, query: "sum(increase(lost[$window]))", max: 0, breach: worse}
windows: {settle: 0s, settle_limit: 30s, warmup: 0s, warmup_limit: 1s, window: 400ms, count: 4, rollout: 60s, max_age: 10m}
`

// lab is a tuner with its loop and its API.
type lab struct {
	t     *testing.T
	world *world
	board *status.Board
	url   string
	book  string // the ledger's file
	token string // its file
	log   *log
}

// log can be read while it is written.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a tuner in the mode until the test ends; more is added to its file, and a token makes it ask for one.
func start(t *testing.T, mode config.Mode, more, token string) *lab {
	t.Helper()
	f, err := config.Parse("test", []byte(strings.Replace(file, "MODE", string(mode), 1)+more))
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, log: &log{}, book: filepath.Join(t.TempDir(), "ledger.jsonl")}
	l.world = &world{env: map[string]string{"HEAP": "-Xmx256m", "IO": "2", "CODEC": "none"}, knobs: f.Space()}
	if token != "" {
		l.token = filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(l.token, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	book, _, err := ledger.Open(l.book)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(l.log, nil))
	c := trial.Config{File: f, Cluster: l.world, Broker: l.world, Meter: l.world, Herald: l.world, Journal: book, Logger: logger}
	c.Board = status.NewBoard(trial.First(c))
	l.board = c.Board
	runner, err := trial.New(c)
	if err != nil {
		t.Fatal(err)
	}
	listen := "127.0.0.1:9500"
	if token != "" {
		listen = ":9500"
	}
	a, err := api.New(api.Config{Board: l.board, Orders: runner, File: f, Ledger: l.book, TokenFile: l.token, Listen: listen, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range a.Routes() {
		mux.Handle(pattern, h)
	}
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { // the page's
		_ = json.NewEncoder(w).Encode(l.board.Snapshot())
	})
	server := httptest.NewServer(mux)
	l.url = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the loop ended with %v", err)
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// server is what agents talk to.
func (l *lab) server(propose bool) *mcp.Server {
	l.t.Helper()
	s, err := mcp.New(mcp.Config{
		Tuner: api.Client{Address: l.url, TokenFile: l.token}, Propose: propose, Version: "test", Logger: slog.New(slog.NewTextHandler(l.log, nil)),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// agent is the SDK's client, at the other end of a pair of pipes. What goes through them is in wire.
type agent struct {
	*sdk.ClientSession
	t    *testing.T
	wire *log
}

func (l *lab) agent(propose bool) *agent {
	l.t.Helper()
	toServer, fromAgent, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	toAgent, fromServer, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	done := make(chan error, 1)
	s := l.server(propose)
	go func() { done <- s.Run(context.Background(), toServer, fromServer) }()
	wire := &log{}
	client := sdk.NewClient(&sdk.Implementation{Name: "bot", Version: "1"}, nil)
	session, err := client.Connect(l.t.Context(), &sdk.LoggingTransport{Transport: &sdk.IOTransport{Reader: toAgent, Writer: fromAgent}, Writer: wire}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := session.Close(); err != nil {
			l.t.Errorf("hang up: %v", err)
		}
		if err := <-done; err != nil {
			l.t.Errorf("the server ended with %v", err)
		}
	})
	return &agent{session, l.t, wire}
}

// call returns what the tool answers, as text and, if it is no error, in into.
func (a *agent) call(tool string, args, into any) (text string, failed bool) {
	a.t.Helper()
	r, err := a.CallTool(a.t.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return err.Error(), true
	}
	for _, c := range r.Content {
		text += c.(*sdk.TextContent).Text
	}
	if into != nil && !r.IsError {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			a.t.Fatalf("%s: %v in %s", tool, err, text)
		}
	}
	return text, r.IsError
}

// does fails the test unless the tool does what it is told.
func (a *agent) does(tool string, args, into any) {
	a.t.Helper()
	if text, failed := a.call(tool, args, into); failed {
		a.t.Fatalf("%s: %s", tool, text)
	}
}

// refuses fails the test unless the tool refuses with all of the texts.
func (a *agent) refuses(tool string, args any, want ...string) {
	a.t.Helper()
	text, failed := a.call(tool, args, nil)
	for _, w := range want {
		if !failed || !strings.Contains(text, w) {
			a.t.Errorf("%s: want it refused with %q (got %s)", tool, w, text)
			return
		}
	}
}

// orders are those in the ledger.
func (l *lab) orders() []ledger.Record {
	l.t.Helper()
	records, _, err := ledger.Read(l.book)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []ledger.Record
	for _, r := range records {
		if r.Kind == ledger.Control {
			out = append(out, r)
		}
	}
	return out
}

func (l *lab) until(what string, is func(status.Snapshot) bool) status.Snapshot {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		s := l.board.Snapshot()
		if is(s) {
			return s
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("never %s: %+v", what, s)
		}
	}
}
