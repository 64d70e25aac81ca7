package study_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// records numbers and stamps what a tuner would write.
func records(rs ...ledger.Record) []ledger.Record {
	for i := range rs {
		rs[i].Seq, rs[i].Time = uint64(i+1), time.Unix(int64(i), 0)
	}
	return rs
}

func edge(trial int, phase ledger.Phase, change ...func(*ledger.Record)) ledger.Record {
	r := ledger.Record{Kind: ledger.Edge, Trial: trial, Phase: phase}
	for _, c := range change {
		c(&r)
	}
	return r
}

func proposal(r *ledger.Record) {
	r.Change, r.Point = &ledger.Change{Knob: "io", Old: 2, New: 4, OldText: "2", NewText: "4"}, space.Point{"io": 4}
}

func judged(o ledger.Outcome, d judge.Decision) func(*ledger.Record) {
	return func(r *ledger.Record) {
		r.Outcome, r.Windows = o, []judge.Window{{Goodput: 150, P99: 0.1}}
		if d != "" {
			r.Verdict = &judge.Verdict{Decision: d, Effect: 0.5}
		}
	}
}

func begin() []ledger.Record {
	return []ledger.Record{
		{Kind: ledger.Session, Point: space.Point{"io": 2}, Revision: "r"},
		{Kind: ledger.Measured, Point: space.Point{"io": 2}, Windows: []judge.Window{{Goodput: 100, P99: 0.1}}},
		edge(1, ledger.Proposed, proposal), edge(1, ledger.Preflight),
		edge(1, ledger.Applying, func(r *ledger.Record) { r.Restart = true }), edge(1, ledger.Verifying),
	}
}

func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		outcome  ledger.Outcome
		decision judge.Decision
		end      ledger.Phase
		io       int64
		tried    search.Outcome
		change   string
		best     float64
	}{
		"kept":         {ledger.OutcomeKept, judge.Better, ledger.Kept, 4, search.Better, "kept", 150},
		"not better":   {ledger.OutcomeReverted, judge.NotBetter, ledger.Reverted, 2, search.NotBetter, "reverted", 100},
		"worse":        {ledger.OutcomeReverted, judge.Worse, ledger.Reverted, 2, search.Worse, "reverted", 100},
		"did not come": {ledger.OutcomeReverted, "", ledger.Reverted, 2, search.Worse, "reverted", 100},
		"inconclusive": {ledger.OutcomeInconclusive, "", ledger.Reverted, 2, search.Inconclusive, "inconclusive", 100},
		"discarded":    {ledger.OutcomeDiscarded, "", ledger.Reverted, 2, search.Inconclusive, "inconclusive", 100},
	} {
		t.Run(name, func(t *testing.T) {
			all := records(append(begin(), edge(1, ledger.Judged, judged(c.outcome, c.decision)), edge(1, c.end))...)
			s := study.Fold(all)
			last := s.Changes[len(s.Changes)-1]
			if s.Running() != nil || s.Incumbent["io"] != c.io || s.Tried()[0].Outcome != c.tried || last.Outcome != c.change || s.Best[0].Goodput != c.best || s.Restarts != 1 {
				t.Errorf("want io %d, %v, %q, best %g (got %+v)", c.io, c.tried, c.change, c.best, s)
			}
			if errs := study.Verify(all); len(errs) > 0 {
				t.Errorf("want it in order (got %v)", errors.Join(errs...))
			}
		})
	}
}

