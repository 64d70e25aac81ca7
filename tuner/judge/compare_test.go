package judge_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

func rules() judge.Rules { return judge.Rules{Margin: 0.03, Alpha: 0.05, SLO: 0.2, Tolerance: 0.2} }

func windows(p99 float64, goodput ...float64) []judge.Window {
	var out []judge.Window
	for i, g := range goodput {
		out = append(out, judge.Window{Goodput: g, P99: p99 * (1 + 0.001*float64(i))})
	}
	return out
}

func p99s(values ...float64) []judge.Window {
	var out []judge.Window
	for i, v := range values {
		out = append(out, judge.Window{Goodput: 1000 + float64(i%2), P99: v})
	}
	return out
}

func long(goodput float64) []judge.Window {
	var out []judge.Window
	for i := range 12 {
		out = append(out, judge.Window{Goodput: goodput + float64(i), P99: 0.15})
	}
	return out
}

func TestCompare(t *testing.T) {
	base := windows(0.15, 1000, 1010, 990, 1005)
	for name, c := range map[string]struct {
		incumbent, candidate []judge.Window
		want                 judge.Decision
		reason               string
	}{
		"a clear gain":                                {base, windows(0.15, 1200, 1210, 1190, 1205), judge.Better, "+20.0 %"},
		"a clear loss":                                {base, windows(0.15, 800, 810, 790, 805), judge.Worse, "-20.0 %"},
		"the same":                                    {base, base, judge.NotBetter, "noise"},
		"exactly equal values":                        {windows(0.15, 5, 5, 5, 5), windows(0.15, 5, 5, 5, 5), judge.NotBetter, "noise"},
		"a clear gain below the margin":               {base, windows(0.15, 1015, 1016, 1017, 1018), judge.NotBetter, "margin"},
		"a big median with overlap":                   {base, windows(0.15, 1300, 995, 1300, 900), judge.NotBetter, "noise"},
		"three windows cannot be enough":              {base[:3], windows(0.15, 2000, 2010, 1990), judge.NotBetter, "noise"},
		"a gain that breaks the SLO":                  {base, windows(0.3, 2000, 2010, 1990, 2005), judge.Worse, "breaks the SLO"},
		"a P99 within the tolerance":                  {base, windows(0.23, 1200, 1210, 1190, 1205), judge.Better, "+20.0 %"},
		"the way back under the SLO":                  {windows(0.5, 1000, 1010, 990, 1005), windows(0.15, 1000, 1010, 990, 1005), judge.Better, "meets the SLO"},
		"under the limit by a hair":                   {windows(0.2405, 1000, 1010, 990, 1005), windows(0.2390, 1000, 1010, 990, 1005), judge.NotBetter, "within the noise"},
		"under the limit by a hair, and a clear gain": {windows(0.2405, 1000, 1010, 990, 1005), windows(0.2390, 1200, 1210, 1190, 1205), judge.Better, "+20.0 %"},
		"under the limit by chance":                   {p99s(0.3, 0.21, 0.3, 0.21), p99s(0.22, 0.31, 0.22, 0.22), judge.NotBetter, "within the noise"},
		"a p that rounds to nothing":                  {long(1000), long(1200), judge.Better, "p<0.001"},
		"under the SLO by giving up goodput":          {windows(0.5, 1000, 1010, 990, 1005), windows(0.15, 100, 101, 99, 100), judge.Worse, "-90"},
		"both break it, the candidate less":           {windows(0.5, 1000, 1010, 990, 1005), windows(0.3, 900, 910, 890, 905), judge.Better, "both break"},
		"both break it, the candidate more":           {windows(0.3, 1000, 1010, 990, 1005), windows(0.5, 2000, 2010, 1990, 2005), judge.Worse, "both break"},
		"both break it alike, goodput counts nothing": {windows(0.5, 1000, 1010, 990, 1005), windows(0.5, 2000, 2010, 1990, 2005), judge.NotBetter, "both break"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := judge.Compare(c.incumbent, c.candidate, rules())
			if err != nil || v.Decision != c.want || !strings.Contains(v.Reason, c.reason) {
				t.Errorf("want %s with %q (got %+v, %v)", c.want, c.reason, v, err)
			}
			for name, f := range map[string]float64{"effect": v.Effect, "p": v.P, "incumbent": v.Incumbent, "candidate": v.Candidate} {
				if math.IsNaN(f) || math.IsInf(f, 0) {
					t.Errorf("%s is %g, which no ledger can hold", name, f)
				}
			}
		})
	}
}

