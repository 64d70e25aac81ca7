package watch

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

const (
	label   = 12 // width of the names at the left
	figures = 48 // where the curves begin
	atMost  = 10 // knobs that are listed
	history = time.Hour
)

// screen is what is shown, and where in the list of trials.
type screen struct {
	address string
	moment  Moment
	samples []Sample // of the last hour, oldest first
	problem string   // why the newest figures are not; empty: they are
	since   time.Time
	scroll  int // trials that are above the window
	keys    bool
}

// frame is the screen in height rows of width cells; a height of 0 is as many as it takes. It keeps the scroll inside the list.
func (s *screen) frame(wide, height int) []line {
	st := s.moment.Status
	var top []line
	top = append(top, s.head(wide), s.state())
	top = append(top, s.live(wide)...)
	top = append(top, s.trial(wide)...)
	top = append(top, knobs(st.Knobs)...)
	top = append(top, s.health())
	foot := s.foot()
	if height == 0 {
		all := append(top, s.changes(6)...)
		return append(append(all, s.trials(10)...), foot...)
	}
	// The list of trials can be scrolled, so the changes come first where there is little room.
	room := height - len(top) - len(foot)
	all := append(top, s.changes(min(max(room/3, 4), 9))...)
	rest := height - len(all) - len(foot)
	all = append(all, s.trials(max(rest-1, 0))...)
	all = append(all, make([]line, max(height-len(all)-len(foot), 0))...)
	return append(all[:max(height-len(foot), 0)], foot...)
}

func (s *screen) head(wide int) line {
	var l line
	l.add(bold, "kafkalab tuner")
	l.add(plain, "  mode %s  ", s.moment.Status.Mode)
	l.add(dim, "%s", safe(s.address))
	if at := s.moment.Status.Time; !at.IsZero() {
		clock := at.UTC().Format(time.TimeOnly) + " UTC"
		l.pad(wide - len(clock))
		l.add(plain, "%s", clock)
	}
	return l
}

func (s *screen) state() line {
	st := s.moment.Status
	var l line
	if s.problem != "" {
		l.add(red, "%s", fill("not current", label))
		l.add(red, "for %s: %s", ago(time.Since(s.since)), safe(s.problem))
		return l
	}
	look := green
	switch st.State {
	case status.Holding, status.Stopped:
		look = red
	case status.Paused, status.Awaiting, status.Standby, status.Starting:
		look = yellow
	}
	l.add(look, "%s", fill(string(st.State), label))
	l.add(plain, "trials %d of %d, restarts %d of %d, breaches %.0f of %.0f s", st.Budget.TrialsUsed, st.Budget.Trials,
		st.Budget.RestartsUsed, st.Budget.Restarts, st.Budget.ViolationUsed, st.Budget.Violation)
	if st.Reason != "" {
		l.add(dim, "; %s", safe(st.Reason))
	}
	return l
}

// live are the figures of now, with the curve of the last hour beside them.
func (s *screen) live(wide int) []line {
	st := s.moment.Status
	room := wide - figures
	var p99, rate line
	p99.add(bold, "%s", fill("P99", label))
	look := green
	switch {
	case st.Live.P99 == nil:
		p99.add(yellow, "%s: %s", status.NotKnown, safe(st.Live.Missing["p99"]))
	case *st.Live.P99 > st.SLO:
		look = red
		fallthrough
	default:
		p99.add(look, "%.1f ms", *st.Live.P99)
		p99.add(plain, ", SLO %.0f ms (%.0f %%)", st.SLO, 100**st.Live.P99/st.SLO)
	}
	rate.add(bold, "%s", fill("rate", label))
	rate.add(plain, "%s/s of %s offered, %s read", whole(st.Live.Acked), whole(st.Live.Offered), whole(st.Live.Consumed))
	if room >= 8 && len(s.samples) > 1 {
		worst := columns(s.samples, room, func(x Sample) float64 { return x.P99 }, math.Max)
		top := 1.25 * st.SLO
		for _, v := range worst {
			if v > top { // not max: of a number and a NaN that is NaN
				top = v
			}
		}
		curve(&p99, worst, top, st.SLO)
		rates := columns(s.samples, room, func(x Sample) float64 { return x.Rate }, math.Max)
		most := 0.0
		for _, v := range rates {
			if v > most {
				most = v
			}
		}
		curve(&rate, rates, most, math.Inf(1))
	}
	var goal line
	goal.add(bold, "%s", fill("goodput", label))
	goal.add(plain, "start %s, best %s/s", whole(st.Goal.Baseline), whole(st.Goal.Best))
	if st.Goal.Ratio != nil {
		look := plain
		if *st.Goal.Ratio > 1.02 {
			look = green
		}
		goal.add(look, " (%.2f ×)", *st.Goal.Ratio)
	}
	if n := len(s.samples); n > 1 && room >= 8 {
		goal.pad(figures)
		goal.add(dim, "%s", cut("└ the last "+ago(s.samples[n-1].Time.Sub(s.samples[0].Time)), room))
	}
	return []line{p99, rate, goal}
}

