package drive

import (
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

// second is everything that had been counted when the second under way began.
type second struct {
	at                                     time.Duration
	offered, sent, acked, failed, consumed uint64
	waited                                 time.Duration
	response, endToEnd, lag, overslept     hist.Snapshot
}

func (s *second) start(e *Engine) { *s = e.stock(e.clock.Now()) }

// stock counts everything up to now.
func (e *Engine) stock(now time.Duration) (s second) {
	s.at = now
	for _, k := range e.workers {
		offered := k.offered(now)
		for p := range phases {
			s.response.Add(&k.response[p])
			s.lag.Add(&k.lag[p])
			s.failed += k.failed[p].Load()
			s.offered += offered[p]
		}
		s.overslept.Add(&k.overslept)
		s.waited += time.Duration(k.waited.Load())
	}
	for _, a := range e.arrived {
		for p := range phases {
			s.endToEnd.Add(&a.own[p])
			s.endToEnd.Add(&a.others[p])
		}
	}
	s.sent, s.acked, s.consumed = s.lag.Count(), s.response.Count(), s.endToEnd.Count()
	return s
}

// note adds the second under way to the series, at the end of a run.
func (e *Engine) note(now time.Duration) {
	e.watch.mu.Lock()
	defer e.watch.mu.Unlock()
	e.passed(now)
}

// passed adds the second that has passed to the series and judges whether the generator itself was the limit in it. watch.mu is held.
func (e *Engine) passed(now time.Duration) {
	w := &e.watch
	next, last := e.stock(now), &w.second
	since := func(total, before *hist.Snapshot) *hist.Snapshot {
		var d hist.Snapshot
		d.Merge(total)
		d.Sub(before)
		return &d
	}
	over := now - last.at
	late, _ := since(&next.overslept, &last.overslept).Quantile(0.99)
	lag, _ := since(&next.lag, &last.lag).Quantile(0.99)
	waiting := float64(next.waited-last.waited) / float64(over*time.Duration(len(e.workers)))
	limited := late > limitedAfter || lag > limitedAfter && waiting < keptBack
	w.limited.Store(limited)
	p := w.point
	if limited {
		p.Limited = over.Seconds()
		w.seconds.Add(int64(over))
	}
	p.At = e.clock.Wall(last.at) / int64(time.Second)
	p.Seconds = over.Seconds()
	p.Offered, p.Sent, p.Acked = next.offered-last.offered, next.sent-last.sent, next.acked-last.acked
	p.Failed, p.Consumed = next.failed-last.failed, next.consumed-last.consumed
	p.Response, p.EndToEnd = since(&next.response, &last.response).Pack(), since(&next.endToEnd, &last.endToEnd).Pack()
	w.series.Add(p)
	w.point = report.Point{}
	*last = next
}
