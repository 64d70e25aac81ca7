package mcp_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/mcp"
	"github.com/kafkalab/kafkalab/tuner/status"
)

type args = map[string]any

func knobs(values args, reason string) args { return args{"knobs": values, "reason": reason} }

func ended(s status.Snapshot) bool    { return len(s.Trials) > 0 && s.Trials[0].Ended != nil }
func measured(s status.Snapshot) bool { return s.Goal.Baseline != nil }

func (a *agent) tools() []string {
	a.t.Helper()
	var out []string
	for tool, err := range a.Tools(a.t.Context(), nil) {
		if err != nil {
			a.t.Fatal(err)
		}
		if tool.Annotations == nil || tool.Annotations.ReadOnlyHint != (tool.Name != "propose") {
			a.t.Errorf("%s: want it said whether the tool only reads (got %+v)", tool.Name, tool.Annotations)
		}
		out = append(out, tool.Name)
	}
	slices.Sort(out)
	return out
}

// TestReading: everything that a running tuner knows can be read, and nothing can be ordered.
func TestReading(t *testing.T) {
	t.Parallel()
	l := start(t, config.Auto, "", "")
	l.until("at the end of a trial", ended)
	a := l.agent(false)
	if got, want := a.tools(), []string{"ask", "goal", "space", "status", "trial", "trials", "why"}; !slices.Equal(got, want) {
		t.Errorf("want %v (got %v)", want, got)
	}
	var glance struct {
		Mode, State string
		Trials      int
		SLO         float64 `json:"slo_ms"`
	}
	a.does("status", nil, &glance)
	if glance.Mode != "auto" || glance.Trials < 1 || glance.SLO != 200 || glance.State == "" {
		t.Errorf("status: got %+v", glance)
	}
	var goal api.Goal
	a.does("goal", nil, &goal)
	if goal.Objective.SLO != 200 || len(goal.Guards) != 1 || *goal.Guards[0].Max != 0 || goal.Budgets.Trials != 25 || goal.Budgets.TrialsUsed < 1 || goal.Mode != config.Auto {
		t.Errorf("goal: got %+v", goal)
	}
	var space api.Space
	a.does("space", nil, &space)
	if len(space.Knobs) != 3 || space.Knobs[1].Min != 1.0 || space.Knobs[1].Max != 8.0 || space.Knobs[1].Unit != "threads" ||
		space.Knobs[2].Desired == nil || !slices.Equal(space.Knobs[2].Choices, []string{"none", "lz4", "zstd"}) || !slices.Equal(space.Limits, []string{"heap + 50*io <= 1000"}) {
		t.Errorf("space: got %+v", space)
	}
	var trials struct {
		Trials []status.Trial
		Total  int
	}
	a.does("trials", args{"last": 1}, &trials)
	if len(trials.Trials) != 1 || trials.Trials[0].Number != trials.Total {
		t.Errorf("trials: want the newest one (got %+v)", trials)
	}
	var first status.Trial
	a.does("trial", args{"trial": 1}, &first)
	if want := l.board.Snapshot().Trials[0]; first.Summary() != want.Summary() || first.Outcome != want.Outcome {
		t.Errorf("trial: want %+v (got %+v)", want, first)
	}
	var why api.Why
	a.does("why", args{"trial": 1}, &why)
	if !strings.HasPrefix(why.Text, "trial 1: "+first.Summary()) {
		t.Errorf("why: got %s", why.Text)
	}
	if a.does("why", nil, &why); !strings.Contains(why.Text, "state ") || !strings.Contains(why.Text, "io is ") {
		t.Errorf("why: got %s", why.Text)
	}
	if a.does("ask", nil, &why); !strings.Contains(why.Text, "nothing is proposed now") {
		t.Errorf("ask: got %s", why.Text)
	}
	a.refuses("trial", args{"trial": 99}, "trial: want 1..", `got "99"`)
	a.refuses("trial", args{"trial": "first"}, "trial", "first", "integer")
	a.refuses("trials", args{"last": -1}, "last: want at least 1", "got -1")
	a.refuses("why", args{"trail": 1}, "trail")
	a.refuses("propose", knobs(args{"io": 4}, "a hunch"), "propose")
	a.refuses("approve", args{"trial": 1}, "approve")
	if got := l.orders(); len(got) > 0 {
		t.Errorf("want no orders (got %+v)", got)
	}
}

