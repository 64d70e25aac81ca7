package trial_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// answer is what a Prometheus says to a query as of a time.
type answer func(at time.Time) (float64, error)

func says(v float64) answer { return func(time.Time) (float64, error) { return v, nil } }

func lacks(cause promql.Cause) answer {
	return func(time.Time) (float64, error) { return 0, &promql.Error{Cause: cause, Why: "seen in the test"} }
}

func clock(off time.Duration) answer {
	return func(at time.Time) (float64, error) { return float64(at.Add(off).UnixMilli()) / 1000, nil }
}

// prometheus answers by what a query contains; the longest key decides.
type prometheus struct {
	good  map[string]answer
	badly answer // to queries that contain key, while bad says so
	key   string
	bad   func() bool
}

func (p prometheus) Number(_ context.Context, query string, at time.Time) (promql.Sample, error) {
	if at.IsZero() {
		at = time.Now()
	}
	keys := slices.SortedFunc(maps.Keys(p.good), func(a, b string) int { return len(b) - len(a) })
	says := p.good[keys[slices.IndexFunc(keys, func(k string) bool { return strings.Contains(query, k) })]]
	if strings.Contains(query, p.key) && p.bad() {
		says = p.badly
	}
	v, err := says(at)
	return promql.Sample{Value: v, Time: at}, err
}

// The queries of the tests' file, and those that the observer makes of them.
const (
	ofGoodput = "sum(rate(loadgen_records_acked_total"
	ofP99     = "0.99, sum(rate(loadgen_end_to_end_seconds"
	ofLoad    = "count(load)"
	ofLost    = "sum(increase(lost_total"
	scrapes   = "max(count_over_time("
	holes     = "unless (count_over_time("
	resets    = "sum(resets("
	newest    = "max(timestamp("
	itsClock  = "vector(time())"
)

// observed makes the world measured by the real observer, through a Prometheus that answers one query badly while the world is as bad says.
func observed(w *world, f *config.File, key string, badly answer, bad func() bool) {
	one, zero, most, rate := 1.0, 0.0, 1e9, 50000.0
	f.Guards = []config.Guard{
		{Name: "one load", Query: "count(load)", Min: &one, Max: &one, Breach: config.BreachInconclusive},
		{Name: "lost", Query: "sum(increase(lost_total[$window]))", Max: &zero, Breach: config.BreachWorse},
	}
	f.Prometheus.Metrics = []config.Metric{{Name: "lost", Min: &zero, Max: &most}, {Name: "goodput", Max: &rate}}
	window := func(of func(judge.Window) float64) answer {
		return func(at time.Time) (float64, error) {
			m, err := w.Measure(context.Background(), observe.Span{To: at})
			return of(m), err
		}
	}
	w.source = prometheus{good: map[string]answer{
		ofGoodput: window(judge.Goodput), ofP99: window(judge.P99), ofLoad: says(1), ofLost: says(0),
		scrapes: says(6), holes: lacks(promql.NoData), resets: says(0), newest: clock(0), itsClock: clock(0),
	}, key: key, badly: badly, bad: bad}
}

