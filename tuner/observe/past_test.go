package observe_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/observe"
)

// recorder answers by what a query contains.
type recorder map[string][]promql.Sample

func (r recorder) Over(_ context.Context, query string, _, _ time.Time, _ time.Duration) ([]promql.Sample, error) {
	for part, samples := range r {
		if strings.Contains(query, part) && strings.Contains(query, "[10000ms]") {
			return samples, nil
		}
	}
	return nil, &promql.Error{Query: query, Cause: promql.NoData, Why: "the result is empty"}
}

func TestThePast(t *testing.T) {
	at := func(s int64, v float64) promql.Sample { return promql.Sample{Time: time.Unix(s, 0), Value: v} }
	f := file()
	f.Live.Window = 10 * time.Second
	f.Live.P50 = "x - $start"
	source := recorder{"acked_total": {at(100, 5), at(120, 7)}, "e2e_seconds": {at(110, 0.2), at(120, 0.3), at(130, -1)}}
	got, err := observe.Past(t.Context(), source, f, time.Unix(100, 0), time.Unix(130, 0), 10*time.Second)
	if len(got) != 3 || got[0].P99 != nil || *got[0].Acked != 5 || *got[1].P99 != 0.2 || got[1].Acked != nil || *got[2].Acked != 7 || *got[2].P99 != 0.3 {
		t.Errorf("want 100, 110 and 120 with what was known (got %+v)", got)
	}
	for _, want := range []string{"p50 over time: want a query without $start", "offered over time", "no-data"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q said (got %v)", want, err)
		}
	}
}
