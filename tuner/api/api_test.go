package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// taker keeps the orders, or refuses them.
type taker struct {
	got []orders.Order
	err error
}

func (k *taker) Order(o orders.Order) error {
	if k.err == nil {
		k.got = append(k.got, o)
	}
	return k.err
}

const secret = "a token that is long enough"

func snapshot() status.Snapshot {
	ended := time.Unix(100, 0)
	return status.Snapshot{
		State: status.Awaiting, Reason: "trial 3 waits for approval",
		Knobs: []status.Knob{{Name: "io", Desired: status.Ptr(int64(4))}, {Name: "heap", Desired: status.Ptr(int64(256))}, {Name: "net"}},
		Trials: []status.Trial{
			{Number: 1, Knob: "io", Old: 2, New: 4, Outcome: "kept", Ended: &ended, Effect: status.Ptr(0.12), P: status.Ptr(0.01), Goodput: status.Ptr(1120.0), P99: status.Ptr(150.0), Reason: "goodput went up"},
			{Number: 2, Changes: []status.Step{{Knob: "io", Old: 4, New: 8}, {Knob: "heap", Old: 256, New: 512}}, Purpose: "asked", Outcome: "reverted", Failure: "guard:slow", Violation: 14, Reason: "guard slow: want at most 1 (got 9)", Ended: &ended},
		},
		Changes: []status.Change{
			{Trial: 1, Author: study.Author, Knob: "io", Old: "2", New: "4", Outcome: "kept", Reason: "goodput went up"},
			{Author: "kubectl", Knob: "heap", Old: "-Xmx1g", New: "-Xmx256m", Outcome: "outside"},
			{Trial: 4, Author: "vibectl", Knob: "net", Old: "1", New: "3", Outcome: "attempted"},
			{Trial: 4, Author: "vibectl", Knob: "net", Old: "1", New: "3", Outcome: "better", Reason: "goodput rose"},
			{Trial: 5, Author: "vibectl", Knob: "heap", Old: "-Xmx256m", New: "-Xmx9g", Outcome: "attempted"},
			{Trial: 5, Author: "vibectl", Knob: "heap", Old: "-Xmx256m", New: "-Xmx9g", Outcome: "reverted"},
		},
		Queue: []status.Order{
			{By: "kim", Knobs: map[string]int64{"io": 8}},
			{By: "bot", Knobs: map[string]int64{"io": 9}, Held: "the budget of 2 trials is spent"},
		},
		Next: &status.Proposal{Trial: 3, Env: "IO", Old: "4", New: "3", Reason: "next step down"},
	}
}

func serve(t *testing.T, c api.Config) *httptest.Server {
	t.Helper()
	return serveBoard(t, status.NewBoard(snapshot()), c)
}

