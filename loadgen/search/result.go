package search

import (
	"fmt"
	"math"
	"time"
)

// Verdict is what one trial says about its rate.
type Verdict string

// The verdicts. A trial of which the generator was the bottleneck and that did not meet the objective says nothing.
const (
	Meets    Verdict = "meets"
	Breaches Verdict = "breaches"
	Nothing  Verdict = "says nothing"
)

// Trial is one trial of a search.
type Trial struct {
	Number  int     `json:"number"` // from 1
	Of      int     `json:"of"`     // trials there can be at most
	Rate    float64 `json:"rate"`   // records/s asked for
	Outcome Outcome `json:"outcome"`
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why,omitempty"` // of a verdict other than Meets
}

// String is a line for the console.
func (t Trial) String() string {
	s := fmt.Sprintf("trial %d of at most %d: %s/s, P99 %s, %s", t.Number, t.Of, figure(t.Rate), milliseconds(t.Outcome.P99), t.Verdict)
	if t.Why != "" {
		s += ": " + t.Why
	}
	return s
}

// Kind is what sort of answer a search has come to.
type Kind string

// The kinds. Found: Rate is an estimate, and Low to High its 95 % confidence interval. AtLeast: Rate is the highest that was seen to meet the
// objective, and nothing is known above it (High is 0). Below: nothing met the objective, and High is the lowest rate that was seen to breach
// it (Rate and Low are 0). Unknown: no trial said anything.
const (
	Found   Kind = "found"
	AtLeast Kind = "at least"
	Below   Kind = "below"
	Unknown Kind = "unknown"
)

// Result is the answer of a search.
type Result struct {
	Kind   Kind    `json:"kind"`
	Rate   float64 `json:"rate"` // records/s
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Trials []Trial `json:"trials"`
	Why    string  `json:"why"` // what ended the search, and why the result is only a bound when it is
}

// String is a line for the console.
func (r Result) String() string {
	switch r.Kind {
	case Found:
		return fmt.Sprintf("%s/s (95 %% confidence: %s to %s), %d trials: %s", figure(r.Rate), figure(r.Low), figure(r.High), len(r.Trials), r.Why)
	case AtLeast:
		return fmt.Sprintf("at least %s/s, %d trials: %s", figure(r.Rate), len(r.Trials), r.Why)
	case Below:
		return fmt.Sprintf("below %s/s, %d trials: %s", figure(r.High), len(r.Trials), r.Why)
	}
	return fmt.Sprintf("unknown, %d trials: %s", len(r.Trials), r.Why)
}

func figure(f float64) string {
	if f >= 100 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

func milliseconds(d time.Duration) string {
	return figure(float64(d)/float64(time.Millisecond)) + " ms"
}

// result is the answer that the trials so far give.
func (s *search) result(why string) Result {
	r := Result{Kind: Unknown, Trials: s.trials, Why: why}
	k := s.known()
	p := s.learn(k)
	low, mid, high := math.Exp(p.quantile(0.025)), math.Exp(p.quantile(0.5)), math.Exp(p.quantile(0.975))
	below := !math.IsInf(k.breached, 1)
	switch {
	case k.met > 0 && (!below || high > k.limit || mid > s.c.Max):
		r.Kind, r.Rate, r.Low = AtLeast, k.met, k.met
	case k.met > 0:
		r.Kind, r.Rate, r.Low, r.High = Found, mid, low, high
	case below:
		r.Kind, r.High = Below, k.breached
	}
	return r
}
