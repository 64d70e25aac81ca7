package observe_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/internal/promtest"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/observe"
)

// target is scraped, can fail, and can be taken away.
type target struct {
	*httptest.Server
	registry *prometheus.Registry
	fails    atomic.Bool
}

func expose(t *testing.T) *target {
	t.Helper()
	x := &target{registry: prometheus.NewRegistry()}
	answer := promhttp.HandlerFor(x.registry, promhttp.HandlerOpts{})
	x.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if x.fails.Load() {
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
		answer.ServeHTTP(w, r)
	}))
	t.Cleanup(x.Close)
	return x
}

func (x *target) address() string { return strings.TrimPrefix(x.URL, "http://") }

// growing counts 100 more at each scrape.
func (x *target) growing(name string, labels prometheus.Labels) *atomic.Int64 {
	v := &atomic.Int64{}
	x.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: "Grows.", ConstLabels: labels}, func() float64 { return float64(v.Add(100)) }))
	return v
}

func (x *target) gauge(name string, v float64, labels prometheus.Labels) {
	x.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: "A value.", ConstLabels: labels}, func() float64 { return v }))
}

// TestRealPrometheus: what a real server makes of targets that end, fail, begin anew or expose what is no number.
func TestRealPrometheus(t *testing.T) {
	steady, ends, flaky, one, other := expose(t), expose(t), expose(t), expose(t), expose(t)
	steady.growing("good_total", nil)
	resets := steady.growing("resets_total", nil)
	ends.growing("ends_total", nil)
	flaky.growing("flaky_total", nil)
	one.growing("broker_total", nil)
	other.growing("broker_total", nil)
	steady.gauge("is_nan", math.NaN(), nil)
	steady.gauge("is_inf", math.Inf(1), nil)
	steady.gauge("two", 1, prometheus.Labels{"n": "1"})
	steady.gauge("two", 2, prometheus.Labels{"n": "2"})
	steady.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "still_total", Help: "Stands."}, func() float64 { return 7 }))
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "quiet_seconds", Help: "Nothing comes in.", NativeHistogramBucketFactor: 1.1, Buckets: []float64{1}})
	steady.registry.MustRegister(h)
	p := promtest.Start(t, steady.address(), ends.address(), flaky.address(), one.address(), other.address())

	const width = 6 * time.Second
	scrapes := func(n int) { // of each, so that windows have something before them
		t.Helper()
		for range n {
			p.Scraped(t)
		}
	}
	scrapes(2 * 7)
	before := time.Now()
	ends.Close()
	other.Close()
	flaky.fails.Store(true)
	failing := time.Now()
	for time.Since(failing) < 3500*time.Millisecond {
		steady.scraped(t, p)
	}
	resets.Store(0) // not before: what takes long here is not to move it out of the window
	flaky.fails.Store(false)
	flaky.scraped(t, p)
	recovered := time.Now() // what takes long after this is not to fill the gap
	for deadline := time.Now().Add(time.Minute); len(p.Query(t, "resets(resets_total[6s]) > 0")) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the reset was not scraped within a minute")
		}
	}
	after := time.Now()

	for name, c := range map[string]struct {
		goodput string
		to      time.Time
		shift   time.Duration
		cause   string
	}{
		"a good window":                     {"sum(rate(good_total[$window]))", after, 0, ""},
		"good before the others went wrong": {"sum(rate(broker_total[$window])) + sum(rate(ends_total[$window])) + sum(rate(flaky_total[$window])) + sum(rate(resets_total[$window]))", before, 0, ""},
		"the target ended":                  {"sum(rate(ends_total[$window]))", before.Add(3 * time.Second), 0, "stale"},
		"scrapes failed for a while":        {"sum(rate(flaky_total[$window]))", recovered, 0, "gap"},
		"one of two brokers ended":          {"sum(rate(broker_total[$window]))", after, 0, "gap"},
		"a counter was reset":               {"sum(rate(resets_total[$window]))", after, 0, "counter-reset"},
		"a gauge is NaN":                    {"sum(avg_over_time(is_nan[$window]))", after, 0, "nan"},
		"a gauge is infinite":               {"sum(avg_over_time(is_inf[$window]))", after, 0, "inf"},
		"a quantile of nothing":             {"histogram_quantile(0.99, sum(rate(quiet_seconds[$window])))", after, 0, "nan"},
		"two series":                        {"avg_over_time(two[$window])", after, 0, "many-series"},
		"no such series":                    {"sum(rate(nobody_total[$window]))", after, 0, "no-data"},
		"nothing before the server began":   {"sum(rate(good_total[$window]))", before.Add(-time.Hour), 0, "no-data"},
		"after the newest":                  {"sum(rate(good_total[$window]))", after.Add(5 * time.Second), 0, "stale"},
		"a counter that stands":             {"sum(rate(still_total[$window]))", after, 0, "zero-load"},
		"a histogram":                       {"sum(rate(quiet_seconds[$window]))", after, 0, "not-a-number"},
		"a scalar":                          {"scalar(sum(rate(good_total[$window])))", after, 0, "not-a-number"},
		"a string":                          {`"1000" # [$window]`, after, 0, "not-a-number"},
		"a range":                           {"good_total[$window]", after, 0, "not-a-number"},
		"a warning":                         {"quantile(2, avg_over_time(two[$window]))", after, 0, "warning"},
		"a query that is wrong":             {"sum(rate(good_total[$window])", after, 0, "bad-query"},
		"a query that fails":                {"avg_over_time(two[$window]) * on () avg_over_time(two[$window])", after, 0, "bad-query"},
		"our clock is ahead":                {"sum(rate(good_total[$window]))", after, 5 * time.Second, "clock-skew"},
		"our clock is behind":               {"sum(rate(good_total[$window]))", after, -5 * time.Second, "clock-skew"},
	} {
		t.Run(name, func(t *testing.T) {
			f := file()
			f.Prometheus.ScrapeInterval = time.Second
			f.Objective.Goodput, f.Objective.P99 = c.goodput, "sum(rate(good_total[$window])) / 1000"
			f.Guards = []config.Guard{{Name: "lost", Query: "sum(resets(good_total[$window]))", Max: new(float64), Breach: config.BreachWorse}}
			o := observer(t, p.URL, f)
			o.Shift(c.shift)
			to := c.to
			if to.After(after) { // Prometheus scrapes on while the other cases run: what is after the newest now is not soon
				to = time.Now().Add(5 * time.Second)
			}
			w, err := o.Window(t.Context(), to.Add(-width), to)
			var bad *observe.Bad
			errors.As(err, &bad)
			switch {
			case c.cause == "" && (err != nil || w.Goodput < 20):
				t.Errorf("want a window (got %+v, %v)", w, err)
			case c.cause != "" && (bad == nil || bad.Cause != c.cause || bad.Blames):
				t.Errorf("want %s, and nobody blamed (got %+v, %v)", c.cause, w, err)
			}
		})
	}
	t.Run("the past", func(t *testing.T) {
		f := file()
		f.Objective.Goodput, f.Live.Window = "sum(rate(good_total[$window]))", 4*time.Second
		client, err := promql.New(promql.Config{URL: p.URL})
		if err != nil {
			t.Fatal(err)
		}
		past, _ := observe.Past(t.Context(), client, f, before.Add(-6*time.Second), after, time.Second) // of P99 and the rest there is nothing
		if len(past) < 5 || past[0].Acked == nil || *past[0].Acked < 20 || past[0].P99 != nil || !past[1].Time.After(past[0].Time) {
			t.Errorf("want what was acknowledged, by the second (got %+v)", past)
		}
	})
}

// scraped waits until this target has been scraped once more.
func (x *target) scraped(t *testing.T, p *promtest.Server) {
	t.Helper()
	now := float64(time.Now().UnixMilli()) / 1000
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		v := p.Query(t, fmt.Sprintf(`max(timestamp(up{instance=%[1]q}) and up{instance=%[1]q} == 1)`, x.address()))
		if len(v) == 1 && float64(v[0].Value) > now {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s was not scraped within a minute", x.address())
		}
	}
}
