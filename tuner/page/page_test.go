package page_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/page"
	"github.com/kafkalab/kafkalab/tuner/status"
)

func serve(t *testing.T, s status.Snapshot, points ...status.Snapshot) http.Handler {
	t.Helper()
	p, err := page.New(status.NewBoard(s))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range points {
		p.Remember(q)
	}
	mux := http.NewServeMux()
	for pattern, h := range p.Routes() {
		mux.Handle(pattern, h)
	}
	return mux
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
	return r
}

func snapshot() status.Snapshot {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return status.Snapshot{
		State: status.Trialing, Mode: "auto", SLO: 200, Reason: "a <b>reason</b>",
		Live:    status.Live{P99: status.Ptr(250.0), Acked: status.Ptr(1234.0), Missing: map[string]string{}},
		Knobs:   []status.Knob{{Name: "heap", Env: "KAFKA_HEAP_OPTS", Unit: "MiB", Desired: status.Ptr(int64(512))}},
		Trial:   &status.Trial{Number: 3, Phase: "warming", Since: now, Knob: "heap", Old: 256, New: 512},
		Trials:  []status.Trial{{Number: 1, Knob: "io_threads", Old: 2, New: 4, Outcome: "kept", Effect: status.Ptr(0.31), Reason: "goodput went up"}},
		Changes: []status.Change{{ID: 4, Author: "<script>alert(1)</script>", Outcome: "outside", Knob: "heap"}},
		Links:   status.Links{Grafana: "http://127.0.0.1:3000"}, Goal: status.Goal{Ratio: status.Ptr(1.42)},
	}
}

func TestPage(t *testing.T) {
	point := func(p99 *float64) status.Snapshot { return status.Snapshot{Live: status.Live{P99: p99}} }
	h := serve(t, snapshot(), point(status.Ptr(100.0)), point(nil), point(status.Ptr(200.0)))
	got := get(h, "/")
	if got.Code != 200 || !strings.HasPrefix(got.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("want a page (got %d %v)", got.Code, got.Header())
	}
	body := got.Body.String()
	for _, want := range []string{"trialing", "250.0 ms", `class="bad"`, "1234/s", "io_threads 2 → 4", "&#43;31.0 %", "goodput went up", `<li class="now">warming</li>`, "1.42 ×", "KAFKA_HEAP_OPTS", "http://127.0.0.1:3000", "a &lt;b&gt;reason&lt;/b&gt;"} {
		if !strings.Contains(body, want) {
			t.Errorf("want %q on the page", want)
		}
	}
	if strings.Contains(body, "<script>alert") {
		t.Error("somebody else's name is run as a script")
	}
	if n := strings.Count(between(body, `<path d="`, `"`), "M"); n != 2 {
		t.Errorf("want a curve with a gap where nothing was known (got %d pieces)", n)
	}
	for _, other := range []string{"src=", "@import", "url("} {
		if strings.Contains(body, other) {
			t.Errorf("want the page self-contained (it has %q)", other)
		}
	}
}

func between(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}

func TestEmptyPage(t *testing.T) {
	if got := get(serve(t, status.Snapshot{}), "/"); got.Code != 200 || !strings.Contains(got.Body.String(), "N/A") {
		t.Errorf("want a page before anything is known (got %d)", got.Code)
	}
}

func TestAPI(t *testing.T) {
	got := get(serve(t, snapshot()), "/api/v1/status")
	var s status.Snapshot
	if err := json.Unmarshal(got.Body.Bytes(), &s); err != nil || got.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("want JSON (got %v, %v)", err, got.Header())
	}
	if s.State != status.Trialing || *s.Live.P99 != 250 || len(s.Trials) != 1 || s.Schema != status.Schema || s.Time.IsZero() {
		t.Errorf("want the snapshot (got %+v)", s)
	}
}

func TestNoOtherPages(t *testing.T) {
	if got := get(serve(t, snapshot()), "/favicon.ico"); got.Code != 404 {
		t.Errorf("want 404 (got %d)", got.Code)
	}
}
