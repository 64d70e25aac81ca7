package main

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// summary is an entrant's results together. Each figure is the median of its repeats.
type summary struct {
	Entrant             string
	Runs                int
	Start, End          spread
	Gain                spread
	Violation, Restarts float64
	Changes, Lost       float64
	Breaches            int // runs that ended with the SLO broken
	Gains               []float64
}

type spread struct{ Low, Median, High float64 }

func over(rs []result, of func(result) float64) spread {
	v := make([]float64, len(rs))
	for i, r := range rs {
		v[i] = of(r)
	}
	slices.Sort(v)
	return spread{v[0], (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[len(v)-1]}
}

// summarise orders entrants by what they came to, the best first.
func summarise(p plan, results []result) []summary {
	var all []summary
	for _, e := range p.Entrants {
		var rs []result
		for _, r := range results {
			if r.Entrant == e {
				rs = append(rs, r)
			}
		}
		if len(rs) == 0 {
			continue
		}
		s := summary{
			Entrant: e, Runs: len(rs),
			Start:     over(rs, func(r result) float64 { return r.Start.Goodput }),
			End:       over(rs, func(r result) float64 { return r.End.Goodput }),
			Gain:      over(rs, result.gain),
			Violation: over(rs, func(r result) float64 { return r.Violation }).Median,
			Restarts:  over(rs, func(r result) float64 { return r.Restarts }).Median,
			Changes:   over(rs, func(r result) float64 { return float64(r.Changes) }).Median,
		}
		for _, r := range rs {
			s.Lost += r.Lost
			s.Gains = append(s.Gains, r.gain())
			if r.Breach {
				s.Breaches++
			}
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b summary) int { return cmp.Compare(b.End.Median, a.End.Median) })
	return all
}

// table is the comparison in Markdown.
func table(p plan, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Workload %s, %s each. Goodput is records/s acknowledged at the SLO, median (lowest to highest); lost records and ends in breach are sums, the others medians.\n\n", p.Workload, p.Budget)
	b.WriteString("| entrant | runs | goodput at the start | at the end | gain | s in breach while tuning | restarts | changes | lost | ended in breach |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range summarise(p, results) {
		fmt.Fprintf(&b, "| %s | %d | %.0f (%.0f to %.0f) | %.0f (%.0f to %.0f) | %.2f × (%.2f to %.2f) | %.0f | %.0f | %.0f | %.0f | %d |\n", s.Entrant, s.Runs,
			s.Start.Median, s.Start.Low, s.Start.High, s.End.Median, s.End.Low, s.End.High, s.Gain.Median, s.Gain.Low, s.Gain.High,
			s.Violation, s.Restarts, s.Changes, s.Lost, s.Breaches)
	}
	return b.String()
}

//go:embed picture.svg
var pictureText string

// picture has one row for each entrant: a dot for the end of each run, a stroke for the median, over the starts of all.
var picture = template.Must(template.New("picture").Parse(pictureText))

type row struct {
	Entrant string
	Y       int
	Median  float64
	Label   string
	Dots    []float64
}

type tick struct {
	X     float64
	Label string
}

const (
	left, wide = 110.0, 520.0 // of the part with the dots
	high       = 34           // of a row
)

func draw(p plan, results []result) (string, error) {
	all := summarise(p, results)
	most := 1.0
	for _, s := range all {
		most = max(most, s.Gain.High)
	}
	unit := 0.5
	for most/unit > 8 {
		unit *= 2
	}
	x := func(gain float64) float64 { return left + wide*gain/(unit*float64(int(most/unit)+1)) }
	v := struct {
		Rows           []row
		Ticks          []tick
		Height, Bottom int
	}{Bottom: high*len(all) + 20, Height: high*len(all) + 60}
	for t := 0.0; t <= unit*float64(int(most/unit)+1); t += unit {
		v.Ticks = append(v.Ticks, tick{x(t), fmt.Sprintf("%.3g ×", t)})
	}
	for i, s := range all {
		r := row{Entrant: s.Entrant, Y: 30 + i*high, Median: x(s.Gain.Median), Label: fmt.Sprintf("%.2f ×", s.Gain.Median)}
		for _, g := range s.Gains {
			r.Dots = append(r.Dots, x(g))
		}
		v.Rows = append(v.Rows, r)
	}
	var b strings.Builder
	err := picture.Execute(&b, v)
	return b.String(), err
}

// write puts table and picture beside the results.
func write(dir string, p plan, results []result) error {
	svg, err := draw(p, results)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "arena.md"), []byte(table(p, results)), 0o644),
		os.WriteFile(filepath.Join(dir, "arena.svg"), []byte(svg), 0o644))
}
