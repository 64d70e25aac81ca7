package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/report"
	"github.com/kafkalab/kafkalab/tuner/space"
)

var update = flag.Bool("update", false, "write the golden files anew")

// book writes records, half a minute apart, and reads them again.
func book(t *testing.T, path string, records ...ledger.Record) ledger.Content {
	t.Helper()
	l, _, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		r.Time = time.Date(2026, 3, 4, 22, 0, 0, 0, time.UTC).Add(time.Duration(i) * 30 * time.Second)
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := ledger.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// windows are eight about a goodput.
func windows(goodput float64) []judge.Window {
	var out []judge.Window
	for _, f := range []float64{0.97, 1.02, 1, 0.99, 1.04, 1.01, 0.98, 1.03} {
		out = append(out, judge.Window{Goodput: goodput * f, P99: 0.2 / f})
	}
	return out
}

func started() []ledger.Record {
	p := space.Point{"heap": 256, "io": 2}
	return []ledger.Record{{Kind: ledger.Session, Mode: "auto", Build: "1.2.3", Point: p}, {Kind: ledger.Measured, Point: p, Windows: windows(1000)}}
}

// tried is a trial of one knob from its proposal to its end.
func tried(n int, knob string, old, new int64, p space.Point, outcome ledger.Outcome, goodput, effect float64, reason string) []ledger.Record {
	c := &ledger.Change{Knob: knob, Env: strings.ToUpper(knob), Old: old, New: new, OldText: fmt.Sprintf("-X%d", old), NewText: fmt.Sprintf("-X%d", new)}
	judged := ledger.Record{Kind: ledger.Edge, Trial: n, Phase: ledger.Judged, Outcome: outcome, Reason: reason, Restart: outcome != ledger.OutcomeKept}
	if goodput > 0 {
		judged.Windows = windows(goodput)
		judged.Verdict = &judge.Verdict{Decision: judge.Better, Effect: effect, P: 0.00016}
		if n == 4 { // earlier judgements gave none
			judged.Verdict.Interval = &judge.Interval{Low: effect - 0.05, High: effect + 0.06}
		}
	} else {
		judged.Failure = "out-of-memory"
	}
	end := ledger.Reverted
	if outcome == ledger.OutcomeKept {
		end = ledger.Kept
	}
	return []ledger.Record{
		{Kind: ledger.Edge, Trial: n, Phase: ledger.Proposed, Change: c, Point: p, Reason: "next step"},
		{Kind: ledger.Edge, Trial: n, Phase: ledger.Applying, Point: p, Restart: true},
		judged, {Kind: ledger.Edge, Trial: n, Phase: end, Point: p},
	}
}

func joined(parts ...[]ledger.Record) []ledger.Record {
	var all []ledger.Record
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// evil is what others may have written: it must stay text.
const evil = "x | y <script>alert(1)</script> `z`\n# no heading"

func whole() []ledger.Record {
	return joined(started(),
		tried(1, "heap", 256, 512, space.Point{"heap": 512, "io": 2}, ledger.OutcomeKept, 1300, 0.3, "goodput 1000/s → 1300/s"),
		tried(2, "heap", 512, 1024, space.Point{"heap": 1024, "io": 2}, ledger.OutcomeReverted, 1250, -0.0385, "within the noise"),
		tried(3, "io", 2, 4, space.Point{"heap": 512, "io": 4}, ledger.OutcomeReverted, 0, 0, evil),
		[]ledger.Record{{Kind: ledger.Outside, Author: "kubectl|patch <b>", Point: space.Point{"heap": 512, "io": 3}, Reason: evil,
			Changes: []ledger.Change{{Knob: "io", OldText: "2", NewText: "3"}}}},
		[]ledger.Record{{Kind: ledger.Measured, Point: space.Point{"heap": 512, "io": 3}, Windows: windows(1310)}},
		tried(4, "io", 3, 8, space.Point{"heap": 512, "io": 8}, ledger.OutcomeKept, 1500, 0.145, "goodput went up"),
		[]ledger.Record{{Kind: ledger.Control, Author: "ann <b>", Command: "pause", Reason: evil}, {Kind: ledger.Control, Author: "ann", Command: "resume"}},
		back(5),
		[]ledger.Record{{Kind: ledger.Finished, Reason: "every step was tried and none is better"}})
}

// back is the trial that compares the best with the start once more: two knobs at once, and a guard that is breached on the way.
func back(n int) []ledger.Record {
	all := tried(n, "heap", 512, 256, space.Point{"heap": 256, "io": 2}, ledger.OutcomeReverted, 1020, -1.0/3, "the start is worse")
	all[0].Purpose = ledger.Confirm
	all[0].Changes = []ledger.Change{*all[0].Change, {Knob: "io", Env: "IO", Old: 8, New: 2, OldText: "-X8", NewText: "-X2"}}
	all[2].Violation = 12.5
	all[2].Verdict.Interval, all[2].Verdict.Blocks = &judge.Interval{Low: -0.4, High: -0.2}, 20
	return all
}

type form struct {
	name  string
	write func(*report.Report, io.Writer) error
}

func forms() []form {
	return []form{{"md", (*report.Report).Markdown}, {"json", (*report.Report).JSON}, {"html", (*report.Report).HTML}}
}

func written(t *testing.T, r *report.Report, f form) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := f.write(r, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// scored is a ledger of mode observe: an agent makes it better, then changes two knobs before one of them was measured, and then breaks it.
func scored() []ledger.Record {
	start := started()
	start[0].Mode = "observe"
	by := func(n int, records []ledger.Record) []ledger.Record {
		records = append(records[:1:1], records[2:]...) // it is in force already
		records[0].Purpose, records[0].Made, records[0].Restart = ledger.Scored, time.Date(2026, 3, 4, 22, n, 0, 0, time.UTC), true
		records[1].Restart = false
		for i := range records {
			records[i].Author = "vibectl"
		}
		return records
	}
	better := by(1, tried(1, "io", 2, 8, space.Point{"heap": 256, "io": 8}, ledger.OutcomeBetter, 1500, 0.5, "goodput went up"))
	better[2].Phase = ledger.Kept
	discarded := by(2, tried(2, "heap", 256, 512, space.Point{"heap": 512, "io": 8}, ledger.OutcomeDiscarded, 0, 0, "vibectl changed the knobs during the trial"))
	discarded[1].Failure = "outside-change"
	worse := by(3, tried(3, "heap", 256, 4096, space.Point{"heap": 4096, "io": 8}, ledger.OutcomeWorse, 0, 0, "exit 137"))
	worse[2].Phase = ledger.Kept
	return joined(start, better, discarded, worse)
}

func TestGolden(t *testing.T) {
	for name, records := range map[string][]ledger.Record{"whole": whole(), "scored": scored()} {
		golden(t, name, report.New(book(t, filepath.Join(t.TempDir(), name+".jsonl"), records...)))
	}
}

func golden(t *testing.T, name string, r *report.Report) {
	t.Helper()
	for _, f := range forms() {
		path := filepath.Join("testdata", name+"."+f.name)
		got := written(t, r, f)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is another one (see git diff after -update):\n%s", path, got)
		}
	}
}

func TestOutcomes(t *testing.T) {
	reverted := tried(1, "heap", 256, 512, space.Point{"heap": 512, "io": 2}, ledger.OutcomeReverted, 990, -0.01, "within the noise")
	kept := tried(1, "heap", 256, 512, space.Point{"heap": 512, "io": 2}, ledger.OutcomeKept, 1300, 0.3, "better")
	finished := []ledger.Record{{Kind: ledger.Finished, Reason: "every step was tried"}}
	for name, c := range map[string]struct {
		records []ledger.Record
		want    string
	}{
		"nothing":                  {nil, "Nothing has been measured yet."},
		"only a session":           {started()[:1], "Nothing has been measured yet."},
		"only the start":           {started(), "The start was left as it was: of 0 trials none was better than its 1005 records/s. The search goes on."},
		"the start was good":       {joined(started(), reverted, finished), "The start was left as it was: of 1 trial none was better than its 1005 records/s. The search ended: every step was tried."},
		"something was better":     {joined(started(), kept, finished), "Goodput went from 1005 to 1306 records/s (+30.0 %, 95 % interval +26.2 % to +33.9 %) and P99 from 199.0 to 199.0 ms by heap -X256 → -X512, in 1 trial."},
		"a trial runs":             {joined(started(), kept[:2]), "The start was left as it was: of 1 trial none was better than its 1005 records/s. The search goes on."},
		"others made it better":    {scored()[:5], "by io -X2 → -X8, in 1 trial. The tuner searches nothing; it measures what others change."},
		"others made it no better": {joined(scored()[:2], scored()[8:]), "No change of others was better than the start with its 1005 records/s, of 1 change. The tuner searches nothing"},
		"the start has one window": {joined([]ledger.Record{started()[0], {Kind: ledger.Measured, Point: space.Point{"heap": 256, "io": 2}, Windows: windows(1000)[:1]}}, kept), "(+34.7 %, too few windows for an interval)"},
	} {
		t.Run(name, func(t *testing.T) {
			r := report.New(book(t, filepath.Join(t.TempDir(), "ledger.jsonl"), c.records...))
			if !strings.Contains(r.Outcome, c.want) {
				t.Errorf("want %q (got %q)", c.want, r.Outcome)
			}
			for _, f := range forms() {
				text := written(t, r, f)
				if f.name == "json" && !json.Valid(text) || len(text) < 100 {
					t.Errorf("%s: want a whole report (got %s)", f.name, text)
				}
				if bytes.Contains(text, []byte("%!")) || bytes.Contains(text, []byte("<nil>")) || bytes.Contains(text, []byte("NaN")) {
					t.Errorf("%s shows what is not known as a value:\n%s", f.name, text)
				}
			}
		})
	}
}

func TestWhatOthersWroteStaysText(t *testing.T) {
	r := report.New(book(t, filepath.Join(t.TempDir(), "ledger.jsonl"), whole()...))
	html, markdown := string(written(t, r, forms()[2])), string(written(t, r, forms()[0]))
	if strings.Contains(html, "<script") || strings.Contains(html, "patch <b>") || strings.Contains(html, "http") {
		t.Error("the page has markup of others, or asks for something elsewhere")
	}
	if strings.Contains(markdown, "<script") || strings.Contains(markdown, "\n# no heading") || !strings.Contains(markdown, `x \| y`) {
		t.Errorf("the text has markup of others:\n%s", markdown)
	}
}

// TestTheSameBytes: from a ledger, from its copy, and by another process with another zone, language and folder, the same bytes come.
func TestTheSameBytes(t *testing.T) {
	if path := os.Getenv("REPORT_OF"); path != "" {
		c, err := ledger.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range forms() {
			if err := os.WriteFile(filepath.Join(os.Getenv("REPORT_TO"), f.name), written(t, report.New(c), f), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	c := book(t, path, whole()...)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy of another name")
	if err := os.WriteFile(copied, text, 0o400); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]string{
		"the same again": {"REPORT_OF=" + path},
		"elsewhere":      {"REPORT_OF=" + copied, "TZ=Pacific/Auckland", "LANG=de_DE.UTF-8", "LC_ALL=tr_TR.UTF-8", "HOME=/nonexistent", "GOMAXPROCS=1"},
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			cmd := exec.Command(os.Args[0], "-test.run=^TestTheSameBytes$")
			cmd.Env, cmd.Dir = append(append(os.Environ(), "REPORT_TO="+to), env...), to
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, f := range forms() {
				got, err := os.ReadFile(filepath.Join(to, f.name))
				if err != nil {
					t.Fatal(err)
				}
				if want := written(t, report.New(c), f); !bytes.Equal(got, want) {
					t.Errorf("%s: want the same bytes", f.name)
				}
			}
		})
	}
}

// TestOnceMore: the gain as the last trial found it, with the interval turned over, is told beside the first one.
func TestOnceMore(t *testing.T) {
	r := report.New(book(t, filepath.Join(t.TempDir(), "ledger.jsonl"), whole()...))
	a := r.Again
	if a == nil || a.Low == nil || *a.Low < 0.2499 || *a.Low > 0.2501 || *a.High < 0.6666 || *a.High > 0.6667 || a.Value < 0.499 || a.Value > 0.501 || a.Windows != 20 {
		t.Errorf("want +50 %%, +25 %% to +66.7 %% (got %+v)", a)
	}
	if r.Counts.Violation != 12.5 || len(r.Orders) != 2 || r.Trials[4].Purpose != "confirm" || len(r.Trials[4].Changes) != 2 {
		t.Errorf("want the breach, the orders and both knobs (got %+v, %+v, %+v)", r.Counts, r.Orders, r.Trials[4])
	}
	for _, k := range r.Knobs {
		if k.Name == "heap" && k.Trials != 2 {
			t.Errorf("want trials of several knobs left out (got %+v)", k)
		}
	}
}
