package observe_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/observe"
)

// server has Prometheus' API and answers by what a query contains; the longest key decides. What it has no answer for is an empty vector.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   []string
	at      []string
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{answers: map[string]http.HandlerFunc{
		"vector(time())":      clock(0),
		"max(count_over_time": number("6"), "max(timestamp": number(seconds(windowEnd())), "sum(resets": number("0"), "unless": vector(),
		"sum(rate(acked_total": number("1000"), "0.99, sum(rate(e2e_seconds": number("0.1"),
		"count(target_rate": number("1"), "sum(increase(lost_total": number("0"),
		"newest": number(seconds(time.Now().Add(-time.Second))), "0.5, ": number("0.05"), "0.999, ": number("0.2"),
		"offered": number("1001"), "consumed": number("1002"), "failed": number("0"), "histogram_count": number("9000"),
	}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	query := r.FormValue("query")
	s.mu.Lock()
	s.asked, s.at = append(s.asked, query), append(s.at, r.FormValue("time"))
	answer := vector()
	keys := slices.SortedFunc(maps.Keys(s.answers), func(a, b string) int { return len(b) - len(a) })
	if i := slices.IndexFunc(keys, func(k string) bool { return strings.Contains(query, k) }); i >= 0 {
		answer = s.answers[keys[i]]
	}
	s.mu.Unlock()
	answer(w, r)
}

// windowEnd is the same for all queries of a test.
func windowEnd() time.Time { return time.Now().Truncate(time.Hour).Add(-time.Hour) }

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func body(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func result(kind, values string) http.HandlerFunc {
	return body(200, fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":[%s]}}`, kind, values))
}

// vector has one series per value, evaluated when it was asked for.
func vector(values ...string) http.HandlerFunc { return vectorAt(0, values...) }

func vectorAt(late time.Duration, values ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		at, err := strconv.ParseFloat(r.FormValue("time"), 64)
		if err != nil {
			at = float64(time.Now().UnixMilli()) / 1000
		}
		var out []string
		for i, v := range values {
			out = append(out, fmt.Sprintf(`{"metric":{"n":"%d"},"value":[%.3f,%q]}`, i, at-late.Seconds(), v))
		}
		result("vector", strings.Join(out, ","))(w, r)
	}
}

func number(value string) http.HandlerFunc { return vector(value) }

// clock is the time when it is asked for, by a clock that is ahead of ours by so much.
func clock(ahead time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { number(seconds(time.Now().Add(ahead)))(w, r) }
}

func warned(value string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text := fmt.Sprintf(`{"status":"success","warnings":["partial response: store is down"],"data":{"resultType":"vector","result":[{"metric":{},"value":[%s,%q]}]}}`, r.FormValue("time"), value)
		body(200, text)(w, r)
	}
}

func silent(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func broken(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat(`{"metric":{"a":"b"},"value":[1,"1"]},`, 1000)); err != nil {
			return
		}
	}
}

func file() config.File {
	one, zero := 1.0, 0.0
	f := config.Default()
	f.Prometheus.ScrapeInterval = 2 * time.Second
	f.Objective.Goodput, f.Objective.P99 = "sum(rate(acked_total[$window]))", "histogram_quantile(0.99, sum(rate(e2e_seconds[$window])))"
	f.Guards = []config.Guard{
		{Name: "one load", Query: "count(target_rate) # since $start", Min: &one, Max: &one, Breach: config.BreachInconclusive},
		{Name: "lost", Query: "sum(increase(lost_total[$window]))", Max: &zero, Breach: config.BreachWorse},
	}
	f.Live.Newest = "newest"
	return f
}

// patience with one query: nothing but a server that does not answer takes as long, however many cases run at once.
const patience = 20 * time.Second

func observer(t *testing.T, url string, f config.File) *observe.Observer {
	t.Helper()
	return observing(t, url, f, patience)
}