// TestResources: report and ledger are those that the tuner's own commands show.
func TestResources(t *testing.T) {
	t.Parallel()
	l := start(t, config.Auto, "", "")
	l.until("at the end of a trial", ended)
	a := l.agent(false)
	var listed []string
	for r, err := range a.Resources(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, r.URI+" "+r.MIMEType)
	}
	slices.Sort(listed)
	if want := []string{"tuner://ledger application/jsonl", "tuner://report text/markdown"}; !slices.Equal(listed, want) {
		t.Errorf("want %q (got %q)", want, listed)
	}
	for uri, want := range map[string]string{"tuner://report": "# Tuning report", "tuner://ledger": `"phase":"judged"`} {
		r, err := a.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uri})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r.Contents[0].Text, want) {
			t.Errorf("%s: want %q in it (got %s)", uri, want, r.Contents[0].Text)
		}
	}
	if _, err := a.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "tuner://token"}); err == nil {
		t.Error("want no other resource")
	}
}

// TestModes: where the tuner changes nothing, an agent cannot make it.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []config.Mode{config.Observe, config.Recommend} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			l := start(t, mode, "", "")
			a := l.agent(true)
			a.refuses("propose", knobs(args{"io": 4}, "a hunch"), "mode: want approve or auto", "got "+string(mode), "changes nothing")
			if got := l.orders(); len(got) > 0 || len(l.world.changes()) > 0 {
				t.Errorf("want nothing ordered and nothing changed (got %+v, %v)", got, l.world.changes())
			}
		})
	}
}

// TestRanges: each refusal names the field, what is allowed, and what was sent; none reaches the ledger.
func TestRanges(t *testing.T) {
	t.Parallel()
	l := start(t, config.Approve, "", "")
	l.until("measured", measured)
	a := l.agent(true)
	for name, c := range map[string]struct {
		args args
		want []string
	}{
		"above the range":         {knobs(args{"io": 9}, "more"), []string{"knobs.io: want 1..8 threads (got 9)"}},
		"below the range":         {knobs(args{"io": 0}, "less"), []string{"knobs.io: want 1..8 threads (got 0)"}},
		"far outside":             {knobs(args{"io": 10000}, "many"), []string{"knobs.io: want 1..8 threads (got 10000)"}},
		"more than the pod holds": {knobs(args{"heap": 1000}, "more"), []string{"knobs.heap: want at most 75 % of the pod's memory limit of 1024 MiB, which is 768 MiB (got 1000 MiB)"}},
		"together too much":       {knobs(args{"heap": 700, "io": 7}, "both"), []string{"heap + 50*io <= 1000: does not hold (got", "heap=700", "io=7"}},
		"a fraction":              {knobs(args{"io": 2.5}, "half"), []string{`knobs.io: want a whole number (got "2.5")`}},
		"a word for a number":     {knobs(args{"io": "many"}, "many"), []string{`knobs.io: want a whole number (got "many")`}},
		"a choice there is not":   {knobs(args{"codec": "gzip"}, "small"), []string{`knobs.codec: want one of none, lz4, zstd (got "gzip")`}},
		"another knob":            {knobs(args{"gc": 1}, "new"), []string{"knobs.gc: want one of heap, io, codec (got gc)"}},
		"everything at once":      {knobs(args{"gc": 1, "io": "x"}, "all"), []string{"knobs.gc", "knobs.io"}},
		"no knob":                 {knobs(args{}, "none"), []string{"knobs: want at least one of heap, io, codec (got none)"}},
		"a list":                  {knobs(args{"io": []int{1}}, "list"), []string{"io", "array"}},
		"no reason":               {args{"knobs": args{"io": 4}}, []string{"reason"}},
		"an empty reason":         {knobs(args{"io": 4}, " "), []string{`reason: want why this is worth a trial (got "")`}},
		"a novel":                 {knobs(args{"io": 4}, strings.Repeat("x", 501)), []string{"reason: want at most 500 bytes (got 501)"}},
		"another name":            {args{"knobs": args{"io": 4}, "reason": "x", "by": "sre"}, []string{"by"}},
		"nothing new":             {knobs(args{"io": 2}, "same"), []string{"knobs: want another configuration than the one in force (got io=2)"}},
	} {
		t.Run(name, func(t *testing.T) { a.refuses("propose", c.args, c.want...) })
	}
	if got := l.orders(); len(got) > 0 {
		t.Errorf("want none of them in the ledger (got %+v)", got)
	}
}

