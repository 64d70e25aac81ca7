package trial

import (
	"slices"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// search asks for the next trial, by the algorithm that the file names. Both know nothing but what is in the ledger.
func (r *Runner) search() (next proposal, none string, ok bool) {
	if r.File.Search.Algorithm == config.ByGP {
		return r.byModel()
	}
	return r.byStep()
}

// byStep moves one knob at a time. What goes too far for one trial, or needs restarts when there are none left, is as if it had been tried.
func (r *Runner) byStep() (proposal, string, bool) {
	tried := r.tried()
	for {
		p, none, ok := search.Next(search.Problem{Knobs: r.knobs, Incumbent: r.study.Incumbent, Tried: tried, Memory: r.Memory})
		if !ok {
			return proposal{}, none, false
		}
		point := r.study.Incumbent.With(p.Knob, p.To)
		if r.allowed(point) == nil && r.affordable(point) {
			return proposal{point: point, reason: p.Reason}, "", true
		}
		tried = append([]search.Tried{{Point: point, Outcome: search.Worse}}, tried...)
	}
}

// tried is what the search by steps needs to know: the trials, and what somebody would not have.
func (r *Runner) tried() []search.Tried {
	var out []search.Tried
	for _, p := range r.desk.rejected() {
		out = append(out, search.Tried{Point: p, Outcome: search.Worse})
	}
	return append(out, r.study.Tried()...)
}

// byModel asks for the configuration that promises most. What may not be tried in one trial is as if it could not run; how often that may be said in
// a row is bounded, so that a model which insists ends the search.
func (r *Runner) byModel() (proposal, string, bool) {
	o := r.File.Objective
	algorithm, err := search.New(search.NameGP, search.Config{
		Space: r.File.SearchSpace(), Pod: space.Pod{Memory: r.Memory}, Start: r.study.Start, Seed: r.File.Search.Seed,
		Bounds: []search.Bound{{Name: "p99", Limit: o.SLO.Seconds() * (1 + o.Tolerance)}},
	})
	if err != nil {
		return proposal{}, err.Error(), false
	}
	history := r.history()
	for range insists {
		s, ok := algorithm.Suggest(history)
		if !ok {
			return proposal{}, s.Reason, false
		}
		if s.Point.Key() != r.study.Incumbent.Key() && r.allowed(s.Point) == nil && r.affordable(s.Point) && r.untried(s.Point) {
			return proposal{point: s.Point, reason: s.Reason}, "", true
		}
		history = append(history, search.Trial{Point: s.Point, Failed: true, Bounds: []float64{0}})
	}
	return proposal{}, "nothing new is promising", false
}

// insists is how many suggestions that may not be tried are borne with.
const insists = 20

// untried says whether the configuration may be tried: it has not been, or has come to nothing once.
func (r *Runner) untried(p space.Point) bool {
	failed := 0
	for _, t := range r.study.Counted() {
		if t.Candidate.Key() != p.Key() || t.Purpose == ledger.Rollback {
			continue
		}
		if t.Outcome != ledger.OutcomeInconclusive && t.Outcome != ledger.OutcomeDiscarded {
			return false
		}
		failed++
	}
	return failed < tries
}

// history is what was measured: here, and elsewhere by those who told of it. What somebody would not have cannot run, as far as the search cares.
func (r *Runner) history() []search.Trial {
	history := []search.Trial{measured(r.study.Start, r.study.Baseline)}
	for _, t := range r.study.Counted() {
		switch {
		case !t.Phase.Done() || t.Purpose == ledger.Rollback:
		case len(t.Windows) > 0:
			history = append(history, measured(t.Candidate, t.Windows))
		case t.Outcome == ledger.OutcomeReverted || t.Outcome == ledger.OutcomeWorse: // it could not run, or was taken back for what it did
			history = append(history, search.Trial{Point: t.Candidate, Failed: true, Bounds: []float64{0}})
		}
	}
	for _, p := range r.desk.rejected() {
		history = append(history, search.Trial{Point: p, Failed: true, Bounds: []float64{0}})
	}
	return append(history, r.desk.told()...)
}

func measured(p space.Point, windows []judge.Window) search.Trial {
	return search.Trial{Point: p, Value: judge.Median(windows, judge.Goodput), Bounds: []float64{judge.Median(windows, judge.P99)}}
}

// told are the measurements of others.
func (d *desk) told() []search.Trial {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []search.Trial
	for _, o := range d.book.Told {
		out = append(out, measured(o.Point, []judge.Window{o.Window}))
	}
	return slices.Clip(out)
}
