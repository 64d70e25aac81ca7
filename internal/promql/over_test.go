package promql_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
)

func matrix(series ...string) http.HandlerFunc {
	body := ""
	for i, s := range series {
		if i > 0 {
			body += ","
		}
		body += fmt.Sprintf(`{"metric":{"n":"%d"},%s}`, i, s)
	}
	return answer(200, `{"status":"success","data":{"resultType":"matrix","result":[`+body+`]}}`)
}

// TestOverTime: gaps stay gaps, and what is no series of numbers has its cause.
func TestOverTime(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    promql.Cause
		values  string
	}{
		"numbers":                 {matrix(`"values":[[100,"1"],[110,"2.5"]]`), "", "[100=1 110=2.5]"},
		"a gap, NaN and infinity": {matrix(`"values":[[100,"1"],[110,"NaN"],[120,"+Inf"],[150,"2"]]`), "", "[100=1 150=2]"},
		"nothing but NaN":         {matrix(`"values":[[100,"NaN"]]`), promql.NoData, "[]"},
		"no series":               {matrix(), promql.NoData, "[]"},
		"two series":              {matrix(`"values":[[100,"1"]]`, `"values":[[100,"1"]]`), promql.ManySeries, "[]"},
		"a histogram":             {matrix(`"histograms":[[100,{"count":"1","sum":"1","buckets":[[0,"0","1","1"]]}]]`), promql.NotANumber, "[]"},
		"one moment":              {answer(200, vector(sample(0, "1"))), promql.NotANumber, "[]"},
		"a refusal":               {answer(400, `{"status":"error","errorType":"bad_data","error":"parse error"}`), promql.BadQuery, "[]"},
		"a broken server":         {answer(500, "oops"), promql.ServerError, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			got, err := client(t, server.URL, patience).Over(t.Context(), "up", time.Unix(100, 0), time.Unix(150, 0), 10*time.Second)
			values := []string{}
			for _, s := range got {
				values = append(values, fmt.Sprintf("%d=%g", s.Time.Unix(), s.Value))
			}
			if promql.CauseOf(err) != c.want || fmt.Sprint(values) != c.values {
				t.Errorf("want %s, cause %q (got %v, %v)", c.values, c.want, values, err)
			}
		})
	}
}
