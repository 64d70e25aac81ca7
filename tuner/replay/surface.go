package replay

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/space/spec"
)

// sheet is a CSV with a header.
type sheet struct {
	names []string
	rows  [][]string
}

func readSheet(path string) (*sheet, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read surface: %w", err)
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.TrimLeadingSpace = true
	r.Comment = '#'
	s := &sheet{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read surface %s: %w", path, err)
		}
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if s.names == nil {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			s.names = slices.Clone(row)
			continue
		}
		s.rows = append(s.rows, row)
	}
	if len(s.rows) == 0 {
		return nil, fmt.Errorf("read surface %s: want a header and at least one row (got %d lines)", path, min(len(s.names), 1))
	}
	return s, nil
}

func (s *sheet) has(name string) bool { return slices.Contains(s.names, name) }

// column is the cells of the name.
func (s *sheet) column(name string) []string {
	at := slices.Index(s.names, name)
	out := make([]string, len(s.rows))
	for i, row := range s.rows {
		out[i] = row[at]
	}
	return out
}

// complete says of a knob what its column holds, where the file does not.
func (s *sheet) complete(k spec.Knob) spec.Knob {
	cells := s.column(k.Name)
	if k.Type == "" {
		k.Type = typeOf(cells, k)
	}
	switch k.Type {
	case space.Categorical:
		if len(k.Choices) == 0 {
			k.Choices = slices.Compact(slices.Sorted(slices.Values(cells)))
		}
	case space.Int, space.Float:
		var numbers []float64
		for _, c := range cells {
			if v, err := strconv.ParseFloat(c, 64); err == nil && !slices.Contains(k.Special, strict.Number(c)) {
				numbers = append(numbers, v)
			}
		}
		slices.Sort(numbers)
		numbers = slices.Compact(numbers)
		if len(k.Steps) == 0 {
			for _, v := range numbers {
				k.Steps = append(k.Steps, number(v))
			}
			if k.Min == "" && len(numbers) > 0 {
				k.Min = number(numbers[0])
			}
			if k.Max == "" && len(numbers) > 0 {
				k.Max = number(numbers[len(numbers)-1])
			}
		}
	}
	return k
}

// noNumber is the first row in which a knob of numbers has none.
func (s *sheet) noNumber(k spec.Knob) (row int, text string) {
	if k.Type != space.Int && k.Type != space.Float {
		return 0, ""
	}
	for i, c := range s.column(k.Name) {
		if _, err := strconv.ParseFloat(c, 64); err != nil {
			return i + 2, c
		}
	}
	return 0, ""
}

func (s *sheet) constant(name string) bool {
	cells := s.column(name)
	return !slices.ContainsFunc(cells, func(c string) bool { return c != cells[0] })
}

func number(v float64) strict.Number { return strict.Number(strconv.FormatFloat(v, 'f', -1, 64)) }

func typeOf(cells []string, k spec.Knob) space.Type {
	whole, numbers, truths := true, true, true
	for _, c := range cells {
		v, err := strconv.ParseFloat(c, 64)
		numbers = numbers && err == nil
		whole = whole && err == nil && v == math.Trunc(v)
		truths = truths && (strings.EqualFold(c, "true") || strings.EqualFold(c, "false"))
	}
	switch {
	case len(k.Choices) > 0:
		return space.Categorical
	case truths:
		return space.Bool
	case whole:
		return space.Int
	case numbers:
		return space.Float
	}
	return space.Categorical
}

// Surface is what a system does for each configuration that was recorded.
type Surface struct {
	Space  space.Space
	Pool   []space.Point
	Start  space.Point
	Bounds []search.Bound
	// Minimize says that a smaller objective is better.
	Minimize bool
	// RestartCost is what a restart costs, in measurements.
	RestartCost float64
	Objective   string
	// Optimum is the best value that holds the bounds, of the row Best.
	Optimum, Least float64
	Best           int
	// Merged is how many rows were of a configuration that had one already; their means are taken.
	Merged int

	truth []search.Trial // of each point of the pool
	index map[string]int
}

// Load reads a surface and the file that says what is to be found on it.
func Load(surface, spaceFile string) (*Surface, error) {
	sheet, err := readSheet(surface)
	if err != nil {
		return nil, err
	}
	f, r, err := load(spaceFile, sheet)
	if err != nil {
		return nil, err
	}
	sp, err := f.build(spaceFile, r, sheet)
	if err != nil {
		return nil, err
	}
	bounds, err := f.Bounds()
	if err != nil {
		return nil, err
	}
	s := &Surface{Space: sp, Bounds: bounds, Minimize: f.Minimize != "", RestartCost: f.RestartCost, Objective: f.Objective(), index: map[string]int{}}
	if err := s.fill(surface, sheet); err != nil {
		return nil, err
	}
	s.Start = s.nearest(f, sheet)
	return s, s.optimum(surface)
}