func TestNothingToCompare(t *testing.T) {
	if _, err := judge.Compare(nil, windows(0.1, 1), rules()); err == nil {
		t.Error("want an error without an incumbent's windows")
	}
}

func TestMinWindows(t *testing.T) {
	for alpha, want := range map[float64]int{0.05: 4, 0.11: 3, 0.01: 5} {
		if got := judge.MinWindows(alpha); got != want {
			t.Errorf("alpha %g: want %d (got %d)", alpha, want, got)
		}
	}
}

// TestFalseKeeps: two sides of the same noise are told apart no more often than the level says (half of it: only gains are kept), wherever
// their P99 lies: about the limit chance alone puts one side over it and the other under it.
func TestFalseKeeps(t *testing.T) {
	for name, center := range map[string]float64{"under the limit": 0.1, "about the limit": 0.24, "over the limit": 0.5} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			draw := func() []judge.Window {
				var out []judge.Window
				for range 5 {
					out = append(out, judge.Window{Goodput: 1000 * (1 + 0.1*r.NormFloat64()), P99: center * (1 + 0.1*r.NormFloat64())})
				}
				return out
			}
			kept := 0
			const studies = 4000
			for range studies {
				v, err := judge.Compare(draw(), draw(), rules())
				if err != nil {
					t.Fatal(err)
				}
				if v.Decision == judge.Better {
					kept++
				}
			}
			if share := float64(kept) / studies; share > 0.03 {
				t.Errorf("want at most 3 %% false keeps (got %.1f %%)", share*100)
			}
		})
	}
}

// TestSwapped: the other side sees the inverse, and twice is what it was.
func TestSwapped(t *testing.T) {
	again := 0.5
	v := judge.Verdict{
		Decision: judge.Better, Effect: 0.25, Interval: &judge.Interval{Low: 0, High: 1}, Recheck: &again, StdErr: 0.1, Incumbent: 100, Candidate: 125, CandidateP99: 0.1,
	}
	s := v.Swapped()
	if s.Decision != judge.Worse || math.Abs(s.Effect+0.2) > 1e-12 || *s.Interval != (judge.Interval{Low: -0.5, High: 0}) || s.Incumbent != 125 || s.IncumbentP99 != 0.1 {
		t.Errorf("got %+v, %+v", s, s.Interval)
	}
	if back := s.Swapped(); back.Decision != v.Decision || math.Abs(back.Effect-v.Effect) > 1e-12 || math.Abs(back.Interval.High-1) > 1e-12 || math.Abs(back.StdErr-v.StdErr) > 1e-12 || back.Candidate != 125 {
		t.Errorf("want %+v (got %+v)", v, back)
	}
	if *v.Recheck != 0.5 || v.Interval.High != 1 {
		t.Error("want the verdict itself left alone")
	}
	if n := (judge.Verdict{Decision: judge.NotBetter}).Swapped(); n.Decision != judge.NotBetter || n.Effect != 0 {
		t.Errorf("got %+v", n)
	}
}

// TestBlocks: no comparison takes more blocks than it is said to.
func TestBlocks(t *testing.T) {
	for rounds := 1; rounds <= judge.MaxRounds; rounds++ {
		c := config()
		c.Rounds = rounds
		j, err := judge.New(c)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for step, more := j.Next(); more; step, more = j.Next() {
			goodput := 100 + float64(n*n%7)
			if step.Side == judge.Candidate {
				goodput *= 1.3
			}
			if err := j.Add(judge.Block{Side: step.Side, Windows: []judge.Window{{Goodput: goodput, P99: 0.1}}}); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n > judge.Blocks(rounds) || n < 10 {
			t.Errorf("%d rounds: want from 10 to %d blocks (got %d)", rounds, judge.Blocks(rounds), n)
		}
	}
}

func TestPlain(t *testing.T) {
	before := windows(0.1, 100, 101, 99, 102, 98, 100, 101, 99)
	for name, c := range map[string]struct {
		after []judge.Window
		want  bool
	}{
		"a gain of a fifth":             {windows(0.1, 123, 121, 125, 122), true},
		"too few windows":               {windows(0.1, 123, 121, 125), false},
		"a small gain, however clear":   {windows(0.1, 110, 111, 112, 110), false},
		"a gain with one window among":  {windows(0.1, 140, 141, 139, 101), false},
		"a loss, which may pass":        {windows(0.1, 60, 70, 80, 90), false},
		"nothing":                       {windows(0.1, 100, 101, 99, 100), false},
		"a breach of the SLO, the same": {windows(0.3, 140, 141, 139, 140), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judge.Plain(before, c.after, rules()); got != c.want {
				t.Errorf("want %v", c.want)
			}
		})
	}
}
