package audit_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kafkalab/kafkalab/grafana"
	"github.com/kafkalab/kafkalab/internal/promtest"
	"github.com/kafkalab/kafkalab/tuner/audit"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
)

func open(t *testing.T, path string) (*ledger.Ledger, []ledger.Record) {
	t.Helper()
	l, records, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, records
}

// story is a ledger's records of every kind, with trials that end in each way.
func story() []ledger.Record {
	change := &ledger.Change{Knob: "io", Env: "IO", Old: 2, New: 4, OldText: "2", NewText: "4"}
	records := []ledger.Record{{Kind: ledger.Session, Point: space.Point{"io": 2}}, {Kind: ledger.Measured, Point: space.Point{"io": 2}}}
	for i, end := range []ledger.Outcome{ledger.OutcomeKept, ledger.OutcomeReverted, ledger.OutcomeDiscarded} {
		trial := i + 1
		for _, p := range ledger.Phases() {
			r := ledger.Record{Kind: ledger.Edge, Trial: trial, Phase: p, Point: space.Point{"io": 4}}
			if p == ledger.Proposed {
				r.Change = change
			}
			if p == ledger.Judged || p.Done() {
				r.Outcome = end
			}
			if p.Done() && (p == ledger.Kept) != (end == ledger.OutcomeKept) {
				continue
			}
			records = append(records, r)
		}
	}
	return append(records, ledger.Record{Kind: ledger.Outside, Author: "kubectl-patch", Point: space.Point{"io": 8}}, ledger.Record{Kind: ledger.Finished, Reason: "done"})
}

const within = 15 * time.Second

// TestEveryEdgeIsSeen: each record of the ledger is a metric of a real Prometheus, with its own time, within 15 s of being written, and each edge is
// among what the dashboard marks. The tuner is started anew in the middle.
func TestEveryEdgeIsSeen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	var current atomic.Pointer[prometheus.Registry]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(current.Load(), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	}))
	defer server.Close()
	begin := func() (audit.Journal, *ledger.Ledger) {
		l, records := open(t, path)
		book := audit.New()
		registry := prometheus.NewRegistry()
		registry.MustRegister(book)
		current.Store(registry)
		return book.Of(l, records), l
	}
	book, file := begin()
	p := promtest.Start(t, strings.TrimPrefix(server.URL, "http://"))
	annotations := marks(t, "tuner_ledger_record_timestamp_seconds", 1)
	all := story()
	for i, r := range all {
		if i == len(all)/2 {
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			book, file = begin()
		}
		written, err := book.Append(r)
		if err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 || r.Kind != ledger.Edge { // several between two scrapes, too
			p.Scraped(t)
		}
		if age := time.Since(written.Time); age > within {
			t.Fatalf("record %d: the test itself took %s", written.Seq, age)
		}
	}
	p.Scraped(t)
	records, _, err := ledger.Read(path)
	if err != nil || len(records) != len(all) {
		t.Fatalf("want %d records (got %d, %v)", len(all), len(records), err)
	}
	edges := 0
	for _, r := range records {
		one := fmt.Sprintf(`tuner_ledger_record_timestamp_seconds{record="%d",kind=%q,phase=%q,outcome=%q,author=%q}`, r.Seq, r.Kind, r.Phase, r.Outcome, r.Author)
		want := float64(r.Time.UnixMilli()) / 1000
		if got := p.Number(t, one); got != want {
			t.Errorf("record %d: want its time %f as a metric (got %f)", r.Seq, want, got)
		}
		// The first sample's own time tells when it could first be seen.
		if seen := p.Number(t, fmt.Sprintf("min_over_time(timestamp(%s)[10m:1s])", one)); seen-want > within.Seconds() {
			t.Errorf("record %d: seen %.1f s after it was written", r.Seq, seen-want)
		}
		if r.Kind != ledger.Edge {
			continue
		}
		edges++
		found := 0
		for _, query := range annotations {
			for _, sample := range p.Query(t, query) {
				if string(sample.Metric["record"]) == fmt.Sprint(r.Seq) && float64(sample.Value) == want*1000 {
					found++
				}
			}
		}
		if found != 1 {
			t.Errorf("record %d, %s of trial %d: want one annotation at its time (got %d)", r.Seq, r.Phase, r.Trial, found)
		}
	}
	if edges < 25 {
		t.Errorf("the story has only %d edges", edges)
	}
}

// marks are the queries of the dashboard's annotations that are about a metric, of which there must be so many.
func marks(t *testing.T, metric string, count int) []string {
	t.Helper()
	all, err := grafana.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	queries, err := grafana.Queries(all["tuning.json"])
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, q := range queries {
		if q.Annotation && strings.Contains(q.Expr, metric) {
			out = append(out, q.Expr)
		}
	}
	if len(out) != count {
		t.Fatalf("want %d annotations by %s (got %q)", count, metric, out)
	}
	return out
}

type failing struct{}

func (failing) Append(ledger.Record) (ledger.Record, error) {
	return ledger.Record{}, errors.New("the disk is full")
}

func TestWhatIsNotInTheLedgerIsNotShown(t *testing.T) {
	book := audit.New()
	if _, err := book.Of(failing{}, nil).Append(ledger.Record{Kind: ledger.Session}); err == nil {
		t.Error("want the error of the ledger")
	}
	if n := testutil.CollectAndCount(book); n != 0 {
		t.Errorf("want nothing shown (got %d samples)", n)
	}
}

func TestTheNewestAreShownAndAllAreCounted(t *testing.T) {
	var records []ledger.Record
	for i := range 700 {
		records = append(records, ledger.Record{Seq: uint64(i + 1), Time: time.Unix(int64(i), 0), Kind: ledger.Measured})
	}
	book := audit.New()
	book.Of(failing{}, []ledger.Record{{Seq: 1, Kind: ledger.Session}}) // an earlier one, of which nothing is left
	book.Of(failing{}, records)
	if n := testutil.CollectAndCount(book, "tuner_ledger_record_timestamp_seconds"); n != 500 {
		t.Errorf("want 500 shown (got %d)", n)
	}
	const want = `
# HELP tuner_ledger_records_total Records of the ledger, by kind and phase.
# TYPE tuner_ledger_records_total counter
tuner_ledger_records_total{kind="measured",phase=""} 700
`
	if err := testutil.CollectAndCompare(book, strings.NewReader(want), "tuner_ledger_records_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(book); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}
