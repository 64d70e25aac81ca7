package judge

import (
	"fmt"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Median of the windows' values; NaN when there is none.
func Median(windows []Window, of func(Window) float64) float64 {
	return benchmath.AssumeNothing.Summary(sample(windows, of), 0.95).Center
}

// Goodput and P99 select a window's value.
func Goodput(w Window) float64 { return w.Goodput }

// P99 selects the window's latency.
func P99(w Window) float64 { return w.P99 }

// MinWindows is how many windows a side the rank test needs to reach the level at all.
func MinWindows(alpha float64) int {
	for n := 2; n < 20; n++ {
		low, high := make([]float64, n), make([]float64, n)
		for i := range low {
			low[i], high[i] = float64(i), float64(n+i)
		}
		if rank(low, high) <= alpha {
			return n
		}
	}
	return 20
}

// Compare judges the candidate. Both sides need at least one window; with fewer than MinWindows it is never "better".
func Compare(incumbent, candidate []Window, r Rules) (Verdict, error) {
	if len(incumbent) == 0 || len(candidate) == 0 {
		return Verdict{}, fmt.Errorf("compare: want windows on both sides (got %d and %d)", len(incumbent), len(candidate))
	}
	v := Verdict{
		Incumbent: Median(incumbent, Goodput), Candidate: Median(candidate, Goodput),
		IncumbentP99: Median(incumbent, P99), CandidateP99: Median(candidate, P99),
		P: rank(values(incumbent, Goodput), values(candidate, Goodput)),
	}
	if v.Incumbent > 0 {
		v.Effect = v.Candidate/v.Incumbent - 1
	}
	limit := r.SLO * (1 + r.Tolerance)
	inSLO, wasInSLO := v.CandidateP99 <= limit, v.IncumbentP99 <= limit
	switch {
	case wasInSLO && !inSLO:
		v.Decision = Worse
		v.Reason = fmt.Sprintf("P99 %s breaks the SLO of %s", ms(v.CandidateP99), ms(r.SLO))
	case !wasInSLO && !inSLO:
		byLatency(&v, incumbent, candidate, r)
	case !wasInSLO && inSLO && v.Effect > -r.Margin:
		byReturn(&v, incumbent, candidate, r)
	default:
		byGoodput(&v, r)
	}
	return v, nil
}

// obvious is the least gain that is plain to see before all windows are measured.
const obvious = 0.2

// Plain says whether more windows of the candidate would only say again what those so far do: a gain of a fifth and more, in which no window of one side is
// among those of the other. Equal sides come apart like that by chance in one of 990 cases (8 windows of one, 4 of the other), so that looking after each
// window adds next to nothing to the errors of Compare. A loss is never plain so early: what was just restarted, and a load that finds its rate anew, are
// still getting better.
func Plain(incumbent, candidate []Window, r Rules) bool {
	v, err := Compare(incumbent, candidate, r)
	if err != nil || len(candidate) < MinWindows(r.Alpha) || v.Decision != Better || v.Effect < obvious {
		return false
	}
	return slices.Min(values(candidate, Goodput)) > slices.Max(values(incumbent, Goodput))
}

// Swapped is the same verdict as the other side sees it.
func (v Verdict) Swapped() Verdict {
	back := func(effect float64) float64 { return 1/(1+effect) - 1 }
	switch v.Decision {
	case Better:
		v.Decision = Worse
	case Worse:
		v.Decision = Better
	}
	v.Incumbent, v.Candidate, v.IncumbentP99, v.CandidateP99 = v.Candidate, v.Incumbent, v.CandidateP99, v.IncumbentP99
	v.StdErr /= (1 + v.Effect) * (1 + v.Effect)
	v.Effect = back(v.Effect)
	if v.Interval != nil {
		v.Interval = &Interval{Low: back(v.Interval.High), High: back(v.Interval.Low)}
	}
	if v.Recheck != nil {
		again := back(*v.Recheck)
		v.Recheck = &again
	}
	return v
}

func byGoodput(v *Verdict, r Rules) {
	change := fmt.Sprintf("goodput %.0f/s → %.0f/s (%+.1f %%, %s), P99 %s", v.Incumbent, v.Candidate, v.Effect*100, level(v.P), ms(v.CandidateP99))
	clear := v.P <= r.Alpha
	switch {
	case clear && v.Effect >= r.Margin:
		v.Decision, v.Reason = Better, change
	case clear && v.Effect <= -r.Margin:
		v.Decision, v.Reason = Worse, change
	case clear:
		v.Decision, v.Reason = NotBetter, fmt.Sprintf("%s: below the margin of %.1f %%", change, r.Margin*100)
	default:
		v.Decision, v.Reason = NotBetter, fmt.Sprintf("%s: within the noise at level %.2f", change, r.Alpha)
	}
}

// byReturn judges a candidate that meets the SLO which the incumbent breaks. A P99 that swings about the limit is over it by chance in one
// measurement and under it in the next, so being under it now is no evidence: the P99 itself must have become lower, clearly. If it has not,
// goodput decides; each of the two tests is wrong in this direction in half of alpha.
func byReturn(v *Verdict, incumbent, candidate []Window, r Rules) {
	p := rank(values(incumbent, P99), values(candidate, P99))
	if lower := v.IncumbentP99/v.CandidateP99 - 1; p > r.Alpha || lower < r.Margin {
		byGoodput(v, r)
		return
	}
	v.P, v.Decision = p, Better
	v.Reason = fmt.Sprintf("P99 %s meets the SLO of %s, before it was %s (%s); goodput %+.1f %%",
		ms(v.CandidateP99), ms(r.SLO), ms(v.IncumbentP99), level(p), v.Effect*100)
}

// byLatency compares two sides that both break the SLO: the way back under it comes first, goodput bought with latency does not count.
func byLatency(v *Verdict, incumbent, candidate []Window, r Rules) {
	v.P = rank(values(incumbent, P99), values(candidate, P99))
	lower := v.IncumbentP99/v.CandidateP99 - 1
	change := fmt.Sprintf("both break the SLO of %s: P99 %s → %s (%s), goodput %+.1f %%", ms(r.SLO), ms(v.IncumbentP99), ms(v.CandidateP99), level(v.P), v.Effect*100)
	clear := v.P <= r.Alpha
	switch {
	case clear && lower >= r.Margin:
		v.Decision = Better
	case clear && lower <= -r.Margin:
		v.Decision = Worse
	default:
		v.Decision = NotBetter
	}
	v.Reason = change
}

// rank is the two-sided p-value of the Mann-Whitney U test (exact for few values). Equal samples have no ranks to differ by.
func rank(a, b []float64) float64 {
	first := a[0]
	if !slices.ContainsFunc(slices.Concat(a, b), func(v float64) bool { return v != first }) {
		return 1
	}
	return benchmath.AssumeNothing.Compare(benchmath.NewSample(a, thresholds()), benchmath.NewSample(b, thresholds())).P
}

func thresholds() *benchmath.Thresholds { return &benchmath.DefaultThresholds }

func sample(windows []Window, of func(Window) float64) *benchmath.Sample {
	return benchmath.NewSample(values(windows, of), thresholds())
}

func values(windows []Window, of func(Window) float64) []float64 {
	out := make([]float64, len(windows))
	for i, w := range windows {
		out[i] = of(w)
	}
	return out
}

// level is how a p-value is shown: one that rounds to nothing is not nothing.
func level(p float64) string {
	if p < 0.001 {
		return "p<0.001"
	}
	return fmt.Sprintf("p=%.3f", p)
}

func ms(seconds float64) string { return fmt.Sprintf("%.0f ms", seconds*1000) }