// curve adds the values, those above the limit in red.
func curve(l *line, values []float64, top, limit float64) {
	*l = l.fit(figures - 1)
	l.pad(figures)
	for start := 0; start < len(values); {
		over := values[start] > limit
		end := start
		for end < len(values) && (values[end] > limit) == over {
			end++
		}
		look := blue
		if over {
			look = red
		}
		l.add(look, "%s", spark(values[start:end], top))
		start = end
	}
}

// trial is the running one and how far it is.
func (s *screen) trial(wide int) []line {
	st := s.moment.Status
	var what, far line
	t := st.Trial
	if t == nil {
		what.add(bold, "%s", fill("trial", label))
		if n := st.Next; n != nil {
			what.add(yellow, "proposed: %s %s → %s", safe(n.Env), safe(n.Old), safe(n.New))
			far.pad(label)
			far.add(dim, "%s", safe(n.Reason))
		} else {
			what.add(dim, "none runs")
		}
		return []line{what, far}
	}
	what.add(bold, "%s", fill(fmt.Sprintf("trial %d", t.Number), label))
	what.add(plain, "%s", safe(t.Summary()))
	if t.Reason != "" {
		what.add(dim, "  %s", safe(t.Reason))
	}
	far.pad(label)
	share, detail := s.moment.Plan.progress(*t, st.Time)
	far.add(blue, "%s", bar(share, min(max(wide-label-50, 10), 40)))
	far.add(plain, " %s%s, for %s", t.Phase, detail, ago(st.Time.Sub(t.Since)))
	return []line{what, far}
}

// progress is which share of the trial is behind it. Each phase counts the same: how long one takes is known of few.
func (p Plan) progress(t status.Trial, now time.Time) (share float64, detail string) {
	phases := ledger.Phases()
	i := slices.Index(phases, ledger.Phase(t.Phase))
	last := slices.Index(phases, ledger.Judged)
	within := 0.0
	long := map[ledger.Phase]float64{ledger.Settling: p.Settle, ledger.Warming: p.Warmup}[ledger.Phase(t.Phase)]
	switch {
	case ledger.Phase(t.Phase) == ledger.Measuring && p.Windows > 0:
		within, detail = float64(t.WindowsSoFar)/float64(p.Windows), fmt.Sprintf(", %d of %d windows", t.WindowsSoFar, p.Windows)
	case ledger.Phase(t.Phase) == ledger.Measuring && t.WindowsSoFar > 0:
		detail = fmt.Sprintf(", %d windows", t.WindowsSoFar)
	case long > 0:
		within = now.Sub(t.Since).Seconds() / long
	}
	return min((float64(max(i, 0))+min(within, 1))/float64(last), 1), detail
}

func knobs(all []status.Knob) []line {
	var head line
	head.add(bold, "%s", fill("knobs", label))
	head.add(dim, "%12s %12s %12s", "desired", "effective", "best")
	lines := []line{head}
	for i, k := range all {
		if i == atMost && len(all) > atMost+1 {
			var more line
			more.add(dim, "and %d more", len(all)-i)
			return append(lines, more)
		}
		var l line
		name := safe(k.Name)
		l.add(plain, "%s", fill(name, max(label, min(cells(name)+1, 24))))
		look := plain
		if k.Desired != nil && k.Effective != nil && *k.Desired != *k.Effective {
			look = yellow
		}
		l.add(plain, "%12s ", integer(k.Desired))
		l.add(look, "%12s ", integer(k.Effective))
		l.add(plain, "%12s %s", integer(k.Best), safe(k.Unit))
		lines = append(lines, l)
	}
	return lines
}

func (s *screen) health() line {
	var l line
	l.add(bold, "%s", fill("health", label))
	bad := 0
	for _, p := range s.moment.Health {
		if p.State == "good" {
			continue
		}
		if bad > 0 {
			l.add(plain, "; ")
		}
		bad++
		look := yellow
		if p.State == "bad" {
			look = red
		}
		l.add(look, "%s: %s", safe(p.Name), safe(p.Text))
	}
	if bad == 0 {
		l.add(green, "good")
		for i, p := range s.moment.Health {
			if i == 0 {
				l.add(dim, ": ")
			} else {
				l.add(dim, ", ")
			}
			l.add(dim, "%s", safe(p.Name))
		}
	}
	return l
}

