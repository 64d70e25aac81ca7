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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
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
			{Trial: 1, Knob: "io", Old: "2", New: "4", Outcome: "kept", Reason: "goodput went up"},
			{Author: "kubectl", Knob: "heap", Old: "-Xmx1g", New: "-Xmx256m", Outcome: "outside"},
		},
		Next: &status.Proposal{Trial: 3, Env: "IO", Old: "4", New: "3", Reason: "next step down"},
	}
}

func serve(t *testing.T, c api.Config) *httptest.Server {
	t.Helper()
	c.Board = status.NewBoard(snapshot())
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

func request(t *testing.T, method, url, body string, change func(*http.Request)) (code int, text string) {
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
	if resp.Header.Get("Content-Type") != "application/json" || !json.Valid(out) {
		t.Errorf("want JSON (got %s: %s)", resp.Header.Get("Content-Type"), out)
	}
	return resp.StatusCode, string(out)
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
		"why":         {200, `io is 4: trial 1 changed it from 2, since goodput went up\nheap is 256: kubectl changed it from -Xmx1g\nnet is not known: as it was found`},
		"why?trial=1": {200, `trial 1: io 2 → 4\nkept, because: goodput went up\neffect on goodput +12.0 %, p = 0.01; measured 1120 records/s at a P99 of 150 ms`},
		"why?trial=2": {200, `trial 2: io 4 → 8, heap 256 → 512 (asked)\nreverted (guard:slow), because: guard slow: want at most 1 (got 9)\na guard was breached for 14 s`},
		"why?trial=9": {404, "want 1..2"},
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
			code, text := requestAny(t, s.URL+"/api/v1/pause", change)
			if code != c.code || (len(k.got) > 0) != (c.code == 202) {
				t.Errorf("want %d (got %d %s, orders %v)", c.code, code, text, k.got)
			}
		})
	}
}

// requestAny takes answers that are not JSON too: those of the standard library's protection.
func requestAny(t *testing.T, url string, change func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"by":"sre"}`))
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
	return resp.StatusCode, string(out)
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
		if code, answer := requestAny(t, s.URL+"/api/v1/pause", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+text) }); code != 202 {
			t.Errorf("want the token of now taken (got %d %s)", code, answer)
		}
	}
}
