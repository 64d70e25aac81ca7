package promql

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Over evaluates query at each step from one time to another and returns the numbers of its one series, oldest first. A step at which there is no
// finite number has no sample: that is a gap, not an error. No sample at all is NoData.
func (c *Client) Over(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Sample, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	value, warnings, _, err := c.api.QueryRange(limited, query, v1.Range{Start: from, End: to, Step: step})
	if err != nil {
		return nil, &Error{Query: query, Cause: causeOf(ctx, err), Why: brief(err)}
	}
	if len(warnings) > 0 {
		return nil, &Error{Query: query, Cause: Warned, Why: strings.Join(warnings, "; ")}
	}
	samples, cause, why := series(value)
	if cause != "" {
		return nil, &Error{Query: query, Cause: cause, Why: why}
	}
	return samples, nil
}

func series(value model.Value) ([]Sample, Cause, string) {
	m, is := value.(model.Matrix)
	switch {
	case value == nil:
		return nil, BadAnswer, "the answer has no result"
	case !is:
		return nil, NotANumber, fmt.Sprintf("the result is a %s; a matrix is wanted", value.Type())
	case len(m) == 0:
		return nil, NoData, "the result is empty"
	case len(m) > 1:
		return nil, ManySeries, fmt.Sprintf("%d series, for example %s and %s; aggregate them", len(m), m[0].Metric, m[1].Metric)
	case len(m[0].Histograms) > 0:
		return nil, NotANumber, "the result has histograms; take a quantile, count or sum of them"
	}
	var out []Sample
	for _, p := range m[0].Values {
		if v := float64(p.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, Sample{Value: v, Time: p.Timestamp.Time()})
		}
	}
	if len(out) == 0 {
		return nil, NoData, "no step has a finite number"
	}
	return out, "", ""
}