// TestScored: what others change is theirs, stays unless it is taken back, and costs the tuner's budgets nothing.
func TestScored(t *testing.T) {
	theirs := func(r *ledger.Record) {
		proposal(r)
		r.Purpose, r.Author, r.Restart, r.Made = ledger.Scored, "vibectl", true, time.Unix(1, 0)
	}
	for name, c := range map[string]struct {
		outcome  ledger.Outcome
		decision judge.Decision
		end      ledger.Phase
		io       int64
		tried    search.Outcome
		change   string
		best     float64 // goodput
		measured bool    // what is in force
	}{
		"better":              {ledger.OutcomeBetter, judge.Better, ledger.Kept, 4, search.Better, "better", 150, true},
		"not better":          {ledger.OutcomeNotBetter, judge.NotBetter, ledger.Kept, 4, search.NotBetter, "not-better", 100, true},
		"worse":               {ledger.OutcomeWorse, judge.Worse, ledger.Kept, 4, search.Worse, "worse", 100, true},
		"could not run":       {ledger.OutcomeWorse, "", ledger.Kept, 4, search.Worse, "worse", 100, false},
		"taken back":          {ledger.OutcomeReverted, "", ledger.Reverted, 2, search.Worse, "reverted", 100, true},
		"not measured":        {ledger.OutcomeInconclusive, "", ledger.Kept, 4, search.Inconclusive, "inconclusive", 100, false},
		"changed once more":   {ledger.OutcomeDiscarded, "", ledger.Reverted, 2, search.Inconclusive, "inconclusive", 100, true},
		"better than nothing": {ledger.OutcomeBetter, judge.Better, ledger.Kept, 4, search.Better, "better", 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			all := begin()[:2]
			if c.best == 200 { // what was there before was better still, and somebody has left it
				all = append(all, ledger.Record{Kind: ledger.Measured, Point: space.Point{"io": 2}, Windows: []judge.Window{{Goodput: 200}}},
					ledger.Record{Kind: ledger.Outside, Author: "kubectl", Point: space.Point{"io": 3}},
					ledger.Record{Kind: ledger.Measured, Point: space.Point{"io": 3}, Windows: []judge.Window{{Goodput: 100}}})
			}
			end := judged(c.outcome, c.decision)
			all = append(all, edge(1, ledger.Proposed, theirs), edge(1, ledger.Verifying), edge(1, ledger.Judged, end, func(r *ledger.Record) {
				r.Violation = 5
				if r.Verdict == nil {
					r.Windows = nil
				}
			}), edge(1, c.end))
			all = records(all...)
			if running := study.Fold(all[:len(all)-1]); running.Desired()["io"] != 4 || !running.Running().AppliedAt.Equal(time.Unix(1, 0)) {
				t.Errorf("want it in force since it was made (got %+v)", running.Running())
			}
			s := study.Fold(all)
			last := s.Changes[len(s.Changes)-1]
			if s.Incumbent["io"] != c.io || s.Tried()[0].Outcome != c.tried || last.Outcome != c.change || last.Author != "vibectl" || s.Best[0].Goodput != c.best || (len(s.Windows) > 0) != c.measured {
				t.Errorf("want io %d, %v, %q by vibectl, best %g, measured %t (got %+v)", c.io, c.tried, c.change, c.best, c.measured, s)
			}
			if s.Restarts != 0 || s.Violation != 0 || s.Made() != 0 || s.Trials[0].Violation != 5 {
				t.Errorf("want nothing of it in the budgets (got %d restarts, %g s, %d trials)", s.Restarts, s.Violation, s.Made())
			}
			if errs := study.Verify(all); len(errs) > 0 {
				t.Errorf("want it in order (got %v)", errors.Join(errs...))
			}
		})
	}
}

func TestDesired(t *testing.T) {
	all := records(begin()...)
	for n, want := range map[int]int64{1: 2, 4: 2, 5: 4, 6: 4} {
		if got := study.Fold(all[:n]).Desired()["io"]; got != want {
			t.Errorf("after %d records: want io %d (got %d)", n, want, got)
		}
	}
}

func TestOutside(t *testing.T) {
	out := ledger.Record{Kind: ledger.Outside, Author: "kubectl", Point: space.Point{"io": 8}, Revision: "s", Changes: []ledger.Change{{Knob: "io", OldText: "2", NewText: "8"}}}
	s := study.Fold(records(append(begin()[:2], out)...))
	if s.Incumbent["io"] != 8 || s.Rest != "s" || len(s.Windows) != 0 || s.Changes[0].Author != "kubectl" || len(s.Baseline) != 1 {
		t.Errorf("want it the new incumbent, to be measured (got %+v)", s)
	}
	if want := time.Unix(1, 0); !s.BaselineAt.Equal(want) || !s.BestAt.Equal(want) {
		t.Errorf("want to know when it was measured (got %s and %s)", s.BaselineAt, s.BestAt)
	}
}

// inBlock marks a record of a trial that is measured in blocks.
func inBlock(n int, side judge.Side) func(*ledger.Record) {
	return func(r *ledger.Record) { r.Block, r.Side = n, side }
}

func other(s judge.Side) judge.Side {
	if s == judge.Candidate {
		return judge.Incumbent
	}
	return judge.Candidate
}

