package hist

import (
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Classic buckets end at powers of two, which are bounds of the native buckets too: their counts are exact, not interpolated.
const (
	classicMinExp = -13 // 0.12 ms
	classicMaxExp = 7   // 128 s; the +Inf bucket holds the rest
)

// metric is a native histogram that carries classic buckets in the same series; client_golang's own constant histograms carry one or the
// other.
type metric struct {
	prometheus.Metric
	histogram *dto.Histogram
	labels    []*dto.LabelPair
}

// Write implements prometheus.Metric.
func (m *metric) Write(out *dto.Metric) error {
	out.Histogram, out.Label = m.histogram, m.labels
	return nil
}

// NewMetric is the snapshot as a Prometheus histogram in seconds, native and classic. created is when counting began.
func NewMetric(desc *prometheus.Desc, s *Snapshot, created time.Time, labels ...string) (prometheus.Metric, error) {
	positive := make(map[int]int64)
	for i, c := range s.counts {
		if c > 0 {
			positive[minKey+i] = int64(c)
		}
	}
	native, err := prometheus.NewConstNativeHistogram(desc, s.Count(), s.sum, positive, nil, s.zero, Schema, ZeroThreshold, created, labels...)
	if err != nil {
		return nil, fmt.Errorf("make native histogram: %w", err)
	}
	var out dto.Metric
	if err := native.Write(&out); err != nil {
		return nil, fmt.Errorf("make native histogram: %w", err)
	}
	out.Histogram.Bucket = s.classic()
	return &metric{Metric: native, histogram: out.Histogram, labels: out.Label}, nil
}

func (s *Snapshot) classic() []*dto.Bucket {
	var (
		out        []*dto.Bucket
		cumulative = s.zero
		next       = 0
	)
	for exp := classicMinExp; exp <= classicMaxExp; exp++ {
		for ; next < len(s.counts) && minKey+next <= exp*perOctave; next++ {
			cumulative += s.counts[next]
		}
		bound, count := math.Ldexp(1, exp), cumulative
		out = append(out, &dto.Bucket{UpperBound: &bound, CumulativeCount: &count})
	}
	return out
}
