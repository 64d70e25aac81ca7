package page_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/page"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

func serve(t testing.TB, c page.Config) (*page.Page, http.Handler) {
	t.Helper()
	if c.Board == nil {
		c.Board = status.NewBoard(status.Snapshot{SLO: 200})
	}
	p, err := page.New(c)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range p.Routes() {
		mux.Handle(pattern, h)
	}
	return p, mux
}

func get(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	h.ServeHTTP(r, req)
	return r
}

func into[T any](t testing.TB, r *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.Body.Bytes(), &v); err != nil || r.Code != 200 || r.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("want JSON (got %d %s, %v: %s)", r.Code, r.Header().Get("Content-Type"), err, r.Body)
	}
	return v
}

type now struct {
	Status  status.Snapshot `json:"status"`
	Study   string          `json:"study"`
	Health  []page.Part     `json:"health"`
	Samples struct {
		Epoch string     `json:"epoch"`
		Whole bool       `json:"whole"`
		T     []int64    `json:"t"`
		P99   []*float64 `json:"p99"`
		Acked []*float64 `json:"acked"`
	} `json:"samples"`
}

type history struct {
	Report struct {
		Trials []struct {
			Number int      `json:"number"`
			Low    *float64 `json:"effect_low"`
		} `json:"trials"`
	} `json:"report"`
	Changes []struct {
		Outcome string `json:"outcome"`
		Author  string `json:"author"`
	} `json:"changes"`
	Importance []page.Importance `json:"importance"`
}

// TestPolicy: nothing is inline, nothing comes from elsewhere, and no part of the page makes markup of a string.
func TestPolicy(t *testing.T) {
	_, h := serve(t, page.Config{})
	got := get(h, "/")
	policy := got.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
		"require-trusted-types-for 'script'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("want %s in the policy (got %q)", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || got.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("want nothing unsafe (got %v)", got.Header())
	}
	body := got.Body.String()
	if got.Code != 200 || !strings.HasPrefix(got.Header().Get("Content-Type"),
		"text/html") || regexp.MustCompile(`<style| style=| on[a-z]+=|<script[^>]*>[^<]`).MatchString(body) {
		t.Errorf("want a page with nothing inline (got %d %s)", got.Code, body)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(body, -1) {
		if strings.Contains(m[1], "//") || strings.HasPrefix(m[1], "/") {
			t.Errorf("want addresses on this host, relative, so that a proxy may add a prefix (got %q)", m[1])
		}
		if strings.HasPrefix(m[1], "page/") && get(h, "/"+m[1]).Code != 200 {
			t.Errorf("%s is not there", m[1])
		}
	}
	scripts, err := filepath.Glob("assets/*.js")
	if err != nil || len(scripts) < 4 {
		t.Fatal(scripts, err)
	}
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setAttribute\("style|eval\(|new Function|https?://`).Find(text); m != nil {
			t.Errorf("%s: want text set as text only, and no other host (got %q)", name, m)
		}
	}
}

func TestFiles(t *testing.T) {
	_, h := serve(t, page.Config{})
	for path, kind := range map[string]string{"main.js": "text/javascript", "uplot.js": "text/javascript", "app.css": "text/css",
		"uplot.css": "text/css", "icon.svg": "image/svg+xml"} {
		first := get(h, "/page/"+path)
		if first.Code != 200 || !strings.HasPrefix(first.Header().Get("Content-Type"), kind) || first.Body.Len() == 0 {
			t.Errorf("%s: want %s (got %d %v)", path, kind, first.Code, first.Header())
		}
		if again := get(h, "/page/"+path, "If-None-Match", first.Header().Get("ETag")); again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%s: want it sent once (got %d)", path, again.Code)
		}
	}
	for _, path := range []string{"/favicon.ico", "/page/", "/page/none.js", "/page/index.html", "/page/..%2fpage.go"} {
		if got := get(h, path); got.Code != 404 {
			t.Errorf("%s: want 404 (got %d)", path, got.Code)
		}
	}
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "/", nil))
	if r.Code != 405 {
		t.Errorf("want a page that is only read (got %d)", r.Code)
	}
}

