package page_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/page"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// The study that the pages of these tests show was not run: it is what the demo of README.md did, told again with its figures for the first trials and made up
// for the rest, so that everything that a page can show is in it.

// act is one thing that happens in a study.
type act struct {
	at      time.Duration // after the start
	took    time.Duration // 0: it still runs
	knob    string
	to      int64
	outcome ledger.Outcome
	goodput float64
	p99     float64 // ms
	effect  float64
	spread  float64 // of the effect's interval; 0: the judgement gave none
	p       float64
	failure string
	reason  string
	by      string // somebody else's
	command orders.Command
}

func demo() []act {
	m := time.Minute
	acts := []act{
		{at: 4 * m, took: 165 * time.Second, knob: "heap", to: 512, outcome: ledger.OutcomeKept, goodput: 1724, p99: 129, effect: 0.239,
			spread: 0.043, p: 0.0002, reason: "P99 129 ms meets the SLO of 200 ms, before it was 281 ms; goodput +23.9 %"},
		{at: 7 * m, took: 163 * time.Second, knob: "heap", to: 1024, outcome: ledger.OutcomeKept, goodput: 2323, p99: 171, effect: 0.347,
			spread: 0.058, p: 0.0002, reason: "goodput 1724/s → 2323/s (+34.7 %, p<0.001), P99 171 ms"},
		{at: 10 * m, took: 163 * time.Second, knob: "heap", to: 2048, outcome: ledger.OutcomeReverted, goodput: 2007, p99: 90, effect: -0.136,
			spread: 0.045, p: 0.0009, reason: "goodput 2323/s → 2007/s (-13.6 %, p<0.001), P99 90 ms"},
		{at: 13 * m, took: 170 * time.Second, knob: "io_threads", to: 4, outcome: ledger.OutcomeKept, goodput: 2498, p99: 168, effect: 0.075,
			spread: 0.034, p: 0.006, reason: "goodput 2323/s → 2498/s (+7.5 %, p=0.006), P99 168 ms"},
		{at: 17 * m, by: "ann", command: orders.Pause, reason: "a release of the billing service"},
		{at: 22 * m, by: "ann", command: orders.Resume, reason: "the release is done"},
		{at: 23 * m, took: 110 * time.Second, knob: "io_threads", to: 8, outcome: ledger.OutcomeInconclusive,
			failure: "guard:the load was not started anew", reason: "the load was started anew in the middle of the measurement"},
		{at: 27 * m, by: "kubectl-patch (deploy-bot)", knob: "network_threads", to: 3,
			reason: "the configuration is the incumbent from now on, and is measured anew"},
		{at: 33 * m, took: 172 * time.Second, knob: "io_threads", to: 8, outcome: ledger.OutcomeReverted, goodput: 2561, p99: 173, effect: 0.012,
			spread: 0.031, p: 0.31, reason: "a gain of at least 3 % has become improbable (+1.2 %, p=0.31)"},
		{at: 37 * m, took: 168 * time.Second, knob: "io_threads", to: 3, outcome: ledger.OutcomeReverted, goodput: 2418, p99: 181, effect: -0.044,
			p: 0.04, reason: "goodput 2530/s → 2418/s (-4.4 %, p=0.04)"},
		{at: 41 * m, took: 171 * time.Second, knob: "network_threads", to: 4, outcome: ledger.OutcomeKept, goodput: 2689, p99: 164, effect: 0.063,
			spread: 0.027, p: 0.008, reason: "goodput 2530/s → 2689/s (+6.3 %, p=0.008), P99 164 ms"},
		{at: 45 * m, knob: "network_threads", to: 6, reason: "next step up of network_threads"},
	}
	for i := range acts {
		acts[i].at += before
	}
	return acts
}

const (
	before     = 10 * time.Minute // the first minutes are the start's
	measuredAt = before + 3*time.Minute
	until      = before + 47*time.Minute + 20*time.Second // the moment that is shown
)

func start() space.Point { return space.Point{"heap": 256, "io_threads": 2, "network_threads": 1} }

