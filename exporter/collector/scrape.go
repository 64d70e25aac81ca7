package collector

import (
	"time"

	"github.com/kafkalab/kafkalab/exporter/exposition"
)

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
