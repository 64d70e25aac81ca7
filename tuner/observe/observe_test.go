package observe_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/observe"
)

// answers is a source that answers by the start of the query; what it has no answer for is no data.
type answers struct {
	mu     sync.Mutex
	values map[string]float64
	errs   map[string]error
	asked  []string
	at     []time.Time
}

func (a *answers) Number(_ context.Context, query string, at time.Time) (promql.Sample, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked, a.at = append(a.asked, query), append(a.at, at)
	for start, err := range a.errs {
		if strings.HasPrefix(query, start) {
			return promql.Sample{}, err
		}
	}
	for start, v := range a.values {
		if strings.HasPrefix(query, start) {
			return promql.Sample{Value: v, Time: time.Unix(1000, 0)}, nil
		}
	}
	return promql.Sample{}, &promql.Error{Cause: promql.NoData, Query: query, Why: "the result is empty"}
}

func file() config.File {
	one, zero := 1.0, 0.0
	f := config.Default()
	f.Objective.Goodput, f.Objective.P99 = "goodput[$window]", "p99[$window]"
	f.Guards = []config.Guard{
		{Name: "gaps", Query: "gaps[$window]", Min: &one, Breach: config.BreachInconclusive},
		{Name: "lost", Query: "lost[$window]", Max: &zero, Breach: config.BreachWorse},
	}
	f.Live.Newest = "newest"
	f.Live.P50, f.Live.P999, f.Live.Offered, f.Live.Consumed, f.Live.Errors, f.Live.Samples = "p50[$window]", "p999[$window]", "offered[$window]", "consumed[$window]", "errors[$window]", "samples[$window]"
	return f
}

func good() *answers {
	return &answers{values: map[string]float64{
		"goodput": 1000, "p99[": 0.1, "gaps": 1, "lost": 0, "newest": 999, "p50": 0.05, "p999": 0.2, "offered": 1001, "consumed": 1002, "errors": 0, "samples": 9000,
	}, errs: map[string]error{}}
}

func failed(cause promql.Cause) error { return &promql.Error{Cause: cause, Why: "seen in the test"} }

func TestWindow(t *testing.T) {
	from := time.Unix(500, 0)
	for name, c := range map[string]struct {
		change func(*answers)
		cause  string
		figure string
		blames bool
	}{
		"a good window":                          {func(*answers) {}, "", "", false},
		"no goodput":                             {func(a *answers) { delete(a.values, "goodput") }, "no-data", "goodput", false},
		"no P99":                                 {func(a *answers) { delete(a.values, "p99[") }, "no-data", "p99", false},
		"P99 is NaN":                             {func(a *answers) { a.errs["p99["] = failed(promql.NaN) }, "nan", "p99", false},
		"P99 is infinite":                        {func(a *answers) { a.errs["p99["] = failed(promql.Inf) }, "inf", "p99", false},
		"several series":                         {func(a *answers) { a.errs["goodput"] = failed(promql.ManySeries) }, "many-series", "goodput", false},
		"a stale answer":                         {func(a *answers) { a.errs["goodput"] = failed(promql.Stale) }, "stale", "goodput", false},
		"clocks that differ":                     {func(a *answers) { a.errs["goodput"] = failed(promql.Skew) }, "clock-skew", "goodput", false},
		"a 5xx":                                  {func(a *answers) { a.errs["goodput"] = failed(promql.ServerError) }, "server-error", "goodput", false},
		"a timeout":                              {func(a *answers) { a.errs["p99["] = failed(promql.Timeout) }, "timeout", "p99", false},
		"Prometheus is down":                     {func(a *answers) { a.errs["goodput"] = failed(promql.Unreachable) }, "unreachable", "goodput", false},
		"a partial answer":                       {func(a *answers) { a.errs["p99["] = failed(promql.Warned) }, "warning", "p99", false},
		"a query that is wrong":                  {func(a *answers) { a.errs["p99["] = failed(promql.BadQuery) }, "bad-query", "p99", false},
		"a page instead of an answer":            {func(a *answers) { a.errs["p99["] = failed(promql.BadAnswer) }, "bad-answer", "p99", false},
		"an error of no known cause":             {func(a *answers) { a.errs["p99["] = errors.New("?") }, "bad-answer", "p99", false},
		"nothing was acknowledged":               {func(a *answers) { a.values["goodput"] = 0 }, "zero-load", "goodput", false},
		"a latency of zero":                      {func(a *answers) { a.values["p99["] = 0 }, "zero-load", "p99", false},
		"a negative rate":                        {func(a *answers) { a.values["goodput"] = -1 }, "out-of-bounds", "goodput", false},
		"a latency of a day":                     {func(a *answers) { a.values["p99["] = 86400 }, "out-of-bounds", "p99", false},
		"a rate beyond any broker":               {func(a *answers) { a.values["goodput"] = 1e12 }, "out-of-bounds", "goodput", false},
		"a gap":                                  {func(a *answers) { a.values["gaps"] = 0 }, "guard:gaps", "guard gaps", false},
		"a guard without data is not passed":     {func(a *answers) { delete(a.values, "gaps") }, "no-data", "guard gaps", false},
		"a guard that blames":                    {func(a *answers) { a.values["lost"] = 2 }, "guard:lost", "guard lost", true},
		"a guard that blames but has no data":    {func(a *answers) { delete(a.values, "lost") }, "no-data", "guard lost", false},
		"the tuner ends while a query is on its": {func(a *answers) { a.errs["goodput"] = failed(promql.Canceled) }, "stopped", "goodput", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := good()
			c.change(a)
			w, err := observe.New(a, file()).Window(t.Context(), from, from.Add(12*time.Second))
			var bad *observe.Bad
			errors.As(err, &bad)
			switch {
			case c.cause == "" && (err != nil || w.Goodput != 1000 || w.P99 != 0.1):
				t.Errorf("want the window (got %+v, %v)", w, err)
			case c.cause != "" && (bad == nil || bad.Cause != c.cause || bad.Figure != c.figure || bad.Blames != c.blames):
				t.Errorf("want %s of %s, blames %v (got %+v)", c.cause, c.figure, c.blames, bad)
			}
			for i, q := range a.asked {
				if !strings.Contains(q, "[12000ms]") || !a.at[i].Equal(from.Add(12*time.Second)) {
					t.Errorf("want the query over the window at its end (got %q at %s)", q, a.at[i])
				}
			}
		})
	}
}