func serveBoard(t *testing.T, b *status.Board, c api.Config) *httptest.Server {
	t.Helper()
	c.Board = b
	a, err := api.New(c)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range a.Routes() {
		mux.Handle(pattern, h)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// request gets JSON.
func request(t *testing.T, method, url, body string, change func(*http.Request)) (code int, text string) {
	t.Helper()
	resp, text := requestAny(t, method, url, body, change)
	if kind := resp.Header.Get("Content-Type"); kind != "application/json" || !json.Valid([]byte(text)) {
		t.Errorf("want JSON (got %s: %s)", kind, text)
	}
	return resp.StatusCode, text
}

// requestAny takes answers that are not JSON too: those of the standard library's protection.
func requestAny(t *testing.T, method, url, body string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(out)
}

func TestQuestions(t *testing.T) {
	s := serve(t, api.Config{Orders: &taker{}, Listen: ":9500"})
	for path, c := range map[string]struct {
		code int
		want string
	}{
		"trials":      {200, `"failure": "guard:slow"`},
		"trials/1":    {200, `"effect": 0.12`},
		"trials/3":    {404, `trial: want 1..2 (got \"3\")`},
		"trials/x":    {404, `trial: want 1..2 (got \"x\")`},
		"why":         {200, `io is 4: trial 1 changed it from 2, since goodput went up\nheap is 256: kubectl changed it from -Xmx1g\nnet is not known: vibectl changed it from 1, which was scored in trial 4: better: goodput rose`},
		"why?trial=1": {200, `trial 1: io 2 → 4\nkept, because: goodput went up\neffect on goodput +12.0 %, p = 0.01; measured 1120 records/s at a P99 of 150 ms`},
		"why?trial=2": {200, `trial 2: io 4 → 8, heap 256 → 512 (asked)\nreverted (guard:slow), because: guard slow: want at most 1 (got 9)\na guard was breached for 14 s`},
		"why?trial=9": {404, "want 1..2"},
		"why?":        {200, `next, as proposed by kim: io=8\nnext, as proposed by bot: io=9; it waits: the budget of 2 trials is spent\n`},
		"ask":         {200, `"trial": 3`},
	} {
		if code, text := request(t, http.MethodGet, s.URL+"/api/v1/"+path, "", nil); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: want %d with %s (got %d %s)", path, c.code, c.want, code, text)
		}
	}
}

func TestOrders(t *testing.T) {
	k := &taker{}
	s := serve(t, api.Config{Orders: k, Listen: "127.0.0.1:9500"})
	for name, c := range map[string]struct {
		command, body string
		code          int
		want          string
		order         orders.Order
	}{
		"a pause":                  {"pause", `{"by":"sre","reason":"a release"}`, 202, `"accepted": "pause"`, orders.Order{Command: orders.Pause, By: "sre", Reason: "a release"}},
		"an approval":              {"approve", `{"by":"sre","trial":3}`, 202, "approve", orders.Order{Command: orders.Approve, By: "sre", Trial: 3}},
		"a way back to the start":  {"rollback", `{"by":"sre","trial":0}`, 202, "rollback", orders.Order{Command: orders.Rollback, By: "sre"}},
		"an end of what runs":      {"abort", `{"by":"sre"}`, 202, "abort", orders.Order{Command: orders.Abort, By: "sre"}},
		"a proposal":               {"propose", `{"by":"agent","knobs":{"io":3}}`, 202, "propose", orders.Order{Command: orders.Propose, By: "agent", Point: space.Point{"io": 3}}},
		"a result":                 {"tell", `{"by":"agent","knobs":{"io":3},"goodput":900,"p99_ms":120}`, 202, "tell", orders.Order{Command: orders.Tell, By: "agent", Point: space.Point{"io": 3}, Window: judge.Window{Goodput: 900, P99: 0.12}}},
		"nobody's order":           {"pause", `{}`, 400, "by: want who gives the order", orders.Order{}},
		"a misspelt field":         {"pause", `{"by":"sre","reeson":"x"}`, 400, "reeson", orders.Order{}},
		"no JSON":                  {"pause", `by=sre`, 400, "read order", orders.Order{}},
		"two objects":              {"pause", `{"by":"sre"}{"by":"sre"}`, 400, "nothing behind it", orders.Order{}},
		"an approval of nothing":   {"approve", `{"by":"sre"}`, 400, "trial: want the number of a trial", orders.Order{}},
		"a pause of a trial":       {"pause", `{"by":"sre","trial":3}`, 400, "trial: want none with pause", orders.Order{}},
		"a proposal of nothing":    {"propose", `{"by":"sre"}`, 400, "knobs: want values", orders.Order{}},
		"a result without figures": {"tell", `{"by":"sre","knobs":{"io":3}}`, 400, "goodput, p99_ms: want both above 0", orders.Order{}},
		"figures without a result": {"pause", `{"by":"sre","goodput":3}`, 400, "goodput, p99_ms", orders.Order{}},
		"everything at once":       {"tell", `{"trial":1,"goodput":-1}`, 400, "by: ", orders.Order{}},
		"more than is read":        {"pause", `{"by":"` + strings.Repeat("x", 70000) + `"}`, 400, "too large", orders.Order{}},
		"a novel":                  {"pause", `{"by":"sre","reason":"` + strings.Repeat("x", 501) + `"}`, 400, "reason: want at most 500 bytes", orders.Order{}},
	} {
		t.Run(name, func(t *testing.T) {
			k.got = nil
			code, text := request(t, http.MethodPost, s.URL+"/api/v1/"+c.command, c.body, nil)
			if code != c.code || !strings.Contains(text, c.want) {
				t.Errorf("want %d with %s (got %d %s)", c.code, c.want, code, text)
			}
			var want []orders.Order
			if c.code == 202 {
				want = []orders.Order{c.order}
			}
			if diff := cmp.Diff(want, k.got); diff != "" {
				t.Errorf("another order than given (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatTheTunerSaysToAnOrder(t *testing.T) {
	k := &taker{}
	s := serve(t, api.Config{Orders: k, Listen: "127.0.0.1:9500"})
	for err, want := range map[error]int{
		fmt.Errorf("%w: trial 3 does not run", trial.ErrConflict): 409,
		fmt.Errorf("%w: no such knob", trial.ErrInvalid):          400,
		errors.New("append to ledger: disk full"):                 500,
	} {
		k.err = err
		if code, text := request(t, http.MethodPost, s.URL+"/api/v1/abort", `{"by":"sre"}`, nil); code != want || !strings.Contains(text, err.Error()) {
			t.Errorf("want %d with %q (got %d %s)", want, err, code, text)
		}
	}
}

// TestWhoMayGiveOrders: the holder of the token, or a program of this machine; never a page of another site.
func TestWhoMayGiveOrders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	header := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Set(pairs[i], pairs[i+1])
			}
		}
	}
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for name, c := range map[string]struct {
		listen, token string
		change        func(*http.Request)
		code          int
	}{
		"a program of this machine":                {"127.0.0.1:9500", "", nil, 202},
		"over IPv6":                                {"[::1]:9500", "", host("[::1]:9500"), 202},
		"by name":                                  {"localhost:9500", "", host("localhost:9500"), 202},
		"where all can reach it":                   {":9500", "", nil, 403},
		"where all can reach it, by address":       {"0.0.0.0:9500", "", nil, 403},
		"a name that leads here":                   {"127.0.0.1:9500", "", host("evil.example"), 403},
		"a page of another site":                   {"127.0.0.1:9500", "", header("Origin", "http://evil.example"), 403},
		"a page of another site, says the browser": {"127.0.0.1:9500", "", header("Sec-Fetch-Site", "cross-site"), 403},
		"a form":                                      {"127.0.0.1:9500", "", header("Content-Type", "application/x-www-form-urlencoded"), 415},
		"a form as text":                              {"127.0.0.1:9500", "", header("Content-Type", "text/plain"), 415},
		"with the token":                              {":9500", file, header("Authorization", "Bearer "+secret), 202},
		"before there is a token":                     {":9500", file + ".later", header("Authorization", "Bearer "), 403},
		"without the token":                           {":9500", file, nil, 401},
		"without the token, on this machine":          {"127.0.0.1:9500", file, nil, 401},
		"with another token":                          {":9500", file, header("Authorization", "Bearer "+secret+"x"), 401},
		"with the token as a password":                {":9500", file, header("Authorization", "Basic "+secret), 401},
		"with the token, from a page of another site": {":9500", file, header("Authorization", "Bearer "+secret, "Origin", "http://evil.example"), 403},
	} {
		t.Run(name, func(t *testing.T) {
			k := &taker{}
			s := serve(t, api.Config{Orders: k, Listen: c.listen, TokenFile: c.token})
			change := c.change
			resp, text := requestAny(t, http.MethodPost, s.URL+"/api/v1/pause", `{"by":"sre"}`, change)
			if resp.StatusCode != c.code || (len(k.got) > 0) != (c.code == 202) {
				t.Errorf("want %d (got %d %s, orders %v)", c.code, resp.StatusCode, text, k.got)
			}
		})
	}
}

func TestATokenIsRenewed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.New(api.Config{Board: status.NewBoard(status.Snapshot{}), Orders: &taker{}, TokenFile: file}); err == nil || !strings.Contains(err.Error(), "at least 16 bytes (got 5)") {
		t.Errorf("want a short token refused (got %v)", err)
	}
	for _, text := range []string{secret, secret + " of tomorrow"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := serve(t, api.Config{Orders: &taker{}, TokenFile: file})
		if code, answer := request(t, http.MethodPost, s.URL+"/api/v1/pause", `{"by":"sre"}`, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+text) }); code != 202 {
			t.Errorf("want the token of now taken (got %d %s)", code, answer)
		}
	}
}

