package search

import (
	"fmt"
	"math"
	"slices"
)

const (
	stride    = 10.0 // how much further than any rate that is known to be met a trial goes at most
	keepsUp   = 0.97 // of what is offered, to count as all of it
	fewest    = 100  // samples; fewer leave a P99 to a single record
	sure      = 0.95
	nearLimit = 1.1 // no use in going on once this close to where the generator ends
	margin    = 2.0 // the knee is looked for so far beyond Min and Max, so that it can turn out to be there
)

// search is the state of one search.
type search struct {
	c      Config
	trials []Trial
}

// note judges a trial and keeps it.
func (s *search) note(rate float64, o Outcome) {
	t := Trial{Number: len(s.trials) + 1, Of: s.c.Trials, Rate: rate, Outcome: o}
	t.Verdict, t.Why = s.judge(rate, o)
	s.trials = append(s.trials, t)
}

func (s *search) judge(rate float64, o Outcome) (Verdict, string) {
	short := s.short(o)
	idle := o.Offered < s.nearly(rate)
	switch {
	case o.GeneratorLimited && (short || o.Errors > 0 || o.P99 > s.c.SLO || idle):
		return Nothing, "the generator was the limit"
	case idle:
		return Nothing, fmt.Sprintf("only %s/s were offered", figure(o.Offered))
	case o.Errors > 0:
		return Breaches, fmt.Sprintf("%d records failed", o.Errors)
	case short:
		return Breaches, fmt.Sprintf("of %s/s offered, %s/s were acknowledged and %s/s consumed", figure(o.Offered), figure(o.Acked), figure(o.Consumed))
	case o.Samples < fewest:
		return Nothing, fmt.Sprintf("%d records are too few for a P99, which takes %d", o.Samples, fewest)
	case o.P99 > s.c.SLO && !o.Steady:
		return Breaches, "latency was still changing"
	case o.P99 > s.c.SLO:
		return Breaches, ""
	case !o.Steady:
		return Meets, "but latency was still changing, so it counts for less"
	}
	return Meets, ""
}

// nearly is the least that counts as all of a rate: what is counted over a time varies by the square root of the count.
func (s *search) nearly(rate float64) float64 {
	return keepsUp*rate - 3*math.Sqrt(rate/s.c.Measure.Seconds())
}

// short tells that less is served than offered.
func (s *search) short(o Outcome) bool { return min(o.Acked, o.Consumed) < s.nearly(o.Offered) }

// known is what the trials amount to.
type known struct {
	met      float64 // the highest rate that met the objective, 0 for none
	breached float64 // the lowest that breached it, +Inf for none
	low      float64 // the knee is not below, whichever one trial were wrong
	high     float64 // nor above
	limit    float64 // where the generator ends, +Inf when that is not known
	doubt    float64 // the lowest rate at which the generator failed, +Inf for none
	capacity float64 // served under overload, 0 when that is not known
	falls    float64 // the rate up to which latency falls with load
	points   []evidence
}

func (s *search) known() known {
	k := known{breached: math.Inf(1), high: math.Inf(1), limit: math.Inf(1), doubt: math.Inf(1), falls: s.falls()}
	var limits, met, breached []float64
	for _, t := range s.trials {
		switch {
		case t.Verdict == Nothing:
			limits = append(limits, t.Rate)
		case t.Verdict == Meets:
			k.met = max(k.met, t.Rate)
			met = append(met, t.Rate)
		case t.Rate > k.falls:
			k.breached = min(k.breached, t.Rate)
			breached = append(breached, t.Rate)
		}
	}
	if len(met) > 1 {
		k.low = slices.Sorted(slices.Values(met))[len(met)-2] / 1.25
	}
	if len(breached) > 1 {
		k.high = slices.Sorted(slices.Values(breached))[1] * 1.25
	}
	if k.low >= k.high { // the server is not the one that it was
		k.low, k.high = 0, math.Inf(1)
	}
	// Where more was met, it was bad luck. So may be one trial: it is repeated, because nothing was learnt from it.
	limits = slices.DeleteFunc(limits, func(rate float64) bool { return rate <= k.met })
	slices.Sort(limits)
	if len(limits) > 0 {
		k.doubt = limits[0]
	}
	if len(limits) > 1 {
		k.limit = limits[1]
	}
	for _, t := range s.trials {
		if t.Verdict == Nothing || t.Rate < k.met/margin || t.Rate <= k.falls {
			continue // no evidence, or none about where latency rises
		}
		k.points = append(k.points, s.point(t))
		if served := min(t.Outcome.Acked, t.Outcome.Consumed); s.short(t.Outcome) && served > 0.95*k.met {
			k.capacity = served
		}
	}
	return k
}