// TestAProposalWaitsForAPerson: in mode approve nothing is changed before somebody agrees; then it is tried like everything else.
func TestAProposalWaitsForAPerson(t *testing.T) {
	t.Parallel()
	l := start(t, config.Approve, "", "")
	l.until("measured", measured)
	a := l.agent(true)
	if !slices.Contains(a.tools(), "propose") {
		t.Error("want propose among the tools")
	}
	var done struct {
		Accepted bool
		By, Next string
		Queue    []status.Order
	}
	a.does("propose", knobs(args{"io": 8, "codec": "lz4"}, "twice the threads"), &done)
	if !done.Accepted || done.By != "mcp:bot" || !strings.Contains(done.Next, "waits until a person approves") || len(done.Queue) != 1 {
		t.Errorf("got %+v", done)
	}
	a.refuses("propose", knobs(args{"io": 8, "codec": "lz4"}, "again"), "waits in the queue already, proposed by mcp:bot")
	s := l.until("waiting with it", func(s status.Snapshot) bool {
		return s.Next != nil && strings.Contains(s.Next.Reason, "proposed by mcp:bot: twice the threads")
	})
	var next status.Proposal
	a.does("ask", nil, &next)
	if next.Trial != s.Next.Trial || len(next.Steps) != 2 {
		t.Errorf("ask: want %+v (got %+v)", s.Next, next)
	}
	a.refuses("approve", args{"trial": next.Trial}, "approve") // that is a person's
	if got := l.world.changes(); len(got) > 0 {
		t.Fatalf("want nothing changed yet (got %v)", got)
	}
	person := api.Client{Address: l.url}
	if err := person.Order(t.Context(), "approve", api.Order{By: "sre", Trial: &next.Trial}); err != nil {
		t.Fatal(err)
	}
	l.until("tried", ended)
	var tried status.Trial
	a.does("trial", args{"trial": next.Trial}, &tried)
	if tried.Purpose != "asked" || tried.Outcome != "kept" || tried.Summary() != "io 2 → 8, codec 0 → 1" {
		t.Errorf("want it tried and kept (got %+v)", tried)
	}
	if got := l.orders(); len(got) != 2 || got[0].Author != "mcp:bot" || got[1].Author != "sre" {
		t.Errorf("want both in the ledger, by name (got %+v)", got)
	}
}

// TestBudgets: what waits counts, and nothing is taken that no budget is left for.
func TestBudgets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ budgets, want string }{
		"trials":   {"{trials: 2}", "budgets.trials: want fewer than 2 made and proposed (got 0 and 2)"},
		"restarts": {"{restarts: 5}", "budgets.restarts: want 2 left of 5 for each trial that is proposed (got 0 used and 2 waiting)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := start(t, config.Approve, "budgets: "+c.budgets, "")
			l.until("measured", measured)
			a := l.agent(true)
			a.does("propose", knobs(args{"io": 3}, "one"), nil)
			a.does("propose", knobs(args{"io": 5}, "two"), nil)
			a.refuses("propose", knobs(args{"io": 6}, "three"), c.want)
			if got := l.orders(); len(got) != 2 {
				t.Errorf("want two of them in the ledger (got %+v)", got)
			}
		})
	}
	t.Run("used up by the search", func(t *testing.T) {
		t.Parallel()
		l := start(t, config.Auto, "budgets: {trials: 1}", "")
		l.until("done", func(s status.Snapshot) bool { return s.State == status.Done })
		before := l.world.changes()
		a := l.agent(true)
		a.refuses("propose", knobs(args{"io": 7}, "one more"), "budgets.trials: want fewer than 1 made and proposed (got 1 and 0)")
		if got := l.orders(); len(got) > 0 || !slices.Equal(l.world.changes(), before) {
			t.Errorf("want nothing ordered and nothing changed (got %+v, %v)", got, l.world.changes())
		}
	})
	t.Run("steps of a trial", func(t *testing.T) {
		t.Parallel()
		l := start(t, config.Approve, "budgets: {steps: 1}", "")
		l.until("measured", measured)
		a := l.agent(true)
		a.refuses("propose", knobs(args{"codec": "zstd"}, "far"), "knobs.codec: want it moved by at most 1 steps a trial from none", "got zstd, which is 2")
		a.does("propose", knobs(args{"codec": "lz4"}, "near"), nil)
	})
}

const canary = "canary-0123456789-do-not-show"