func observing(t *testing.T, url string, f config.File, limit time.Duration) *observe.Observer {
	t.Helper()
	client, err := promql.New(promql.Config{URL: url, Timeout: limit})
	if err != nil {
		t.Fatal(err)
	}
	o, err := observe.New(client, f)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

const (
	goodput = "sum(rate(acked_total"
	p99     = "0.99, sum(rate(e2e_seconds"
	lost    = "sum(increase(lost_total"
	load    = "count(target_rate"
)

// TestBadData: of every way in which data can be bad, nothing follows but its cause by name: no window, and no blame.
func TestBadData(t *testing.T) {
	apiError := func(status int, kind string) http.HandlerFunc {
		return body(status, fmt.Sprintf(`{"status":"error","errorType":%q,"error":"it says"}`, kind))
	}
	for name, c := range map[string]struct {
		key    string // of the query that is answered otherwise
		answer http.HandlerFunc
		cause  string
		figure string
	}{
		"no goodput":                                 {goodput, vector(), "no-data", "goodput"},
		"no P99":                                     {p99, vector(), "no-data", "p99"},
		"a guard without data is not passed":         {load, vector(), "no-data", "guard one load"},
		"a guard that blames, without data":          {lost, vector(), "no-data", "guard lost"},
		"goodput of two series":                      {goodput, vector("1", "2"), "many-series", "goodput"},
		"a guard that blames, of two series":         {lost, vector("1", "2"), "many-series", "guard lost"},
		"goodput is NaN":                             {goodput, number("NaN"), "nan", "goodput"},
		"P99 is NaN":                                 {p99, number("NaN"), "nan", "p99"},
		"a guard that blames is NaN":                 {lost, number("NaN"), "nan", "guard lost"},
		"P99 is infinite":                            {p99, number("+Inf"), "inf", "p99"},
		"goodput is minus infinity":                  {goodput, number("-Inf"), "inf", "goodput"},
		"a guard that blames is infinite":            {lost, number("+Inf"), "inf", "guard lost"},
		"an answer of another time":                  {goodput, vectorAt(time.Minute, "1000"), "stale", "goodput"},
		"an answer of a later time":                  {goodput, vectorAt(-time.Minute, "1000"), "clock-skew", "goodput"},
		"a series that was not scraped throughout":   {"max(count_over_time(acked_total", number("3"), "gap", "goodput"},
		"a broker that was not scraped throughout":   {"unless (count_over_time(e2e_seconds", number("1"), "gap", "p99"},
		"a guard's series with a hole":               {"unless (count_over_time(lost_total", number("2"), "gap", "guard lost"},
		"a series that is not there":                 {"max(count_over_time(e2e_seconds", vector(), "no-data", "p99"},
		"a counter that was reset":                   {"sum(resets(acked_total", number("1"), "counter-reset", "goodput"},
		"a histogram that was reset":                 {"sum(resets(e2e_seconds", number("2"), "counter-reset", "p99"},
		"a guard's counter that was reset":           {"sum(resets(lost_total", number("1"), "counter-reset", "guard lost"},
		"a server whose clock is behind":             {"vector(time())", number(seconds(time.Now().Add(-5 * time.Second))), "clock-skew", "clock"},
		"a server whose clock is ahead":              {"vector(time())", clock(15 * time.Second), "clock-skew", "clock"},
		"a server whose clock is a day behind":       {"vector(time())", vectorAt(24*time.Hour, seconds(time.Now().Add(-24*time.Hour))), "clock-skew", "clock"},
		"500":                                        {goodput, body(500, "oops"), "server-error", "goodput"},
		"502 from a proxy":                           {p99, body(502, "<html>bad gateway</html>"), "server-error", "p99"},
		"503 while it starts":                        {"vector(time())", body(503, "starting"), "server-error", "clock"},
		"500 for a guard that blames":                {lost, body(500, "oops"), "server-error", "guard lost"},
		"500 for what counts the scrapes":            {"max(count_over_time(acked_total", body(500, "oops"), "server-error", "goodput"},
		"500 for what finds holes":                   {"unless (count_over_time(acked_total", body(500, "oops"), "server-error", "goodput"},
		"500 for what finds resets":                  {"sum(resets(acked_total", body(500, "oops"), "server-error", "goodput"},
		"a query that takes the server too long":     {p99, apiError(503, "timeout"), "timeout", "p99"},
		"a server that does not answer":              {p99, silent, "timeout", "p99"},
		"a connection that breaks":                   {goodput, broken, "unreachable", "goodput"},
		"a partial answer":                           {p99, warned("0.1"), "warning", "p99"},
		"a partial answer for a guard that blames":   {lost, warned("7"), "warning", "guard lost"},
		"a partial answer for what counts scrapes":   {"max(count_over_time(acked_total", warned("6"), "warning", "goodput"},
		"a query that is wrong":                      {p99, apiError(400, "bad_data"), "bad-query", "p99"},
		"a query that fails":                         {goodput, apiError(422, "execution"), "bad-query", "goodput"},
		"401":                                        {goodput, body(401, "who"), "denied", "goodput"},
		"403":                                        {goodput, body(403, "no"), "denied", "goodput"},
		"429":                                        {goodput, body(429, "slow down"), "throttled", "goodput"},
		"404":                                        {goodput, body(404, "no such page"), "bad-answer", "goodput"},
		"a page of HTML":                             {goodput, body(200, "<html>log in</html>"), "bad-answer", "goodput"},
		"JSON that is cut":                           {goodput, body(200, `{"status":"success","data":{"resultTy`), "bad-answer", "goodput"},
		"JSON of another kind":                       {goodput, body(200, `{"hello":"world"}`), "bad-answer", "goodput"},
		"a value that is no number":                  {goodput, result("vector", `{"metric":{},"value":[1,"much"]}`), "bad-answer", "goodput"},
		"an answer without an end":                   {goodput, endless, "too-large", "goodput"},
		"a redirect to a page to log in":             {goodput, http.RedirectHandler("/login", http.StatusFound).ServeHTTP, "redirect", "goodput"},
		"a redirect that keeps the method":           {goodput, http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, "redirect", "goodput"},
		"a scalar":                                   {goodput, result("scalar", `1,"1000"`), "not-a-number", "goodput"},
		"a range":                                    {goodput, result("matrix", `{"metric":{},"values":[[1,"1"]]}`), "not-a-number", "goodput"},
		"a string":                                   {goodput, result("string", `1,"1000"`), "not-a-number", "goodput"},
		"a histogram":                                {p99, result("vector", `{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}`), "not-a-number", "p99"},
		"nothing was acknowledged":                   {goodput, number("0"), "zero-load", "goodput"},
		"a latency of zero":                          {p99, number("0"), "zero-load", "p99"},
		"a negative rate":                            {goodput, number("-1"), "out-of-bounds", "goodput"},
		"a latency of -1, which stands for no value": {p99, number("-1"), "out-of-bounds", "p99"},
		"a latency of a day":                         {p99, number("86400"), "out-of-bounds", "p99"},
		"a rate beyond any broker":                   {goodput, number("1e12"), "out-of-bounds", "goodput"},
		"a guard that blames, below what can be":     {lost, number("-1"), "out-of-bounds", "guard lost"},
		"a guard that blames, above what can be":     {lost, number("1e300"), "out-of-bounds", "guard lost"},
		"a rate above the file's bound":              {goodput, number("60000"), "out-of-bounds", "goodput"},
		"a guard about the measurement's worth":      {load, number("2"), "guard:one load", "guard one load"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			s.answers[c.key] = c.answer
			f := file()
			zero, most, rate := 0.0, 1e9, 50000.0
			f.Prometheus.Metrics = []config.Metric{{Name: "lost", Min: &zero, Max: &most}, {Name: "goodput", Max: &rate}}
			limit := patience
			if c.cause == string(promql.Timeout) {
				limit = 2 * time.Second
			}
			w, err := observing(t, s.URL, f, limit).Window(t.Context(), windowEnd().Add(-12*time.Second), windowEnd())
			var bad *observe.Bad
			if !errors.As(err, &bad) {
				t.Fatalf("want no window (got %+v, %v)", w, err)
			}
			if bad.Cause != c.cause || bad.Figure != c.figure || bad.Blames || bad.Why == "" {
				t.Errorf("want %s of %s, and nobody blamed (got %+v)", c.cause, c.figure, bad)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	to := windowEnd()
	for name, c := range map[string]struct {
		change func(*server, *config.File)
		cause  string
		blames bool
	}{
		"a good window":                {func(*server, *config.File) {}, "", false},
		"a guard that blames":          {func(s *server, _ *config.File) { s.answers[lost] = number("2") }, "guard:lost", true},
		"a metric that may be missing": {func(s *server, f *config.File) { s.noLost(); f.Prometheus.Metrics = policy(config.MissingZero) }, "", false},
		"a guard that then applies": {func(s *server, f *config.File) {
			s.noLost()
			f.Prometheus.Metrics, f.Guards[1].Min = policy(config.MissingZero), f.Guards[0].Min
		}, "guard:lost", true},
		"a guard that then does not apply": {func(s *server, f *config.File) {
			s.noLost()
			f.Prometheus.Metrics, f.Guards[1].Min = policy(config.MissingIgnore), f.Guards[0].Min
		}, "", false},
		"missing is not the same as failing": {func(s *server, f *config.File) {
			s.answers[lost] = body(500, "")
			f.Prometheus.Metrics = policy(config.MissingZero)
		}, "server-error", false},
		"missing is not the same as a gap": {func(s *server, f *config.File) {
			s.answers["unless (count_over_time(lost_total"] = number("1")
			f.Prometheus.Metrics = policy(config.MissingIgnore)
		}, "gap", false},
		"a series that ended": {func(s *server, _ *config.File) {
			s.answers["max(count_over_time(acked_total"], s.answers["max(timestamp(acked_total"] = number("2"), vector()
		}, "stale", false},
		"a series that is behind": {func(s *server, _ *config.File) {
			s.answers["max(count_over_time(acked_total"], s.answers["max(timestamp(acked_total"] = number("2"), number(seconds(to.Add(-8*time.Second)))
		}, "stale", false},
		"a server that fails for a moment": {func(s *server, _ *config.File) { s.answers[goodput] = once(broken, number("1000")) }, "", false},
		"too short a window":               {func(_ *server, f *config.File) { f.Prometheus.ScrapeInterval = 3001 * time.Millisecond }, "short-window", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := start(t), file()
			c.change(s, &f)
			w, err := observer(t, s.URL, f).Window(t.Context(), to.Add(-12*time.Second), to)
			var bad *observe.Bad
			errors.As(err, &bad)
			switch {
			case c.cause == "" && (err != nil || w.Goodput != 1000 || w.P99 != 0.1):
				t.Errorf("want the window (got %+v, %v)", w, err)
			case c.cause != "" && (bad == nil || bad.Cause != c.cause || bad.Blames != c.blames):
				t.Errorf("want %s, blames %v (got %v)", c.cause, c.blames, err)
			}
			for i, at := range s.at {
				if q := s.asked[i]; q != "vector(time())" && (at != strings.TrimRight(strings.TrimRight(seconds(to), "0"), ".") && at != seconds(to) || strings.Contains(q, "[$")) {
					t.Errorf("want the query at the window's end (got %q at %s)", q, at)
				}
			}
		})
	}
}

func (s *server) noLost() {
	s.answers[lost], s.answers["max(count_over_time(lost_total"] = vector(), vector()
}

func policy(missing string) []config.Metric { return []config.Metric{{Name: "lost", Missing: missing}} }

func once(first, then http.HandlerFunc) http.HandlerFunc {
	var n sync.Once
	return func(w http.ResponseWriter, r *http.Request) {
		answer := then
		n.Do(func() { answer = first })
		answer(w, r)
	}
}

// TestVariables: what a query says with them, and what is refused before anything is measured.
func TestVariables(t *testing.T) {
	to := time.Unix(1_700_000_100, 0)
	span := observe.Span{Trial: to.Add(-time.Minute), From: to.Add(-12 * time.Second), To: to}
	for name, c := range map[string]struct{ query, want, refused string }{
		"the window":                {"rate(x_total[$window])", "rate(x_total[12000ms])", ""},
		"the trial":                 {"increase(x_total[$since])", "increase(x_total[60000ms])", ""},
		"when it began":             {"x and on () (time() - $start < 3600)", "x and on () (time() - 1700000040.000 < 3600)", ""},
		"when it ended":             {"x @ $end", "x @ 1700000100.000", ""},
		"the scrape interval":       {"avg_over_time(x[$window:$scrape])", "avg_over_time(x[12000ms:2000ms])", ""},
		"a text keeps its dollars":  {`x{a=~"b$window$"}`, `x{a=~"b$window$"}`, ""},
		"so does a comment":         {"x # $window of it", "x # $window of it", ""},
		"a variable that is not":    {"rate(x_total[$windw])", "", "want $window, $since, $start, $end or $scrape as variables (got $windw)"},
		"another time":              {"rate(x_total[$window] offset 1m)", "", "want the window itself, not another time by offset"},
		"another time, fixed":       {`x_total{a="b"}[$window] @ 12`, "", "not another time by @"},
		"an offset that is a label": {`sum by (offset) (rate(x_total[$window]))`, `sum by (offset) (rate(x_total[12000ms]))`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := file()
			f.Guards = []config.Guard{{Name: "lost", Query: c.query, Max: new(float64), Breach: config.BreachWorse}}
			s := start(t)
			client, err := promql.New(promql.Config{URL: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			o, err := observe.New(client, f)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), "guards[0].query: ") || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("want %q (got %v)", c.refused, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_, _ = o.Measure(t.Context(), span)
			if !slices.Contains(s.asked, c.want) {
				t.Errorf("want %q asked (got %q)", c.want, s.asked)
			}
		})
	}
}

// TestWhatIsTaken: the series whose scrapes and resets are looked at follow from the query.
func TestWhatIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		query   string
		covered []string
		resets  []string
	}{
		"a rate":                        {"sum(rate(x_total[$window]))", []string{"x_total"}, []string{"x_total"}},
		"labels":                        {`sum(rate(x_total{a="}",b=~'c[$window]'} [$window]))`, []string{`x_total{a="}",b=~'c[$window]'}`}, []string{`x_total{a="}",b=~'c[$window]'}`}},
		"a name among the labels":       {`rate({"x.total"}[$window])`, []string{`{"x.total"}`}, []string{`{"x.total"}`}},
		"a gauge":                       {"max(avg_over_time(x[$window]))", []string{"x"}, nil},
		"two of them, one twice":        {"rate(x_total[$window]) / rate(y_total[$window]) + avg_over_time(x_total[$window])", []string{"x_total", "y_total"}, []string{"x_total", "y_total"}},
		"an instant says nothing of it": {"sum(x)", nil, nil},
		"neither does a subquery":       {"max_over_time(sum(x)[$window:1s])", nil, nil},
		"nor a comment":                 {"sum(x) # rate(y_total[$window])", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := file(), start(t)
			f.Guards = []config.Guard{{Name: "lost", Query: c.query, Max: new(float64), Breach: config.BreachWorse}}
			_, _ = observer(t, s.URL, f).Window(t.Context(), windowEnd().Add(-12*time.Second), windowEnd())
			var covered, resets []string
			for _, q := range s.asked[9:] { // the clock, and four for each figure
				if of, ok := strings.CutPrefix(q, "max(count_over_time("); ok {
					covered = append(covered, strings.TrimSuffix(of, "[12000ms]))"))
				}
				if of, ok := strings.CutPrefix(q, "sum(resets("); ok {
					resets = append(resets, strings.TrimSuffix(of, "[12000ms]))"))
				}
			}
			if !slices.Equal(covered, c.covered) || !slices.Equal(resets, c.resets) {
				t.Errorf("want %q covered and %q without reset (got %q and %q)", c.covered, c.resets, covered, resets)
			}
		})
	}
}

