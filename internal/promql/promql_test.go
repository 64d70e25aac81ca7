package promql_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
)

func vector(samples ...string) string {
	body := ""
	for i, s := range samples {
		if i > 0 {
			body += ","
		}
		body += s
	}
	return `{"status":"success","data":{"resultType":"vector","result":[` + body + `]}}`
}

func sample(age time.Duration, value string) string {
	return fmt.Sprintf(`{"metric":{"a":"%s"},"value":[%.3f,"%s"]}`, value, float64(time.Now().Add(-age).UnixMilli())/1000, value)
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// TestBadData: for each way in which an answer can be bad, the cause by name, and never a number.
func TestBadData(t *testing.T) {
	for name, c := range map[string]struct {
		handler func() http.HandlerFunc
		want    promql.Cause
	}{
		"an empty vector":          {func() http.HandlerFunc { return answer(200, vector()) }, promql.NoData},
		"two series":               {func() http.HandlerFunc { return answer(200, vector(sample(0, "1"), sample(0, "2"))) }, promql.ManySeries},
		"NaN":                      {func() http.HandlerFunc { return answer(200, vector(sample(0, "NaN"))) }, promql.NaN},
		"plus infinity":            {func() http.HandlerFunc { return answer(200, vector(sample(0, "+Inf"))) }, promql.Inf},
		"minus infinity":           {func() http.HandlerFunc { return answer(200, vector(sample(0, "-Inf"))) }, promql.Inf},
		"a sample of a minute ago": {func() http.HandlerFunc { return answer(200, vector(sample(time.Minute, "1"))) }, promql.Stale},
		"a sample of the future":   {func() http.HandlerFunc { return answer(200, vector(sample(-time.Minute, "1"))) }, promql.Skew},
		"a histogram":              {func() http.HandlerFunc { return answer(200, vector(histogram())) }, promql.NotANumber},
		"a range": {func() http.HandlerFunc {
			return answer(200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
		}, promql.NotANumber},
		"a string": {func() http.HandlerFunc {
			return answer(200, `{"status":"success","data":{"resultType":"string","result":[1,"a"]}}`)
		}, promql.NotANumber},
		"a scalar": {func() http.HandlerFunc {
			return answer(200, fmt.Sprintf(`{"status":"success","data":{"resultType":"scalar","result":[%d,"3"]}}`, time.Now().Unix()))
		}, promql.NotANumber},
		"a type of result that nobody knows": {func() http.HandlerFunc {
			return answer(200, `{"status":"success","data":{"resultType":"tensor","result":[]}}`)
		}, promql.NotANumber},
		"a warning beside the number": {func() http.HandlerFunc { return answer(200, warned()) }, promql.Warned},
		"a bad expression": {func() http.HandlerFunc {
			return answer(400, `{"status":"error","errorType":"bad_data","error":"parse error"}`)
		}, promql.BadQuery},
		"an expression that fails": {func() http.HandlerFunc {
			return answer(422, `{"status":"error","errorType":"execution","error":"many-to-many"}`)
		}, promql.BadQuery},
		"the server's own timeout": {func() http.HandlerFunc {
			return answer(503, `{"status":"error","errorType":"timeout","error":"query timed out"}`)
		}, promql.Timeout},
		"500":                           {func() http.HandlerFunc { return answer(500, "oops") }, promql.ServerError},
		"502 from a proxy":              {func() http.HandlerFunc { return answer(502, "<html>bad gateway</html>") }, promql.ServerError},
		"401":                           {func() http.HandlerFunc { return answer(401, "who are you") }, promql.Denied},
		"403":                           {func() http.HandlerFunc { return answer(403, "no") }, promql.Denied},
		"404":                           {func() http.HandlerFunc { return answer(404, "no such page") }, promql.BadAnswer},
		"429":                           {func() http.HandlerFunc { return answer(429, "slow down") }, promql.Throttled},
		"a page of HTML":                {func() http.HandlerFunc { return answer(200, "<html>log in</html>") }, promql.BadAnswer},
		"JSON that is cut":              {func() http.HandlerFunc { return answer(200, `{"status":"success","data":{"resultTy`) }, promql.BadAnswer},
		"an answer without a result":    {func() http.HandlerFunc { return answer(200, `{"status":"success"}`) }, promql.BadAnswer},
		"a value that is no number":     {func() http.HandlerFunc { return answer(200, vector(`{"metric":{},"value":[1,"much"]}`)) }, promql.BadAnswer},
		"a server that does not answer": {slow, promql.Timeout},
		"a connection that breaks":      {broken, promql.Unreachable},
		"a redirect": {func() http.HandlerFunc {
			return http.RedirectHandler("http://127.0.0.1:1/login", http.StatusFound).ServeHTTP
		}, promql.Redirected},
		"a redirect that keeps the method": {func() http.HandlerFunc {
			return http.RedirectHandler("http://127.0.0.1:1/", http.StatusPermanentRedirect).ServeHTTP
		}, promql.Redirected},
		"an answer without an end":      {endless, promql.TooLarge},
		"a list where an object is due": {func() http.HandlerFunc { return answer(200, `[]`) }, promql.BadAnswer},
		"nothing":                       {func() http.HandlerFunc { return answer(200, ``) }, promql.BadAnswer},
		"no content":                    {func() http.HandlerFunc { return answer(204, ``) }, promql.BadAnswer},
		"an error that says 200": {func() http.HandlerFunc {
			return answer(200, `{"status":"error","errorType":"execution","error":"out of memory"}`)
		}, promql.BadQuery},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler())
			defer server.Close()
			limit := patience
			if c.want == promql.Timeout {
				limit = 500 * time.Millisecond
			}
			got, err := client(t, server.URL, limit).Number(t.Context(), "up", time.Time{})
			if promql.CauseOf(err) != c.want {
				t.Errorf("want cause %q (got %v, %v)", c.want, got, err)
			}
		})
	}
}

