package clusters

import (
	"strconv"
	"time"
)

// timeoutHeader is what Prometheus tells every target: after how many seconds it gives up.
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// scrapeTime is how long a collection may take: the header's value less a fifth, half a second at most, or the limit when the header
// is absent, later than the limit, or not a number of seconds.
func scrapeTime(header string, limit time.Duration) time.Duration {
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || !(seconds > 0) || seconds > limit.Seconds()*2 {
		return limit
	}
	timeout := time.Duration(seconds * float64(time.Second))
	return min(timeout-min(timeout/5, 500*time.Millisecond), limit)
}