func lab(t testing.TB) config.File {
	t.Helper()
	f, err := config.Load("../../lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func windows(goodput, p99 float64) []judge.Window {
	var out []judge.Window
	for _, f := range []float64{0.97, 1.02, 1, 0.99, 1.04, 1.01, 0.98, 1.03} {
		out = append(out, judge.Window{Goodput: math.Round(goodput * f), P99: p99 / f / 1000})
	}
	return out
}

// told writes the acts down as a tuner would have, the last of them now.
func told(f config.File, began time.Time, acts []act) []ledger.Record {
	now := start()
	at := func(d time.Duration, r ledger.Record) ledger.Record { r.Time = began.Add(d); return r }
	out := []ledger.Record{
		at(0, ledger.Record{Kind: ledger.Session, Mode: "auto", Build: "1.4.0", Point: now, Config: "c", Question: "q"}),
		at(measuredAt, ledger.Record{Kind: ledger.Measured, Point: now, Windows: windows(1392, 281)}),
	}
	number := 0
	for _, a := range acts {
		if a.command != "" {
			out = append(out, at(a.at, orders.Order{Command: a.command, By: a.by, Reason: a.reason}.Record()))
			continue
		}
		k := knob(f, a.knob)
		c := ledger.Change{Knob: k.Name, Env: k.Env, Old: now[a.knob], New: a.to, OldText: k.Render(now[a.knob]), NewText: k.Render(a.to)}
		p := now.With(a.knob, a.to)
		if a.by != "" {
			now = p
			out = append(out, at(a.at, ledger.Record{Kind: ledger.Outside, Author: a.by, Point: p, Changes: []ledger.Change{c}, Reason: a.reason}),
				at(a.at+2*time.Minute, ledger.Record{Kind: ledger.Measured, Point: p, Windows: windows(2530, 170)}))
			continue
		}
		number++
		edge := func(d time.Duration, phase ledger.Phase, r ledger.Record) {
			r.Kind, r.Trial, r.Phase = ledger.Edge, number, phase
			out = append(out, at(a.at+d, r))
		}
		s := time.Second
		edge(0, ledger.Proposed, ledger.Record{Change: &c, Changes: []ledger.Change{c}, Point: p, Reason: "next step up of " + a.knob})
		edge(1*s, ledger.Preflight, ledger.Record{})
		edge(3*s, ledger.Applying, ledger.Record{Restart: true})
		edge(15*s, ledger.Verifying, ledger.Record{})
		edge(18*s, ledger.Settling, ledger.Record{Effective: p})
		edge(30*s, ledger.Warming, ledger.Record{})
		edge(76*s, ledger.Measuring, ledger.Record{})
		if a.took == 0 {
			continue
		}
		judged := ledger.Record{Outcome: a.outcome, Failure: a.failure, Reason: a.reason, Restart: a.outcome != ledger.OutcomeKept}
		if a.goodput > 0 {
			judged.Windows = windows(a.goodput, a.p99)
			judged.Verdict = &judge.Verdict{Decision: judge.NotBetter, Effect: a.effect, P: a.p, Blocks: 12}
			if a.outcome == ledger.OutcomeKept {
				judged.Verdict.Decision = judge.Better
			}
			if a.spread > 0 {
				judged.Verdict.Interval = &judge.Interval{Low: a.effect - a.spread, High: a.effect + a.spread}
			}
		}
		edge(a.took-2*s, ledger.Judged, judged)
		end := ledger.Reverted
		if a.outcome == ledger.OutcomeKept {
			end, now = ledger.Kept, p
		}
		edge(a.took, end, ledger.Record{})
	}
	return out
}

func knob(f config.File, name string) space.Knob {
	for _, k := range f.Space() {
		if k.Name == name {
			return k
		}
	}
	panic("no knob " + name)
}

// written is the records in a file.
func written(t testing.TB, records []ledger.Record) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	appended(t, path, records...)
	return path
}

func appended(t testing.TB, path string, records ...ledger.Record) {
	t.Helper()
	book, _, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if _, err := book.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := book.Close(); err != nil {
		t.Fatal(err)
	}
}

// curves are what the load did meanwhile: the rate follows the configuration, P99 is held about the SLO, and each restart makes everybody wait.
func curves(began time.Time, acts []act, length, step time.Duration) []page.Sample {
	r := rand.New(rand.NewPCG(1, 2))
	rate, trial := 1392.0, 0.0
	drift := 0.0
	var out []page.Sample
	for at := time.Duration(0); at <= length; at += step {
		restart := time.Duration(math.MaxInt64)
		level, held := rate, 172.0
		if at < measuredAt+time.Minute {
			held = 268
		}
		for _, a := range acts {
			end := a.at + a.took
			if a.command != "" || a.at > at {
				continue
			}
			if a.by != "" {
				rate, level = 2530, 2530
				restart = min(restart, at-a.at-3*time.Second)
				continue
			}
			restart = min(restart, at-a.at-8*time.Second)
			if a.took > 0 && at >= end {
				if a.outcome == ledger.OutcomeKept {
					rate, level = a.goodput, a.goodput
				} else {
					restart = min(restart, at-end-2*time.Second)
				}
				continue
			}
			if trial = a.goodput; trial == 0 {
				trial = 2640
			}
			level = trial
			if a.p99 > 0 {
				held = a.p99
			}
		}
		drift = 0.93*drift + 0.07*r.NormFloat64()
		s := page.Sample{Time: began.Add(at)}
		offered := level * (1 + 0.05*drift + 0.012*r.NormFloat64())
		p99 := held * math.Exp(0.22*drift+0.06*r.NormFloat64())
		acked := offered
		if restart >= 0 && restart < 90*time.Second {
			left := math.Exp(-restart.Seconds() / 7)
			acked, p99 = offered*(1-0.97*left), p99*(1+14*left)
			offered *= 1 - 0.5*left
		}
		s.Offered, s.Acked, s.P99, s.P50 = &offered, &acked, &p99, status.Ptr(p99*0.21*math.Exp(0.05*r.NormFloat64()))
		if restart >= 0 && restart < 5*time.Second {
			s.P99, s.P50 = nil, nil // nothing came through
		}
		out = append(out, s)
	}
	return out
}

