package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/search"
)

func text(t *testing.T, r *report.Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// full has something in every field.
func full(t *testing.T) *report.Report {
	t.Helper()
	r, _ := made{seconds: 15}.make(t)
	r.MaxRate = 5000
	r.Faults = report.Faults{Lost: 1, Duplicated: 2, Reordered: 3, Corrupted: 4, Uncommitted: 7, Unverified: 9, Redelivered: 8, Foreign: 5, Skewed: 6, Named: []string{"lost: lab/3, run a1, producer 0, sequence 17"}}
	r.Errors = map[string]uint64{"timed out": 2}
	r.Warnings = []string{"a warning"}
	r.Search = report.NewSearch(search.Result{Kind: search.Found, Rate: 1000, Low: 950, High: 1050, Why: "known within 5 %", Trials: []search.Trial{{
		Number: 1, Rate: 900, Verdict: search.Breaches, Why: "P99 too high",
		Outcome: search.Outcome{Offered: 900, Acked: 899, Consumed: 898, P99: 3 * time.Millisecond, Samples: 7, Errors: 1, GeneratorLimited: true, Steady: true},
	}}})
	return r
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	empty, _ := made{seconds: 5}.make(t)
	empty.Series, empty.Settings, empty.SLO = report.Series{}, nil, 0
	for name, r := range map[string]*report.Report{"everything": full(t), "little": empty} {
		t.Run(name, func(t *testing.T) {
			written := text(t, r)
			back, err := report.Read(strings.NewReader(written))
			if err != nil {
				t.Fatal(err)
			}
			if again := text(t, back); again != written {
				t.Errorf("read and written again it is another:\n%s\n%s", written, again)
			}
		})
	}
}

func TestTheSummaryComesFirstAndHasTheFigures(t *testing.T) {
	var doc struct {
		Summary struct {
			Verdict struct{ Limit string }
			SLO     struct{ Met bool }
			Latency map[string]struct{ P99 float64 }
		}
	}
	written := text(t, full(t))
	if err := json.Unmarshal([]byte(written), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Summary.Verdict.Limit == "" || !doc.Summary.SLO.Met || doc.Summary.Latency["end_to_end"].P99 <= 0 || !strings.HasPrefix(written, `{"summary":`) {
		t.Errorf("got %+v in %.80s…", doc.Summary, written)
	}
}

// edit changes the value at a path, or takes it away when to is nil.
func edit(t *testing.T, doc map[string]any, path string, to any) {
	t.Helper()
	var at any = doc
	parts := strings.Split(path, "/")
	for _, p := range parts[:len(parts)-1] {
		switch v := at.(type) {
		case map[string]any:
			at = v[p]
		case []any:
			at = v[len(p)] // as many letters as the index
		}
	}
	m, ok := at.(map[string]any)
	if !ok {
		t.Fatalf("no object at %s", path)
	}
	if m[parts[len(parts)-1]] = to; to == nil {
		delete(m, parts[len(parts)-1])
	}
}

func TestADamagedDocumentIsRefusedWithTheFieldsName(t *testing.T) {
	good := text(t, full(t))
	for name, c := range map[string]struct {
		path string
		to   any
		want string
	}{
		"another version":              {"schema", 1, "schema: must be 3, another version of loadgen has written this (got 1)"},
		"no version":                   {"schema", nil, "schema: is missing"},
		"a version in words":           {"schema", "one", "schema: must be a value of type int (got \"one\")"},
		"an unknown field":             {"topics", 1, "topics: there is no such field"},
		"an unknown field far inside":  {"series/points//load", 1, "series.points[0].load: there is no such field"},
		"a missing field":              {"topic", nil, "topic: is missing"},
		"a missing field far inside":   {"measured/acked", nil, "measured.acked: is missing"},
		"a missing histogram":          {"measured/response", nil, "measured.response: is missing"},
		"text for a number":            {"partitions", "six", `partitions: must be a value of type int (got "six")`},
		"a negative count":             {"measured/failed", -1, "measured.failed: must be a value of type uint64 (got -1)"},
		"a number for an object":       {"faults", 3, "faults: must be an object (got 3)"},
		"an object for a list":         {"series/points", map[string]any{}, "series.points: must be an array (got {})"},
		"null for a number":            {"lasted_seconds", json.RawMessage("null"), "lasted_seconds: must be set (got null)"},
		"a time in words":              {"start", "noon", "start: parsing time"},
		"a mode that is none":          {"mode", "walk", `mode: must be run, slo or search (got "walk")`},
		"no topic":                     {"topic", "", `topic: must be set (got "")`},
		"no workload":                  {"workload/name", "", `workload.name: must be set (got "")`},
		"no partitions":                {"partitions", 0, "partitions: must be at least 1 (got 0)"},
		"a negative time":              {"lasted_seconds", -2, "lasted_seconds: must be 0 or more (got -2)"},
		"a negative SLO":               {"slo_p99_seconds", -1, "slo_p99_seconds: must be 0 or more (got -1)"},
		"no generator":                 {"generators", []any{}, "generators: must tell of one process at least (got 0)"},
		"a generator without a sender": {"generators//senders", 0, "generators[0].senders: must be at least 1 (got 0)"},
		"a generator with no CPU":      {"generators//processors", 0, "generators[0].processors: must be above 0 (got 0)"},
		"acked beside its histogram":   {"measured/acked", 7, "measured.acked: must be the count of measured.response, 1000 (got 7)"},
		"consumed beside its own":      {"warm_up/consumed", 7, "warm_up.consumed: must be the count of warm_up.end_to_end, 2000 (got 7)"},
		"a histogram's count":          {"measured/response/count", 7, "measured.response: count: must be what zero and runs add up to, 1000 (got 7)"},
		"a histogram of another kind":  {"series/points/a/end_to_end/schema", 3, "series.points[1].end_to_end: schema: must be 6 (got 3)"},
		"a step of three":              {"series/step_seconds", 3, "series.step_seconds: must be a power of two (got 3)"},
		"a second before its time":     {"series/points/a/at", 1, "series.points[1].at: must be later than the one before (got 1)"},
		"a figure that was improved":   {"summary/latency/end_to_end/p99", 0.001, "summary.latency.end_to_end: must be what its buckets say"},
		"a rate that was improved":     {"summary/per_second/acked", 9e9, "summary.per_second: must follow from the counts"},
		"a histogram without figures":  {"summary/latency/service", nil, "summary.latency: must have 4 histograms (got 3)"},
		"a search that is half there":  {"search/rate", nil, "search.rate: is missing"},
		"a trial in words":             {"search/trials//met", "yes", "search.trials[0].met: there is no such field"},
	} {
		t.Run(name, func(t *testing.T) {
			var doc map[string]any
			if err := json.Unmarshal([]byte(good), &doc); err != nil {
				t.Fatal(err)
			}
			edit(t, doc, c.path, c.to)
			bad, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			_, err = report.Read(bytes.NewReader(bad))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "read report: ") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"", "not JSON from byte 0 on"},
		"half of it":      {good[:len(good)/2], "not JSON from byte"},
		"two of them":     {good + good, "not JSON from byte"},
		"a list":          {"[]", "report: must be an object (got [])"},
		"a page":          {"<html>", "not JSON from byte 1 on"},
		"several at once": {strings.NewReplacer(`"topic":"lab"`, `"topic":""`, `"partitions":6`, `"partitions":0`).Replace(good), "topic: must be set (got \"\")\npartitions: must be at least 1 (got 0)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := report.Read(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.200v, want %q", err, c.want)
			}
		})
	}
}

func TestAWorkloadIsTakenWholeAndByTheNamesOfItsFile(t *testing.T) {
	w, err := report.NewWorkload("x", struct {
		MaxWait time.Duration `yaml:"max_wait"`
		Topic   struct {
			Partitions int `yaml:"partitions"`
		} `yaml:"topic"`
	}{MaxWait: 25 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"max_wait":"25ms","topic":{"partitions":0}}`; string(w.Config) != want {
		t.Errorf("got %s, want %s", w.Config, want)
	}
}
