// Package promql asks a Prometheus-compatible endpoint for one number and says by name why there is none.
//
// It promises that a value it returns is a finite float from exactly one series, evaluated at the asked time by a server whose clock agrees with
// ours, without a warning attached; everything else is an *Error whose Cause is one of the constants below. It decides nothing from a missing
// value: that is the caller's, and "no data" is never a number. It asks any server with Prometheus' API (Thanos, Mimir), as Access says. It leaves
// out retries.
package promql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Cause names why a query gave no usable number.
type Cause string

// The causes.
const (
	NoData      Cause = "no-data"      // the result was empty: no such series, or too few samples in the window
	ManySeries  Cause = "many-series"  // more than one series: an aggregation is missing, and picking one would be a guess
	NaN         Cause = "nan"          // for example a quantile over a window without an observation
	Inf         Cause = "inf"          // for example a quantile in the highest classic bucket, or a division by zero
	Stale       Cause = "stale"        // the sample is older than the limit
	Skew        Cause = "clock-skew"   // the server's clock is ahead of or behind ours
	NotANumber  Cause = "not-a-number" // a histogram, a string, a range or a scalar where a vector of one float was wanted
	Warned      Cause = "warning"      // the server warned, so the number may be partial or mixed
	BadQuery    Cause = "bad-query"    // the server refused the expression
	BadAnswer   Cause = "bad-answer"   // not the Prometheus API: a proxy's page, cut JSON, an unexpected status
	TooLarge    Cause = "too-large"    // an answer that no single number takes
	Redirected  Cause = "redirect"     // the server names another address
	ServerError Cause = "server-error" // 5xx
	Denied      Cause = "denied"       // 401 or 403
	Credentials Cause = "credentials"  // a file of ours with a password, token, header or certificate cannot be read
	TLSFailed   Cause = "tls"          // no encrypted connection: a certificate, or a server without TLS
	Throttled   Cause = "throttled"    // 429
	Timeout     Cause = "timeout"      // our limit or the server's
	Unreachable Cause = "unreachable"  // no connection
	Canceled    Cause = "canceled"     // the caller gave up
)

// Error says which query failed and why.
type Error struct {
	Cause Cause
	Query string
	Why   string // one sentence for people
}

func (e *Error) Error() string { return fmt.Sprintf("query %q: %s: %s", e.Query, e.Cause, e.Why) }

// CauseOf is the named cause in err, or the empty string.
func CauseOf(err error) Cause {
	var e *Error
	if errors.As(err, &e) {
		return e.Cause
	}
	return ""
}

// Config of a client. URL is required.
type Config struct {
	URL     string        // http(s)://host:port[/prefix]
	Timeout time.Duration // for one query; default 5 s
	MaxAge  time.Duration // a sample older than this is stale, one farther ahead is skew; default 10 s
	Access  Access
}

// Client is safe for concurrent use.
type Client struct {
	api     v1.API
	timeout time.Duration
	maxAge  time.Duration
}

// Sample is one finite number and when the server evaluated it.
type Sample struct {
	Value float64
	Time  time.Time
}

// New checks the settings and reads the certificates; it does not connect.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("prometheus url: want http://host:port or https://host:port (got %q)", c.URL)
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.MaxAge <= 0 {
		c.MaxAge = 10 * time.Second
	}
	if err := c.Access.Validate(); err != nil {
		return nil, err
	}
	transport, err := c.Access.Transport("prometheus")
	if err != nil {
		return nil, err
	}
	a, err := api.NewClient(api.Config{Address: c.URL, RoundTripper: guarded{transport}})
	if err != nil {
		return nil, fmt.Errorf("make prometheus client: %w", err)
	}
	return &Client{api: v1.NewAPI(a), timeout: c.Timeout, maxAge: c.MaxAge}, nil
}

// Number evaluates query at the given time (the zero time: at the server's now) and returns its one number, or an *Error.
func (c *Client) Number(ctx context.Context, query string, at time.Time) (Sample, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	asked := time.Now()
	value, warnings, _, err := c.api.Query(limited, query, at)
	if err != nil {
		return Sample{}, &Error{Query: query, Cause: causeOf(ctx, err), Why: brief(err)}
	}
	if len(warnings) > 0 {
		return Sample{}, &Error{Query: query, Cause: Warned, Why: strings.Join(warnings, "; ")}
	}
	want := at
	if want.IsZero() {
		want = asked
	}
	s, cause, why := one(value)
	if cause == "" {
		cause, why = c.checkTime(s.Time, want, at.IsZero())
	}
	if cause == "" {
		cause, why = checkValue(s.Value)
	}
	if cause != "" {
		return Sample{}, &Error{Query: query, Cause: cause, Why: why}
	}
	return s, nil
}

func one(value model.Value) (Sample, Cause, string) {
	switch v := value.(type) {
	case *model.Scalar: // scalar() makes NaN of many series as of none, so that nobody can tell them apart
		return Sample{}, NotANumber, "the result is a scalar, which hides how many series it was made of; leave out scalar()"
	case model.Vector:
		switch {
		case len(v) == 0:
			return Sample{}, NoData, "the result is empty"
		case len(v) > 1:
			return Sample{}, ManySeries, fmt.Sprintf("%d series, for example %s and %s; aggregate them", len(v), v[0].Metric, v[1].Metric)
		case v[0].Histogram != nil:
			return Sample{}, NotANumber, "the result is a histogram; take a quantile, count or sum of it"
		}
		return Sample{Value: float64(v[0].Value), Time: v[0].Timestamp.Time()}, "", ""
	case nil:
		return Sample{}, BadAnswer, "the answer has no result"
	default:
		return Sample{}, NotANumber, fmt.Sprintf("the result is a %s; an instant vector of one sample is wanted", value.Type())
	}
}

// checkTime compares the sample's time with the wanted one. When the server chose the time itself, a difference beyond what a query may
// take is a difference of clocks; when we chose it, a difference means that somebody between us answered from a cache.
func (c *Client) checkTime(got, want time.Time, serversNow bool) (Cause, string) {
	age := want.Sub(got)
	switch {
	case age > c.maxAge && !serversNow:
		return Stale, fmt.Sprintf("the sample is %s older than asked for, the limit is %s", age.Round(time.Millisecond), c.maxAge)
	case age > c.maxAge:
		return Stale, fmt.Sprintf("the server evaluated %s ago (a cache, or its clock is behind), the limit is %s", age.Round(time.Millisecond), c.maxAge)
	case -age > c.maxAge+c.timeout:
		return Skew, fmt.Sprintf("the server's clock is %s ahead", (-age).Round(time.Millisecond))
	}
	return "", ""
}

func checkValue(v float64) (Cause, string) {
	switch {
	case math.IsNaN(v):
		return NaN, "the value is NaN; there was nothing to compute it from"
	case math.IsInf(v, 0):
		return Inf, fmt.Sprintf("the value is %+g", v)
	}
	return "", ""
}