const file = `
version: 1
mode: auto
target: {namespace: kafka, name: kafka, container: kafka, bootstrap: ["kafka:9092"], jvm_metrics: ["http://kafka:9404/metrics"]}
prometheus: {url: "http://prometheus:9090"}
knobs:
- {name: io, env: IO, format: "{v}", unit: threads, min: 1, max: 8, steps: [1, 2, 4, 8], restart: dynamic, readback: "broker-config:num.io.threads"}
- {name: ratio, type: float, env: RATIO, format: "{v}", min: 0.1, max: 0.9, readback: "broker-config:log.cleaner.min.cleanable.ratio"}
- {name: codec, type: categorical, choices: [none, zstd], env: CODEC, format: "{v}", readback: "broker-config:compression.type"}
- {name: level, env: LEVEL, format: "{v}", min: 1, max: 19, when: {knob: codec, in: [zstd]}, readback: "broker-config:compression.zstd.level"}
limits: ["io <= 2*pod.cpus"]
objective: {slo: 200ms, margin: 0.05}
guards:
- {name: slow, query: "max(slow[$window])", max: 2, for: 20s, grace: 60s, breach: worse}
budgets: {trials: 3, restarts: 20, violation: 60s, steps: 2}
`

func parsed(t *testing.T) config.File {
	t.Helper()
	f, err := config.Parse("test", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSpaceAndGoal: values are as they are meant, not as the tuner counts them.
func TestSpaceAndGoal(t *testing.T) {
	board := status.NewBoard(status.Snapshot{
		Knobs:  []status.Knob{{Name: "io", Desired: status.Ptr(int64(4))}, {Name: "ratio", Desired: status.Ptr(int64(500))}, {Name: "codec", Best: status.Ptr(int64(1))}, {Name: "level"}},
		Limits: status.Limits{CPUs: "4", Memory: "4Gi"}, Budget: status.Budget{Trials: 3, TrialsUsed: 1},
	})
	s := serveBoard(t, board, api.Config{Orders: &taker{}, File: parsed(t)})
	_, text := request(t, http.MethodGet, s.URL+"/api/v1/space", "", nil)
	var got api.Space
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := api.Space{
		Limits: []string{"io <= 2*pod.cpus"}, Container: status.Limits{CPUs: "4", Memory: "4Gi"},
		Knobs: []api.Knob{
			{Name: "io", Env: "IO", Type: "int", Unit: "threads", Min: 1.0, Max: 8.0, Steps: []any{1.0, 2.0, 4.0, 8.0}, Restart: "dynamic", Desired: 4.0},
			{Name: "ratio", Env: "RATIO", Type: "float", Min: 0.1, Max: 0.9, Restart: "rolling", Desired: 0.5, Decimals: 3},
			{Name: "codec", Env: "CODEC", Type: "categorical", Choices: []string{"none", "zstd"}, Restart: "rolling", Best: "zstd"},
			{Name: "level", Env: "LEVEL", Type: "int", Min: 1.0, Max: 19.0, When: &api.When{Knob: "codec", In: []any{"zstd"}}, Restart: "rolling"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("space (-want +got):\n%s", diff)
	}
	_, text = request(t, http.MethodGet, s.URL+"/api/v1/goal", "", nil)
	var goal api.Goal
	if err := json.Unmarshal([]byte(text), &goal); err != nil {
		t.Fatal(err)
	}
	if o := goal.Objective; goal.Mode != config.Auto || o.SLO != 200 || o.Margin != 0.05 || o.Goodput == "" || o.Windows != 4 || o.Window != 12 {
		t.Errorf("goal: got %+v", goal)
	}
	if diff := cmp.Diff([]api.Guarded{{Name: "slow", Query: "max(slow[$window])", Max: status.Ptr(2.0), Breach: "worse", For: 20, Grace: 60}}, goal.Guards); diff != "" {
		t.Errorf("guards (-want +got):\n%s", diff)
	}
	if b := goal.Budgets; b.Trials != 3 || b.TrialsUsed != 1 || b.Steps != 2 || b.Fruitless != 12 {
		t.Errorf("budgets: got %+v", b)
	}
}

// TestReportAndLedger: as the commands show them, from the file as it is now.
func TestReportAndLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	s := serve(t, api.Config{Orders: &taker{}, Ledger: path})
	get := func(what string) (int, string, string) {
		t.Helper()
		resp, err := http.Get(s.URL + "/api/v1/" + what)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Content-Type"), string(body)
	}
	if code, _, text := get("report"); code != 404 || !strings.Contains(text, "there is no ledger yet") {
		t.Errorf("want it said that there is none (got %d %s)", code, text)
	}
	book, _, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	if _, err := book.Append(ledger.Record{Kind: ledger.Session, Point: space.Point{"io": 2}, Mode: "auto"}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		code        int
		media, want string
	}{
		"report": {200, "text/markdown; charset=utf-8", "# Tuning report"},
		"ledger": {200, "application/jsonl", `"mode":"auto"`},
	} {
		if code, media, text := get(what); code != c.code || media != c.media || !strings.Contains(text, c.want) {
			t.Errorf("%s: want %d %s with %s (got %d %s %s)", what, c.code, c.media, c.want, code, media, text)
		}
	}
	if err := os.WriteFile(path, []byte("no ledger\nat all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, text := get("ledger"); code != 500 || !strings.Contains(text, "line 1") {
		t.Errorf("want the damage told (got %d %s)", code, text)
	}
}

// TestBudgetsOfProposals: what would not be tried is refused, and says which budget or what else stands against it.
func TestBudgetsOfProposals(t *testing.T) {
	at := func(io, ratio int64) []status.Knob {
		return []status.Knob{{Name: "io", Desired: &io}, {Name: "ratio", Desired: &ratio}, {Name: "codec", Desired: status.Ptr(int64(0))}, {Name: "level", Desired: status.Ptr(int64(1))}}
	}
	whole := status.Budget{Trials: 3, Restarts: 20, Violation: 60}
	with := func(change func(*status.Snapshot)) status.Snapshot {
		s := status.Snapshot{Knobs: at(2, 500), Budget: whole}
		change(&s)
		return s
	}
	waiting := status.Order{By: "sre", Knobs: map[string]int64{"io": 8, "ratio": 500, "codec": 0, "level": 1}}
	restarting := status.Order{By: "sre", Knobs: map[string]int64{"io": 2, "ratio": 600, "codec": 0, "level": 1}}
	for name, c := range map[string]struct {
		now  status.Snapshot
		io   int64
		want string // empty: it is taken
		more string // of the knobs
	}{
		"nothing stands against it":   {with(func(*status.Snapshot) {}), 4, "", ""},
		"the loop has not begun":      {with(func(s *status.Snapshot) { s.Budget = status.Budget{} }), 4, "", ""},
		"all trials made":             {with(func(s *status.Snapshot) { s.Trials, s.Budget.TrialsUsed = make([]status.Trial, 3), 3 }), 4, "budgets.trials: want fewer than 3 made and proposed (got 3 and 0)", ""},
		"trials of an earlier search": {with(func(s *status.Snapshot) { s.Trials, s.Budget.TrialsUsed = make([]status.Trial, 9), 2 }), 4, "", ""},
		"trials that nobody counts": {with(func(s *status.Snapshot) {
			s.Trials, s.Budget.TrialsUsed = []status.Trial{{}, {Purpose: "confirm"}, {Purpose: "rollback"}}, 3
		}), 4, "", ""},
		"those that wait count": {with(func(s *status.Snapshot) {
			s.Trials, s.Budget.TrialsUsed, s.Queue = make([]status.Trial, 2), 2, []status.Order{waiting}
		}), 4, "(got 2 and 1)", ""},
		"those that cannot be tried do not": {with(func(s *status.Snapshot) {
			held := waiting
			held.Held = "too far"
			s.Trials, s.Budget.TrialsUsed, s.Queue = make([]status.Trial, 2), 2, []status.Order{held}
		}), 4, "", ""},
		"no restart is left":       {with(func(s *status.Snapshot) { s.Budget.RestartsUsed = 19 }), 4, "budgets.restarts: want 2 left of 20 for each trial that is proposed (got 19 used and 0 waiting)", `,"ratio":600`},
		"restarts that wait count": {with(func(s *status.Snapshot) { s.Budget.RestartsUsed, s.Queue = 17, []status.Order{restarting} }), 4, "(got 17 used and 1 waiting)", `,"ratio":700`},
		"it needs no restart":      {with(func(s *status.Snapshot) { s.Budget.RestartsUsed = 19 }), 4, "", ""},
		"breached for too long":    {with(func(s *status.Snapshot) { s.Budget.ViolationUsed = 61 }), 4, "budgets.violation: want less than 60 s in which a guard was breached (got 61)", ""},
		"it is in force":           {with(func(*status.Snapshot) {}), 2, "knobs: want another configuration than the one in force (got io=2)", ""},
		"it waits already":         {with(func(s *status.Snapshot) { s.Queue = []status.Order{waiting} }), 8, "waits in the queue already, proposed by sre (got io=8)", ""},
		"too many steps":           {with(func(s *status.Snapshot) { s.Knobs = at(1, 500) }), 8, "knobs.io: want it moved by at most 2 steps a trial from 1 threads (got 8, which is 3)", ""},
		"from where a trial may end": {with(func(s *status.Snapshot) {
			s.Knobs = at(4, 500)
			s.Trial = &status.Trial{Changes: []status.Step{{Knob: "io", Old: 1, New: 4}}}
		}), 8, "steps a trial from 1 threads", ""},
		"what a running trial tries": {with(func(s *status.Snapshot) {
			s.Trial = &status.Trial{Changes: []status.Step{{Knob: "ratio", Old: 400, New: 500}}}
		}), 2, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := &taker{}
			s := serveBoard(t, status.NewBoard(c.now), api.Config{Orders: k, Listen: "127.0.0.1:9500", File: parsed(t)})
			code, text := request(t, http.MethodPost, s.URL+"/api/v1/propose", fmt.Sprintf(`{"by":"agent","knobs":{"io":%d%s}}`, c.io, c.more), nil)
			if want := map[bool]int{true: 202, false: 409}[c.want == ""]; code != want || !strings.Contains(text, c.want) || (len(k.got) > 0) != (c.want == "") {
				t.Errorf("want %d with %q (got %d %s, %v)", want, c.want, code, text, k.got)
			}
		})
	}
}

// TestClient: what the tuner says against something is the error; the token goes with orders only.
func TestClient(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		sent = append(sent, r.Method+" "+r.Header.Get("Authorization"))
		mu.Unlock()
		switch r.URL.Path {
		case "/api/v1/why":
			_, _ = io.WriteString(w, `{"text":"so"}`)
		case "/api/v1/ask":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":"nothing is proposed now"}`)
		case "/api/v1/pause":
			w.WriteHeader(http.StatusAccepted)
		default:
			_, _ = io.WriteString(w, `no JSON`)
		}
	}))
	defer server.Close()
	c := api.Client{Address: server.URL + "/", TokenFile: token}
	var why api.Why
	if err := c.Ask(t.Context(), "why", &why); err != nil || why.Text != "so" {
		t.Errorf("got %v, %+v", err, why)
	}
	var refusal *api.Refusal
	if err := c.Ask(t.Context(), "ask", &why); !errors.As(err, &refusal) || refusal.Status != 404 || err.Error() != "404 Not Found: nothing is proposed now" {
		t.Errorf("got %v", err)
	}
	if err := c.Ask(t.Context(), "trials", &why); err == nil || !strings.Contains(err.Error(), "read tuner's answer") {
		t.Errorf("got %v", err)
	}
	if err := c.Order(t.Context(), orders.Pause, api.Order{By: "sre"}); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"GET ", "GET ", "GET ", "POST Bearer " + secret}; !slices.Equal(sent, want) {
		t.Errorf("want %q (got %q)", want, sent)
	}
}
