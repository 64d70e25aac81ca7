package ledger

import (
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// Kind of a record.
type Kind string

// The kinds.
const (
	Session  Kind = "session"  // a tuner started; Point is what it found in the cluster
	Measured Kind = "measured" // the incumbent was measured
	Edge     Kind = "edge"     // a trial goes into Phase; written before the act of that phase
	Outside  Kind = "outside"  // somebody else changed the target; Point is the new incumbent
	Finished Kind = "finished" // the search has nothing more to try
	Control  Kind = "control"  // somebody told the tuner what to do; Command says what
	Block    Kind = "block"    // one block of a trial that is measured in several is measured
	Shifted  Kind = "shifted"  // the load is another one than the search ended with; it begins anew
)

// Phase of a trial.
type Phase string

// The phases, in their order. Kept and Reverted end a trial.
const (
	Proposed  Phase = "proposed"
	Preflight Phase = "preflight"
	Applying  Phase = "applying"
	Verifying Phase = "verifying"
	Settling  Phase = "settling"
	Warming   Phase = "warming"
	Measuring Phase = "measuring"
	Judged    Phase = "judged"
	Kept      Phase = "kept"
	Reverted  Phase = "reverted"
)

// Phases lists them in order.
func Phases() []Phase {
	return []Phase{Proposed, Preflight, Applying, Verifying, Settling, Warming, Measuring, Judged, Kept, Reverted}
}

// Done says whether the phase ends a trial.
func (p Phase) Done() bool { return p == Kept || p == Reverted }

// Purpose says why a trial is made.
type Purpose string

// The purposes beside the search's, which has none.
const (
	Rollback Purpose = "rollback" // back to an earlier configuration; not measured
	Asked    Purpose = "asked"    // somebody proposed it
	Simplify Purpose = "simplify" // a knob goes back to where it started, if that costs nothing
	Confirm  Purpose = "confirm"  // the winner against the start, once more
	Scored   Purpose = "scored"   // somebody else changed the knobs; the tuner measures whether that helped
)

// Outcome of a trial.
type Outcome string

// The outcomes.
const (
	OutcomeKept         Outcome = "kept"
	OutcomeReverted     Outcome = "reverted"     // measured and not better, or the broker did not take the value
	OutcomeInconclusive Outcome = "inconclusive" // not measured; says nothing about the configuration
	OutcomeDiscarded    Outcome = "discarded"    // somebody else changed the target meanwhile, or the tuner may not act any more
	// Of what somebody else changed, which stays however it was found.
	OutcomeBetter    Outcome = Outcome(judge.Better)
	OutcomeNotBetter Outcome = Outcome(judge.NotBetter)
	OutcomeWorse     Outcome = Outcome(judge.Worse) // or the brokers do not run with it, or a guard was breached
)

// Outcomes lists them.
func Outcomes() []Outcome {
	return []Outcome{OutcomeKept, OutcomeReverted, OutcomeInconclusive, OutcomeDiscarded, OutcomeBetter, OutcomeNotBetter, OutcomeWorse}
}

// Record is one entry. Which fields are set follows from Kind and Phase.
type Record struct {
	Version int       `json:"v"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`

	Trial int   `json:"trial,omitempty"`
	Phase Phase `json:"phase,omitempty"`
	// Resumed marks the first edge of a trial that an earlier process began.
	Resumed bool `json:"resumed,omitempty"`

	// Change is the trial's change, with the way back.
	Change *Change `json:"change,omitempty"`
	// Purpose of a trial that the search did not ask for: rollback, asked, confirm, simplify, scored.
	Purpose Purpose `json:"purpose,omitempty"`
	// Changes are all knobs that somebody else changed.
	Changes []Change `json:"changes,omitempty"`

	// Series says how a trial is measured in blocks, each of which is one deployment; in its first record. Its sides are the configuration that is tried,
	// as the judge's candidate, and what was in force before. With purpose confirm it is the other way about: the winner has to show again that it is better.
	Series *judge.Config `json:"series,omitempty"`
	// Block of such a trial, from 1, that the record belongs to, and the side that is deployed in it.
	Block int           `json:"block,omitempty"`
	Side  judge.Side    `json:"side,omitempty"`
	Took  time.Duration `json:"took,omitempty"` // of a whole block

	Point      space.Point `json:"point,omitempty"`     // the whole desired configuration
	Effective  space.Point `json:"effective,omitempty"` // as read back
	Generation int64       `json:"generation,omitempty"`
	Revision   string      `json:"revision,omitempty"` // of the pod template, so that somebody else's change is noticed after a crash too

	Windows []judge.Window `json:"windows,omitempty"`
	Verdict *judge.Verdict `json:"verdict,omitempty"`
	Outcome Outcome        `json:"outcome,omitempty"`
	Failure string         `json:"failure,omitempty"` // class: image, out-of-memory, crash-loop, unschedulable, deadline, read-back, …
	Reason  string         `json:"reason,omitempty"`
	// Author is who changed the target, gave the order, or disturbed the trial. In a trial that scores somebody's change it is whoever made that.
	Author string `json:"author,omitempty"`
	// Made is when somebody else made the change that is scored, as far as the API server says.
	Made    time.Time `json:"made,omitzero"`
	Restart bool      `json:"restart,omitempty"` // the act of this edge restarts the target
	// Violation is for how many seconds a guard was breached since the record before, while the trial's change was in force or on its way.
	Violation float64 `json:"violation_seconds,omitempty"`
	Command   string  `json:"command,omitempty"` // of a control: pause, resume, approve, …
	// Term is that of the lease under which it was written: a later writer has a higher one.
	Term int64 `json:"term,omitempty"`

	Mode     string `json:"mode,omitempty"`
	Build    string `json:"build,omitempty"`
	Config   string `json:"config,omitempty"`   // SHA-256 of the configuration file
	Question string `json:"question,omitempty"` // SHA-256 of what in it decides how trials come out
	Torn     int64  `json:"torn,omitempty"`     // bytes of an unfinished record removed at start
}

// Change of one knob.
type Change struct {
	Knob    string `json:"knob"`
	Env     string `json:"env"`
	Old     int64  `json:"old"`
	New     int64  `json:"new"`
	OldText string `json:"old_text"`
	NewText string `json:"new_text"`
}
