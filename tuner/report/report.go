// Package report is what a study came to: the start and the best configuration with confidence intervals, how the search went, what each knob did, and
// every trial with its effect and reason, as Markdown, JSON and one page of HTML that needs nothing else.
//
// It promises that a report is made from the ledger's records and from nothing else, neither clock nor zone nor language nor file name, so that the same
// ledger always gives the same bytes. It leaves out judging: what was decided is told, with the reason that was given then.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// Schema of the JSON; a change that breaks a reader raises it.
const Schema = 1

// Report of one ledger. Times are UTC; relative changes are parts of 1.
type Report struct {
	Schema   int       `json:"schema"`
	Outcome  string    `json:"outcome"` // the study in a sentence
	Ledger   Source    `json:"ledger"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Finished string    `json:"finished"` // why the search ended; empty while it goes on
	Counts   Counts    `json:"counts"`

	Before  *Side     `json:"before"` // nil: nothing was measured
	After   *Side     `json:"after"`
	Goodput *Estimate `json:"goodput_change"` // of After against Before
	P99     *Estimate `json:"p99_change"`
	Again   *Estimate `json:"goodput_change_confirmed"` // the same, as measured once more at the end; nil: it was not
	Turned  []Turned  `json:"turned"`                   // knobs that differ between them

	Convergence []Step   `json:"convergence"`
	Knobs       []Knob   `json:"knobs"` // by the largest effect
	Trials      []Trial  `json:"trials"`
	Others      []Change `json:"others"` // what others changed meanwhile
	Orders      []Order  `json:"orders"` // what people told the tuner
}

// observes is the mode in which others make the changes, as sessions call it.
const observes = "observe"

// Source is what the report was made from.
type Source struct {
	Records int      `json:"records"`
	Head    string   `json:"head"` // the sum over all records
	Builds  []string `json:"builds"`
	Modes   []string `json:"modes"`
}

// Counts of what happened.
type Counts struct {
	Sessions     int `json:"sessions"`
	Trials       int `json:"trials"`
	Kept         int `json:"kept"`
	Reverted     int `json:"reverted"`
	Inconclusive int `json:"inconclusive"`
	Discarded    int `json:"discarded"`
	Better       int `json:"better"` // of the changes of others that were scored; those that were taken back are among the reverted
	NotBetter    int `json:"not_better"`
	Worse        int `json:"worse"`
	Running      int `json:"running"`
	Restarts     int `json:"restarts"`
	Others       int `json:"others"`
	// Violation is for how many seconds a guard was breached by what was tried or scored.
	Violation float64 `json:"violation_seconds"`
}

// Side is a configuration as it was measured.
type Side struct {
	Point   space.Point `json:"point"`
	At      time.Time   `json:"at"`      // when its windows were complete
	Goodput Estimate    `json:"goodput"` // records per second
	P99     Estimate    `json:"p99_ms"`
}

// Turned is one knob's change from the start to the best.
type Turned struct {
	Knob string `json:"knob"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Step is one trial on the way. Figures are nil where nothing was measured.
type Step struct {
	Trial    int      `json:"trial"` // 0: the start
	Measured *float64 `json:"measured"`
	Best     *float64 `json:"best"` // of what was kept so far
	Outcome  string   `json:"outcome"`
}

// Knob is what changes of one knob alone did, against the incumbent of their time.
type Knob struct {
	Name   string  `json:"name"`
	Trials int     `json:"trials"`
	Lowest float64 `json:"lowest"`
	Most   float64 `json:"highest"`
	Kept   float64 `json:"kept"` // of all changes that were kept, one after the other
}

// Largest effect in either direction.
func (k Knob) Largest() float64 { return max(math.Abs(k.Lowest), math.Abs(k.Most)) }

// Trial is one change that was tried.
type Trial struct {
	Number  int       `json:"number"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // 0 while it runs
	Purpose string    `json:"purpose"` // empty: the search's
	By      string    `json:"author"`  // who made the change
	Changes []Turned  `json:"changes"`
	Outcome string    `json:"outcome"` // or the phase that it is in
	Failure string    `json:"failure"`
	Effect  *float64  `json:"effect"`
	Low     *float64  `json:"effect_low"` // of the interval that the judgement gave
	High    *float64  `json:"effect_high"`
	P       *float64  `json:"p"`
	Goodput *float64  `json:"goodput"`
	P99     *float64  `json:"p99_ms"`
	Reason  string    `json:"reason"`
	Author  string    `json:"disturbed_by"`

	Violation float64 `json:"violation_seconds"`
}

// Change is what somebody else did.
type Change struct {
	Record uint64    `json:"record"`
	Time   time.Time `json:"time"`
	Author string    `json:"author"`
	Knob   string    `json:"knob"`
	Old    string    `json:"old"`
	New    string    `json:"new"`
	Reason string    `json:"reason"`
}

// Order is what somebody told the tuner.
type Order struct {
	Record  uint64    `json:"record"`
	Time    time.Time `json:"time"`
	Author  string    `json:"author"`
	Command string    `json:"command"`
	Reason  string    `json:"reason"`
}

// New makes the report of a ledger's content.
func New(c ledger.Content) *Report {
	s := study.Fold(c.Records)
	r := &Report{
		Schema: Schema, Ledger: source(c), Finished: s.Finished, Counts: counts(c.Records, s), Turned: []Turned{},
		Convergence: convergence(s), Knobs: knobs(s), Trials: trials(s), Others: others(s), Orders: orders(c.Records),
	}
	if n := len(c.Records); n > 0 {
		r.From, r.To = c.Records[0].Time.UTC(), c.Records[n-1].Time.UTC()
	}
	if len(s.Baseline) > 0 {
		r.Before = side(s.Start, s.BaselineAt, s.Baseline)
	}
	if len(s.Best) > 0 {
		r.After = side(s.BestPoint, s.BestAt, s.Best)
	}
	if r.Before != nil && r.After != nil && s.Start.Key() != s.BestPoint.Key() {
		r.Goodput = change(values(s.Baseline, judge.Goodput), values(s.Best, judge.Goodput))
		r.P99 = change(values(s.Baseline, judge.P99), values(s.Best, judge.P99))
		r.Again = confirmed(s)
		r.Turned = turned(s)
	}
	r.Outcome = r.outcome(s)
	return r
}

func source(c ledger.Content) Source {
	out := Source{Records: len(c.Records), Head: c.Head, Builds: []string{}, Modes: []string{}}
	for _, r := range c.Records {
		if r.Kind != ledger.Session {
			continue
		}
		if !slices.Contains(out.Builds, r.Build) && r.Build != "" {
			out.Builds = append(out.Builds, r.Build)
		}
		if !slices.Contains(out.Modes, r.Mode) && r.Mode != "" {
			out.Modes = append(out.Modes, r.Mode)
		}
	}
	return out
}

func counts(records []ledger.Record, s *study.Study) Counts {
	c := Counts{Trials: len(s.Trials), Restarts: 0}
	for _, r := range records {
		switch {
		case r.Kind == ledger.Session:
			c.Sessions++
		case r.Kind == ledger.Outside:
			c.Others++
		}
		if r.Restart {
			c.Restarts++
		}
		c.Violation = rounded(c.Violation + r.Violation)
	}
	for _, t := range s.Trials {
		switch {
		case !t.Phase.Done():
			c.Running++
		case t.Outcome == ledger.OutcomeKept:
			c.Kept++
		case t.Outcome == ledger.OutcomeReverted:
			c.Reverted++
		case t.Outcome == ledger.OutcomeInconclusive:
			c.Inconclusive++
		case t.Outcome == ledger.OutcomeBetter:
			c.Better++
		case t.Outcome == ledger.OutcomeNotBetter:
			c.NotBetter++
		case t.Outcome == ledger.OutcomeWorse:
			c.Worse++
		default:
			c.Discarded++
		}
	}
	return c
}

func values(windows []judge.Window, of func(judge.Window) float64) []float64 {
	out := make([]float64, len(windows))
	for i, w := range windows {
		out[i] = of(w)
	}
	return out
}

func side(p space.Point, at time.Time, windows []judge.Window) *Side {
	ms := values(windows, judge.P99)
	for i := range ms {
		ms[i] *= 1000
	}
	return &Side{Point: p, At: at.UTC(), Goodput: median(values(windows, judge.Goodput)), P99: median(ms)}
}

// turned tells knobs by the texts that trials wrote, where there was one.
func turned(s *study.Study) []Turned {
	texts := map[string]string{}
	for _, c := range s.Changes {
		texts[fmt.Sprint(c.Knob, "=", c.Old)], texts[fmt.Sprint(c.Knob, "=", c.New)] = c.OldText, c.NewText
	}
	out := []Turned{}
	for _, name := range slices.Sorted(maps.Keys(s.BestPoint)) {
		old, new := s.Start[name], s.BestPoint[name]
		if old == new {
			continue
		}
		out = append(out, Turned{
			Knob: name, Old: cmp.Or(texts[fmt.Sprint(name, "=", old)], fmt.Sprint(old)), New: cmp.Or(texts[fmt.Sprint(name, "=", new)], fmt.Sprint(new)),
		})
	}
	return out
}

func convergence(s *study.Study) []Step {
	var best *float64
	if len(s.Baseline) > 0 {
		best = ptr(median(values(s.Baseline, judge.Goodput)).Value)
	}
	out := []Step{{Measured: best, Best: best, Outcome: "start"}}
	for _, t := range s.Counted() {
		step := Step{Trial: t.Number, Outcome: word(t)}
		if len(t.Windows) > 0 {
			step.Measured = ptr(median(values(t.Windows, judge.Goodput)).Value)
		}
		better := t.Outcome == ledger.OutcomeBetter && (best == nil || step.Measured != nil && *step.Measured > *best)
		if (t.Outcome == ledger.OutcomeKept || better) && t.Phase.Done() && step.Measured != nil {
			best = step.Measured
		}
		step.Best = best
		out = append(out, step)
	}
	return out
}

func word(t study.Trial) string {
	if !t.Phase.Done() {
		return string(t.Phase)
	}
	return string(t.Outcome)
}

func knobs(s *study.Study) []Knob {
	by := map[string]*Knob{}
	for _, t := range s.Counted() {
		if t.Verdict == nil || !t.Phase.Done() || len(t.Changes) != 1 {
			continue
		}
		k := by[t.Change.Knob]
		if k == nil {
			k = &Knob{Name: t.Change.Knob, Lowest: t.Verdict.Effect, Most: t.Verdict.Effect}
			by[k.Name] = k
		}
		k.Trials++
		k.Lowest, k.Most = min(k.Lowest, t.Verdict.Effect), max(k.Most, t.Verdict.Effect)
		if t.Stays() {
			k.Kept = (1+k.Kept)*(1+t.Verdict.Effect) - 1
		}
	}
	out := []Knob{}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		k := by[name]
		out = append(out, Knob{Name: name, Trials: k.Trials, Lowest: rounded(k.Lowest), Most: rounded(k.Most), Kept: rounded(k.Kept)})
	}
	slices.SortStableFunc(out, func(a, b Knob) int { return cmp.Compare(b.Largest(), a.Largest()) })
	return out
}

func trials(s *study.Study) []Trial {
	out := []Trial{}
	for _, t := range s.Trials {
		row := Trial{
			Number: t.Number, Started: t.Started.UTC(), Purpose: string(t.Purpose), By: t.By, Changes: []Turned{}, Outcome: word(t),
			Failure: t.Failure, Reason: t.Reason, Author: t.Author, Violation: rounded(t.Violation),
		}
		for _, c := range t.Changes {
			row.Changes = append(row.Changes, Turned{Knob: c.Knob, Old: c.OldText, New: c.NewText})
		}
		if t.Phase.Done() {
			row.Seconds = t.Ended.Sub(t.Started).Seconds()
		}
		if t.Verdict != nil {
			row.Effect, row.P = ptr(rounded(t.Verdict.Effect)), ptr(rounded(t.Verdict.P))
			if i := t.Verdict.Interval; i != nil && !math.IsInf(i.Low, 0) && !math.IsInf(i.High, 0) {
				row.Low, row.High = ptr(rounded(i.Low)), ptr(rounded(i.High))
			}
		}
		if len(t.Windows) > 0 {
			measured := side(nil, t.Ended, t.Windows)
			row.Goodput, row.P99 = &measured.Goodput.Value, &measured.P99.Value
		}
		out = append(out, row)
	}
	return out
}

func others(s *study.Study) []Change {
	out := []Change{}
	for _, c := range s.Changes {
		if c.Outcome == study.OutsideDone {
			out = append(out, Change{Record: c.ID, Time: c.Time.UTC(), Author: c.Author, Knob: c.Knob, Old: c.OldText, New: c.NewText, Reason: c.Reason})
		}
	}
	return out
}

func orders(records []ledger.Record) []Order {
	out := []Order{}
	for _, r := range records {
		if r.Kind == ledger.Control {
			out = append(out, Order{Record: r.Seq, Time: r.Time.UTC(), Author: r.Author, Command: r.Command, Reason: r.Reason})
		}
	}
	return out
}

// confirmed is the last comparison of the best with the start that was made for its own sake. In it the start was the candidate.
func confirmed(s *study.Study) *Estimate {
	for _, t := range slices.Backward(s.Counted()) {
		if t.Purpose != ledger.Confirm || t.Verdict == nil || !t.Phase.Done() || t.Before.Key() != s.BestPoint.Key() || t.Candidate.Key() != s.Start.Key() {
			continue
		}
		back := func(v float64) float64 { return 1/(1+v) - 1 }
		low, high := math.Inf(-1), math.Inf(1)
		if i := t.Verdict.Interval; i != nil && i.Low > -1 {
			low, high = back(i.High), back(i.Low)
		}
		e := estimate(back(t.Verdict.Effect), low, high, t.Verdict.Blocks)
		return &e
	}
	return nil
}

// outcome is the study in one sentence, or two.
func (r *Report) outcome(s *study.Study) string {
	text := ""
	switch {
	case r.Before == nil:
		return "Nothing has been measured yet."
	case r.After == nil:
		text = "The configuration is another one than the start and has not been measured yet"
	case r.Goodput == nil && s.Mode == observes:
		text = fmt.Sprintf("No change of others was better than the start with its %s records/s, of %s", whole(r.Before.Goodput.Value), plural(r.Counts.Trials, "change"))
	case r.Goodput == nil:
		text = fmt.Sprintf("The start was left as it was: of %s none was better than its %s records/s", plural(r.Counts.Trials, "trial"), whole(r.Before.Goodput.Value))
	default:
		text = fmt.Sprintf("Goodput went from %s to %s records/s (%s) and P99 from %s to %s ms by %s, in %s", whole(r.Before.Goodput.Value),
			whole(r.After.Goodput.Value), between(r.Goodput), tenth(r.Before.P99.Value), tenth(r.After.P99.Value), arrows(r.Turned), plural(r.Counts.Trials, "trial"))
	}
	switch {
	case s.Mode == observes:
		return text + ". The tuner searches nothing; it measures what others change."
	case s.Finished == "":
		return text + ". The search goes on."
	}
	return text + ". The search ended: " + s.Finished + "."
}

// Apart says how far the two sides are from each other in time; the intervals know nothing of what else became different meanwhile.
func (r *Report) Apart() string {
	if r.Goodput == nil {
		return ""
	}
	return fmt.Sprintf("The two sides were measured %s apart: what else became different in that time is not in the intervals.", r.After.At.Sub(r.Before.At).Round(time.Second))
}

func ptr[T any](v T) *T { return &v }
