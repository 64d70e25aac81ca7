package trial

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// In mode observe with revert what does harm is taken back however often somebody puts it back. So that two programs do not restart the brokers for ever, one
// that comes too often has to wait, longer each time, and people are told. In the other modes what somebody puts back once it was taken back is theirs and stays.

const (
	quarrel = time.Hour // how long it is remembered
	atOnce  = 10        // times in it that the same configuration is taken back without a wait
)

// quarrels says how the trial is one of too many that take the same configuration back, and when it may; otherwise it says nothing.
func (r *Runner) quarrels(t *study.Trial) (why string, due time.Time) {
	n, last, by := r.study.PutBack(t, quarrel)
	if n < atOnce {
		return "", time.Time{}
	}
	why = fmt.Sprintf("%s was taken back %d times within an hour, and %s puts it back each time", t.TakesBack().Key(), n, cmp.Or(by, "somebody"))
	return why, last.Add(time.Minute << min(n-atOnce, 3))
}

// quarrelling says how the newest of the trials that take something back is one of too many, until that is long ago.
func (r *Runner) quarrelling() string {
	for i := len(r.study.Trials) - 1; i >= 0; i-- {
		t := &r.study.Trials[i]
		if t.TakesBack() == nil {
			continue
		}
		if t.Phase.Done() && time.Since(t.Ended) > quarrel {
			return ""
		}
		why, _ := r.quarrels(t)
		return why
	}
	return ""
}

// turn waits until the trial may take back what it does. All that decides is in the ledger, so a tuner that was killed meanwhile waits no longer. Somebody who
// changes the knobs again ends the wait, unless the switch keeps the tuner from acting: then there is something else to be seen to.
func (r *Runner) turn(ctx context.Context, t *study.Trial) error {
	why, due := r.quarrels(t)
	if why == "" {
		return nil
	}
	r.Logger.Warn("quarrel", "trial", t.Number, "reason", why)
	r.announce(ctx, eventContested(t, why))
	for {
		switch off := r.Stop(); {
		case off != "":
			r.state(status.Paused, off)
		case time.Now().Before(due):
			r.state(status.Holding, fmt.Sprintf("%s; trial %d takes it back at %s", why, t.Number, due.UTC().Format(time.TimeOnly)))
		default:
			r.state(status.Trialing, "")
			return nil
		}
		if err := wait(ctx, idle); err != nil {
			return err
		}
		if r.Stop() == "" && !r.holds(ctx, t.TakesBack()) {
			r.state(status.Trialing, "")
			return nil
		}
	}
}

// holds says whether the knobs are still so. An API server that does not answer says nothing else.
func (r *Runner) holds(ctx context.Context, want space.Point) bool {
	view, err := r.Cluster.Look(ctx)
	if err != nil {
		return true
	}
	got, err := space.Parse(r.knobs, view.Env)
	return err == nil && got.Key() == want.Key()
}

func eventContested(t *study.Trial, why string) apply.Event {
	return apply.Event{ID: eventID(t), Reason: eventQuarrel, Warning: true, Time: t.Since, Message: fmt.Sprintf("trial %d: %s", t.Number, why)}
}
