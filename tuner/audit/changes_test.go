package audit_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/internal/child"
	"github.com/kafkalab/kafkalab/internal/promtest"
	"github.com/kafkalab/kafkalab/tuner/audit"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// What the program that is killed finds in its environment: its ledger. Where it listens is its file 3.
const bookVar = "AUDIT_LEDGER"

func TestMain(m *testing.M) {
	if book := os.Getenv(bookVar); book != "" {
		fmt.Fprintln(os.Stderr, mortal(book))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// mortal is the tuner as far as it matters here: it shows what its ledger tells of, and writes as many further records of the tale as it is told to.
func mortal(path string) error {
	book, records, err := ledger.Open(path)
	if err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	board, shown := status.NewBoard(status.Snapshot{}), audit.New()
	registry := prometheus.NewRegistry()
	registry.MustRegister(status.NewCollector(board), shown)
	j, s := shown.Of(book, records), study.Fold(records)
	publish := func() {
		var all []status.Change
		for _, c := range s.Changes {
			all = append(all, status.Change{ID: c.ID, Time: c.Time, Trial: c.Trial, Author: c.Author, Outcome: c.Outcome, Knob: c.Knob, Old: c.OldText, New: c.NewText})
		}
		board.Update(func(b *status.Snapshot) { b.Changes = all })
	}
	publish()
	var mu sync.Mutex
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("POST /write/{count}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		count, _ := strconv.Atoi(r.PathValue("count"))
		for ; count > 0; count-- {
			written, err := j.Append(tale()[s.Entries])
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			s.Add(written)
		}
		publish()
	})
	return http.Serve(listener, mux)
}

// tale is ten trials of seven records each, and somebody else's patch after the seventh.
func tale() []ledger.Record {
	all := []ledger.Record{{Kind: ledger.Session, Point: space.Point{"io": 2}}}
	outcomes := []ledger.Outcome{ledger.OutcomeKept, ledger.OutcomeReverted, ledger.OutcomeInconclusive, ledger.OutcomeReverted, ledger.OutcomeDiscarded}
	for i := range 10 {
		edge := func(p ledger.Phase) ledger.Record { return ledger.Record{Kind: ledger.Edge, Trial: i + 1, Phase: p} }
		first, judged, last := edge(ledger.Proposed), edge(ledger.Judged), edge(ledger.Reverted)
		first.Change, first.Point = &ledger.Change{Knob: "io", Old: 2, New: 4, OldText: "2", NewText: "4"}, space.Point{"io": 4}
		if judged.Outcome = outcomes[i%len(outcomes)]; judged.Outcome == ledger.OutcomeKept {
			last.Phase = ledger.Kept
		}
		last.Outcome = judged.Outcome
		all = append(all, first, edge(ledger.Preflight), edge(ledger.Applying), edge(ledger.Verifying), edge(ledger.Measuring), judged, last)
		if i == 6 {
			all = append(all, ledger.Record{Kind: ledger.Outside, Author: "kubectl-patch", Point: space.Point{"io": 8}, Changes: []ledger.Change{{Knob: "io", OldText: "4", NewText: "8"}}})
		}
	}
	return all
}

// TestOneMarkForEachChange: ten trials and somebody else's patch, with a tuner that is killed four times, at once after it wrote and with scrapes that fail
// meanwhile. The dashboard has one mark for each attempt, one for what became of it, and one for the patch, each at its time.
func TestOneMarkForEachChange(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	address, path := listener.Addr().String(), filepath.Join(t.TempDir(), "ledger.jsonl")
	start := func() *child.Process {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.ExtraFiles, cmd.Stderr = append(os.Environ(), bookVar+"="+path), []*os.File{socket}, os.Stderr
		p, err := child.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	write := func(count int) {
		t.Helper()
		resp, err := http.Post(fmt.Sprintf("http://%s/write/%d", address, count), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("write: %s", resp.Status)
		}
	}
	began := time.Now()
	p := promtest.Start(t, address)
	left := len(tale())
	for _, part := range []struct{ seen, unseen int }{{4, 0}, {7, 4}, {12, 2}, {20, 5}} { // of the records: scraped before the kill, and not
		tuner := start()
		write(part.seen)
		p.Scraped(t)
		write(part.unseen)
		tuner.Kill()
		for len(p.Query(t, "up == 0")) == 0 { // it is away for long enough that a scrape fails
			time.Sleep(50 * time.Millisecond)
		}
		left -= part.seen + part.unseen
	}
	start()
	write(left)
	p.Scraped(t)
	want := wanted(t, path)
	marked := marks(t, "tuner_change_timestamp_seconds", 4) // attempts, what was kept, taken back, and what others did
	for _, step := range []time.Duration{time.Second, 10 * time.Second} {
		got := map[string]int{}
		for _, query := range marked {
			for _, e := range events(t, p.URL, query, began.Add(-time.Minute), step) {
				got[e]++
			}
		}
		for e := range want {
			if got[e] != 1 {
				t.Errorf("step %s: %s: want one mark (got %d)", step, e, got[e])
			}
			delete(got, e)
		}
		for e, n := range got {
			t.Errorf("step %s: %s: want no mark (got %d)", step, e, n)
		}
	}
}

// wanted is what there is to be marked, by the ledger.
func wanted(t *testing.T, path string) map[string]bool {
	t.Helper()
	records, _, err := ledger.Read(path)
	if err != nil || len(records) != len(tale()) {
		t.Fatalf("want %d records (got %d, %v)", len(tale()), len(records), err)
	}
	want := map[string]bool{}
	for _, r := range records {
		trial, outcome := strconv.Itoa(r.Trial), string(r.Outcome)
		switch {
		case r.Kind == ledger.Outside:
			trial, outcome = "", study.OutsideDone
		case r.Phase == ledger.Applying:
			outcome = study.Attempted
		case r.Phase.Done() && r.Outcome == ledger.OutcomeDiscarded:
			outcome = study.Inconclusive
		case !r.Phase.Done():
			continue
		}
		want[mark(trial, outcome, r.Time.UnixMilli())] = true
	}
	if len(want) != 21 {
		t.Fatalf("want 10 attempts, 10 outcomes and a patch (got %d)", len(want))
	}
	return want
}

func mark(trial, outcome string, at int64) string {
	return fmt.Sprintf("trial %q %s at %d", trial, outcome, at)
}

// events are what Grafana makes of an annotation's query whose values are times: of each series one mark per value, values less than a step apart being one.
func events(t *testing.T, url, query string, from time.Time, step time.Duration) []string {
	t.Helper()
	client, err := api.NewClient(api.Config{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	value, _, _, err := v1.NewAPI(client).QueryRange(t.Context(), query, v1.Range{Start: from, End: time.Now().Add(step), Step: step})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, series := range value.(model.Matrix) {
		last := int64(-1 << 40)
		for _, sample := range series.Values {
			at := int64(sample.Value)
			if at > last+step.Milliseconds() {
				out = append(out, mark(string(series.Metric["trial"]), string(series.Metric["outcome"]), at))
			}
			last = at
		}
	}
	return out
}
