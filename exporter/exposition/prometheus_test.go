package exposition_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/exporter/exposition"
	"github.com/kafkalab/kafkalab/internal/promtest"
)

// Prometheus takes a label without a value for one that is not there, and what it shows is a label's value as it was sent.
func TestPrometheusReadsWhatWasWritten(t *testing.T) {
	pages, err := exposition.NewPages(families)
	if err != nil {
		t.Fatal(err)
	}
	_, alone, _ := served(t)
	h := pages.Before(alone, func(p *exposition.Page) {
		for i, value := range hostile {
			p.Add("zoo_animals", float64(i), value, fmt.Sprint(i))
			p.Add("zoo_visits_total", float64(i), value)
		}
	})
	targets := map[string]expfmt.Format{}
	for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtProtoDelim} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Accept", string(format)) // what Prometheus likes best is not all that it can read
			h.ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		targets[strings.TrimPrefix(srv.URL, "http://")] = format
	}
	var addrs []string
	for addr := range targets {
		addrs = append(addrs, addr)
	}
	s := promtest.Start(t, addrs...)
	s.Scraped(t)
	for addr, format := range targets {
		shown := map[model.LabelValue]*model.Sample{}
		for _, sample := range s.Query(t, fmt.Sprintf(`zoo_animals{instance=%q}`, addr)) {
			shown[sample.Metric["cage"]] = sample
		}
		for i, value := range hostile {
			got, want := shown[model.LabelValue(fmt.Sprint(i))], strings.ToValidUTF8(value, "\uFFFD")
			if got == nil || string(got.Metric["kind"]) != want || float64(got.Value) != float64(i) {
				t.Errorf("%s: sample %d: want %q read, got %v", format, i, want, got)
			}
		}
		if n := s.Number(t, fmt.Sprintf(`sum(zoo_visits_total{instance=%q})`, addr)); n != float64(len(hostile)*(len(hostile)-1)/2) {
			t.Errorf("%s: want every counter read, got a sum of %v", format, n)
		}
		if n := s.Number(t, fmt.Sprintf(`own_seconds_count{instance=%q}`, addr)); n != 1 {
			t.Errorf("%s: want the registry's histogram read, got %v", format, n)
		}
	}
}