// turns is a trial that is measured in blocks up to its judgement; without whole its first block is not recorded. Something may be changed about one block.
func turns(purpose ledger.Purpose, whole bool, at int, change ...func(*ledger.Record)) []ledger.Record {
	c := judge.Config{Rules: judge.Rules{Margin: 0.03, Alpha: 0.05, SLO: 0.2, Tolerance: 0.2}, Rounds: 4, Noise: 0.05, Seed: 1}
	j, err := judge.New(c)
	if err != nil {
		panic(err)
	}
	out := []ledger.Record{
		{Kind: ledger.Session, Point: space.Point{"io": 2}},
		edge(1, ledger.Proposed, proposal, func(r *ledger.Record) { r.Series, r.Purpose = &c, purpose }),
	}
	for step, more := j.Next(); more; step, more = j.Next() {
		in := inBlock(step.Block+1, step.Side)
		goodput := 100.
		if step.Side == judge.Candidate {
			goodput = 150
		}
		b := ledger.Record{Kind: ledger.Block, Trial: 1, Windows: []judge.Window{{Goodput: goodput + float64(step.Block%3), P99: 0.1}}}
		in(&b)
		out = append(out, edge(1, ledger.Applying, in), edge(1, ledger.Verifying, in), edge(1, ledger.Warming, in), edge(1, ledger.Measuring, in))
		for _, c := range change {
			if step.Block == at {
				c(&b)
			}
		}
		if whole || step.Block > 0 {
			out = append(out, b)
		}
		if err := j.Add(judge.Block{Side: step.Side, Windows: b.Windows}); err != nil {
			panic(err)
		}
	}
	v := j.Verdict()
	if purpose != ledger.Confirm {
		return append(out, edge(1, ledger.Judged, judged(ledger.OutcomeKept, judge.Better), func(r *ledger.Record) { r.Verdict = &v }), edge(1, ledger.Kept))
	}
	v = v.Swapped()
	return append(out, edge(1, ledger.Judged, judged(ledger.OutcomeReverted, judge.Worse), func(r *ledger.Record) { r.Verdict = &v }), edge(1, ledger.Reverted))
}

// TestTurns: what is in force follows the blocks, and in the end what stays is known by its blocks.
func TestTurns(t *testing.T) {
	for name, c := range map[string]struct {
		purpose    ledger.Purpose
		candidates int64 // the threads of the judge's candidate, which is the better one
		incumbents int64
	}{
		"the winner against the start":   {ledger.Confirm, 2, 4},
		"what needs no restart is tried": {"", 4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			all := records(turns(c.purpose, true, 0)...)
			sides := map[judge.Side]int{}
			for n := range all {
				s := study.Fold(all[:n+1])
				if r := all[n]; r.Kind == ledger.Edge && r.Block > 0 && s.Desired()["io"] != map[judge.Side]int64{judge.Candidate: c.candidates, judge.Incumbent: c.incumbents}[r.Side] {
					t.Errorf("record %d, block %d of the %s: want it in force (got %s)", r.Seq, r.Block, r.Side, s.Desired().Key())
				}
				if all[n].Kind == ledger.Block {
					sides[all[n].Side]++
				}
			}
			s := study.Fold(all)
			known := len(s.Trials[0].Measured(judge.Candidate))
			if c.purpose == ledger.Confirm {
				known = len(s.Windows)
			}
			if s.Incumbent["io"] != c.candidates || known != sides[judge.Candidate] || s.BestPoint["io"] != c.candidates || len(s.Trials[0].Measured(judge.Incumbent)) != sides[judge.Incumbent] {
				t.Errorf("want %d threads, known by %v (got %s by %d windows)", c.candidates, sides, s.Incumbent.Key(), known)
			}
		})
	}
}

// TestVerify: orders that no tuner writes.
func TestVerify(t *testing.T) {
	for name, c := range map[string]struct {
		rs   []ledger.Record
		want string
	}{
		"an edge without a trial":    {[]ledger.Record{edge(1, ledger.Applying)}, "which is not running"},
		"a phase backwards":          {append(begin(), edge(1, ledger.Preflight)), "phase preflight follows verifying"},
		"backwards after a restart":  {append(begin(), edge(1, ledger.Preflight, func(r *ledger.Record) { r.Resumed = true })), ""},
		"an end without a judgement": {append(begin(), edge(1, ledger.Kept)), "without a judgement"},
		"two trials at once":         {append(begin(), edge(2, ledger.Proposed, proposal)), "out of turn"},
		"a number left out":          {[]ledger.Record{edge(2, ledger.Proposed, proposal)}, "out of turn"},
		"a proposal of nothing":      {[]ledger.Record{edge(1, ledger.Proposed)}, "out of turn"},
		"an unknown phase":           {append(begin(), edge(1, "dancing")), "unknown phase"},
		"blocks in turn":             {turns(ledger.Confirm, true, 0), ""},
		"a block of the other side":  {turns(ledger.Confirm, true, 1, func(r *ledger.Record) { r.Side = other(r.Side) }), "block 2 of trial 1, of the"},
		"a block left out":           {turns(ledger.Confirm, true, 1, func(r *ledger.Record) { r.Block++ }), "out of turn"},
		"a block of no series":       {append(begin(), ledger.Record{Kind: ledger.Block, Trial: 1, Block: 1}), "a block of trial 1, which is not measured in blocks now"},
		"judged by too few blocks":   {append(turns(ledger.Confirm, true, 0)[:14], edge(1, ledger.Judged, judged(ledger.OutcomeKept, judge.Better))), "which decide nothing"},
		"backwards without a block":  {append(turns(ledger.Confirm, false, 0)[:6], edge(1, ledger.Applying, inBlock(1, judge.Incumbent))), "phase applying follows measuring"},
	} {
		t.Run(name, func(t *testing.T) {
			err := errors.Join(study.Verify(records(c.rs...))...)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("want %q (got %v)", c.want, err)
			}
		})
	}
}

