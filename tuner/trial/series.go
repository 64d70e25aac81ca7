package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// Two configurations are compared best in blocks: each is one deployment of one side, in an order drawn at random, until the judge has decided. What can
// be changed without a restart is always compared so, if there is time. A restart for each block is dear: there a trial is measured once, against what
// is known of the incumbent, and only the winner is measured against the start in blocks, since it is the best of many measurements, and so partly luck.
// Unless it is better at the level of the file, also now, the start is what stays: of many studies in which nothing helps no more than that part ends
// anywhere else.

const (
	mostRounds = 4    // ten blocks of each side
	blockNoise = 0.05 // what is expected of one block; it only steers when to give up
)

// interleaved is how the trial is to be measured in blocks, or nil: it is measured once.
func (r *Runner) interleaved(p proposal) *judge.Config {
	budget, rolls := r.File.Budgets.Recheck, r.restarts(r.changes(p))
	if budget == 0 || p.purpose == ledger.Rollback || p.purpose == ledger.Scored || rolls && p.purpose != ledger.Confirm {
		return nil
	}
	c := judge.Config{Rules: r.rules, Rounds: mostRounds, Budget: budget, Noise: blockNoise, Seed: r.File.Search.Seed + uint64(r.nextTrial())<<32}
	c.Alpha = min(c.Alpha, 0.25) // no judge of blocks takes more
	least := judge.MinRounds(c.Alpha)
	c.Rounds = max(c.Rounds, least)
	if rolls {
		left := r.File.Budgets.Restarts - r.study.Restarts - 1 // the last one brings back what stays
		for c.Rounds > least && judge.Blocks(c.Rounds) > left {
			c.Rounds--
		}
		if judge.Blocks(c.Rounds) > left {
			return nil
		}
	}
	if time.Duration(judge.Blocks(least))*r.shortest() > budget {
		return nil
	}
	if _, err := judge.New(c); err != nil { // a level that no number of orders reaches
		return nil
	}
	return &c
}

// blockWindows are fewer than those of a trial that is measured once: it is deployments that are counted.
func (r *Runner) blockWindows() int { return max(2, r.File.Windows.Count/2) }

// shortest is the least time of a block.
func (r *Runner) shortest() time.Duration {
	w := r.File.Windows
	return w.Settle + w.Warmup + time.Duration(r.blockWindows())*w.Window
}

// series measures block after block until the judge has decided. What an earlier process has measured counts; the block in which it ended goes on
// from its deployment, and is measured anew.
func (r *Runner) series(ctx context.Context, t *study.Trial) (*end, error) {
	if !t.Applied {
		if err := r.edge(t, ledger.Preflight); err != nil {
			return nil, err
		}
		if e, err := r.preflight(ctx, t); e != nil || err != nil {
			return e, err
		}
	}
	j, err := t.Judge()
	if err != nil {
		return inconclusive("series", "%v", err), nil
	}
	for step, more := j.Next(); more; step, more = j.Next() {
		if e, err := r.block(ctx, t, step); e != nil || err != nil {
			return e, err
		}
		if err := j.Add(t.Blocks[len(t.Blocks)-1]); err != nil {
			return inconclusive("series", "%v", err), nil
		}
	}
	tried, _ := t.Sides()
	v := j.Verdict()
	e := &end{windows: t.Measured(tried), outcome: r.settles(t.Purpose, v), reason: "measured in turns: " + v.Reason}
	if t.Purpose == ledger.Confirm {
		e.outcome, e.reason = ledger.OutcomeKept, "from the start to the winner, "+e.reason
		if v = v.Swapped(); v.Decision == judge.Worse {
			e.outcome = ledger.OutcomeReverted
		}
	}
	e.verdict = &v
	return e, nil
}

// block deploys a side and measures it.
func (r *Runner) block(ctx context.Context, t *study.Trial, step judge.Step) (*end, error) {
	began := time.Now()
	number := step.Block + 1
	r.state(status.Trialing, fmt.Sprintf("block %d of at most %d: %s", number, judge.Blocks(t.Series.Rounds), t.Of(step.Side).Key()))
	if r.seen.Generation == 0 && t.Block == number { // an earlier process deployed it
		r.seen.Generation = t.Generation
	}
	if t.Block != number || t.Phase == ledger.Applying {
		if e, err := r.deploy(ctx, t, step); e != nil || err != nil {
			return e, err
		}
	}
	effective, e, err := r.verify(ctx, t)
	if e != nil || err != nil {
		return e, err
	}
	if err := r.settling(t, effective); err != nil {
		return nil, err
	}
	windows, e, err := r.steady(ctx, t.InForce(), all(r.blockWindows()), func(p ledger.Phase) error { return r.edge(t, p) })
	if e != nil || err != nil {
		return e, err
	}
	return nil, r.record(ledger.Record{
		Kind: ledger.Block, Trial: t.Number, Block: number, Side: step.Side, Point: t.InForce(), Windows: windows, Took: time.Since(began).Round(time.Millisecond),
	})
}

// deploy brings the side into force, anew if it is in force already. After a crash the same calls find that done.
func (r *Runner) deploy(ctx context.Context, t *study.Trial, step judge.Step) (*end, error) {
	number, want := step.Block+1, t.Of(step.Side)
	_, old := t.Sides()
	first, begun := !t.Applied, t.Block == number
	before := r.Sentry.Read(ctx, time.Time{})
	again, changes := step.Again || step.Block == 0 && step.Side == old, t.Changes // what runs may be the deployment for which it was chosen
	if first {
		if e := r.handOver(ctx, t, before); e != nil {
			return e, nil
		}
	}
	if step.Side == old {
		changes = reversed(changes)
	}
	rolls := r.restarts(changes)
	err := r.record(ledger.Record{
		Kind: ledger.Edge, Phase: ledger.Applying, Trial: t.Number, Point: want, Revision: r.study.Rest, Block: number, Side: step.Side,
		Restart: !begun && rolls,
	})
	if err != nil {
		return nil, err
	}
	r.vigil.begin(t.AppliedAt, before)
	if rolls {
		r.vigil.switches()
	}
	if first {
		r.announce(ctx, eventAttempted(t))
	}
	var changed *end
	err = r.insist(ctx, fmt.Sprintf("deploy block %d", number), func() error {
		for _, c := range changes {
			if changed, err = r.set(ctx, r.Cluster.Set, want, c); changed != nil || err != nil {
				return err
			}
		}
		if !again || !rolls {
			return nil
		}
		view, err := r.Cluster.Redeploy(r.life, fmt.Sprintf("trial %d of %s, block %d", t.Number, t.Started.UTC().Format(time.RFC3339), number))
		if err == nil {
			r.seen = view
		}
		return err
	})
	return changed, err
}
