package judge_test

import (
	"math"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

type named struct {
	name string
	world
}

// worlds are those that a judge should stand, each with the noise of a window of 5 %.
func worlds() []named {
	w := func(name string, w world) named {
		w.noise = 0.05
		if w.windows == 0 {
			w.windows = 8
		}
		return named{name, w}
	}
	return []named{
		w("one window a block", world{windows: 1}),
		w("independent windows", world{}),
		w("correlated 0.5", world{correlated: 0.5}),
		w("correlated 0.8", world{correlated: 0.8}),
		w("correlated 0.95", world{correlated: 0.95}),
		w("correlated 0.5, deployments 2 %", world{correlated: 0.5, deployment: 0.02}),
		w("correlated 0.5, deployments 5 %", world{correlated: 0.5, deployment: 0.05}),
		w("correlated 0.5, deployments 2 %, drift 1 % a block", world{correlated: 0.5, deployment: 0.02, drift: 0.01}),
		w("correlated 0.5, deployments 2 %, drift −2 % a block", world{correlated: 0.5, deployment: 0.02, drift: -0.02}),
		w("correlated 0.5, deployments 2 %, wave of 10 %", world{correlated: 0.5, deployment: 0.02, swing: 0.1}),
		w("correlated 0.5, deployments 2 %, random walk of 3 % a block", world{correlated: 0.5, deployment: 0.02, walk: 0.03}),
		w("correlated 0.8, deployments 5 %, drift 1 % a block, wave of 5 %", world{correlated: 0.8, deployment: 0.05, drift: 0.01, swing: 0.05}),
		w("correlated 0.5, deployments 2 %, 5 % of the windows a third", world{correlated: 0.5, deployment: 0.02, outliers: 0.05}),
	}
}

// share of n studies that keep a candidate which is better by effect, and how many blocks they took on average.
func share(w world, effect float64, n int) (kept, blocks float64) {
	for i := range n {
		v, _ := compare(config(uint64(i)), w.cluster(uint64(i)+1e6), constant(effect))
		blocks += float64(v.Blocks)
		if v.Decision == judge.Better {
			kept++
		}
	}
	return kept / float64(n), blocks / float64(n)
}

// TestFalseKeeps is a small BenchmarkFalseKeeps: at a true 4.5 %, a hundred studies keep more than 12, or all together more than 6.5 %, once in a thousand times.
func TestFalseKeeps(t *testing.T) {
	all := 0.
	for _, w := range worlds() {
		kept, _ := share(w.world, 0, 100)
		if all += kept; kept > 0.12 {
			t.Errorf("%s: want at most 5 %% of two equal sides told apart (got %.1f %%)", w.name, kept*100)
		}
	}
	if all /= float64(len(worlds())); all > 0.065 {
		t.Errorf("want at most 5 %% of two equal sides told apart (got %.1f %%)", all*100)
	}
}

func BenchmarkFalseKeeps(b *testing.B) {
	const studies = 1000
	left := worlds()[6].world
	left.stay = true
	all := append(worlds(), named{"correlated 0.5, deployments 5 %, without redeployment", left})
	for _, w := range all {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				kept, blocks := share(w.world, 0, studies)
				b.ReportMetric(kept*100, "%kept")
				b.ReportMetric(blocks, "blocks")
			}
		})
	}
}

// TestPower: a gain of 5 % at a noise of 5 % is found.
func TestPower(t *testing.T) {
	w := world{windows: 8, noise: 0.05, correlated: 0.5, deployment: 0.02}
	if kept, _ := share(w, math.Log(1.05), 100); kept < 0.75 {
		t.Errorf("want four fifths of the gains of 5 %% found (got %.1f %%)", kept*100)
	}
}

// BenchmarkPower also says how often the true effect is outside of the interval at the end, which is what the intervals of all looks have in common.
func BenchmarkPower(b *testing.B) {
	for _, effect := range []struct {
		name   string
		by     float64
		worlds []named
	}{{"gain of 5 %", 0.05, worlds()}, {"gain of 20 %", 0.20, worlds()[6:7]}} {
		for _, w := range effect.worlds {
			b.Run(effect.name+"/"+w.name, func(b *testing.B) {
				for b.Loop() {
					power(b, w.world, effect.by)
				}
			})
		}
	}
}

func power(b *testing.B, w world, by float64) {
	const studies = 300
	var kept, blocks, given, outside, width float64
	for i := range studies {
		v, _ := compare(config(uint64(i)), w.cluster(uint64(i)+1e6), constant(math.Log1p(by)))
		blocks += float64(v.Blocks)
		if v.Decision == judge.Better {
			kept++
		}
		if v.Interval == nil {
			continue
		}
		given++
		width += v.Interval.High - v.Interval.Low
		if by < v.Interval.Low || by > v.Interval.High {
			outside++
		}
	}
	b.ReportMetric(kept/studies*100, "%kept")
	b.ReportMetric(blocks/studies, "blocks")
	b.ReportMetric(outside/given*100, "%outside")
	b.ReportMetric(width/given*100, "%wide")
}