// falls is the rate up to which more load means less latency, as it does where records wait for others to make up a batch; 0 when that was not
// seen. A breach there says nothing about higher rates.
func (s *search) falls() float64 {
	met := math.Inf(1) // the lowest rate that met the objective: beyond it, latency rises if it changes
	for _, t := range s.trials {
		if t.Verdict == Meets {
			met = min(met, t.Rate)
		}
	}
	slow := func(t Trial) bool {
		return t.Verdict == Breaches && t.Rate < met && t.Outcome.Errors == 0 && !s.short(t.Outcome)
	}
	rate := 0.0
	for _, low := range s.trials {
		for _, high := range s.trials {
			if !slow(low) || high.Verdict == Nothing || low.Rate*1.5 > high.Rate || float64(low.Outcome.P99) < 1.2*float64(high.Outcome.P99) {
				continue
			}
			rate = max(rate, low.Rate)
			if slow(high) {
				rate = max(rate, high.Rate)
			}
		}
	}
	return rate
}

func (s *search) point(t Trial) evidence {
	e := evidence{x: math.Log(t.Rate), z: roof, spread: 1}
	o := t.Outcome
	if !o.Steady && t.Verdict == Meets {
		e.spread = 1.5
	}
	if t.Verdict == Meets || o.P99 > s.c.SLO && o.Errors == 0 {
		z := math.Log(float64(o.P99) / float64(s.c.SLO))
		e.z = min(max(z, floor), roof)
		e.plain = z < 2*floor || z > 3*roof
	}
	e.plain = e.plain || s.short(o)
	return e
}

func (s *search) learn(k known) posterior {
	return learn(k.points, math.Log(max(s.c.Min/margin, k.falls, k.low)), math.Log(min(s.c.Max*margin, k.high)), k.capacity)
}

// next is the rate of the next trial, or why there is none.
func (s *search) next() (rate float64, why string) {
	k := s.known()
	if len(s.trials) == 0 {
		return s.c.Start, ""
	}
	p := s.learn(k)
	if why := s.enough(k, &p); why != "" {
		return 0, why
	}
	if len(s.trials) >= s.c.Trials {
		return 0, fmt.Sprintf("all %d trials were made", s.c.Trials)
	}
	return s.choose(k, &p), ""
}

// enough says why no more trials are needed, if they are not.
func (s *search) enough(k known, p *posterior) string {
	tried := func(rate float64, v Verdict) bool {
		return slices.ContainsFunc(s.trials, func(t Trial) bool { return t.Rate == rate && t.Verdict == v })
	}
	low, mid, high := math.Exp(p.quantile(0.025)), math.Exp(p.quantile(0.5)), math.Exp(p.quantile(0.975))
	switch {
	case tried(s.c.Max, Meets) && p.above(math.Log(s.c.Max)) >= sure:
		return fmt.Sprintf("the highest rate to try, %s/s, meets the objective", figure(s.c.Max))
	case tried(s.c.Min, Breaches) && p.above(math.Log(s.c.Min)) <= 1-sure:
		return fmt.Sprintf("the lowest rate to try, %s/s, breaches the objective", figure(s.c.Min))
	case k.limit <= s.c.Min:
		return fmt.Sprintf("no trial at %s/s said anything: %s", figure(k.limit), s.silence())
	case k.met > 0 && k.limit <= nearLimit*k.met && p.above(math.Log(k.met)) >= 0.5:
		return fmt.Sprintf("beyond it trials say nothing (%s), first at %s/s", s.silence(), figure(k.limit))
	case k.met > 0 && !math.IsInf(k.breached, 1) && high-mid <= s.c.Within*mid && mid-low <= s.c.Within*mid:
		return fmt.Sprintf("known within %.3g %% either way", 100*max(high-mid, mid-low)/mid)
	}
	return ""
}

// silence is why the last trial that said nothing did not.
func (s *search) silence() string {
	for _, t := range slices.Backward(s.trials) {
		if t.Verdict == Nothing {
			return t.Why
		}
	}
	return ""
}

// choose is the rate that is as likely too high as too low, within reach of what is known.
func (s *search) choose(k known, p *posterior) float64 {
	rate := math.Exp(p.quantile(0.5))
	switch {
	case k.met > 0:
		rate = min(rate, k.met*stride)
	case k.falls > 0:
		rate = min(rate, k.falls*stride)
	case !math.IsInf(k.breached, 1):
		rate = max(rate, k.breached/stride)
	}
	switch {
	case math.IsInf(k.limit, 1):
		rate = min(rate, k.doubt)
	case k.met > 0:
		rate = min(rate, k.doubt, math.Sqrt(k.met*k.limit))
	default:
		rate = s.c.Min
	}
	return min(max(rate, s.c.Min), s.c.Max)
}
