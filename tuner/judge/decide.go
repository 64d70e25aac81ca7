package judge

import (
	"fmt"
	"math"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	sure  = 0.95  // of a clear loss or breach at the end of a round
	surer = 0.995 // and before it, when only the expected noise is known

	stood        = 6    // deployments that a candidate must have stood to be kept
	fallen       = 0.25 // part by which an unstable configuration's worst deployment lies below its typical one
	hopeless     = 0.05 // predictive power below which it is given up
	expectedDF   = 4    // degrees of freedom that Config.Noise is worth
	latencyNoise = 2    // how much noisier a P99 is than a goodput
)

// aim is what counts in view of the SLO.
type aim int

const (
	byGoodputs  aim = iota // both sides meet it
	byLatencies            // both break it: the way back comes first, goodput bought with latency does not count
	byEither               // the candidate meets it, the incumbent does not: may be chance, so one of the two must be clear
	byBreach               // the incumbent meets it, the candidate does not
)

// aimOf takes P99s as series do: logarithms, higher is better.
func (r Rules) aimOf(incumbent, candidate float64) aim {
	floor := -math.Log(r.SLO * (1 + r.Tolerance))
	switch {
	case incumbent >= floor && candidate >= floor:
		return byGoodputs
	case incumbent >= floor:
		return byBreach
	case candidate >= floor:
		return byEither
	}
	return byLatencies
}

// view is what the complete rounds say.
type view struct {
	data
	rules Rules
}

func (v view) aim(s sums) aim {
	mean, half := stat.Mean(v.latency.values, nil), v.latency.raw(s.latency)/2
	return v.rules.aimOf(mean-half, mean+half)
}

// gain is how good the candidate looks in an order.
func (v view) gain(s sums) float64 {
	score, _ := v.judged(s)
	return score
}

// judged also says whether it was the latency that counted.
func (v view) judged(s sums) (gain float64, byLatency bool) {
	goodput := score(v.goodput, s.goodput, s.place)
	latency := score(v.latency, s.latency, s.place)
	switch v.aim(s) {
	case byBreach:
		return math.Inf(-1), true
	case byLatencies:
		return latency, true
	case byEither:
		if effect, _ := v.goodput.effect(s.goodput, s.place); effect > math.Log1p(-v.rules.lost()) && latency > goodput {
			return latency, true
		}
	}
	return goodput, false
}

// lost is how much less goodput is not worth a better latency.
func (r Rules) lost() float64 { return min(r.Margin, 0.99) }

func (v view) counted(byLatency bool) measure {
	if byLatency {
		return v.measure(v.latency, v.drawn.latency)
	}
	return v.measure(v.goodput, v.drawn.goodput)
}

// sides tells the incumbent's values from the candidate's.
func (j *Judge) sides(values []float64) (incumbent, candidate []float64) {
	for i, v := range values {
		if j.side(i) == Candidate {
			candidate = append(candidate, v)
		} else {
			incumbent = append(incumbent, v)
		}
	}
	return incumbent, candidate
}

func (j *Judge) decide() {
	next := 1
	switch rounds := complete(len(j.blocks)); {
	case j.clear > 0:
		j.confirm()
	case rounds > 0 && planned(rounds) == len(j.blocks):
		next = laterRound
		j.preview()
		j.look(rounds)
	default:
		j.preview()
		j.early()
	}
	if j.clear == len(j.blocks) {
		next = 1
		j.confirm()
	}
	each := j.spent / time.Duration(len(j.blocks))
	if j.verdict.Decision == "" && j.config.Budget > 0 && j.spent+each*time.Duration(next) > j.config.Budget {
		j.end(NotBetter, Deadline, "not clear within "+j.config.Budget.String())
	}
}

// confirm takes deployments of a candidate whose gain is clear until there are enough to say that it is stable.
func (j *Judge) confirm() {
	j.verdict.Blocks = len(j.blocks)
	_, candidate := j.sides(j.goodput)
	if !j.unstable() && len(candidate) >= stood {
		j.end(Better, Gain, fmt.Sprintf("%s, and again in fresh deployments", j.gain))
	}
}

