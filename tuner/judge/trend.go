package judge

import (
	"math"

	"gonum.org/v1/gonum/stat"
)

// clearTrend is the level at which windows are taken to rise or fall, to either side.
const clearTrend = 1.645 // standard deviations: 5 %

// Moving says by what part the goodput of the later half of the windows is above that of the earlier one, and whether that is a trend rather than
// chance: a rank test against time (Mann and Kendall) sees one, and it is more than the margin. A load that still looks for its rate is not to be
// compared with anything.
func Moving(windows []Window, margin float64) (by float64, moving bool) {
	n := float64(len(windows))
	if n < 4 {
		return 0, false
	}
	goodput := values(windows, Goodput)
	time := make([]float64, len(goodput))
	for i := range time {
		time[i] = float64(i)
	}
	half := len(windows) / 2
	by = Median(windows[half:], Goodput)/Median(windows[:half], Goodput) - 1
	rising := stat.Kendall(time, goodput, nil) * n * (n - 1) / 2
	chance := math.Sqrt(n * (n - 1) * (2*n + 5) / 18)
	return by, math.Abs(rising) >= clearTrend*chance && math.Abs(by) > margin
}