// board is what a tuner that wrote the records shows.
func board(f config.File, records []ledger.Record, last page.Sample) *status.Board {
	s := status.Snapshot{
		Build: "1.4.0", Mode: string(f.Mode), State: status.Trialing, SLO: float64(f.Objective.SLO.Milliseconds()), Ledger: len(records),
		Links: status.Links{Prometheus: f.Links.Prometheus, Grafana: "http://127.0.0.1:3000"}, Limits: status.Limits{CPUs: "2", Memory: "4Gi"},
	}
	s.Live = status.Live{Window: 10, Age: status.Ptr(1.2), P50: last.P50, P99: last.P99, Offered: last.Offered, Acked: last.Acked,
		Consumed: last.Acked, Errors: status.Ptr(0.0), Samples: status.Ptr(26000.0)}
	if last.P99 != nil {
		s.Live.P999 = status.Ptr(*last.P99 * 1.7)
	}
	told := study.Fold(records)
	s.Budget = status.Budget{Trials: f.Budgets.Trials, TrialsUsed: len(told.Counted()), Restarts: f.Budgets.Restarts, RestartsUsed: told.Restarts,
		Violation: f.Budgets.Violation.Seconds(), ViolationUsed: 14}
	desired := told.Desired()
	for _, k := range f.Space() {
		v := desired[k.Name]
		s.Knobs = append(s.Knobs, status.Knob{Name: k.Name, Env: k.Env, Unit: k.Unit, Scale: k.Scale, Desired: &v, Effective: status.Ptr(v),
			Best: status.Ptr(told.BestPoint[k.Name]), Text: k.Render(v)})
	}
	for _, t := range told.Trials {
		row := status.Trial{Number: t.Number, Phase: string(t.Phase), Since: t.Since, Started: t.Started, Knob: t.Change.Knob, Old: t.Change.Old,
			New: t.Change.New, Outcome: string(t.Outcome), Reason: t.Reason,
			Changes: []status.Step{{Knob: t.Change.Knob, Old: t.Change.Old, New: t.Change.New}}}
		if t.Phase.Done() {
			row.Ended = &t.Ended
		} else {
			row.WindowsSoFar = 6
			s.Trial = status.Ptr(row)
			s.Goal.Candidate = status.Ptr(2655.0)
		}
		s.Trials = append(s.Trials, row)
	}
	for _, c := range told.Changes {
		s.Changes = append(s.Changes, status.Change{ID: c.ID, Time: c.Time, Trial: c.Trial, Author: c.Author, Outcome: c.Outcome, Knob: c.Knob,
			Old: c.OldText, New: c.NewText, Effect: c.Effect, Reason: c.Reason})
	}
	median := func(w []judge.Window, of func(judge.Window) float64, factor float64) *float64 {
		if len(w) == 0 {
			return nil
		}
		return status.Ptr(judge.Median(w, of) * factor)
	}
	s.Goal.Baseline, s.Goal.BaselineP99 = median(told.Baseline, judge.Goodput, 1), median(told.Baseline, judge.P99, 1e3)
	s.Goal.Best, s.Goal.BestP99 = median(told.Best, judge.Goodput, 1), median(told.Best, judge.P99, 1e3)
	s.Goal.Incumbent = median(told.Windows, judge.Goodput, 1)
	if s.Goal.Baseline != nil && s.Goal.Best != nil {
		s.Goal.Ratio = status.Ptr(*s.Goal.Best / *s.Goal.Baseline)
	}
	return status.NewBoard(s)
}

// many is a study of so many trials, one every so often.
func many(n int, every time.Duration) []act {
	r := rand.New(rand.NewPCG(3, 4))
	var out []act
	rate := 1392.0
	for i := range n {
		a := act{at: before + 4*time.Minute + time.Duration(i)*every, took: every * 9 / 10, knob: []string{"heap", "io_threads", "network_threads"}[i%3],
			outcome: ledger.OutcomeReverted, p99: 150 + 40*r.Float64(), p: r.Float64(), spread: 0.03}
		a.to = map[string][]int64{"heap": {512, 1024, 2048, 3072}, "io_threads": {1, 4, 8, 16}, "network_threads": {2, 3, 4, 6}}[a.knob][r.IntN(4)]
		if i%20 == 0 {
			a.outcome = ledger.OutcomeKept
			rate *= 1.02
		}
		a.goodput = rate * (0.9 + 0.1*r.Float64())
		a.effect = a.goodput/rate - 1
		a.reason = fmt.Sprintf("goodput %.0f/s → %.0f/s (%+.1f %%), P99 %.0f ms", rate, a.goodput, 100*a.effect, a.p99)
		out = append(out, a)
	}
	return slices.Clip(out)
}