func look(outcome string) style {
	switch outcome {
	case string(ledger.OutcomeKept), string(ledger.OutcomeBetter):
		return green
	case string(ledger.OutcomeReverted), string(ledger.OutcomeWorse):
		return red
	case string(ledger.OutcomeInconclusive), string(ledger.OutcomeDiscarded), string(ledger.OutcomeNotBetter):
		return yellow
	case study.Attempted:
		return blue
	case study.OutsideDone:
		return purple
	}
	return plain
}

// changes are the last ones, newest first, under a title.
func (s *screen) changes(most int) []line {
	var title line
	title.add(bold, "last changes")
	lines := []line{title}
	all := s.moment.Status.Changes
	for i := len(all) - 1; i >= max(0, len(all)-most+1); i-- {
		c := all[i]
		var l line
		l.add(dim, "%s ", c.Time.UTC().Format(time.TimeOnly))
		l.add(look(c.Outcome), "%s ", fill(c.Outcome, 12))
		if c.Knob != "" {
			l.add(plain, "%s %s → %s", safe(c.Knob), safe(c.Old), safe(c.New))
		}
		if c.Effect != nil && c.Outcome != study.Attempted {
			l.add(plain, ", %+.1f %%", *c.Effect*100)
		}
		l.add(plain, ", by %s", safe(c.Author))
		lines = append(lines, l)
	}
	if len(all) == 0 {
		lines = append(lines, line{{"none yet", dim}})
	}
	return lines
}

// trials are those in the window of so many rows, newest first, under a title with the heads of the columns.
func (s *screen) trials(most int) []line {
	all := s.moment.Status.Trials
	s.scroll = min(max(s.scroll, 0), max(len(all)-most, 0))
	var title line
	title.add(bold, "%s", fill("trials", label))
	lines := []line{title}
	change := 0
	for row := range min(most, len(all)-s.scroll) {
		change = max(change, cells(all[len(all)-1-s.scroll-row].Summary()))
	}
	change = min(max(change, 20), 40)
	for row := range min(most, len(all)-s.scroll) {
		t := all[len(all)-1-s.scroll-row]
		var l line
		l.add(plain, "%5d  %s ", t.Number, fill(safe(t.Summary()), change))
		word := cmp.Or(t.Outcome, t.Phase)
		l.add(look(word), "%s ", fill(word, 12))
		effect := ""
		if t.Effect != nil {
			effect = fmt.Sprintf("%+.1f %%", *t.Effect*100)
		}
		l.add(plain, "%9s ", effect)
		l.add(dim, " %s", safe(t.Reason))
		lines = append(lines, l)
	}
	if shown := len(lines) - 1; shown > 0 {
		first := len(all) - s.scroll
		lines[0].add(dim, "%d to %d of %d, with their outcome, effect and reason", first, first-shown+1, len(all))
	} else {
		lines[0].add(dim, "none")
	}
	return lines
}

func (s *screen) foot() []line {
	if !s.keys {
		return nil
	}
	return []line{{{"q quit   j/k, arrows, space: scroll the trials   g/G: newest, oldest", dim}}}
}

// columns puts samples into so many columns of equal time; a column without a figure is NaN.
func columns(samples []Sample, count int, of func(Sample) float64, both func(a, b float64) float64) []float64 {
	out := make([]float64, count)
	for i := range out {
		out[i] = math.NaN()
	}
	if len(samples) == 0 {
		return out
	}
	from, to := samples[0].Time, samples[len(samples)-1].Time
	long := to.Sub(from)
	for _, x := range samples {
		v := of(x)
		if math.IsNaN(v) {
			continue
		}
		i := count - 1
		if long > 0 {
			i = min(int(float64(x.Time.Sub(from))/float64(long)*float64(count)), count-1)
		}
		if math.IsNaN(out[i]) {
			out[i] = v
		} else {
			out[i] = both(out[i], v)
		}
	}
	return out
}

func whole(v *float64) string {
	if v == nil {
		return status.NotKnown
	}
	return fmt.Sprintf("%.0f", *v)
}

func integer(v *int64) string {
	if v == nil {
		return status.NotKnown
	}
	return fmt.Sprint(*v)
}