func TestLive(t *testing.T) {
	l := observe.New(good(), file()).Live(t.Context())
	if l.P99 == nil || *l.P99 != 0.1 || l.Acked == nil || *l.Acked != 1000 || *l.Age != 1 || len(l.Missing) > 0 {
		t.Errorf("want every figure (got %+v)", l)
	}
	for name, c := range map[string]struct {
		change func(*answers)
		gone   bool // everything, not only P99
		why    string
	}{
		"the newest sample is old":  {func(a *answers) { a.values["newest"] = 900 }, true, "stale: the newest sample is 100.0 s old"},
		"there is no series at all": {func(a *answers) { delete(a.values, "newest") }, true, "no-data"},
		"Prometheus is down":        {func(a *answers) { a.errs["newest"] = failed(promql.Unreachable) }, true, "unreachable"},
		"nothing arrived":           {func(a *answers) { a.errs["p99["] = failed(promql.NaN) }, false, "nan"},
		"a negative latency":        {func(a *answers) { a.values["p99["] = -1 }, false, "out-of-bounds"},
	} {
		t.Run(name, func(t *testing.T) {
			a := good()
			c.change(a)
			l := observe.New(a, file()).Live(t.Context())
			if l.P99 != nil || !strings.Contains(l.Missing["p99"], c.why) {
				t.Errorf("want no P99 and %q as the reason (got %v, %v)", c.why, l.P99, l.Missing)
			}
			if (l.Acked == nil) != c.gone {
				t.Errorf("want the other figures gone: %v (got %+v)", c.gone, l)
			}
		})
	}
}

// TestThroughHTTP: the causes arrive through the real client as well.
func TestThroughHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "starting", http.StatusServiceUnavailable) }))
	defer server.Close()
	client, err := promql.New(promql.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	o := observe.New(client, file())
	_, err = o.Window(t.Context(), time.Now().Add(-time.Minute), time.Now())
	var bad *observe.Bad
	if !errors.As(err, &bad) || bad.Cause != "server-error" {
		t.Errorf("want server-error (got %v)", err)
	}
	if l := o.Live(t.Context()); l.P99 != nil || !strings.HasPrefix(l.Missing["p99"], "server-error") {
		t.Errorf("want no P99 because of the server (got %+v)", l)
	}
}
