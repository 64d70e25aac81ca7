package study

import (
	"fmt"

	"github.com/kafkalab/kafkalab/tuner/ledger"
)

// Verify reports what no tuner can have written: an edge without its trial, a phase out of order, a trial begun before the last one ended.
func Verify(records []ledger.Record) []error {
	var errs []error
	order := map[ledger.Phase]int{}
	for i, p := range ledger.Phases() {
		order[p] = i
	}
	s := &Study{}
	for _, r := range records {
		if r.Kind == ledger.Edge {
			t := s.Running()
			_, known := order[r.Phase]
			switch {
			case !known:
				errs = append(errs, fmt.Errorf("record %d: unknown phase %q", r.Seq, r.Phase))
			case r.Phase == ledger.Proposed && (t != nil || r.Change == nil || r.Trial != len(s.Trials)+1):
				errs = append(errs, fmt.Errorf("record %d: trial %d is proposed out of turn", r.Seq, r.Trial))
			case r.Phase != ledger.Proposed && (t == nil || t.Number != r.Trial):
				errs = append(errs, fmt.Errorf("record %d: phase %s of trial %d, which is not running", r.Seq, r.Phase, r.Trial))
			case r.Phase == ledger.Applying && t.Series != nil && r.Block == len(t.Blocks)+1 && r.Block == t.Block+1: // the next block
			case r.Phase == ledger.Judged && t.Series != nil && r.Verdict != nil && undecided(t):
				errs = append(errs, fmt.Errorf("record %d: trial %d is judged by %d blocks, which decide nothing", r.Seq, r.Trial, len(t.Blocks)))
			case r.Phase != ledger.Proposed && !r.Resumed && order[r.Phase] <= order[t.Phase]:
				errs = append(errs, fmt.Errorf("record %d: phase %s follows %s", r.Seq, r.Phase, t.Phase))
			case r.Phase.Done() && t.Phase != ledger.Judged:
				errs = append(errs, fmt.Errorf("record %d: trial %d is %s without a judgement", r.Seq, r.Trial, r.Phase))
			}
		}
		if r.Kind == ledger.Block {
			if err := block(s.Running(), r); err != nil {
				errs = append(errs, fmt.Errorf("record %d: %w", r.Seq, err))
			}
		}
		s.Add(r)
	}
	return errs
}

// block says why a block cannot have been measured: the side to be measured next follows from the trial's first record and the blocks before.
func block(t *Trial, r ledger.Record) error {
	if t == nil || t.Number != r.Trial || t.Series == nil {
		return fmt.Errorf("a block of trial %d, which is not measured in blocks now", r.Trial)
	}
	j, err := t.Judge()
	if err != nil {
		return fmt.Errorf("trial %d: %w", r.Trial, err)
	}
	if next, more := j.Next(); !more || r.Block != next.Block+1 || r.Side != next.Side || r.Block != t.Block || t.Phase != ledger.Measuring {
		return fmt.Errorf("block %d of trial %d, of the %s, out of turn", r.Block, r.Trial, r.Side)
	}
	return nil
}

func undecided(t *Trial) bool {
	j, err := t.Judge()
	if err != nil {
		return true
	}
	_, more := j.Next()
	return more
}
