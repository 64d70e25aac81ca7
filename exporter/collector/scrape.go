package collector

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/kafkalab/kafkalab/exporter/exposition"
)

// timeoutHeader is what Prometheus tells every target: after how many seconds it gives up.
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// Scrape answers with a fresh snapshot, followed by what next answers, which is the handler of a registry. The scrape's deadline is the
// collection's, less what it takes to answer.
func (e *Exporter) Scrape(next http.Handler) http.Handler {
	show := e.pages.Before(next, e.Show)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), scrapeTime(r.Header.Get(timeoutHeader), e.conf.Timeout))
		defer cancel()
		e.Refresh(ctx)
		show.ServeHTTP(w, r)
	})
}

// Show adds the last snapshot to the page, unless it is too old, and how the last collection went.
func (e *Exporter) Show(page *exposition.Page) {
	e.mu.Lock()
	shown, report, now := e.last, e.report, time.Now()
	e.mu.Unlock()
	if shown != nil && now.Sub(shown.taken) > e.conf.MaxAge {
		shown = nil
	}
	s := sink{page: page, hidden: e.hidden}
	if shown != nil {
		s.dropped = shown.dropped
	}
	s.self(report, shown, now)
	if e.names.kminion {
		s.kminionSelf(report, e.meas)
	}
	if shown != nil {
		s.show(shown, e.names, e.conf.TopicConfigs)
	}
}

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