// preview fills in the figures of both sides.
func (j *Judge) preview() {
	v := Verdict{P: j.test.p, Blocks: len(j.blocks), Recheck: j.verdict.Recheck, StdErr: j.verdict.StdErr, Noise: j.verdict.Noise}
	incumbent, candidate := j.sides(j.goodput)
	incumbentP99, candidateP99 := j.sides(j.latency)
	typical := func(values []float64, sign float64) float64 {
		if len(values) == 0 {
			return 0
		}
		return math.Exp(sign * median(values))
	}
	v.Incumbent, v.Candidate = typical(incumbent, 1), typical(candidate, 1)
	v.IncumbentP99, v.CandidateP99 = typical(incumbentP99, -1), typical(candidateP99, -1)
	if len(incumbent) > 0 && len(candidate) > 0 {
		v.Effect = math.Expm1(stat.Mean(candidate, nil) - stat.Mean(incumbent, nil))
	}
	j.verdict = v
}

func (j *Judge) end(d Decision, c Cause, why string) {
	v := &j.verdict
	v.Decision, v.Cause = d, c
	v.Reason = fmt.Sprintf("goodput %.0f/s → %.0f/s (%+.1f %%), P99 %s → %s, %d blocks: %s",
		v.Incumbent, v.Candidate, v.Effect*100, ms(v.IncumbentP99), ms(v.CandidateP99), v.Blocks, why)
}

// expected is what a block's noise is before anything is measured.
func (c Config) expected(byLatency bool) spread {
	if byLatency {
		return spread{c.Noise * latencyNoise, expectedDF}
	}
	return spread{c.Noise, expectedDF}
}

// early looks within a round for what is plain to see, by the noise that is expected.
func (j *Judge) early() {
	incumbent, candidate := j.sides(j.goodput)
	incumbentP99, candidateP99 := j.sides(j.latency)
	if len(incumbent) == 0 || len(candidate) == 0 {
		return
	}
	aim := j.config.aimOf(stat.Mean(incumbentP99, nil), stat.Mean(candidateP99, nil))
	weight := 1 / (1/float64(len(incumbent)) + 1/float64(len(candidate)))
	m := measure{stat.Mean(candidate, nil) - stat.Mean(incumbent, nil), weight, j.config.expected(false)}
	if aim == byLatencies {
		m = measure{stat.Mean(candidateP99, nil) - stat.Mean(incumbentP99, nil), weight, j.config.expected(true)}
	}
	limit := -math.Log(j.config.SLO * (1 + j.config.Tolerance))
	over := measure{stat.Mean(candidateP99, nil), float64(len(candidate)), j.config.expected(true)}
	switch {
	case aim == byBreach && over.most(surer) < limit:
		j.end(Worse, Breach, j.breach())
	case aim != byGoodputs && aim != byLatencies:
	case m.most(surer) < 0:
		j.end(Worse, Loss, "a clear loss"+latencyToo(aim == byLatencies, m))
	case len(j.blocks) == laterRound && j.hope(m) < hopeless:
		j.end(NotBetter, Futile, "a gain has become improbable"+latencyToo(aim == byLatencies, m))
	}
	if m.effect > 0 && len(j.blocks) >= laterRound && j.ahead == 0 {
		j.ahead = len(j.blocks)
	}
}

func (j *Judge) breach() string { return "it breaks the SLO of " + ms(j.config.SLO) }

