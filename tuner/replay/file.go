package replay

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/space/spec"
)

// File says what is to be found on a surface: the objective and the constraints by the names of their columns, and the knobs. What a knob does
// not say (type, range, choices) is what its column holds.
type File struct {
	Maximize    string      `yaml:"maximize"`
	Minimize    string      `yaml:"minimize"`
	Constraints conditions  `yaml:"constraints"` // as latency <= 50
	Knobs       []spec.Knob `yaml:"knobs"`
	Limits      []string    `yaml:"limits"`       // between knobs
	RestartCost float64     `yaml:"restart_cost"` // of a restart, in measurements
}

// conditions may be a single one, without brackets.
type conditions []string

// Lone makes strict take a single value for a list.
func (conditions) Lone() {}

// Objective is the column that counts.
func (f File) Objective() string {
	if f.Minimize != "" {
		return f.Minimize
	}
	return f.Maximize
}

var condition = regexp.MustCompile(`^\s*(\S+?)\s*(<=|>=|<|>)\s*(\S+)\s*$`)

// Bounds are the constraints.
func (f File) Bounds() ([]search.Bound, error) {
	var out []search.Bound
	for i, text := range f.Constraints {
		for part := range strings.SplitSeq(text, ",") {
			m := condition.FindStringSubmatch(part)
			if m == nil {
				return nil, fmt.Errorf("constraints[%d]: want a column, <= or >=, and a number (got %q)", i, part)
			}
			limit, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				return nil, fmt.Errorf("constraints[%d]: want a number on the right (got %q)", i, part)
			}
			out = append(out, search.Bound{Name: m[1], Limit: limit, AtLeast: strings.HasPrefix(m[2], ">")})
		}
	}
	return out, nil
}

// load reads the file with everything wrong in it at once; columns are those of the surface.
func load(path string, s *sheet) (File, *strict.Reader, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return File{}, nil, fmt.Errorf("read space: %w", err)
	}
	var f File
	r, err := strict.Read(text, &f)
	if err != nil {
		return File{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	column := func(field, name string) {
		if name != "" && !s.has(name) {
			r.Addf(field, "want a column of the surface, one of %s (got %q)", strings.Join(s.names, ", "), name)
		}
	}
	if (f.Maximize == "") == (f.Minimize == "") {
		r.Addf("maximize", "want maximize or minimize, not both (got %q and %q)", f.Maximize, f.Minimize)
	}
	column("maximize", f.Maximize)
	column("minimize", f.Minimize)
	bounds, err := f.Bounds()
	r.AddAll("", err)
	for _, b := range bounds {
		column("constraints", b.Name)
	}
	if len(f.Knobs) == 0 {
		r.Add("knobs", "want at least one (got none)")
	}
	for i, k := range f.Knobs {
		column(fmt.Sprintf("knobs[%d].name", i), k.Name)
		if k.Name == "" {
			r.Addf(fmt.Sprintf("knobs[%d].name", i), `want a column of the surface (got "")`)
		}
	}
	if f.RestartCost < 0 {
		r.Addf("restart_cost", "want at least 0 (got %g)", f.RestartCost)
	}
	return f, r, r.Err(path)
}

// build makes the space of the file and the surface's columns.
func (f File) build(path string, r *strict.Reader, s *sheet) (space.Space, error) {
	specs := make([]spec.Knob, len(f.Knobs))
	for i, k := range f.Knobs {
		specs[i] = s.complete(k)
		if row, text := s.noNumber(specs[i]); row > 0 {
			r.Addf(fmt.Sprintf("knobs[%d].type", i), "want categorical, since row %d of the surface has %q (got %s)", row, text, k.Type)
			r.Fail(fmt.Sprintf("knobs[%d]", i))
		}
	}
	sp := space.Space{Knobs: spec.Build(specs, "knobs", func(field, problem string) { r.Add(field, problem); r.Fail(field) })}
	for i, text := range f.Limits {
		l, err := space.ParseLimit(text)
		if err != nil {
			r.Add(fmt.Sprintf("limits[%d]", i), err.Error())
			continue
		}
		sp.Limits = append(sp.Limits, l)
	}
	for i, k := range sp.Knobs {
		if s.constant(k.Name) {
			continue // nothing to choose, and nothing to complain of
		}
		r.AddAll(fmt.Sprintf("knobs[%d]", i), errors.Join(k.ValidateRange()...))
	}
	r.AddAll("", errors.Join(sp.Validate()...))
	return sp, r.Err(path)
}
