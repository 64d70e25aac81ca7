package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// mayPropose says why a proposal would not be tried as things are: no budget is left for it, it goes too far for one trial, or it would be nothing new.
// Whether the mode and the ranges allow it is the loop's to say.
func (a *API) mayPropose(s status.Snapshot, p space.Point) error {
	conflict := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", trial.ErrConflict, fmt.Sprintf(format, args...))
	}
	if !a.c.File.Mode.Acts() || s.Budget.Trials == 0 { // or the loop has not begun
		return nil
	}
	now := space.Point(s.Incumbent())
	whole := now.Clone() // as the loop completes it
	maps.Copy(whole, p)
	if why := a.spent(s, now, whole); why != "" {
		return conflict("%s", why)
	}
	if s.Trial == nil && whole.Key() == now.Key() {
		return conflict("knobs: want another configuration than the one in force (got %s)", p.Key())
	}
	for _, o := range s.Queue {
		if space.Point(o.Knobs).Key() == whole.Key() {
			return conflict("knobs: this configuration waits in the queue already, proposed by %s (got %s)", o.By, p.Key())
		}
	}
	most := a.c.File.Budgets.Steps
	for _, k := range a.c.File.Space() {
		if n := crossed(k, now[k.Name], whole[k.Name]); most > 0 && n > most {
			return conflict("knobs.%s: want it moved by at most %d steps a trial from %s %s (got %s, which is %d)",
				k.Name, most, k.Text(now[k.Name]), k.Unit, k.Text(whole[k.Name]), n)
		}
	}
	return nil
}

// crossed is how many steps there are between two values.
func crossed(k space.Knob, a, b int64) (n int) {
	for _, step := range k.Steps {
		if step > min(a, b) && step <= max(a, b) {
			n++
		}
	}
	return n
}

// restarts that a trial may need: there and back.
const restarts = 2

// spent says which budget is used up, with what waits in the queue already.
func (a *API) spent(s status.Snapshot, now, whole space.Point) string {
	b := s.Budget
	made, queued, waiting := 0, 0, 0                                  // waiting: of the queue, those that may restart
	for _, t := range s.Trials[max(0, len(s.Trials)-b.TrialsUsed):] { // those of this search
		if t.Purpose == "" || t.Purpose == string(ledger.Asked) {
			made++
		}
	}
	for _, o := range s.Queue {
		if o.Held != "" { // it takes nothing as things are
			continue
		}
		queued++
		if a.rolls(now, o.Knobs) {
			waiting++
		}
	}
	switch {
	case made+queued >= b.Trials:
		return fmt.Sprintf("budgets.trials: want fewer than %d made and proposed (got %d and %d)", b.Trials, made, queued)
	case a.rolls(now, whole) && b.RestartsUsed+restarts*(waiting+1) > b.Restarts:
		return fmt.Sprintf("budgets.restarts: want %d left of %d for each trial that is proposed (got %d used and %d waiting)", restarts, b.Restarts, b.RestartsUsed, waiting)
	case b.ViolationUsed >= b.Violation:
		return fmt.Sprintf("budgets.violation: want less than %.0f s in which a guard was breached (got %.0f)", b.Violation, b.ViolationUsed)
	}
	return ""
}

// rolls says whether the way from one configuration to another needs restarts.
func (a *API) rolls(from, to space.Point) bool {
	return slices.ContainsFunc(a.c.File.Space(), func(k space.Knob) bool { return from[k.Name] != to[k.Name] && !k.IsDynamic() })
}
