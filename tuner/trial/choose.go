package trial

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// proposal is a trial that may be made: a configuration other than the incumbent.
type proposal struct {
	point   space.Point
	purpose ledger.Purpose
	reason  string

	// of what somebody else has done already
	author     string
	made       time.Time
	generation int64
}

// wayBack is where the target must go now, whatever else is to be done: away from what was kept and breaches a guard since, or where somebody wants
// it back.
func (r *Runner) wayBack() (proposal, bool) {
	if !r.File.Acts() {
		return proposal{}, false
	}
	if t := r.onProbation(); t != nil && r.after != nil {
		if b := r.after.breach(); b != nil {
			reason := fmt.Sprintf("back from trial %d: %s, since %s", t.Number, b.Why, b.Since.UTC().Format(time.TimeOnly))
			return proposal{point: t.Before, purpose: ledger.Rollback, reason: reason}, true
		}
	}
	if o := r.desk.rollback(); o != nil {
		point, err := r.study.At(o.Trial)
		if err == nil && point.Key() != r.study.Incumbent.Key() {
			return proposal{point: point, purpose: ledger.Rollback, reason: fmt.Sprintf("back to trial %d, ordered by %s: %s", o.Trial, o.By, o.Reason)}, true
		}
		r.desk.drop(o)
	}
	return proposal{}, false
}

// choose is the next trial: what somebody asked for, what the search proposes, and at its end what secures the result. none says why there is no
// trial.
func (r *Runner) choose() (next proposal, none string, ok bool) {
	if next, ok := r.asked(); ok {
		return next, "", true
	}
	if r.study.Finished != "" {
		return proposal{}, r.study.Finished, false
	}
	if none = r.spent(); none == "" {
		if next, none, ok = r.search(); ok {
			return next, "", true
		}
		if r.tired() {
			none = r.noRestarts()
		}
	}
	if next, ok := r.closing(); ok {
		return next, "", true
	}
	return proposal{}, none, false
}

// asked is the oldest proposal of people and agents that can be tried. What cannot be now waits for its budget, or for an incumbent from which it is no
// farther than a trial may go, and says so.
func (r *Runner) asked() (proposal, bool) {
	if !r.File.Mode.Acts() {
		return proposal{}, false
	}
	for _, o := range r.desk.queue() {
		if o.Point.Key() == r.study.Incumbent.Key() {
			r.desk.drop(&o)
			continue
		}
		why := r.held(o.Point)
		if r.desk.hold(o, why) {
			r.publishOrders()
		}
		if why == "" {
			return proposal{point: o.Point, purpose: ledger.Asked, reason: fmt.Sprintf("proposed by %s: %s", o.By, o.Reason)}, true
		}
	}
	return proposal{}, false
}

// held says why a proposal cannot be tried now.
func (r *Runner) held(p space.Point) string {
	searched, _ := r.searched()
	why := r.exceeded(searched)
	if why == "" && !r.affordable(p) {
		why = r.noRestarts()
	}
	if err := r.allowed(p); why == "" && err != nil {
		why = err.Error()
	}
	return why
}

// allowed says why the target may not get a configuration, or may not get it in one trial.
func (r *Runner) allowed(p space.Point) error {
	errs := []error{r.File.SearchSpace().Check(p, space.Pod{Memory: r.Memory})}
	for _, k := range r.knobs {
		if n := moved(k, r.study.Incumbent[k.Name], p[k.Name]); r.File.Budgets.Steps > 0 && n > r.File.Budgets.Steps {
			errs = append(errs, fmt.Errorf("%s: want it moved by at most %d steps a trial (got %d)", k.Name, r.File.Budgets.Steps, n))
		}
	}
	return errors.Join(errs...)
}

// moved is how many steps there are between two values.
func moved(k space.Knob, a, b int64) int {
	low, high := min(a, b), max(a, b)
	n := 0
	for _, s := range k.Steps {
		if s > low && s <= high {
			n++
		}
	}
	return n
}

// tired says whether there are no restarts left for a trial, which may need two.
func (r *Runner) tired() bool { return r.study.Restarts+2 > r.File.Budgets.Restarts }

func (r *Runner) noRestarts() string {
	return fmt.Sprintf("the budget of %d restarts is spent", r.File.Budgets.Restarts)
}

// affordable says whether a trial of the configuration needs no restarts, or there are some left.
func (r *Runner) affordable(p space.Point) bool {
	return !r.tired() || !r.restarts(r.changes(proposal{point: p}))
}

// spent says which budget is used up.
func (r *Runner) spent() string {
	searched, since := r.searched()
	why := r.exceeded(searched)
	switch {
	case why != "":
		return why
	case r.tired() && !slices.ContainsFunc(r.knobs, func(k space.Knob) bool { return !r.Cluster.Restarts(k.Env) }):
		return r.noRestarts()
	case since >= r.File.Budgets.Fruitless:
		return fmt.Sprintf("the last %d trials did not help", since)
	}
	return ""
}