func TestStatus(t *testing.T) {
	_, h := serve(t, page.Config{Board: status.NewBoard(status.Snapshot{State: status.Trialing, SLO: 200, Live: status.Live{P99: status.Ptr(250.0)},
		Trials: []status.Trial{{Number: 1}}})})
	s := into[status.Snapshot](t, get(h, "/api/v1/status"))
	if s.State != status.Trialing || *s.Live.P99 != 250 || len(s.Trials) != 1 || s.Schema != status.Schema || s.Time.IsZero() {
		t.Errorf("want the snapshot (got %+v)", s)
	}
	if n := into[now](t, get(h, "/page/now")); n.Status.Trials != nil || *n.Status.Live.P99 != 250 {
		t.Errorf("want the figures without the history (got %+v)", n.Status)
	}
}

// TestCurves: the past comes first, what is known already is not sent again, a gap stays one, and another tuner or another past begins anew.
func TestCurves(t *testing.T) {
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	asked := 0
	past := func(_ context.Context, from, to time.Time, step time.Duration) ([]page.Sample, error) {
		if asked++; to.Sub(from) < 6*time.Hour || step != 10*time.Second {
			t.Errorf("want six hours by 10 s (got %s to %s by %s)", from, to, step)
		}
		return []page.Sample{{Time: began, P99: status.Ptr(100.0)}, {Time: began.Add(10 * time.Second)},
			{Time: began.Add(30 * time.Second), P99: status.Ptr(1.0)}}, errors.New("p50: no-data")
	}
	p, h := serve(t, page.Config{Past: past, File: lab(t)})
	p.Remember(status.Snapshot{Time: began.Add(30 * time.Second), Live: status.Live{P99: status.Ptr(123.456789)}})
	first := into[now](t, get(h, "/page/now")).Samples
	if !first.Whole || len(first.T) != 1 || *first.P99[0] != 123.46 {
		t.Errorf("want what was remembered (got %+v)", first)
	}
	p.Recall(t.Context())
	p.Remember(status.Snapshot{Time: began.Add(32 * time.Second), Live: status.Live{Acked: status.Ptr(5.0)}})
	p.Remember(status.Snapshot{Time: began.Add(20 * time.Second)}) // a clock that was put back
	all := into[now](t, get(h, "/page/now?after=99999999999999&epoch="+first.Epoch)).Samples
	if !all.Whole || len(all.T) != 4 || !slices.IsSorted(all.T) || *all.P99[0] != 100 || all.P99[1] != nil || *all.P99[2] != 123.46 || *all.Acked[3] != 5 {
		t.Errorf("want the past, then what was remembered (got %+v)", all)
	}
	after := "/page/now?epoch=" + all.Epoch + "&after="
	if news := into[now](t, get(h, after+"0")).Samples; news.Whole || len(news.T) != 4 {
		t.Errorf("want all four as news (got %+v)", news)
	}
	if news := into[now](t, get(h, after+jsonOf(all.T[2]))).Samples; news.Whole || len(news.T) != 1 || *news.Acked[0] != 5 {
		t.Errorf("want the newest alone (got %+v)", news)
	}
	if asked != 1 {
		t.Errorf("want Prometheus asked once (got %d)", asked)
	}
}

func jsonOf(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func TestCurvesEnd(t *testing.T) {
	p, h := serve(t, page.Config{})
	at := time.Now().Add(-24 * time.Hour)
	for range 5000 {
		at = at.Add(10 * time.Second)
		p.Remember(status.Snapshot{Time: at})
	}
	got := into[now](t, get(h, "/page/now")).Samples
	if first := at.Add(-time.Duration(at.UnixMilli()-got.T[0]) * time.Millisecond); at.Sub(first) < 6*time.Hour || at.Sub(first) > 6*time.Hour+2*time.Minute {
		t.Errorf("want six hours (got %s)", at.Sub(first))
	}
}

// TestRecallEnds: the end of the tuner ends the asking.
func TestRecallEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, _ := serve(t, page.Config{Past: func(context.Context, time.Time, time.Time, time.Duration) ([]page.Sample, error) {
		cancel()
		return nil, errors.New("unreachable")
	}})
	p.Recall(ctx) // the test's own deadline is its limit
}

