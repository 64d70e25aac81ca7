// Package surfaces makes surfaces for the tuner's search to be measured on: what a system would do for each of its configurations.
//
// Named are a few that each hold one difficulty, for the record. Family makes as many as one likes of several kinds, by seed, so that a choice
// in the search can be made on some and checked on others. Both are formulas and random numbers from a seed; none is fitted to a search.
// It promises the same surface for the same name or seed, everywhere. Real recordings are elsewhere.
package surfaces

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Knob is a column with its values, numbers or names.
type Knob struct {
	Name   string
	Values []string
	Names  bool
	Log    bool
	// Only says with which value of which knob this one means anything; empty: always.
	OnlyKnob, OnlyValue string
}

// Surface is the rows of a system.
type Surface struct {
	Name  string
	What  string // the difficulty
	Knobs []Knob
	Start []int // of each knob, which value
	Limit float64
	// Noise and Outliers are what it is to be measured with.
	Noise, Outliers float64

	rows []row
}

type row struct {
	at                  []int
	throughput, latency float64
}

// figures is what a system does at a configuration, given as each knob's place among its values.
type figures func(at []int) (throughput, latency float64)

// most rows of a surface; of a larger space as many are drawn.
const most = 3000

// fill evaluates the system on its grid. rough is the deviation of what a recording keeps of its own noise.
func (s *Surface) fill(seed uint64, rough float64, f figures) {
	r := rand.New(rand.NewPCG(seed, 7))
	if s.Start == nil {
		s.Start = make([]int, len(s.Knobs))
	}
	size := 1
	for _, k := range s.Knobs {
		size *= len(k.Values)
	}
	take := draw(r, size, min(most, size))
	start := 0
	for i := len(s.Knobs) - 1; i >= 0; i-- {
		start = start*len(s.Knobs[i].Values) + s.Start[i]
	}
	if !slices.Contains(take, start) {
		take[0] = start
	}
	slices.Sort(take)
	for _, code := range take {
		at := make([]int, len(s.Knobs))
		for i, k := range s.Knobs {
			at[i] = code % len(k.Values)
			code /= len(k.Values)
		}
		if s.pointless(at) {
			continue
		}
		t, l := f(at)
		s.rows = append(s.rows, row{at, t * math.Exp(rough*r.NormFloat64()), l * math.Exp(rough*r.NormFloat64())})
	}
}

// draw is n different numbers below size.
func draw(r *rand.Rand, size, n int) []int {
	if size <= 20*n {
		return r.Perm(size)[:n]
	}
	seen := map[int]bool{}
	var out []int
	for len(out) < n {
		if v := r.IntN(size); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// pointless is a value of a knob that means nothing there, other than its first.
func (s *Surface) pointless(at []int) bool {
	for i, k := range s.Knobs {
		if k.OnlyKnob == "" || at[i] == 0 {
			continue
		}
		j := slices.IndexFunc(s.Knobs, func(o Knob) bool { return o.Name == k.OnlyKnob })
		if s.Knobs[j].Values[at[j]] != k.OnlyValue {
			return true
		}
	}
	return false
}

// bound sets the latency's limit so that the given part of the configurations holds it.
func (s *Surface) bound(part float64) {
	latencies := make([]float64, len(s.rows))
	for i, r := range s.rows {
		latencies[i] = r.latency
	}
	slices.Sort(latencies)
	s.Limit, _ = strconv.ParseFloat(strconv.FormatFloat(latencies[int(part*float64(len(latencies)-1))], 'g', 4, 64), 64)
}

// startAt moves the start to the row that is at the given part of the order by throughput, among those that hold the limit or not.
func (s *Surface) startAt(part float64, feasible bool) {
	var of []row
	for _, r := range s.rows {
		if (r.latency <= s.Limit) == feasible {
			of = append(of, r)
		}
	}
	if len(of) == 0 {
		of = s.rows
	}
	slices.SortStableFunc(of, func(a, b row) int { return cmp.Compare(a.throughput, b.throughput) })
	s.Start = of[int(part*float64(len(of)-1))].at
}

// CSV is the rows with a header.
func (s *Surface) CSV() []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	var header []string
	for _, k := range s.Knobs {
		header = append(header, k.Name)
	}
	_ = w.Write(append(header, "throughput", "latency")) // a buffer takes everything
	for _, r := range s.rows {
		var cells []string
		for i, k := range s.Knobs {
			cells = append(cells, k.Values[r.at[i]])
		}
		_ = w.Write(append(cells, strconv.FormatFloat(r.throughput, 'g', 6, 64), strconv.FormatFloat(r.latency, 'g', 6, 64)))
	}
	w.Flush()
	return out.Bytes()
}

// YAML is the file for tuner replay.
func (s *Surface) YAML() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\nmaximize: throughput\nconstraints: latency <= %g\nknobs:\n", s.What, s.Limit)
	for i, k := range s.Knobs {
		fmt.Fprintf(&out, "  - name: %s\n", k.Name)
		if k.Names {
			fmt.Fprintf(&out, "    type: categorical\n")
		}
		if k.Log {
			fmt.Fprintf(&out, "    scale: log\n")
		}
		if k.OnlyKnob != "" {
			fmt.Fprintf(&out, "    when: {knob: %s, in: [%q]}\n", k.OnlyKnob, k.OnlyValue)
		}
		fmt.Fprintf(&out, "    default: %q\n", k.Values[s.Start[i]])
	}
	return []byte(out.String())
}

// Write puts both files into a folder and gives their paths.
func (s *Surface) Write(dir string) (surface, space string, err error) {
	surface, space = filepath.Join(dir, s.Name+".csv"), filepath.Join(dir, s.Name+".yaml")
	if err := os.WriteFile(surface, s.CSV(), 0o644); err != nil {
		return "", "", fmt.Errorf("write surface: %w", err)
	}
	if err := os.WriteFile(space, s.YAML(), 0o644); err != nil {
		return "", "", fmt.Errorf("write surface: %w", err)
	}
	return surface, space, nil
}

// numbers are values from low to high, evenly spread, by ratio if log.
func numbers(name string, low, high float64, n int, log bool) Knob {
	k := Knob{Name: name, Log: log}
	for i := range n {
		part := float64(i) / float64(n-1)
		v := low + part*(high-low)
		if log {
			v = low * math.Pow(high/low, part)
		}
		if high > 8 || low >= 1 && high-low >= float64(n-1) {
			v = math.Round(v)
		}
		text := strconv.FormatFloat(v, 'g', 4, 64)
		if !slices.Contains(k.Values, text) {
			k.Values = append(k.Values, text)
		}
	}
	return k
}

func names(name string, values ...string) Knob { return Knob{Name: name, Values: values, Names: true} }

// part is where a value is between the first (0) and the last (1).
func (k Knob) part(at int) float64 { return float64(at) / float64(len(k.Values)-1) }

// amount is the value as a number.
func (k Knob) amount(at int) float64 {
	v, _ := strconv.ParseFloat(k.Values[at], 64)
	return v
}
