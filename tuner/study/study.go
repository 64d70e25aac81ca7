// Package study is what a ledger means: the incumbent, its measurement, the trials and their outcomes, the changes of others.
//
// It is pure and has no state of its own: the same records always give the same study, which is what lets a killed tuner go on and a page, the
// metrics and the log agree with each other. It leaves out reading the ledger and acting.
package study

import (
	"cmp"
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// Trial is one change that was tried.
type Trial struct {
	Number     int
	Change     ledger.Change   // the first of Changes
	Changes    []ledger.Change // one per knob
	Candidate  space.Point
	Before     space.Point // the incumbent when it began
	After      space.Point // the incumbent when it had ended
	Phase      ledger.Phase
	Since      time.Time // of Phase
	Started    time.Time
	Ended      time.Time // zero while it runs
	Purpose    ledger.Purpose
	Applied    bool      // the target may hold the new value
	AppliedAt  time.Time // first
	Generation int64     // of the target, once the change was applied; 0: not known
	Settled    time.Time // when its rollout was complete; zero: not yet
	Violation  float64   // seconds in which a guard was breached
	Windows    []judge.Window
	Verdict    *judge.Verdict
	Outcome    ledger.Outcome
	Failure    string
	Reason     string // why it was proposed, then why it ended so
	By         string // who made the change
	Author     string // who disturbed it
	Effective  space.Point

	Series *judge.Config // of a trial that is measured in blocks
	Blocks []judge.Block // measured
	Block  int           // the one under way, from 1
	Side   judge.Side    // that is deployed in it
}

// Stays says whether the candidate is in force once the trial has come out so. What others changed stays unless it is taken back.
func (t *Trial) Stays() bool {
	if t.Purpose == ledger.Scored {
		return t.Outcome != ledger.OutcomeReverted && t.Outcome != ledger.OutcomeDiscarded
	}
	return t.Outcome == ledger.OutcomeKept
}

// TakesBack is the configuration that the trial brings the target back from, since it did harm or somebody ordered it, or nil.
func (t *Trial) TakesBack() space.Point {
	switch {
	case t.Purpose == ledger.Scored && t.Outcome == ledger.OutcomeReverted:
		return t.Candidate
	case t.Purpose == ledger.Rollback && (t.Outcome == "" || t.Applied):
		return t.Before
	}
	return nil
}

// Sides are those of a trial that is measured in blocks, as its judge calls them: of what is tried, and of what was in force before. The judge's candidate is
// the one that has to show that it is better: what is tried, and in the end the winner once more.
func (t *Trial) Sides() (tried, before judge.Side) {
	if t.Purpose == ledger.Confirm {
		return judge.Incumbent, judge.Candidate
	}
	return judge.Candidate, judge.Incumbent
}

// Of is the configuration of a side.
func (t *Trial) Of(side judge.Side) space.Point {
	if _, before := t.Sides(); side == before {
		return t.Before
	}
	return t.Candidate
}

// InForce is the configuration that the target has, or is brought to, once the trial was applied.
func (t *Trial) InForce() space.Point { return t.Of(t.Side) }

// Judge is the comparison of a trial that is measured in blocks, as far as it has come.
func (t *Trial) Judge() (*judge.Judge, error) {
	j, err := judge.New(*t.Series)
	if err != nil {
		return nil, err
	}
	for _, b := range t.Blocks {
		if err := j.Add(b); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// Measured are a side's windows in all blocks.
func (t *Trial) Measured(side judge.Side) []judge.Window {
	var out []judge.Window
	for _, b := range t.Blocks {
		if b.Side == side {
			out = append(out, b.Windows...)
		}
	}
	return out
}

// Change is something that happened to the target, for people and graphs.
type Change struct {
	ID      uint64 // the number of the ledger's record
	Time    time.Time
	Trial   int // 0: not the tuner's
	Author  string
	Outcome string // attempted, kept, reverted, inconclusive, outside
	Knob    string
	Old     int64
	New     int64
	OldText string
	NewText string
	Effect  *float64
	Reason  string
}

// The outcomes of a Change beside a trial's.
const (
	Attempted    = "attempted"
	OutsideDone  = "outside"
	Inconclusive = "inconclusive"
)

// Rejected is the failure of a trial that somebody would not have.
const Rejected = "rejected"

// Author of the tuner's own changes.
const Author = "kafkalab-tuner"

// Study is the sum of a ledger's records.
type Study struct {
	Entries   int
	Incumbent space.Point
	Rest      string // digest of what is not a knob, as of Incumbent

	Windows    []judge.Window // of the incumbent; empty: to be measured
	MeasuredAt time.Time

	Baseline   []judge.Window // the first measurement, as long as the question is the same
	BaselineAt time.Time
	Start      space.Point // what Baseline was measured with
	BestPoint  space.Point
	Best       []judge.Window // newest measurement of BestPoint
	BestAt     time.Time

	Trials     []Trial
	Restarts   int     // by the tuner, since the question is the same
	Violation  float64 // seconds, likewise
	Changes    []Change
	Mode       string // of the newest session
	config     string // digest of its file
	question   string // digest of what in it decides
	before     int    // how many trials were begun for another question
	Finished   string // why the search ended; empty while it goes on
	FinishedAt time.Time
	Fruitless  int         // searches in a row, up to the last that ended, in which nothing was kept
	First      space.Point // the configuration of the very first session
}

// Fold adds up records.
func Fold(records []ledger.Record) *Study {
	s := &Study{}
	for _, r := range records {
		s.Add(r)
	}
	return s
}

// Running is the trial that has not ended, or nil.
func (s *Study) Running() *Trial {
	if n := len(s.Trials); n > 0 && !s.Trials[n-1].Phase.Done() {
		return &s.Trials[n-1]
	}
	return nil
}

// Desired is the configuration that the target is meant to have now.
func (s *Study) Desired() space.Point {
	if t := s.Running(); t != nil && t.Applied {
		return t.InForce()
	}
	return s.Incumbent
}

// At is the configuration that was in force when the trial had ended; 0 is before the first one.
func (s *Study) At(trial int) (space.Point, error) {
	switch {
	case trial == 0 && s.First != nil:
		return s.First, nil
	case trial < 1 || trial > len(s.Trials) || s.Trials[trial-1].After == nil:
		return nil, fmt.Errorf("trial: want 0..%d and one that has ended (got %d)", len(s.Trials), trial)
	}
	return s.Trials[trial-1].After, nil
}

// Counted are the trials that the search has made for its question.
func (s *Study) Counted() []Trial { return s.Trials[s.before:] }

// Made is how many of them the tuner has made itself.
func (s *Study) Made() int {
	n := 0
	for _, t := range s.Counted() {
		if t.Purpose != ledger.Scored {
			n++
		}
	}
	return n
}

// PutBack is how often in the time before the trial the target had been brought back from the same configuration already, when last, and who put it
// there again.
func (s *Study) PutBack(t *Trial, within time.Duration) (times int, last time.Time, by string) {
	from := t.TakesBack()
	if from == nil {
		return 0, time.Time{}, ""
	}
	for i := range s.Trials[:t.Number] {
		before := &s.Trials[i]
		if before.Purpose == ledger.Scored && before.Candidate.Key() == from.Key() {
			by = before.By
		}
		if before.Number < t.Number && before.TakesBack().Key() == from.Key() && t.Started.Sub(before.Ended) <= within {
			times, last = times+1, before.Ended
		}
	}
	return times, last, by
}

// Tried is what the search needs of those that ended.
func (s *Study) Tried() []search.Tried {
	var out []search.Tried
	for _, t := range s.Counted() {
		if t.Phase.Done() {
			if t.Purpose == ledger.Rollback {
				continue
			}
			out = append(out, search.Tried{Knob: t.Change.Knob, Point: t.Candidate, From: t.Change.Old, Outcome: outcome(t)})
		}
	}
	return out
}

func outcome(t Trial) search.Outcome {
	switch {
	case t.Failure == Rejected:
		return search.Worse
	case t.Outcome == ledger.OutcomeKept || t.Outcome == ledger.OutcomeBetter:
		return search.Better
	case t.Outcome == ledger.OutcomeNotBetter:
		return search.NotBetter
	case t.Outcome == ledger.OutcomeWorse:
		return search.Worse
	case t.Outcome != ledger.OutcomeReverted:
		return search.Inconclusive
	case t.Verdict != nil && t.Verdict.Decision == judge.NotBetter:
		return search.NotBetter
	}
	return search.Worse
}

// Add takes the next record into account.
func (s *Study) Add(r ledger.Record) {
	s.Entries++
	if r.Restart && r.Purpose != ledger.Scored {
		s.Restarts++
	}
	switch r.Kind {
	case ledger.Session:
		s.session(r)
		if s.Incumbent == nil && len(r.Point) > 0 {
			s.Incumbent, s.Rest, s.First = r.Point, r.Revision, r.Point
		}
	case ledger.Measured:
		s.measured(r)
	case ledger.Outside:
		s.outside(r)
	case ledger.Block:
		if t := s.Running(); t != nil && t.Number == r.Trial {
			t.Blocks = append(t.Blocks, judge.Block{Side: r.Side, Windows: r.Windows, Took: r.Took})
		}
	case ledger.Finished:
		s.finished(r)
	case ledger.Shifted:
		s.anew()
		s.Windows, s.Finished = nil, ""
	case ledger.Edge:
		s.edge(r)
	}
}

// session takes up the search again when the tuner's file is another one: it may have other budgets. When what decides is another, the search
// begins anew: what was tried and measured before answers another question.
func (s *Study) session(r ledger.Record) {
	another := s.config != "" && s.config != r.Config
	asks := r.Question != s.question && (another || s.question != "") // older ledgers do not name their question
	if another || asks {
		s.Windows, s.Finished = nil, ""
	}
	if asks {
		s.anew()
	}
	s.config, s.question, s.Mode = r.Config, r.Question, r.Mode
}

// anew begins a search that knows nothing, with all its budgets.
func (s *Study) anew() {
	s.before, s.Restarts, s.Violation = len(s.Trials), 0, 0
	s.Baseline, s.Start, s.Best, s.BestPoint = nil, nil, nil, nil
}

func (s *Study) finished(r ledger.Record) {
	s.Finished, s.FinishedAt = r.Reason, r.Time
	s.Fruitless++
	for _, t := range s.Counted() {
		if t.Outcome == ledger.OutcomeKept && t.Purpose != ledger.Rollback {
			s.Fruitless = 0
		}
	}
}

func (s *Study) measured(r ledger.Record) {
	s.Windows, s.MeasuredAt = r.Windows, r.Time
	if s.Baseline == nil || s.Start.Key() == r.Point.Key() { // the newest figure of the start: what was best is measured anew too
		s.Baseline, s.BaselineAt, s.Start = r.Windows, r.Time, r.Point
	}
	if s.Best == nil || s.BestPoint.Key() == r.Point.Key() {
		s.Best, s.BestAt, s.BestPoint = r.Windows, r.Time, r.Point
	}
}

// outside makes somebody else's configuration the incumbent. What was measured belongs to another one now, and the search may go on from here.
func (s *Study) outside(r ledger.Record) {
	s.Incumbent, s.Rest = r.Point, r.Revision
	s.Windows, s.Finished = nil, ""
	for _, c := range r.Changes {
		s.Changes = append(s.Changes, Change{
			ID: r.Seq, Time: r.Time, Author: r.Author, Outcome: OutsideDone,
			Knob: c.Knob, Old: c.Old, New: c.New, OldText: c.OldText, NewText: c.NewText, Reason: r.Reason,
		})
	}
	if len(r.Changes) == 0 {
		s.Changes = append(s.Changes, Change{ID: r.Seq, Time: r.Time, Author: r.Author, Outcome: OutsideDone, Reason: r.Reason})
	}
}

func (s *Study) edge(r ledger.Record) {
	if r.Phase == ledger.Proposed && r.Change != nil {
		changes := r.Changes
		if len(changes) == 0 { // as ledgers had it when a trial changed one knob
			changes = []ledger.Change{*r.Change}
		}
		s.Trials = append(s.Trials, Trial{
			Number: r.Trial, Change: *r.Change, Changes: changes, Candidate: r.Point, Before: s.Incumbent, Started: r.Time, Reason: r.Reason,
			Purpose: r.Purpose, Series: r.Series, By: cmp.Or(r.Author, Author),
		})
		s.Finished = ""
		if t := s.Running(); t.Purpose == ledger.Scored { // it is in force already
			t.Applied, t.AppliedAt = true, r.Made
			s.change(r, t, Attempted)
		}
	}
	t := s.Running()
	if t == nil || t.Number != r.Trial {
		return // nothing to add to; verify reports it
	}
	if t.Phase != r.Phase {
		t.Phase, t.Since = r.Phase, r.Time
	}
	if r.Effective != nil {
		t.Effective = r.Effective
	}
	if r.Generation != 0 {
		t.Generation = r.Generation
	}
	t.Violation += r.Violation
	if t.Purpose != ledger.Scored {
		s.Violation += r.Violation
	}
	switch r.Phase {
	case ledger.Applying:
		if !t.Applied {
			s.change(r, t, Attempted)
			t.AppliedAt = r.Time
		}
		t.Applied = true
		if t.Series != nil {
			t.Block, t.Side = r.Block, r.Side
			if r.Restart {
				t.Settled = time.Time{}
			}
		}
	case ledger.Settling:
		if t.Settled.IsZero() {
			t.Settled = r.Time
		}
	case ledger.Judged:
		t.Windows, t.Verdict, t.Outcome, t.Failure, t.Reason, t.Author = r.Windows, r.Verdict, r.Outcome, r.Failure, r.Reason, ""
		if r.Outcome == ledger.OutcomeDiscarded {
			t.Author = r.Author
		}
	case ledger.Kept:
		t.Ended = r.Time
		s.Incumbent, s.Windows = t.Candidate, nil
		if len(s.Counted()) > 0 { // otherwise it was judged by another question
			s.Windows, s.MeasuredAt = t.Windows, t.Since
			if s.best(t) {
				s.BestPoint, s.Best, s.BestAt = t.Candidate, t.Windows, t.Since
			}
		}
		t.After = s.Incumbent
		s.change(r, t, string(t.Outcome))
	case ledger.Reverted:
		t.Ended = r.Time
		if r.Point != nil && r.Point.Key() != s.Incumbent.Key() { // given up, with its value left behind
			s.Incumbent, s.Windows = r.Point, nil
		}
		t.After = s.Incumbent
		word := string(t.Outcome)
		if t.Outcome == ledger.OutcomeDiscarded {
			word = Inconclusive
		}
		if t.Applied {
			s.change(r, t, word)
		}
		_, before := t.Sides()
		if again := t.Measured(before); t.Verdict != nil && len(again) > 0 && len(s.Counted()) > 0 {
			s.Windows, s.MeasuredAt = again, t.Since // of what stays
			s.BestPoint, s.Best, s.BestAt = t.Before, again, t.Since
		}
	}
}

// best says whether what stays is the best that was measured. What the tuner keeps it kept for that; others may go from what is worse to what is less so.
func (s *Study) best(t *Trial) bool {
	if t.Purpose != ledger.Scored {
		return true
	}
	return t.Outcome == ledger.OutcomeBetter &&
		(t.Before.Key() == s.BestPoint.Key() || judge.Median(t.Windows, judge.Goodput) > judge.Median(s.Best, judge.Goodput))
}

func (s *Study) change(r ledger.Record, t *Trial, word string) {
	for _, c := range t.Changes {
		out := Change{
			ID: r.Seq, Time: r.Time, Trial: t.Number, Author: t.By, Outcome: word, Knob: c.Knob, Old: c.Old, New: c.New,
			OldText: c.OldText, NewText: c.NewText, Reason: t.Reason,
		}
		if t.Verdict != nil {
			out.Effect = &t.Verdict.Effect
		}
		s.Changes = append(s.Changes, out)
	}
}
