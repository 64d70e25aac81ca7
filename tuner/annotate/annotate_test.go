package annotate_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/annotate"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

const target = "kafka/kafka"

// shown is what the worker says of itself.
type shown struct {
	mu sync.Mutex
	s  status.Annotations
}

func (s *shown) show(a status.Annotations) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s = a
}

func (s *shown) last() status.Annotations {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s
}

func worker(t testing.TB, url, tokenFile string) (*annotate.Worker, *shown) {
	t.Helper()
	var s shown
	w, err := annotate.New(annotate.Config{
		URL: url + "/sub/", Access: promql.Access{BearerTokenFile: tokenFile}, Target: target, Show: s.show, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Hurry()
	return w, &s
}

func serve(t *testing.T, f *fake) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func open(t *testing.T, path string) (*ledger.Ledger, []ledger.Record) {
	t.Helper()
	l, records, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, records
}

// begin lets a worker follow a new ledger until the test ends.
func begin(t *testing.T, w *annotate.Worker) annotate.Journal {
	t.Helper()
	l, records := open(t, filepath.Join(t.TempDir(), "ledger.jsonl"))
	j := w.Of(l, records)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return j
}

func write(t *testing.T, j annotate.Journal, records ...ledger.Record) []ledger.Record {
	t.Helper()
	var out []ledger.Record
	for _, r := range records {
		r, err := j.Append(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !met(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// attempt is a trial's records up to and with that of its act.
func attempt(trial int, changes ...ledger.Change) []ledger.Record {
	edge := func(p ledger.Phase) ledger.Record { return ledger.Record{Kind: ledger.Edge, Trial: trial, Phase: p} }
	first := edge(ledger.Proposed)
	first.Change, first.Changes, first.Point, first.Reason = &changes[0], changes, space.Point{changes[0].Knob: changes[0].New}, "next step up"
	return []ledger.Record{first, edge(ledger.Preflight), edge(ledger.Applying), edge(ledger.Verifying)}
}

// end is the rest of the trial's records.
func end(trial int, o ledger.Outcome, effect float64) []ledger.Record {
	last := ledger.Reverted
	if o == ledger.OutcomeKept {
		last = ledger.Kept
	}
	return []ledger.Record{
		{Kind: ledger.Edge, Trial: trial, Phase: ledger.Measuring},
		{Kind: ledger.Edge, Trial: trial, Phase: ledger.Judged, Outcome: o, Reason: "goodput, p<0.001 & <b>", Verdict: &judge.Verdict{Effect: effect}},
		{Kind: ledger.Edge, Trial: trial, Phase: last, Outcome: o},
	}
}

func io(old, new int64) ledger.Change {
	return ledger.Change{Knob: "io_threads", Env: "IO", Old: old, New: new, OldText: fmt.Sprint(old), NewText: fmt.Sprint(new)}
}

func session() ledger.Record {
	return ledger.Record{Kind: ledger.Session, Point: space.Point{"io_threads": 2}}
}

// tagged gives the annotation that has the tag, of which there must be one.
func tagged(t *testing.T, f *fake, tag string) note {
	t.Helper()
	notes, _ := f.all()
	notes = slices.DeleteFunc(notes, func(n note) bool { return !slices.Contains(n.Tags, tag) })
	if len(notes) != 1 {
		t.Fatalf("want one annotation with the tag %s (got %v)", tag, notes)
	}
	return notes[0]
}

func TestWhatOthersChangedBeginsWhenTheyDidAndEndsWithTheScore(t *testing.T) {
	f := &fake{}
	w, _ := worker(t, serve(t, f), "")
	j := begin(t, w)
	first := attempt(1, io(2, 4))[0]
	first.Purpose, first.Author, first.Made = ledger.Scored, "vibectl", time.Date(2026, 3, 4, 22, 0, 0, 0, time.UTC)
	scored := end(1, ledger.OutcomeBetter, 0.25)
	scored[2].Phase = ledger.Kept
	ended := write(t, j, append([]ledger.Record{session(), first}, scored...)...)
	until(t, "the score is there", func() bool { n, _ := f.all(); return len(n) == 1 && slices.Contains(n[0].Tags, "outcome:better") })
	const text = "changed by vibectl, trial 1: better: io_threads 2 → 4, +25.0 %\ngoodput, p&lt;0.001 &amp; &lt;b&gt;"
	n := tagged(t, f, "author:vibectl")
	if n.Time != first.Made.UnixMilli() || n.TimeEnd != ended[4].Time.UnixMilli() || n.Text != text {
		t.Errorf("want it from %s to %s, with the text\n%q (got %+v)", first.Made, ended[4].Time, text, n)
	}
}

func TestAnAnnotationBeginsWithTheAttemptAndEndsWithTheOutcome(t *testing.T) {
	f := &fake{}
	w, _ := worker(t, serve(t, f), "")
	j := begin(t, w)
	write(t, j, session())
	began := write(t, j, attempt(1, io(2, 4), ledger.Change{Knob: "heap", OldText: "-Xmx1g", NewText: "-Xmx2g"})...)
	until(t, "the attempt is marked", func() bool { n, _ := f.all(); return len(n) == 1 })
	n := tagged(t, f, "trial:1")
	if at := began[2].Time.UnixMilli(); n.Time != at || n.TimeEnd != at || n.Text != "attempted in trial 1: io_threads 2 → 4, heap -Xmx1g → -Xmx2g\nnext step up" {
		t.Errorf("want the attempt at %d (got %+v)", at, n)
	}
	for _, tag := range []string{"kafkalab", "outcome:attempted", "author:kafkalab-tuner", "target:kafka/kafka", "knob:io_threads", "knob:heap"} {
		if !slices.Contains(n.Tags, tag) {
			t.Errorf("want the tag %s (got %q)", tag, n.Tags)
		}
	}
	ended := write(t, j, end(1, ledger.OutcomeKept, 0.25)...)
	until(t, "the outcome is there", func() bool { return tagged(t, f, "trial:1").TimeEnd != n.Time })
	const text = "kept in trial 1: io_threads 2 → 4, heap -Xmx1g → -Xmx2g, +25.0 %\ngoodput, p&lt;0.001 &amp; &lt;b&gt;"
	if n = tagged(t, f, "outcome:kept"); n.Time != began[2].Time.UnixMilli() || n.TimeEnd != ended[2].Time.UnixMilli() || n.Text != text {
		t.Errorf("want it to end at %s, with the text\n%q (got %+v)", ended[2].Time, text, n)
	}
	outside := write(t, j, ledger.Record{
		Kind: ledger.Outside, Author: "system:serviceaccount:ci:bot", Point: space.Point{"io_threads": 8}, Changes: []ledger.Change{io(4, 8), {Knob: "heap"}},
	})
	until(t, "the patch is marked", func() bool { n, _ := f.all(); return len(n) == 2 })
	n = tagged(t, f, "author:system.serviceaccount.ci.bot")
	if at := outside[0].Time.UnixMilli(); n.Time != at || n.TimeEnd != at || !slices.Contains(n.Tags, "outcome:outside") || !strings.HasPrefix(n.Text, "changed by system:serviceaccount:ci:bot: io_threads 4 → 8, heap") {
		t.Errorf("want what others did at %d (got %+v)", at, n)
	}
}

func TestWhatWasNotAttemptedHasNoAnnotation(t *testing.T) {
	f := &fake{}
	w, s := worker(t, serve(t, f), "")
	j := begin(t, w)
	write(t, j, session())
	write(t, j, attempt(1, io(2, 4))[:2]...) // the cluster was not fit to be changed
	write(t, j, end(1, ledger.OutcomeInconclusive, 0)[1:]...)
	write(t, j, attempt(2, io(2, 8))...)
	until(t, "the second is written", func() bool { return s.last() == status.Annotations{Written: 1} })
	tagged(t, f, "trial:2")
	if n, _ := f.all(); len(n) != 1 {
		t.Errorf("want one annotation (got %v)", n)
	}
}

// TestEachWayToFail: whatever goes wrong with the first two requests of a kind, there is one annotation in the end, and it is right.
func TestEachWayToFail(t *testing.T) {
	for _, how := range []failure{before, after, cut, half, late} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
			t.Run(method+", "+string(how), func(t *testing.T) {
				t.Parallel()
				f, failed := &fake{}, 0
				var mu sync.Mutex
				f.fail = func(_ int, r *http.Request) failure {
					mu.Lock()
					defer mu.Unlock()
					if r.Method != method || failed == 2 {
						if r.Method == http.MethodPost && method == http.MethodDelete && failed == 0 && len(f.calls()) < 6 {
							return late // something to delete
						}
						return none
					}
					failed++
					return how
				}
				w, s := worker(t, serve(t, f), "")
				j := begin(t, w)
				write(t, j, session())
				write(t, j, attempt(1, io(2, 4))...)
				until(t, "the attempt is written", func() bool { return w.Idle() && s.last().Written == 1 })
				write(t, j, end(1, ledger.OutcomeReverted, -0.1)...)
				until(t, "nothing is left to do", func() bool { return w.Idle() && s.last() == status.Annotations{Written: 1} })
				n, untagged := f.all()
				if len(n) != 1 || untagged != 0 || n[0].TimeEnd <= n[0].Time || !slices.Contains(n[0].Tags, "outcome:reverted") {
					t.Errorf("want one annotation, with its outcome and its tags (got %+v, %d without tags)", n, untagged)
				}
				mu.Lock()
				defer mu.Unlock()
				if failed == 0 {
					t.Error("nothing failed")
				}
			})
		}
	}
}

// TestTheTunerNeverWaits: while Grafana answers nothing, records are written as ever.
func TestTheTunerNeverWaits(t *testing.T) {
	f, free := &fake{}, make(chan struct{})
	asked := make(chan struct{}, 100)
	f.hook = func(int, *http.Request) { asked <- struct{}{}; <-free }
	release := sync.OnceFunc(func() { close(free) })
	defer release()
	w, s := worker(t, serve(t, f), "")
	j := begin(t, w)
	write(t, j, session())
	write(t, j, attempt(1, io(2, 4))...)
	<-asked
	for i := range 30 {
		write(t, j, end(i+1, ledger.OutcomeReverted, 0)...)
		write(t, j, attempt(i+2, io(2, 4))...)
	}
	if n, _ := f.all(); len(n) != 0 {
		t.Errorf("want nothing written yet (got %v)", n)
	}
	release()
	until(t, "all is made up for", func() bool { return s.last() == status.Annotations{Written: 31} })
}

// TestATokenThatIsRenewed: what is in the file counts, at each request, and a wrong one is said aloud.
func TestATokenThatIsRenewed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	f := &fake{token: "new"}
	w, s := worker(t, serve(t, f), file)
	registry := prometheus.NewRegistry()
	registry.MustRegister(w)
	j := begin(t, w)
	write(t, j, session())
	write(t, j, attempt(1, io(2, 4))...)
	until(t, "the wrong token is reported", func() bool {
		last := s.last()
		return last.Pending == 1 && strings.Contains(last.Error, "grafana answers 401 Unauthorized: Invalid API key") && !strings.Contains(last.Error, "old")
	})
	if n, err := testutil.GatherAndCount(registry, "tuner_annotation_requests_total"); err != nil || n != 8 {
		t.Errorf("want each operation with each result (got %d, %v)", n, err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	const pending = "# HELP tuner_annotations_pending Changes of which Grafana does not have the annotation yet, or not as it should be.\n# TYPE tuner_annotations_pending gauge\ntuner_annotations_pending %d\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(pending, 1)), "tuner_annotations_pending"); err != nil {
		t.Error(err)
	}
	put("new")
	until(t, "it is written", func() bool { return s.last() == status.Annotations{Written: 1} })
	if err := testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(pending, 0)), "tuner_annotations_pending"); err != nil {
		t.Error(err)
	}
}

// TestOneThatIsRefusedHoldsNobodyUp: Grafana will not have the first, and has the others.
func TestOneThatIsRefusedHoldsNobodyUp(t *testing.T) {
	f := &fake{refuse: "trial:1"}
	w, s := worker(t, serve(t, f), "")
	j := begin(t, w)
	write(t, j, session())
	for i := range 3 {
		write(t, j, attempt(i+1, io(2, 4))...)
		write(t, j, end(i+1, ledger.OutcomeReverted, 0)...)
	}
	until(t, "the others are there", func() bool {
		last := s.last()
		return last.Written == 2 && last.Pending == 1 && strings.Contains(last.Error, "trial:1: create annotation: grafana answers 400")
	})
	tagged(t, f, "trial:2")
	tagged(t, f, "trial:3")
}

func TestTagsFitIntoGrafana(t *testing.T) {
	f := &fake{}
	w, s := worker(t, serve(t, f), "")
	j := begin(t, w)
	write(t, j, session())
	var changes []ledger.Change
	for i := range 60 {
		changes = append(changes, ledger.Change{Knob: fmt.Sprintf("a_knob_with_a_long_name_%d", i)})
	}
	write(t, j, attempt(1, changes...)...)
	write(t, j, ledger.Record{Kind: ledger.Outside, Author: strings.Repeat("ä", 80), Changes: changes})
	until(t, "both are written", func() bool { return s.last() == status.Annotations{Written: 2} })
	if n := tagged(t, f, "trial:1"); len(n.Tags) < 10 {
		t.Errorf("want as many knobs as there is room for (got %q)", n.Tags)
	}
}

// TestARedirectIsNotAnAnswer: followed, it would make a question of what is to be written.
func TestARedirectIsNotAnAnswer(t *testing.T) {
	f := &fake{}
	there := serve(t, f)
	s := httptest.NewServer(http.RedirectHandler(there+"/sub/api/annotations", http.StatusMovedPermanently))
	t.Cleanup(s.Close)
	w, said := worker(t, s.URL, "")
	j := begin(t, w)
	write(t, j, session())
	write(t, j, attempt(1, io(2, 4))...)
	until(t, "it is reported", func() bool { return strings.Contains(said.last().Error, "301 Moved Permanently") })
	if calls := f.calls(); len(calls) != 0 {
		t.Errorf("want nothing to follow it (got %v)", calls)
	}
}

// TestNothingToDoAsksNothing: once all is written and looked at again, a quiet ledger makes no requests, and neither do records that change nothing.
func TestNothingToDoAsksNothing(t *testing.T) {
	f := &fake{}
	w, s := worker(t, serve(t, f), "")
	j := begin(t, w)
	write(t, j, session())
	write(t, j, attempt(1, io(2, 4))...)
	write(t, j, end(1, ledger.OutcomeKept, 0.1)...)
	until(t, "all is written and looked at again", func() bool { return w.Idle() && s.last() == status.Annotations{Written: 1} })
	calls := len(f.calls())
	write(t, j, ledger.Record{Kind: ledger.Measured}, ledger.Record{Kind: ledger.Control, Command: "pause"})
	write(t, j, attempt(2, io(4, 8))[:2]...)
	if !w.Idle() {
		t.Error("want nothing to do after records that change nothing")
	}
	write(t, j, attempt(2, io(4, 8))[2])
	until(t, "the next is written", func() bool { return s.last() == status.Annotations{Written: 2} })
	// Had an earlier record asked anything, there would be more before these.
	if now := f.calls()[calls:]; !slices.Equal(now[:min(3, len(now))], []string{http.MethodGet, http.MethodGet, http.MethodPost}) {
		t.Errorf("want it looked for by tags and by moment, then made (got %v)", now)
	}
}
