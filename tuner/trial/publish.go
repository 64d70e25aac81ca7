package trial

import (
	"cmp"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// First is the snapshot that a board starts with.
func First(c Config) status.Snapshot {
	s := status.Snapshot{
		Build: c.Build, Mode: string(c.File.Mode), SLO: float64(c.File.Objective.SLO) / float64(time.Millisecond),
		Links:  status.Links{Prometheus: c.File.Links.Prometheus, Grafana: c.File.Links.Grafana},
		Trials: []status.Trial{}, Changes: []status.Change{},
	}
	s.Live.Window = c.File.Live.Window.Seconds()
	for _, k := range c.File.Space() {
		s.Knobs = append(s.Knobs, status.Knob{Name: k.Name, Env: k.Env, Unit: k.Unit, Scale: k.Scale})
	}
	return s
}

// SetEffective shows what was read back; nil means that it is not known.
func SetEffective(p space.Point) func(*status.Snapshot) {
	return func(s *status.Snapshot) {
		for i := range s.Knobs {
			s.Knobs[i].Effective = figure(p, s.Knobs[i].Name)
		}
	}
}

func figure(p space.Point, name string) *int64 {
	if v, known := p[name]; known {
		return &v
	}
	return nil
}

func (r *Runner) state(now status.State, reason string) {
	contested, reference := cmp.Or(r.contested, r.quarrelling()), r.reference()
	r.Board.Update(func(s *status.Snapshot) {
		s.State, s.Reason, s.Contested, s.Reference = now, reason, contested, reference
		if now != status.Recommending && now != status.Awaiting {
			s.Next = nil
		}
	})
}

// progress shows the windows of the running measurement.
func (r *Runner) progress(windows []judge.Window) {
	r.windows = len(windows)
	r.Board.Update(func(s *status.Snapshot) {
		if s.Trial == nil {
			return
		}
		t := *s.Trial
		t.WindowsSoFar = r.windows
		s.Trial = &t
		s.Goal.Candidate = median(windows, judge.Goodput, 1)
	})
}

// publish shows what the ledger says.
func (r *Runner) publish() {
	st := r.study
	trials := make([]status.Trial, len(st.Trials))
	for i, t := range st.Trials {
		trials[i] = show(t)
	}
	changes := make([]status.Change, len(st.Changes))
	for i, c := range st.Changes {
		changes[i] = status.Change{
			ID: c.ID, Time: c.Time, Trial: c.Trial, Author: c.Author, Outcome: c.Outcome, Knob: c.Knob, Old: c.OldText, New: c.NewText,
			Effect: c.Effect, Reason: c.Reason,
		}
	}
	r.publishOrders()
	desired, reference := st.Desired(), r.reference()
	r.Board.Update(func(s *status.Snapshot) {
		s.Trials, s.Changes = trials, changes
		s.Trial, s.Goal, s.Reference = nil, goal(st), reference
		if t := st.Running(); t != nil {
			running := show(*t)
			s.Trial = &running
		}
		s.Budget = status.Budget{
			Trials: r.File.Budgets.Trials, TrialsUsed: st.Made(), Restarts: r.File.Budgets.Restarts, RestartsUsed: st.Restarts,
			Violation: r.File.Budgets.Violation.Seconds(), ViolationUsed: st.Violation,
		}
		for i, k := range r.knobs {
			s.Knobs[i].Desired, s.Knobs[i].Best, s.Knobs[i].Text = figure(desired, k.Name), figure(st.BestPoint, k.Name), ""
			if v, known := desired[k.Name]; known {
				s.Knobs[i].Text = k.Render(v)
			}
		}
	})
}

// reference is what the next change would be compared with, or the running one is: nil before this process has seen that it still runs, and once it is to be measured
// again.
func (r *Runner) reference() *status.Reference {
	st := r.study
	if len(st.Windows) == 0 || r.seen.Generation == 0 || st.Running() == nil && r.stale() {
		return nil
	}
	return &status.Reference{Measured: st.MeasuredAt, Goodput: judge.Median(st.Windows, judge.Goodput), P99: judge.Median(st.Windows, judge.P99) * 1e3}
}

func show(t study.Trial) status.Trial {
	out := status.Trial{
		Number: t.Number, Phase: string(t.Phase), Since: t.Since, Started: t.Started, Knob: t.Change.Knob, Old: t.Change.Old, New: t.Change.New,
		Outcome: string(t.Outcome), Failure: t.Failure, Reason: t.Reason, DisturbedBy: t.Author,
		Goodput: median(t.Windows, judge.Goodput, 1), P99: median(t.Windows, judge.P99, 1e3),
		Author: t.By, Purpose: string(t.Purpose), Changes: steps(t.Changes), Violation: t.Violation,
	}
	if t.Phase.Done() {
		out.Ended = &t.Ended
	}
	if t.Verdict != nil {
		out.Effect, out.P = &t.Verdict.Effect, &t.Verdict.P
	}
	return out
}

func steps(changes []ledger.Change) []status.Step {
	out := make([]status.Step, len(changes))
	for i, c := range changes {
		out[i] = status.Step{Knob: c.Knob, Old: c.Old, New: c.New}
	}
	return out
}

func goal(st *study.Study) status.Goal {
	g := status.Goal{
		Baseline: median(st.Baseline, judge.Goodput, 1), BaselineP99: median(st.Baseline, judge.P99, 1e3),
		Incumbent: median(st.Windows, judge.Goodput, 1), IncumbentP99: median(st.Windows, judge.P99, 1e3),
		Best: median(st.Best, judge.Goodput, 1), BestP99: median(st.Best, judge.P99, 1e3),
	}
	if t := st.Running(); t != nil && t.Phase == ledger.Judged {
		g.Candidate = median(t.Windows, judge.Goodput, 1)
	}
	if g.Baseline != nil && g.Best != nil && *g.Baseline > 0 {
		g.Ratio = status.Ptr(*g.Best / *g.Baseline)
	}
	return g
}

func median(windows []judge.Window, of func(judge.Window) float64, factor float64) *float64 {
	if len(windows) == 0 {
		return nil
	}
	return status.Ptr(judge.Median(windows, of) * factor)
}
