package trial

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// In mode observe others hold the wheel. What runs is measured again and again, so that a change of the knobs finds something to be compared with, and such a
// change is a trial that somebody else has applied: it is verified, settles, is warmed up, measured and judged like one of the tuner's own, and carries its
// author's name. It is compared with what was measured last; changes that follow one another before they could be measured are so compared together.

// observe does what mode observe is for while nobody changes anything. It waits for nothing that would keep it from noticing when somebody does.
func (r *Runner) observe(ctx context.Context) error {
	if r.File.Reverts() {
		r.lookAfter(ctx)
		if back, due := r.wayBack(); due {
			if off := r.Stop(); off != "" {
				r.state(status.Paused, off)
				return r.rest(ctx)
			}
			return r.try(ctx, back)
		}
	}
	why := r.quarrelling()
	if r.stale() {
		err := r.ready(ctx)
		if err == nil {
			return r.measureIncumbent(ctx)
		}
		why = "not measured now, so that a change cannot be scored: " + err.Error()
	}
	r.state(status.Observing, why)
	return r.rest(ctx)
}

// theirs takes what somebody else has done: a change of the knobs alone is scored, if it is known what was before.
func (r *Runner) theirs(ctx context.Context, point space.Point, view apply.View, o *apply.Outside) error {
	why := ""
	switch owed := r.owed(); {
	case point.Key() == r.study.Incumbent.Key(): // no knob has another value
	case view.Rest != r.study.Rest && owed: // each by itself
		err := r.record(ledger.Record{
			Kind: ledger.Outside, Author: o.Author, Point: r.study.Incumbent, Revision: view.Rest, Generation: view.Generation,
			Reason: "something other than the knobs was changed, too, so that the knobs' change can be watched and not compared",
		})
		if err != nil {
			return err
		}
		return r.score(ctx, point, view, o)
	case view.Rest != r.study.Rest:
		why = "something other than the knobs was changed, too"
	case len(r.study.Windows) == 0 && !owed:
		why = "what was before had not been measured"
	default:
		return r.score(ctx, point, view, o)
	}
	return r.outside(point, view, o.Author, "not scored: "+why+"; it is the new incumbent")
}

// owed says whether a change has to be watched though there may be nothing to compare it with: it comes on top of what is watched still, or not long after
// something was taken back, which may be what comes again.
func (r *Runner) owed() bool {
	if !r.File.Reverts() {
		return false
	}
	return r.unmeasured() != nil || r.onProbation() != nil || slices.ContainsFunc(r.study.Trials, func(t study.Trial) bool {
		return t.TakesBack() != nil && time.Since(t.Ended) <= quarrel
	})
}

// unmeasured is the newest trial if it was one of somebody else's change that something came in between, or nil.
func (r *Runner) unmeasured() *study.Trial {
	if n := len(r.study.Trials); n > 0 && r.study.Trials[n-1].Purpose == ledger.Scored && r.study.Trials[n-1].Outcome == ledger.OutcomeDiscarded {
		return &r.study.Trials[n-1]
	}
	return nil
}

// score begins the trial of a change that somebody else has made.
func (r *Runner) score(ctx context.Context, point space.Point, view apply.View, o *apply.Outside) error {
	r.seen = view
	if r.after != nil { // from here on the new trial's own watch answers for it
		r.after.close()
		r.after = nil
	}
	reason := "changed by " + o.Author
	if t := r.unmeasured(); t != nil {
		reason += fmt.Sprintf("; with what is left of trial %d, which was not measured", t.Number)
	}
	made := time.Now().Add(-idle) // it was noticed at the first look
	if !o.Time.IsZero() && o.Time.Before(time.Now()) {
		made = o.Time
	}
	return r.try(ctx, proposal{point: point, purpose: ledger.Scored, reason: reason, author: o.Author, made: made, generation: view.Generation})
}

// scored is what the end of the measurement says of somebody else's change. Where the judge has decided there is nothing to add.
func (r *Runner) scored(e *end) *end {
	if e == nil || e.outcome != ledger.OutcomeReverted {
		return e
	}
	switch {
	case e.failure == "read-back":
		e.outcome = ledger.OutcomeNotBetter
		return e
	case !r.File.Reverts():
		e.outcome = ledger.OutcomeWorse
		return e
	}
	if why := r.Stop(); why != "" {
		e.outcome, e.reason = ledger.OutcomeWorse, fmt.Sprintf("%s; not taken back: %s", e.reason, why)
	}
	return e
}

// author is to whom the record of a trial is put down: whoever disturbed it, or else whoever made the change, unless that was the tuner.
func author(t *study.Trial, disturber string) string {
	if disturber == "" && t.Purpose == ledger.Scored {
		return t.By
	}
	return disturber
}

// accountable is the time before which what is breached does not speak against t: its change's. Where changes of others followed one another it is that of the
// first which had not been found good, or what that one broke would pass for something that was always broken, and so would what was taken back a moment ago and
// is still felt. The API server's times are whole seconds of another clock.
func (r *Runner) accountable(t study.Trial) time.Time {
	at := t.AppliedAt
	if t.Purpose != ledger.Scored {
		return at
	}
	for i := t.Number - 2; i >= 0 && r.answers(&r.study.Trials[i], t.Candidate, at); i-- {
		at = r.study.Trials[i].AppliedAt
	}
	return at.Add(-idle)
}

// answers says whether what is breached at the time, when there is that configuration, may be that trial's doing: it was not measured, is on probation, or was
// taken back a moment ago, or not long ago and comes again.
func (r *Runner) answers(t *study.Trial, now space.Point, at time.Time) bool {
	ago := at.Sub(t.Ended)
	switch from := t.TakesBack(); {
	case from != nil:
		return ago < r.recovery() || ago < quarrel && from.Key() == now.Key()
	case t.Purpose != ledger.Scored:
		return false
	case t.Outcome == ledger.OutcomeDiscarded:
		return true
	}
	return r.File.Reverts() && t.Stays() && ago < probation
}

// recovery is how long after it was taken back the guards may still feel a change.
func (r *Runner) recovery() time.Duration {
	var longest time.Duration
	for _, g := range r.File.Guards {
		longest = max(longest, g.Grace+g.For)
	}
	return longest + config.Scrapes*r.File.Prometheus.ScrapeInterval
}