// searched counts the trials of the search and of proposals, and those of them since the last that was kept.
func (r *Runner) searched() (all, since int) {
	for _, t := range r.study.Counted() {
		if t.Purpose != "" && t.Purpose != ledger.Asked {
			continue
		}
		all, since = all+1, since+1
		if t.Outcome == ledger.OutcomeKept {
			since = 0
		}
	}
	return all, since
}

// exceeded says which budget leaves no room for any trial.
func (r *Runner) exceeded(searched int) string {
	b := r.File.Budgets
	switch {
	case searched >= b.Trials:
		return fmt.Sprintf("the budget of %d trials is spent", b.Trials)
	case r.study.Violation >= b.Violation.Seconds():
		return fmt.Sprintf("the budget of %s in which a guard may be breached is spent", b.Violation)
	}
	return ""
}

// tries is how often a measurement that came to nothing is made in all.
const tries = 2

// closing is what secures the result of a search: each knob that need not be where it is goes back to where it started, and in the end the winner is
// compared with the start once more, because the best of many measurements is partly luck.
func (r *Runner) closing() (proposal, bool) {
	start, now := r.study.Start, r.study.Incumbent
	if !r.File.Mode.Acts() || start == nil || start.Key() == now.Key() {
		return proposal{}, false
	}
	var off []space.Knob
	for _, k := range r.knobs {
		if start[k.Name] != now[k.Name] {
			off = append(off, k)
		}
	}
	for _, k := range off {
		p := proposal{
			point: now.With(k.Name, start[k.Name]), purpose: ledger.Simplify,
			reason: fmt.Sprintf("whether %s may stay at %s", k.Name, k.Render(start[k.Name])),
		}
		if len(off) > 1 && r.open(p) && r.allowed(p.point) == nil && r.affordable(p.point) {
			return p, true
		}
	}
	p := proposal{point: start, purpose: ledger.Confirm, reason: "the start once more, against the best that was found"}
	return p, r.open(p) && r.affordable(p.point)
}

// open says whether the closing trial is still to be made. What the incumbent was kept in place of is known to be worse.
func (r *Runner) open(p proposal) bool {
	failed := 0
	for _, t := range r.study.Counted() {
		switch {
		case p.purpose == ledger.Simplify && t.Outcome == ledger.OutcomeKept && t.Before.Key() == p.point.Key() && t.Candidate.Key() == r.study.Incumbent.Key():
			return false
		case t.Purpose != p.purpose || t.Before.Key() != r.study.Incumbent.Key() || t.Candidate.Key() != p.point.Key():
		case t.Outcome == ledger.OutcomeReverted || t.Outcome == ledger.OutcomeKept:
			return false
		default:
			failed++
		}
	}
	return failed < tries
}

// selected says whether the incumbent's measurement is the one for which it was chosen.
func (r *Runner) selected() bool {
	return slices.ContainsFunc(r.study.Counted(), func(t study.Trial) bool {
		return t.Outcome == ledger.OutcomeKept && t.Candidate.Key() == r.study.Incumbent.Key() && !r.study.MeasuredAt.After(t.Ended)
	})
}

// settles turns a verdict into the outcome that the trial's purpose asks for. A closing trial's candidate is the simpler one: it stays unless it costs
// something.
func (r *Runner) settles(purpose ledger.Purpose, v judge.Verdict) ledger.Outcome {
	keep := v.Decision == judge.Better
	switch purpose {
	case ledger.Scored:
		return ledger.Outcome(v.Decision)
	case ledger.Simplify:
		keep = keep || v.Decision == judge.NotBetter && v.Effect > -free
	case ledger.Confirm: // measured once; a series has its own rule
		keep = keep || v.Decision == judge.NotBetter && v.Effect > -r.rules.Margin
	}
	if keep {
		return ledger.OutcomeKept
	}
	return ledger.OutcomeReverted
}

// free is the loss of goodput that a simpler configuration is worth.
const free = 0.01

// summary is the last word of a search.
func (r *Runner) summary(why string) string {
	start, now := r.study.Start, r.study.Incumbent
	if start == nil || start.Key() == now.Key() {
		return "already good: it stays as it was (" + why + ")"
	}
	var way []string
	for _, k := range r.knobs {
		if old, new := start[k.Name], now[k.Name]; old != new {
			way = append(way, fmt.Sprintf("%s %s → %s", k.Name, k.Render(old), k.Render(new)))
		}
	}
	text := strings.Join(way, ", ")
	i := slices.IndexFunc(r.study.Counted(), func(t study.Trial) bool {
		return t.Purpose == ledger.Confirm && t.Outcome == ledger.OutcomeReverted && t.Before.Key() == now.Key() && t.Verdict != nil
	})
	if i >= 0 {
		text += fmt.Sprintf(": goodput %+.0f %% against the start, measured again at the end", 100*gain(*r.study.Counted()[i].Verdict))
	}
	return text + " (" + why + ")"
}

// gain of the incumbent over the candidate, which was the start.
func gain(v judge.Verdict) float64 {
	if v.Candidate <= 0 {
		return 0
	}
	return v.Incumbent/v.Candidate - 1
}