// fill reads the rows. A row whose objective or bound is no number is a configuration that failed.
func (s *Surface) fill(path string, sheet *sheet) error {
	columns := make([][]string, len(s.Space.Knobs))
	for i, k := range s.Space.Knobs {
		columns[i] = sheet.column(k.Name)
	}
	measured := [][]string{sheet.column(s.Objective)}
	for _, b := range s.Bounds {
		measured = append(measured, sheet.column(b.Name))
	}
	count := map[string]float64{}
	var errs []error
	for row := range sheet.rows {
		p := space.Point{}
		for i, k := range s.Space.Knobs {
			v, err := k.Value(columns[i][row])
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: row %d: %w", path, row+2, err))
			}
			p[k.Name] = v
		}
		p = s.Space.Canonical(p)
		t := search.Trial{Point: p, Bounds: make([]float64, len(s.Bounds))}
		for i, column := range measured {
			v, err := strconv.ParseFloat(column[row], 64)
			t.Failed = t.Failed || err != nil || math.IsNaN(v) || math.IsInf(v, 0)
			if i == 0 {
				t.Value = v
			} else {
				t.Bounds[i-1] = v
			}
		}
		s.merge(t, count)
	}
	if len(errs) > 20 {
		errs = append(errs[:20], fmt.Errorf("and %d more", len(errs)-20))
	}
	return errors.Join(errs...)
}

func (s *Surface) merge(t search.Trial, count map[string]float64) {
	key := t.Point.Key()
	at, twice := s.index[key]
	if !twice {
		s.index[key] = len(s.Pool)
		s.Pool = append(s.Pool, t.Point)
		s.truth = append(s.truth, t)
		count[key] = 1
		return
	}
	s.Merged++
	old := &s.truth[at]
	n := count[key]
	count[key]++
	old.Failed = old.Failed || t.Failed
	old.Value += (t.Value - old.Value) / (n + 1)
	for i := range old.Bounds {
		old.Bounds[i] += (t.Bounds[i] - old.Bounds[i]) / (n + 1)
	}
}

// nearest is the row that is like the defaults in most knobs; without any default the first row.
func (s *Surface) nearest(f File, sheet *sheet) space.Point {
	best, least := s.Pool[0], math.Inf(1)
	for _, p := range s.Pool {
		distance := 0.0
		for i, k := range s.Space.Knobs {
			if f.Knobs[i].Default == "" || p[k.Name] == k.Default {
				continue
			}
			distance++
			if span := k.Float(k.Max) - k.Float(k.Min); !k.Named() && span > 0 {
				distance += min(math.Abs(k.Float(p[k.Name])-k.Float(k.Default))/span, 1) - 0.5
			}
		}
		if distance < least {
			best, least = p, distance
		}
	}
	return best
}

func (s *Surface) optimum(path string) error {
	s.Best, s.Least = -1, math.NaN()
	for i, t := range s.truth {
		if t.Failed {
			continue
		}
		if !(s.Least <= t.Value) && !s.Minimize || !(s.Least >= t.Value) && s.Minimize {
			s.Least = t.Value
		}
		if s.feasible(t) && (s.Best < 0 || s.better(t.Value, s.Optimum)) {
			s.Best, s.Optimum = i, t.Value
		}
	}
	if s.Best < 0 {
		return fmt.Errorf("read surface %s: want a row that holds the constraints (got none of %d)", path, len(s.truth))
	}
	return nil
}

func (s *Surface) better(a, b float64) bool {
	if s.Minimize {
		return a < b
	}
	return a > b
}

func (s *Surface) feasible(t search.Trial) bool {
	for i, b := range s.Bounds {
		if !b.Holds(t.Bounds[i]) {
			return false
		}
	}
	return !t.Failed
}

// Fraction is how good a value is compared with the optimum. Where values are not all positive a ratio means nothing; then it is the part of the
// way from the worst to the optimum.
func (s *Surface) Fraction(v float64) float64 {
	switch {
	case s.Optimum > 0 && s.Minimize:
		return s.Optimum / v
	case s.Optimum > 0 && s.Least >= 0:
		return v / s.Optimum
	}
	return (v - s.Least) / (s.Optimum - s.Least)
}