// studied waits until the study is another than it was.
func studied(t testing.TB, h http.Handler, was string) string {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if n := into[now](t, get(h, "/page/now")); n.Study != was && n.Study != "" {
			return n.Study
		}
	}
	t.Fatal("the study stays as it was")
	return ""
}

// TestStudy: the ledger's history, with intervals and what matters; what comes to it shows itself; and a reader that has it is not sent it again.
func TestStudy(t *testing.T) {
	f := lab(t)
	records := told(f, time.Now().Add(-until), demo())
	path := written(t, records)
	_, h := serve(t, page.Config{Ledger: path, File: f, Board: board(f, records, page.Sample{})})
	first := get(h, "/page/study")
	s := into[history](t, first)
	if len(s.Report.Trials) != 9 || s.Report.Trials[0].Low == nil || s.Report.Trials[6].Low != nil {
		t.Errorf("want nine trials, with intervals where there are some (got %+v)", s.Report.Trials)
	}
	if c := s.Changes[len(s.Changes)-1]; c.Outcome != "attempted" || c.Author != "kafkalab-tuner" {
		t.Errorf("want the newest change last (got %+v)", c)
	}
	var found []page.Importance
	for deadline := time.Now().Add(2 * time.Minute); len(found) == 0 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		found = into[history](t, get(h, "/page/study")).Importance
	}
	if len(found) != 3 || found[0].Knob != "heap" || found[0].Low > found[0].Total || found[0].High < found[0].Total {
		t.Errorf("want the heap as what matters most, with an interval (got %+v)", found)
	}
	tag := studied(t, h, "")
	if got := get(h, "/page/study", "If-None-Match", `"`+tag+`"`); got.Code != 304 {
		t.Errorf("want it sent once (got %d, %s of %s)", got.Code, got.Header().Get("ETag"), tag)
	}
	appended(t, path, ledger.Record{Kind: ledger.Outside, Author: "<script>alert(1)</script>", Point: space.Point{"heap": 1}, Reason: "x"})
	studied(t, h, tag)
	if s := into[history](t, get(h, "/page/study")); s.Changes[len(s.Changes)-1].Author != "<script>alert(1)</script>" {
		t.Errorf("want the new change (got %+v)", s.Changes[len(s.Changes)-1])
	}
}

func TestLedgersThatCannotBeShown(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, []byte("no ledger\nat all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path   string
		report int
		health page.Health
	}{"none yet": {filepath.Join(dir, "none"), 200, page.Good}, "damaged": {damaged, 500, page.Bad}} {
		t.Run(name, func(t *testing.T) {
			_, h := serve(t, page.Config{Ledger: c.path})
			if got := get(h, "/page/study"); got.Code != 200 || !json.Valid(got.Body.Bytes()) {
				t.Errorf("want a study without trials (got %d %s)", got.Code, got.Body)
			}
			if got := get(h, "/report"); got.Code != c.report {
				t.Errorf("want a report answered with %d (got %d %s)", c.report, got.Code, got.Body)
			}
			parts := into[now](t, get(h, "/page/now")).Health
			if got := parts[len(parts)-1]; got.Name != "Ledger" || got.State != c.health {
				t.Errorf("want the ledger %s (got %+v)", c.health, got)
			}
		})
	}
}

func TestReport(t *testing.T) {
	f := lab(t)
	_, h := serve(t, page.Config{Ledger: written(t, told(f, time.Now().Add(-until), demo())), File: f})
	got := get(h, "/report")
	if !strings.Contains(got.Body.String(), "Tuning report") || !strings.Contains(got.Body.String(), "deploy-bot") {
		t.Errorf("want the report (got %s)", got.Body)
	}
	if policy := got.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
		t.Errorf("want a report in which no script runs (got %q)", policy)
	}
}

