package report

import (
	"math"
	"slices"
	"sort"
	"strconv"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

const confidence = 0.95

// Estimate is a figure with its confidence interval; Low and High are nil where there are too few windows for one.
type Estimate struct {
	Value   float64  `json:"value"`
	Low     *float64 `json:"low"`
	High    *float64 `json:"high"`
	Windows int      `json:"windows"`
}

// median with the interval of its order statistics, which assumes nothing of how the windows are distributed.
func median(values []float64) Estimate {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), confidence)
	return estimate(s.Center, s.Lo, s.Hi, len(values))
}

// change is how much higher, relatively, the values after are than those before: the median of the ratios of all pairs, with the interval that belongs
// to the rank test (Hodges and Lehmann; Moses). It is nil when there is nothing to compare.
func change(before, after []float64) *Estimate {
	var logs []float64
	for _, b := range before {
		for _, a := range after {
			if a > 0 && b > 0 {
				logs = append(logs, math.Log(a/b))
			}
		}
	}
	if len(logs) == 0 || len(logs) != len(before)*len(after) {
		return nil
	}
	slices.Sort(logs)
	n := len(logs)
	low, high := math.Inf(-1), math.Inf(1)
	if c := rankBound(len(before), len(after)); c > 0 {
		low, high = math.Expm1(logs[c-1]), math.Expm1(logs[n-c])
	}
	e := estimate(math.Expm1((logs[(n-1)/2]+logs[n/2])/2), low, high, min(len(before), len(after)))
	return &e
}

// rankBound is which of the sorted pairs, from either end, bounds the interval; 0 when there are too few.
func rankBound(n1, n2 int) int {
	u := stats.UDist{N1: n1, N2: n2}
	return sort.Search(n1*n2/2, func(c int) bool { return u.CDF(float64(c)) > (1-confidence)/2 })
}

func estimate(v, low, high float64, windows int) Estimate {
	e := Estimate{Value: rounded(v), Windows: windows}
	if !math.IsInf(low, 0) && !math.IsInf(high, 0) && !math.IsNaN(low) && !math.IsNaN(high) {
		low, high = rounded(low), rounded(high)
		e.Low, e.High = &low, &high
	}
	return e
}

// rounded keeps six digits: processors differ in the last ones of what they compute, and a report is the same everywhere.
func rounded(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	if err != nil {
		return v
	}
	return r
}
