// Package spec is how people write knobs in a file: numbers stay as they are written until the knob's type is known, so that 0.1 is 0.1.
// It promises to say everything that cannot be read, by field. What the values must be among themselves is space's to say.
package spec

import (
	"fmt"
	"strings"

	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// Knob is a knob as the file has it.
type Knob struct {
	Name           string          `yaml:"name,omitempty"`
	Type           space.Type      `yaml:"type,omitempty"`
	Choices        []string        `yaml:"choices,omitempty"`
	Env            string          `yaml:"env,omitempty"`
	Format         string          `yaml:"format,omitempty"`
	Unit           string          `yaml:"unit,omitempty"`
	Min            strict.Number   `yaml:"min,omitempty"`
	Max            strict.Number   `yaml:"max,omitempty"`
	Scale          string          `yaml:"scale,omitempty"` // linear or log
	Steps          []strict.Number `yaml:"steps,omitempty"`
	Special        []strict.Number `yaml:"special,omitempty"`
	Default        string          `yaml:"default,omitempty"`
	When           *When           `yaml:"when,omitempty"`
	Restart        space.Restart   `yaml:"restart,omitempty"`
	ReadBack       string          `yaml:"readback,omitempty"`
	MemoryFraction float64         `yaml:"memory_fraction,omitempty"`
}

// When is a condition as people write it.
type When struct {
	Knob string   `yaml:"knob"`
	In   []string `yaml:"in"`
}

// Build makes the knobs of their specs. What cannot be read is reported as a field below path, and is 0 in the knob.
func Build(specs []Knob, path string, report func(field, problem string)) []space.Knob {
	knobs := make([]space.Knob, len(specs))
	for i, s := range specs {
		knobs[i] = s.knob(report, fmt.Sprintf("%s[%d]", path, i))
	}
	known := space.Space{Knobs: knobs}
	for i, s := range specs {
		if s.When == nil {
			continue
		}
		knobs[i].When = &space.Condition{Knob: s.When.Knob}
		on, _ := known.Knob(s.When.Knob)
		for j, text := range s.When.In {
			v, err := on.Value(text)
			if err != nil && on.Name != "" {
				_, problem, _ := strings.Cut(err.Error(), ": ")
				report(fmt.Sprintf("%s[%d].when.in[%d]", path, i, j), problem)
			}
			knobs[i].When.In = append(knobs[i].When.In, v)
		}
	}
	return knobs
}

func (s Knob) knob(report func(field, problem string), path string) space.Knob {
	k := space.Knob{
		Name: s.Name, Type: s.Type, Choices: s.Choices, Env: s.Env, Format: s.Format, Unit: s.Unit, Log: s.Scale == "log", Restart: s.Restart,
		Source: space.Source(s.ReadBack), MemoryFraction: s.MemoryFraction,
	}
	switch s.Unit {
	case "MiB":
		k.Scale = 1 << 20
	case "threads", "count", "":
		k.Scale = 1
	}
	if s.Scale != "" && s.Scale != "log" && s.Scale != "linear" {
		report(path+".scale", fmt.Sprintf("want linear or log (got %q)", s.Scale))
	}
	switch s.Type {
	case space.Categorical:
		k.Max = int64(len(s.Choices)) - 1
		k.Steps = count(len(s.Choices))
	case space.Bool:
		k.Max, k.Steps = 1, count(2)
	case space.Float:
		k.Decimals = s.decimals()
	}
	read := func(field, text string) (v int64) {
		if text == "" {
			return 0
		}
		v, err := k.Value(text)
		if err != nil {
			_, problem, _ := strings.Cut(err.Error(), ": ")
			report(path+"."+field, strings.ReplaceAll(problem, `"`+text+`"`, text))
		}
		return v
	}
	if !s.named() {
		k.Min, k.Max = read("min", string(s.Min)), read("max", string(s.Max))
		for i, step := range s.Steps {
			k.Steps = append(k.Steps, read(fmt.Sprintf("steps[%d]", i), string(step)))
		}
		for i, v := range s.Special {
			k.Special = append(k.Special, read(fmt.Sprintf("special[%d]", i), string(v)))
		}
	} else if s.Min != "" || s.Max != "" || len(s.Steps) > 0 || len(s.Special) > 0 {
		report(path+".type", fmt.Sprintf("want int or float for a knob with min, max, steps or special (got %q)", s.Type))
	}
	if k.Default = k.Min; s.Default != "" {
		k.Default = read("default", s.Default)
	}
	return k
}

func (s Knob) named() bool { return s.Type == space.Categorical || s.Type == space.Bool }

func count(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// maxDecimals keeps every value far from the end of what a whole number can hold.
const maxDecimals = 9

func (s Knob) decimals() int {
	most := 0
	for _, text := range append(append([]strict.Number{s.Min, s.Max, strict.Number(s.Default)}, s.Steps...), s.Special...) {
		most = max(most, space.Decimals(string(text)))
	}
	if len(s.Steps) == 0 {
		most += 2 // a range of 0 to 1 has something inside
	}
	return min(most, maxDecimals)
}