// TestNoTrialIsDecidedByBadData: whatever is wrong with what is measured of a candidate, its trial is inconclusive with the cause by name, its value
// is taken back and nothing is said against it: it is tried once more, and then the search goes on with the next one.
func TestNoTrialIsDecidedByBadData(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key   string
		badly answer
		cause string
	}{
		"no goodput":                                 {ofGoodput, lacks(promql.NoData), "no-data"},
		"no P99":                                     {ofP99, lacks(promql.NoData), "no-data"},
		"a guard without data":                       {ofLoad, lacks(promql.NoData), "no-data"},
		"a guard that blames, without data":          {ofLost, lacks(promql.NoData), "no-data"},
		"goodput of two series":                      {ofGoodput, lacks(promql.ManySeries), "many-series"},
		"a guard that blames, of two series":         {ofLost, lacks(promql.ManySeries), "many-series"},
		"goodput is NaN":                             {ofGoodput, lacks(promql.NaN), "nan"},
		"P99 is NaN":                                 {ofP99, lacks(promql.NaN), "nan"},
		"a guard that blames is NaN":                 {ofLost, lacks(promql.NaN), "nan"},
		"P99 is infinite":                            {ofP99, lacks(promql.Inf), "inf"},
		"a guard that blames is infinite":            {ofLost, lacks(promql.Inf), "inf"},
		"an answer of another time":                  {ofGoodput, lacks(promql.Stale), "stale"},
		"an answer of a later time":                  {ofGoodput, lacks(promql.Skew), "clock-skew"},
		"a series that was not scraped throughout":   {scrapes, says(3), "gap"},
		"a broker that was not scraped throughout":   {holes, says(1), "gap"},
		"a guard's series with a hole":               {holes + "lost_total", says(2), "gap"},
		"a series that is not there":                 {scrapes, lacks(promql.NoData), "no-data"},
		"a counter that was reset":                   {resets, says(1), "counter-reset"},
		"a guard's counter that was reset":           {resets + "lost_total", says(1), "counter-reset"},
		"a server whose clock is behind":             {itsClock, clock(-5 * time.Second), "clock-skew"},
		"a server whose clock is ahead":              {itsClock, clock(15 * time.Second), "clock-skew"},
		"a server whose clock is a day behind":       {itsClock, lacks(promql.Stale), "clock-skew"},
		"a 5xx":                                      {ofGoodput, lacks(promql.ServerError), "server-error"},
		"a 5xx for a guard that blames":              {ofLost, lacks(promql.ServerError), "server-error"},
		"a 5xx for what counts the scrapes":          {scrapes, lacks(promql.ServerError), "server-error"},
		"a 5xx for what finds holes":                 {holes, lacks(promql.ServerError), "server-error"},
		"a 5xx for what finds resets":                {resets, lacks(promql.ServerError), "server-error"},
		"a server that does not answer":              {ofP99, lacks(promql.Timeout), "timeout"},
		"a connection that breaks":                   {ofGoodput, lacks(promql.Unreachable), "unreachable"},
		"a partial answer":                           {ofP99, lacks(promql.Warned), "warning"},
		"a partial answer for a guard that blames":   {ofLost, lacks(promql.Warned), "warning"},
		"a query that is wrong":                      {ofP99, lacks(promql.BadQuery), "bad-query"},
		"somebody who may not ask":                   {ofGoodput, lacks(promql.Denied), "denied"},
		"a password that cannot be read":             {ofGoodput, lacks(promql.Credentials), "credentials"},
		"a certificate that is not good":             {ofGoodput, lacks(promql.TLSFailed), "tls"},
		"too many questions":                         {ofGoodput, lacks(promql.Throttled), "throttled"},
		"a page of a proxy":                          {ofGoodput, lacks(promql.BadAnswer), "bad-answer"},
		"an answer without an end":                   {ofGoodput, lacks(promql.TooLarge), "too-large"},
		"a redirect":                                 {ofGoodput, lacks(promql.Redirected), "redirect"},
		"a histogram":                                {ofP99, lacks(promql.NotANumber), "not-a-number"},
		"nothing was acknowledged":                   {ofGoodput, says(0), "zero-load"},
		"a latency of zero":                          {ofP99, says(0), "zero-load"},
		"a negative rate":                            {ofGoodput, says(-1), "out-of-bounds"},
		"a latency of -1, which stands for no value": {ofP99, says(-1), "out-of-bounds"},
		"a latency of a day":                         {ofP99, says(86400), "out-of-bounds"},
		"a rate above the file's bound":              {ofGoodput, says(60000), "out-of-bounds"},
		"a guard that blames, below what can be":     {ofLost, says(-1), "out-of-bounds"},
		"a guard that blames, above what can be":     {ofLost, says(1e300), "out-of-bounds"},
		"a guard about the measurement's worth":      {ofLoad, says(2), "guard:one load"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				f := testFile(t)
				w, j := newWorld(f.Space()), &journal{}
				four := func(tr study.Trial) bool { return tr.Candidate["io"] == 4 }
				observed(w, &f, c.key, c.badly, func() bool {
					tr := study.Fold(j.all()).Running()
					return tr != nil && four(*tr) && tr.Phase == ledger.Measuring
				})
				w.goodput = func(p space.Point) float64 { return 1000 * float64(p["io"]) } // worth keeping, if it could be measured
				_, s := run(t, f, w, j, func(s status.Snapshot) bool {
					return len(s.Trials) > 4 && s.Trials[4].Ended != nil || s.State == status.Holding || s.State == status.Done
				})
				agree(t, w, j)
				trials := study.Fold(j.all()).Trials
				bad := slices.DeleteFunc(slices.Clone(trials), func(tr study.Trial) bool { return !four(tr) })
				if len(bad) != 2 || len(trials) < 4 {
					t.Fatalf("want it tried twice and then the next one (got %q, %s: %s)", story(j.all()), s.State, s.Reason)
				}
				for _, tr := range bad {
					if tr.Outcome != ledger.OutcomeInconclusive || tr.Failure != c.cause || !strings.Contains(tr.Reason, c.cause) || tr.Verdict != nil {
						t.Errorf("want it inconclusive for %s (got %s, %s: %s)", c.cause, tr.Outcome, tr.Failure, tr.Reason)
					}
				}
			})
		})
	}
}