func TestLive(t *testing.T) {
	s := start(t)
	l := observer(t, s.URL, file()).Live(t.Context())
	if l.P99 == nil || *l.P99 != 0.1 || l.Acked == nil || *l.Acked != 1000 || *l.Age < 0.5 || len(l.Missing) > 0 {
		t.Errorf("want every figure (got %+v)", l)
	}
	for name, c := range map[string]struct {
		key    string
		answer http.HandlerFunc
		gone   bool // everything, not only P99
		why    string
	}{
		"the newest sample is old":  {"newest", clock(-100 * time.Second), true, "stale: the newest sample is 100"},
		"there is no series at all": {"newest", vector(), true, "no-data"},
		"Prometheus is down":        {"newest", broken, true, "unreachable"},
		"it starts":                 {"newest", body(503, "starting"), true, "server-error"},
		"nothing arrived":           {p99, number("NaN"), false, "nan"},
		"a negative latency":        {p99, number("-1"), false, "out-of-bounds"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.answers[c.key] = c.answer
			l := observer(t, s.URL, file()).Live(t.Context())
			if l.P99 != nil || !strings.Contains(l.Missing["p99"], c.why) {
				t.Errorf("want no P99 and %q as the reason (got %v, %v)", c.why, l.P99, l.Missing)
			}
			if (l.Acked == nil) != c.gone {
				t.Errorf("want the other figures gone: %v (got %+v)", c.gone, l)
			}
		})
	}
}
