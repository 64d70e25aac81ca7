package collector

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/exporter/exposition"
)

func TestASnapshotGivesTheSamePageEachTime(t *testing.T) {
	snap := synthetic(4, 3)
	for i := range snap.topics {
		snap.configs[snap.topics[i].name] = map[string]string{"a": "1", "b": "2", "c": "x", "d": "y", "e": "z"}
	}
	e := showing(t, snap)
	for _, part := range []string{partGroups, partOffsets, partConfigs, partLogDirs} {
		e.report.lastSuccess[part] = snap.taken
	}
	page, err := exposition.New(e.Shows())
	if err != nil {
		t.Fatal(err)
	}
	age := regexp.MustCompile(`kafka_exporter_snapshot_age_seconds \S+`)
	var first string
	for range 20 {
		page.Begin(expfmt.FmtText)
		e.Show(page)
		var out strings.Builder
		if _, err := page.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		got := age.ReplaceAllString(out.String(), "age")
		if first == "" {
			first = got
		}
		if got != first {
			t.Fatalf("want each time\n%s\ngot\n%s", first, got)
		}
	}
}

// What a cluster says twice, and names that are no UTF-8, cost neither the scrape nor the rest of it.
func TestNoNameAndNoDuplicateBreaksAScrape(t *testing.T) {
	snap := synthetic(2, 2)
	for i, id := range []string{"\xff", "\xfe", "a\"b\\c\nd", ""} {
		g := snap.groups[i%2]
		g.id = id
		snap.groups = append(snap.groups, g)
	}
	snap.topics = append(snap.topics, snap.topics...)
	snap.groups = append(snap.groups, snap.groups...)
	snap.brokers = append(snap.brokers, snap.brokers...)
	snap.dirs = append(snap.dirs, snap.dirs...)
	e := showing(t, snap)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(e)
	h := scrapeOf(t, e, reg)
	for _, accept := range accepts {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("want status 200 for %s, got %d: %s", accept, w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") != string(expfmt.FmtText+"; escaping=underscores") {
			continue
		}
		seen := map[string]bool{}
		for line := range strings.Lines(w.Body.String()) {
			series, _, _ := strings.Cut(line, "} ")
			if strings.Contains(line, "{") && seen[series] {
				t.Errorf("want each series once, got again %s", line)
			}
			seen[series] = true
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		// Two of the names become the same.
		if n := len(families[famGroupMembers.Name].GetMetric()); n != 5 {
			t.Errorf("want 5 groups, got %d", n)
		}
		if n := len(families[famEnd.Name].GetMetric()); n != 4 {
			t.Errorf("want 4 partitions, got %d", n)
		}
	}
}