func TestHealth(t *testing.T) {
	well := func() status.Snapshot {
		return status.Snapshot{
			State: status.Trialing, Live: status.Live{Age: status.Ptr(1.0), P99: status.Ptr(100.0), Acked: status.Ptr(1000.0),
				Offered: status.Ptr(1000.0), Errors: status.Ptr(0.0)},
			Knobs: []status.Knob{{Name: "heap", Desired: status.Ptr(int64(512)), Effective: status.Ptr(int64(512))}},
		}
	}
	missing := func(why string) func(*status.Snapshot) {
		return func(s *status.Snapshot) {
			s.Live.P99, s.Live.Acked = nil, nil
			s.Live.Missing = map[string]string{"p99": why, "acked": why}
		}
	}
	for name, c := range map[string]struct {
		change func(*status.Snapshot)
		part   string
		want   page.Health
		text   string
	}{
		"all is well": {func(*status.Snapshot) {}, "Prometheus", page.Good, "newest sample is 1.0 s old"},
		"no Prometheus": {func(s *status.Snapshot) { missing("unreachable: connection refused")(s); s.Live.Age = nil }, "Prometheus",
			page.Bad, "connection refused"},
		"Prometheus wants a password": {func(s *status.Snapshot) { missing("denied: 401")(s); s.Live.Age = nil }, "Prometheus", page.Bad, "401"},
		"samples are old":             {missing("stale: the newest sample is 60 s old"), "Prometheus", page.Bad, "60 s old"},
		"nothing was asked":           {func(s *status.Snapshot) { s.Live = status.Live{} }, "Prometheus", page.Unknown, "not asked yet"},
		"there is no load": {func(s *status.Snapshot) { missing("no-data: the result is empty")(s); s.Live.Age = nil }, "Prometheus",
			page.Uneasy, "empty"},
		"nothing is acknowledged": {func(s *status.Snapshot) { s.Live.Acked = status.Ptr(0.0) }, "Load", page.Bad, "no record is acknowledged"},
		"some records fail":       {func(s *status.Snapshot) { s.Live.Errors = status.Ptr(3.0) }, "Load", page.Uneasy, "3 records/s fail"},
		"not all is acknowledged": {func(s *status.Snapshot) { s.Live.Acked = status.Ptr(500.0) }, "Load", page.Uneasy, "500 of 1000"},
		"load is not known":       {missing("unreachable: no"), "Load", page.Unknown, "unreachable"},
		"a figure is missing":     {func(s *status.Snapshot) { s.Live.Missing = map[string]string{"p999": "nan"} }, "Figures", page.Uneasy, "p999"},
		"a broker is silent":      {func(s *status.Snapshot) { s.Knobs[0].Effective = nil }, "Kafka", page.Bad, "heap"},
		"another value is in force": {func(s *status.Snapshot) { s.Knobs[0].Effective = status.Ptr(int64(256)) }, "Kafka", page.Uneasy,
			"heap is 256 and should be 512"},
		"the loop cannot go on": {func(s *status.Snapshot) { s.State, s.Reason = status.Holding, "no right to patch" }, "Tuner", page.Bad,
			"no right to patch"},
		"somebody paused it": {func(s *status.Snapshot) { s.State = status.Paused }, "Tuner", page.Uneasy, "paused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := well()
			c.change(&s)
			_, h := serve(t, page.Config{Board: status.NewBoard(s)})
			parts := into[now](t, get(h, "/page/now")).Health
			i := slices.IndexFunc(parts, func(p page.Part) bool { return p.Name == c.part })
			if i < 0 || parts[i].State != c.want || !strings.Contains(parts[i].Text, c.text) {
				t.Errorf("want %s %s with %q (got %+v)", c.part, c.want, c.text, parts)
			}
		})
	}
}
