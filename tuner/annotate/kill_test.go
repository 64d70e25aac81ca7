package annotate_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/child"
	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/annotate"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// What the program that is killed finds in its environment.
const bookVar, grafanaVar = "ANNOTATE_LEDGER", "ANNOTATE_GRAFANA"

func TestMain(m *testing.M) {
	if book := os.Getenv(bookVar); book != "" {
		if err := mortal(book, os.Getenv(grafanaVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// mortal is the tuner as far as it matters here: it writes the tale from where the ledger ends, and ends when Grafana has all of it.
func mortal(path, url string) error {
	book, records, err := ledger.Open(path)
	if err != nil {
		return err
	}
	w, err := annotate.New(annotate.Config{
		URL: url, Access: promql.Access{}, Target: target, Show: func(status.Annotations) {}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	w.Hurry()
	j := w.Of(book, records)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	go w.Run(ctx)
	for _, r := range tale()[len(records):] {
		if _, err := j.Append(r); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond) // so that the worker sees every stage of it
	}
	for !w.Idle() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// The outcomes of the tale's trials. After the seventh somebody patches the target.
func outcomes() []ledger.Outcome {
	kept, reverted := ledger.OutcomeKept, ledger.OutcomeReverted
	return []ledger.Outcome{kept, reverted, ledger.OutcomeInconclusive, reverted, ledger.OutcomeDiscarded, kept, reverted, reverted, kept, reverted}
}

func tale() []ledger.Record {
	all := []ledger.Record{session()}
	for i, o := range outcomes() {
		all = append(all, attempt(i+1, io(2, 4))...)
		all = append(all, end(i+1, o, 0.1)...)
		if i == 6 {
			all = append(all, ledger.Record{Kind: ledger.Outside, Author: "kubectl-patch", Point: space.Point{"io_threads": 8}, Changes: []ledger.Change{io(4, 8)}})
		}
	}
	return all
}

// TestOneAnnotationForEachChange: ten trials and somebody else's patch, a Grafana that fails at every third call, before or after it has acted, and a
// tuner that is killed in the middle of ten requests. None is lost, none is there twice.
func TestOneAnnotationForEachChange(t *testing.T) {
	kinds := []failure{before, after, half, cut, late}
	f := &fake{}
	f.fail = func(n int, _ *http.Request) failure {
		if n%3 == 0 {
			return kinds[n/3%len(kinds)]
		}
		return none
	}
	deaths := []int{1, 3, 6, 10, 15, 21, 28, 36, 45, 55}
	die, dead := make(chan struct{}), make(chan struct{})
	f.hook = func(n int, _ *http.Request) {
		if slices.Contains(deaths, n) {
			die <- struct{}{}
			<-dead // what was asked is carried out, or not, when nobody waits for the answer any more
		}
	}
	url, path := serve(t, f)+"/sub", filepath.Join(t.TempDir(), "ledger.jsonl")
	kills := 0
	for ended := false; !ended; {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), bookVar+"="+path, grafanaVar+"="+url)
		p, err := child.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-die:
			p.Kill()
			dead <- struct{}{}
			kills++
		case <-p.Done():
			if ended = true; p.Err() != nil {
				t.Fatalf("the tuner ended by itself: %v", p.Err())
			}
		}
	}
	if kills != len(deaths) {
		t.Errorf("want %d kills (got %d)", len(deaths), kills)
	}
	check(t, f, path)
	calls := f.calls()
	count := func(method string) int {
		return len(calls) - len(slices.DeleteFunc(slices.Clone(calls), func(m string) bool { return m == method }))
	}
	t.Logf("%d kills, %d calls of which every third failed: %d find, %d create, %d update, %d delete", kills, len(calls),
		count(http.MethodGet), count(http.MethodPost), count(http.MethodPatch), count(http.MethodDelete))
}

func check(t *testing.T, f *fake, path string) {
	t.Helper()
	records, _, err := ledger.Read(path)
	if err != nil || len(records) != len(tale()) {
		t.Fatalf("want %d records (got %d, %v)", len(tale()), len(records), err)
	}
	from, to, patched := map[int]time.Time{}, map[int]time.Time{}, time.Time{}
	for _, r := range records {
		switch {
		case r.Kind == ledger.Outside:
			patched = r.Time
		case r.Phase == ledger.Applying:
			from[r.Trial] = r.Time
		case r.Phase.Done():
			to[r.Trial] = r.Time
		}
	}
	notes, untagged := f.all()
	if want := len(outcomes()) + 1; len(notes) != want || untagged != 0 {
		t.Errorf("want %d annotations (got %d, and %d without tags)", want, len(notes), untagged)
	}
	for i, o := range outcomes() {
		n := tagged(t, f, "trial:"+strconv.Itoa(i+1))
		if n.Time != from[i+1].UnixMilli() || n.TimeEnd != to[i+1].UnixMilli() {
			t.Errorf("trial %d: want it from %s to %s (got %+v)", i+1, from[i+1], to[i+1], n)
		}
		for _, tag := range []string{"kafkalab", "knob:io_threads", "author:kafkalab-tuner", "outcome:" + string(o)} {
			if !slices.Contains(n.Tags, tag) {
				t.Errorf("trial %d: want the tag %s (got %q)", i+1, tag, n.Tags)
			}
		}
	}
	n := tagged(t, f, "outcome:outside")
	if n.Time != patched.UnixMilli() || n.TimeEnd != n.Time || !slices.Contains(n.Tags, "author:kubectl-patch") {
		t.Errorf("want the patch at %s (got %+v)", patched, n)
	}
}