// TestToken: it opens the door, can be renewed, and is seen nowhere.
func TestToken(t *testing.T) {
	t.Parallel()
	l := start(t, config.Approve, "", canary)
	l.until("measured", measured)
	tuners := l.token
	l.token = filepath.Join(t.TempDir(), "agents")
	a := l.agent(true)
	a.refuses("propose", knobs(args{"io": 4}, "no token yet"), "read token", "no such file")
	for text, want := range map[string]string{"short": "at least 16 bytes (got 5)", canary + "-of-yesterday": "401 Unauthorized: header Authorization: want Bearer and the token"} {
		if err := os.WriteFile(l.token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a.refuses("propose", knobs(args{"io": 4}, "not this one"), want)
	}
	if got := l.orders(); len(got) > 0 {
		t.Errorf("want nothing ordered (got %+v)", got)
	}
	for _, file := range []string{l.token, tuners} {
		if err := os.WriteFile(file, []byte(canary+"-of-tomorrow\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.does("propose", knobs(args{"io": 4}, "with the token"), nil)
	book, err := os.ReadFile(l.book)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{l.log.String(), a.wire.String(), string(book)} {
		if text == "" || strings.Contains(text, canary) {
			t.Errorf("want the token nowhere (got %s)", text)
		}
	}
}

// bearer sends a token with each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+string(b))
	}
	return http.DefaultTransport.RoundTrip(r)
}

// serve is the server over HTTP, as the program mounts it.
func (l *lab) serve(guard api.Guard) (url string) {
	mux := http.NewServeMux()
	mux.Handle("POST /mcp", guard.Handler(l.server(true).Handler()))
	server := httptest.NewServer(mux)
	l.t.Cleanup(server.Close)
	return server.URL + "/mcp"
}

// TestHTTP: the same over HTTP, for those whom the guard of the API lets through.
func TestHTTP(t *testing.T) {
	t.Parallel()
	l := start(t, config.Approve, "", canary)
	l.until("measured", measured)
	guard := api.Guard{TokenFile: l.token, Listen: "0.0.0.0:9501", Logger: slog.New(slog.NewTextHandler(l.log, nil))}
	server := l.serve(guard)
	connect := func(token string) (*sdk.ClientSession, error) {
		return sdk.NewClient(&sdk.Implementation{Name: "web bot", Version: "1"}, nil).Connect(t.Context(),
			&sdk.StreamableClientTransport{Endpoint: server, HTTPClient: &http.Client{Transport: bearer(token)}}, nil)
	}
	for _, token := range []string{"", canary + "x"} {
		if session, err := connect(token); err == nil {
			_ = session.Close()
			t.Errorf("want nobody let in with the token %q", token)
		}
	}
	session, err := connect(canary)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	a := &agent{session, t, nil}
	if got := a.tools(); !slices.Contains(got, "propose") || len(got) != 8 {
		t.Errorf("got %v", got)
	}
	var done struct{ By string }
	if a.does("propose", knobs(args{"io": 4}, "over HTTP"), &done); done.By != "mcp:web bot" {
		t.Errorf("got %+v", done)
	}
	a.refuses("propose", knobs(args{"io": 99}, "over HTTP"), "knobs.io: want 1..8 threads (got 99)")
	if strings.Contains(l.log.String(), canary) {
		t.Errorf("want the token nowhere (got %s)", l.log)
	}
}

// TestNobodyElse: a page that somebody has open gives no orders through the server either.
func TestNobodyElse(t *testing.T) {
	t.Parallel()
	l := start(t, config.Observe, "", "")
	guard := api.Guard{Listen: "127.0.0.1:9501", Logger: slog.New(slog.NewTextHandler(l.log, nil))}
	server := l.serve(guard)
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for name, c := range map[string]struct {
		change func(*http.Request)
		code   int
	}{
		"a program of this machine": {func(*http.Request) {}, http.StatusOK},
		"a page of another site":    {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, http.StatusForbidden},
		"a name that leads here":    {func(r *http.Request) { r.Host = "evil.example" }, http.StatusForbidden},
		"a form":                    {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, http.StatusUnsupportedMediaType},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, server, strings.NewReader(list))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			c.change(req)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.code {
				t.Errorf("want %d (got %s)", c.code, resp.Status)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:9500", "ftp://tuner", "http://"} {
		if _, err := mcp.New(mcp.Config{Tuner: api.Client{Address: address}}); err == nil || !strings.Contains(err.Error(), "address: want http://host:port") {
			t.Errorf("%q: want it refused (got %v)", address, err)
		}
	}
}

// TestNoTuner: the agent is told, and the server goes on.
func TestNoTuner(t *testing.T) {
	t.Parallel()
	l := start(t, config.Observe, "", "")
	there := l.url
	l.url = "http://127.0.0.1:1"
	a := l.agent(true)
	l.url = there
	a.refuses("status", nil, "ask tuner", "127.0.0.1:1", "refused")
	a.refuses("propose", knobs(args{"io": 4}, "a hunch"), "ask tuner")
	if _, err := a.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "tuner://report"}); err == nil || !strings.Contains(err.Error(), "ask tuner") {
		t.Errorf("want it told (got %v)", err)
	}
}