func histogram() string {
	return fmt.Sprintf(`{"metric":{},"histogram":[%d,{"count":"1","sum":"1","buckets":[[0,"0","1","1"]]}]}`, time.Now().Unix())
}

func warned() string {
	return `{"status":"success","warnings":["partial response"],"data":{"resultType":"vector","result":[` + sample(0, "1") + `]}}`
}

func slow() http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client left
		<-r.Context().Done()
	}
}

// endless sends a vector of ever more series until the client leaves.
func endless() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(sample(0, "1")+",", 1000)); err != nil {
				return
			}
		}
	}
}

func broken() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
}

// patience is with a busy machine; a sample that is farther in the future than an answer may take is refused.
const patience = 20 * time.Second

func client(t *testing.T, url string, limit time.Duration) *promql.Client {
	t.Helper()
	c, err := promql.New(promql.Config{URL: url, Timeout: limit})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNothingListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if _, err := client(t, server.URL, patience).Number(t.Context(), "up", time.Time{}); promql.CauseOf(err) != promql.Unreachable {
		t.Errorf("want unreachable (got %v)", err)
	}
}

func TestTheCallerGivesUp(t *testing.T) {
	server := httptest.NewServer(slow())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, server.URL, patience).Number(ctx, "up", time.Time{}); promql.CauseOf(err) != promql.Canceled {
		t.Errorf("want canceled (got %v)", err)
	}
}

func TestOneNumber(t *testing.T) {
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, c := range map[string]struct {
		body string
		at   time.Time
		want float64
	}{
		"a vector of one":    {vector(sample(0, "12.5")), time.Time{}, 12.5},
		"zero is a number":   {vector(sample(0, "0")), time.Time{}, 0},
		"a time in the past": {vector(fmt.Sprintf(`{"metric":{},"value":[%d,"7"]}`, at.Unix())), at, 7},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer(200, c.body))
			defer server.Close()
			got, err := client(t, server.URL, patience).Number(t.Context(), "up", c.at)
			if err != nil || got.Value != c.want {
				t.Errorf("want %g (got %g, %v)", c.want, got.Value, err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "prometheus:9090", "ftp://x", "http://", "://"} {
		if _, err := promql.New(promql.Config{URL: bad}); err == nil {
			t.Errorf("%q was taken for an address", bad)
		}
	}
}