// look judges complete rounds.
func (j *Judge) look(rounds int) {
	v := view{newData(j.goodput, j.latency, j.orders), j.config.Rules}
	clear := j.test.look(j.orders[rounds-1], v.sums, v.gain)
	j.verdict.P = j.test.p
	g := v.counted(false)
	j.verdict.Effect, j.verdict.StdErr, j.verdict.Noise = math.Expm1(g.effect), math.Exp(g.effect)*g.err(), g.noise.sd
	_, byLatency := v.judged(v.drawn)
	m := v.counted(byLatency)
	fresh := j.fresh(byLatency)
	if j.ahead == 0 && m.effect > 0 {
		j.ahead = len(j.blocks)
	}
	last := rounds == j.config.Rounds
	if v.aim(v.drawn) == byBreach {
		j.lookBreach(v, last)
		return
	}
	margin := math.Log1p(j.config.Margin)
	most := m.most(sure)
	switch {
	case j.unstable():
	case clear && most >= margin && fresh > 0:
		j.clear, j.gain = len(j.blocks), j.why(byLatency, m)
	case m.effect <= -margin && most < 0:
		j.end(Worse, Loss, "a clear loss"+latencyToo(byLatency, m))
	case last && clear && most >= margin:
		j.end(NotBetter, Faded, "a gain that fresh deployments did not show again")
	case clear && (last || most < margin):
		j.end(NotBetter, Margin, fmt.Sprintf("a gain below the margin of %.1f %%", j.config.Margin*100))
	case last:
		j.end(NotBetter, Noise, fmt.Sprintf("within the noise at level %.2f", j.config.Alpha))
	case j.hope(measure{m.effect, m.weight, m.noise.with(j.config.expected(byLatency))}) < hopeless:
		j.end(NotBetter, Futile, "a gain has become improbable"+latencyToo(byLatency, m))
	}
}

func (j *Judge) lookBreach(v view, last bool) {
	over := v.counted(true)
	over.effect = stat.Mean(v.latency.values, nil) + v.latency.raw(v.drawn.latency)/2
	over.weight = float64(len(v.latency.values)) / 2
	if last || over.most(sure) < -math.Log(j.config.SLO*(1+j.config.Tolerance)) {
		j.end(Worse, Breach, j.breach())
	}
}

func (j *Judge) why(byLatency bool, m measure) string {
	if !byLatency {
		return "a clear gain (" + level(j.test.p) + ")"
	}
	end := "nearer to"
	if j.verdict.CandidateP99 <= j.config.SLO*(1+j.config.Tolerance) {
		end = "back under"
	}
	return fmt.Sprintf("P99 is clearly lower (%+.1f %%, %s), %s the SLO of %s", math.Expm1(-m.effect)*100, level(j.test.p), end, ms(j.config.SLO))
}

func latencyToo(byLatency bool, m measure) string {
	if !byLatency {
		return ""
	}
	return fmt.Sprintf(" in P99, which breaks the SLO (%+.1f %%)", math.Expm1(-m.effect)*100)
}

// fresh is the effect in the blocks after those that first spoke for the candidate: these may have been luck. Zero: there are none.
func (j *Judge) fresh(byLatency bool) float64 {
	if j.ahead == 0 {
		return 0
	}
	after := func(values []float64) (effect float64, ok bool) {
		var incumbent, candidate []float64
		for i := j.ahead; i < len(values); i++ {
			if j.side(i) == Candidate {
				candidate = append(candidate, values[i])
			} else {
				incumbent = append(incumbent, values[i])
			}
		}
		if len(incumbent) == 0 || len(candidate) == 0 {
			return 0, false
		}
		return center(candidate) - center(incumbent), true
	}
	effect, ok := after(j.goodput)
	if !ok {
		return 0
	}
	again := math.Expm1(effect)
	j.verdict.Recheck = &again
	if byLatency {
		effect, _ = after(j.latency)
	}
	return effect
}

// unstable ends the comparison when one of the candidate's deployments fell far below the others, and none of the incumbent's did so.
func (j *Judge) unstable() bool {
	incumbent, candidate := j.sides(j.goodput)
	deep := fall(candidate)
	if len(candidate) < 3 || deep < -math.Log1p(-fallen) || deep <= fall(incumbent) {
		return false
	}
	j.end(Worse, Unstable, fmt.Sprintf("one of its %d deployments fell %.0f %% below the others", len(candidate), -math.Expm1(-deep)*100))
	return true
}

// fall is by how much the lowest value lies below the typical one; it sorts the values.
func fall(values []float64) float64 { return median(values) - values[0] }

// hope is the probability that the effect will have become what a gain takes when all rounds are done, as far as can be said now.
func (j *Judge) hope(m measure) float64 {
	all := float64(planned(j.config.Rounds))
	err := m.noise.sd * 2 / math.Sqrt(all)
	need := quantile(1-j.config.Alpha, all) * err
	open := math.Sqrt(max(m.err()*m.err()-err*err, 0))
	return 1 - distuv.StudentsT{Mu: m.effect, Sigma: open, Nu: m.noise.df}.CDF(need)
}
