package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var markup string

// HTML writes the report as one page that needs nothing else: no script, no network, no other file.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"whole": whole, "tenth": tenth, "percent": percent, "level": level, "took": took, "stamp": stamp, "why": why,
		"between": between, "goodput": func(e Estimate) string { return within(e, whole) }, "p99": func(e Estimate) string { return within(e, tenth) },
		"knownWhole": func(v *float64) string { return known(v, whole) }, "knownTenth": func(v *float64) string { return known(v, tenth) },
		"effect": effect,
		"point":  func(s *Side) string { return point(s.Point) },
		"arrow":  Change.arrow,
		"what":   Trial.what,
		"counts": Counts.trials,
	}).Parse(markup)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	err = t.Execute(w, struct {
		*Report
		Curve *curve
		Bars  []bar
		Span  *span
	}{r, r.curve(), r.bars(), r.span()})
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// The size of the chart; the page scales it.
const (
	chartWidth  = 720.0
	chartHeight = 260.0
	chartLeft   = 64.0
	chartBottom = 28.0
	chartTop    = 10.0
	chartRight  = 12.0
)

// curve is how the search went: one mark per measured trial, and a step line of the best that was kept.
type curve struct {
	Width, Height          float64
	Left, Right, Low, High float64 // of the plot
	Line                   string
	Marks                  []mark
	Across, Up             []tick
}

type mark struct {
	X, Y  float64
	Class string
	Title string
}

type tick struct {
	At    float64
	Label string
}

func (r *Report) curve() *curve {
	least, most := math.Inf(1), 0.0
	for _, s := range r.Convergence {
		for _, v := range []*float64{s.Measured, s.Best} {
			if v != nil {
				least, most = min(least, *v), max(most, *v)
			}
		}
	}
	if most <= 0 {
		return nil
	}
	c := &curve{Width: chartWidth, Height: chartHeight, Left: chartLeft, Right: chartWidth - chartRight, Low: chartHeight - chartBottom, High: chartTop}
	steps := niceSteps(0, most*1.05, 5)
	top := max(steps[len(steps)-1], most*1.05)
	n := float64(max(len(r.Convergence)-1, 1))
	x := func(i int) float64 { return round1(c.Left + (c.Right-c.Left)*float64(i)/n) }
	y := func(v float64) float64 { return round1(c.Low - (c.Low-c.High)*v/top) }
	for _, v := range steps {
		c.Up = append(c.Up, tick{y(v), whole(v)})
	}
	every := max(1, (len(r.Convergence)+11)/12)
	var line strings.Builder
	for i, s := range r.Convergence {
		if i%every == 0 {
			c.Across = append(c.Across, tick{x(i), fmt.Sprint(s.Trial)})
		}
		if s.Best != nil {
			if line.Len() == 0 {
				fmt.Fprintf(&line, "M%.1f %.1f", x(i), y(*s.Best))
			} else {
				fmt.Fprintf(&line, "H%.1fV%.1f", x(i), y(*s.Best))
			}
		}
		if s.Measured != nil {
			c.Marks = append(c.Marks, mark{x(i), y(*s.Measured), s.Outcome, fmt.Sprintf("trial %d: %s records/s, %s", s.Trial, whole(*s.Measured), s.Outcome)})
		}
	}
	c.Line = line.String()
	return c
}

func round1(v float64) float64 { return math.Round(v*10) / 10 }

// niceSteps are about n round values from low to high.
func niceSteps(low, high float64, n int) []float64 {
	raw := (high - low) / float64(n)
	decade := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * decade
	for _, f := range []float64{1, 2, 5} {
		if f*decade >= raw {
			step = f * decade
			break
		}
	}
	var out []float64
	for i := math.Ceil(low / step); i*step <= high; i++ {
		out = append(out, i*step)
	}
	return out
}

// bar is a knob's effects on a common scale, in percent of the bar's width.
type bar struct {
	Knob
	From, Width, Zero float64
}

func (r *Report) bars() []bar {
	low, high := 0.0, 0.0
	for _, k := range r.Knobs {
		low, high = min(low, k.Lowest), max(high, k.Most)
	}
	var out []bar
	for _, k := range r.Knobs {
		b := bar{Knob: k}
		if high > low {
			at := func(v float64) float64 { return round1(100 * (v - low) / (high - low)) }
			b.From, b.Width, b.Zero = at(k.Lowest), max(round1(at(k.Most)-at(k.Lowest)), 0.5), at(0)
		}
		out = append(out, b)
	}
	return out
}

// span shows the intervals before and after on a common scale, in percent of its width.
type span struct{ Rows []interval }

type interval struct {
	Name             string
	At, From, Width  float64
	Text             string
	WithoutEstimates bool
}

func (r *Report) span() *span {
	if r.Before == nil || r.Goodput == nil {
		return nil
	}
	high := 0.0
	rows := []struct {
		name string
		e    Estimate
	}{{"before", r.Before.Goodput}, {"after", r.After.Goodput}}
	for _, row := range rows {
		high = max(high, row.e.Value)
		if row.e.High != nil {
			high = max(high, *row.e.High)
		}
	}
	out := &span{}
	for _, row := range rows {
		at := func(v float64) float64 { return round1(100 * v / (high * 1.05)) }
		i := interval{Name: row.name, At: at(row.e.Value), Text: within(row.e, whole) + " records/s", WithoutEstimates: row.e.Low == nil}
		if row.e.Low != nil {
			i.From, i.Width = at(*row.e.Low), max(round1(at(*row.e.High)-at(*row.e.Low)), 0.5)
		}
		out.Rows = append(out.Rows, i)
	}
	return out
}
