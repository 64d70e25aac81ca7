package trial

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// watchLoad looks, when a search has ended, whether the load is still the one that it ended with. When it is not, and the last search is long enough
// ago, another one begins. It rests longer each time when searches do not help: trials cost restarts.
func (r *Runner) watchLoad(ctx context.Context) error {
	r.state(status.Done, r.study.Finished)
	w := r.File.Windows
	now := time.Now()
	if r.loadEnd.IsZero() || now.Sub(r.loadEnd) > 2*w.Window {
		r.load, r.loadEnd = nil, now.Add(-w.Window)
	}
	if to := r.loadEnd.Add(w.Window); !now.Before(to.Add(r.late())) {
		window, err := r.Meter.Measure(ctx, observe.Span{From: r.loadEnd, To: to})
		r.loadEnd = to
		if err != nil { // nothing is known about this window, so nothing about the load
			r.load = nil
			return r.rest(ctx)
		}
		r.load = append(r.load, window)
		if n := len(r.load) - w.Count; n > 0 {
			r.load = slices.Clone(r.load[n:])
		}
	}
	if why := r.shifted(); why != "" && len(r.load) == w.Count && now.Sub(r.study.FinishedAt) >= r.pauseBetween() {
		r.load = nil
		return r.record(ledger.Record{Kind: ledger.Shifted, Reason: why, Point: r.study.Incumbent})
	}
	return r.rest(ctx)
}

// late is how long after its end a window is complete.
func (r *Runner) late() time.Duration { return r.File.Prometheus.ScrapeInterval + 500*time.Millisecond }

// pauseBetween is the rest between two searches.
func (r *Runner) pauseBetween() time.Duration {
	rest := r.File.Again.Rest
	for i := 0; i < r.study.Fruitless && rest < r.File.Again.MaxRest; i++ {
		rest *= 2
	}
	return min(rest, r.File.Again.MaxRest)
}

// shifted says how the load differs from the one that the search ended with. Each window now must be beyond all of those, and their medians far apart:
// noise does the one or the other, not both.
func (r *Runner) shifted() string {
	for _, f := range []struct {
		name string
		of   func(judge.Window) float64
	}{{"goodput", judge.Goodput}, {"P99", judge.P99}} {
		if len(r.load) == 0 || len(r.study.Windows) == 0 {
			return ""
		}
		then, now := judge.Median(r.study.Windows, f.of), judge.Median(r.load, f.of)
		if apart(r.study.Windows, r.load, f.of) && then > 0 && (now/then-1 > r.File.Again.Shift || then/max(now, 1e-12)-1 > r.File.Again.Shift) {
			return fmt.Sprintf("the load has shifted: %s was %.4g and is %.4g (%+.0f %%)", f.name, then, now, 100*(now/then-1))
		}
	}
	return ""
}

func apart(a, b []judge.Window, of func(judge.Window) float64) bool {
	lowA, highA := span(a, of)
	lowB, highB := span(b, of)
	return highA < lowB || highB < lowA
}

func span(windows []judge.Window, of func(judge.Window) float64) (low, high float64) {
	low, high = of(windows[0]), of(windows[0])
	for _, w := range windows {
		low, high = min(low, of(w)), max(high, of(w))
	}
	return low, high
}