func TestAnotherFileTakesTheSearchUpAgain(t *testing.T) {
	knobs := []space.Knob{{Name: "io", Scale: 1, Min: 1, Max: 4, Steps: []int64{2, 4}}}
	session := func(config, question string) ledger.Record {
		return ledger.Record{Kind: ledger.Session, Config: config, Question: question, Point: space.Point{"io": 2}}
	}
	searched := append([]ledger.Record{session("a", "goodput")}, begin()[1:]...)
	searched = append(searched, edge(1, ledger.Judged, judged(ledger.OutcomeReverted, judge.NotBetter)), edge(1, ledger.Reverted),
		ledger.Record{Kind: ledger.Finished, Reason: "nothing is better"})
	for name, c := range map[string]struct {
		then     ledger.Record
		finished bool // the search stays at its end
		counted  int  // what was tried, measured and spent still counts
	}{
		"the same file":                   {session("a", "goodput"), true, 1},
		"another file, the same question": {session("b", "goodput"), false, 1},
		"another file, another question":  {session("b", "latency"), false, 0},
		"the same file, other defaults":   {session("a", "goodput, by another tuner"), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := study.Fold(records(append(slices.Clone(searched), c.then)...))
			if (s.Finished != "") != c.finished || (s.Windows != nil) != c.finished {
				t.Errorf("want finished and measured %v (got %q, %v)", c.finished, s.Finished, s.Windows)
			}
			if known := s.Baseline != nil || s.Best != nil; len(s.Counted()) != c.counted || s.Restarts != c.counted || known != (c.counted > 0) {
				t.Errorf("want %d trials and restarts counted (got %d, %d; baseline %v, best %v)", c.counted, len(s.Counted()), s.Restarts, s.Baseline, s.Best)
			}
			next, _, more := search.Next(search.Problem{Knobs: knobs, Incumbent: s.Incumbent, Tried: s.Tried()})
			if more != (c.counted == 0) || more && next.To != 4 {
				t.Errorf("want something tried: %v (got %+v)", c.counted == 0, next)
			}
			if errs := study.Verify(append(records(append(slices.Clone(searched), c.then)...), edge(2, ledger.Proposed, proposal))); len(errs) > 0 {
				t.Errorf("want the next trial in turn (got %v)", errs)
			}
		})
	}
}

// TestKeptForAnotherQuestion: a value that was judged before the question changed stays, and is measured anew.
func TestKeptForAnotherQuestion(t *testing.T) {
	all := append(begin(), edge(1, ledger.Judged, judged(ledger.OutcomeKept, judge.Better)),
		ledger.Record{Kind: ledger.Session, Config: "b", Question: "latency"}, edge(1, ledger.Kept))
	all[0].Config = "a"
	if s := study.Fold(records(all...)); s.Incumbent["io"] != 4 || s.Windows != nil || s.Best != nil {
		t.Errorf("want io 4, to be measured (got %+v)", s)
	}
}

// TestPutBack: what counts is that it was the same configuration, and not long ago.
func TestPutBack(t *testing.T) {
	began := time.Unix(0, 0)
	all := []ledger.Record{{Kind: ledger.Session, Point: space.Point{"io": 2}, Revision: "r"}}
	for i, c := range []struct {
		after time.Duration
		io    int64
		by    string
	}{{0, 4, "ann"}, {50 * time.Minute, 4, "ann"}, {51 * time.Minute, 8, "bob"}, {70 * time.Minute, 4, "vibectl"}} {
		scored := func(r *ledger.Record) {
			r.Change, r.Point, r.Purpose, r.Author = &ledger.Change{Knob: "io", Old: 2, New: c.io}, space.Point{"io": c.io}, ledger.Scored, c.by
		}
		for _, r := range []ledger.Record{edge(i+1, ledger.Proposed, scored), edge(i+1, ledger.Judged, judged(ledger.OutcomeReverted, "")), edge(i+1, ledger.Reverted)} {
			r.Time = began.Add(c.after)
			all = append(all, r)
		}
	}
	s := study.Fold(all)
	if n, last, by := s.PutBack(&s.Trials[3], time.Hour); n != 1 || !last.Equal(began.Add(50*time.Minute)) || by != "vibectl" {
		t.Errorf("want it once, fifty minutes after the beginning, by vibectl (got %d, %s, %s)", n, last, by)
	}
	if n, _, _ := s.PutBack(&s.Trials[2], time.Hour); n != 0 {
		t.Errorf("want another configuration not counted (got %d)", n)
	}
}
