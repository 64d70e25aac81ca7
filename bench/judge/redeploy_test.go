package judge_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

// kind of a candidate: typical effect, and how its deployments differ.
type kind struct {
	effect float64
	spread float64 // standard deviation
	bad    float64 // share of deployments that come to less by fall
	fall   float64
}

// deploy draws a deployment's effect.
func (k kind) deploy(r *rand.Rand) float64 {
	e := k.effect + k.spread*r.NormFloat64()
	if r.Float64() < k.bad {
		e -= k.fall
	}
	return e
}

// candidate draws one as a search might propose it; shaky is the share of configurations of which some deployments are 30 to 70 % worse.
func candidate(r *rand.Rand, shaky float64) kind {
	k := kind{effect: 0.2 * r.NormFloat64(), spread: 0.01 + 0.04*r.Float64()}
	if r.Float64() < shaky {
		k.bad, k.fall = 0.05+0.9*r.Float64(), -math.Log(1-(0.3+0.4*r.Float64()))
	}
	return k
}

// fixed is how the loop judged before: eight windows in one deployment of each side, and a rank test.
func fixed(c judge.Config, w *cluster, e effects) judge.Verdict {
	incumbent, candidate := w.block(judge.Incumbent, e(judge.Incumbent)), w.block(judge.Candidate, e(judge.Candidate))
	v, err := judge.Compare(incumbent.Windows, candidate.Windows, c.Rules)
	if err != nil {
		panic(err)
	}
	return v
}

// redeployed is the share of picks of which a fresh deployment makes at least 30 % less than the verdict said, and how many picks there were.
func redeployed(shaky float64, n int, decide func(judge.Config, *cluster, effects) judge.Verdict) (degraded float64, picks int) {
	const loss = 0.3
	for i := range n {
		r := rand.New(rand.NewPCG(uint64(i), 11))
		k := candidate(r, shaky)
		w := world{windows: 8, noise: 0.05, correlated: 0.5, deployment: 0.02}.cluster(uint64(i) + 2e6)
		v := decide(config(uint64(i)), w, func(s judge.Side) float64 {
			if s == judge.Candidate {
				return k.deploy(r)
			}
			return 0
		})
		if v.Decision != judge.Better {
			continue
		}
		picks++
		if math.Exp(k.deploy(r)) <= (1-loss)*(1+v.Effect) {
			degraded++
		}
	}
	return degraded / float64(max(picks, 1)), picks
}

func inBlocks(c judge.Config, w *cluster, e effects) judge.Verdict {
	v, _ := compare(c, w, e)
	return v
}

func TestRedeployment(t *testing.T) {
	degraded, picks := redeployed(0.3, 1500, inBlocks)
	before, _ := redeployed(0.3, 1500, fixed)
	if picks < 100 || degraded > 0.025 || before < 0.04 {
		t.Errorf("want about 2 %% of at least 100 picks to degrade, and more of those by one deployment (got %.1f %% of %d, %.1f %%)",
			degraded*100, picks, before*100)
	}
}

func BenchmarkRedeployment(b *testing.B) {
	for _, shaky := range []struct {
		name  string
		share float64
	}{{"30 % shaky", 0.3}, {"60 % shaky", 0.6}} {
		for _, way := range []struct {
			name   string
			decide func(judge.Config, *cluster, effects) judge.Verdict
		}{{"judge", inBlocks}, {"one deployment, rank test", fixed}} {
			b.Run(shaky.name+"/"+way.name, func(b *testing.B) {
				for b.Loop() {
					degraded, picks := redeployed(shaky.share, 2500, way.decide)
					b.ReportMetric(degraded*100, "%degraded")
					b.ReportMetric(float64(picks), "picks")
				}
			})
		}
	}
}
