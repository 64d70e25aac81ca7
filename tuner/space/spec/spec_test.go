package spec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/space/spec"
)

type file struct {
	Knobs  []spec.Knob `yaml:"knobs"`
	Limits []string    `yaml:"limits"`
}

// read builds a space of a text, with everything that is wrong with it.
func read(t *testing.T, text string) (space.Space, error) {
	t.Helper()
	var f file
	r, err := strict.Read([]byte(text), &f)
	if err != nil {
		t.Fatal(err)
	}
	s := space.Space{Knobs: spec.Build(f.Knobs, "knobs", func(field, problem string) { r.Add(field, problem); r.Fail(field) })}
	for _, text := range f.Limits {
		l, err := space.ParseLimit(text)
		if err != nil {
			r.Add("limits", err.Error())
		}
		s.Limits = append(s.Limits, l)
	}
	for _, k := range s.Knobs {
		r.AddAll("", errors.Join(k.ValidateRange()...))
	}
	r.AddAll("", errors.Join(s.Validate()...))
	return s, r.Err("f")
}

const every = `knobs:
  - {name: heap, min: 256, max: 4096, scale: log, unit: MiB, format: "-Xmx{v}m"}
  - {name: ratio, type: float, min: 0.1, max: 0.9, format: "{v}", restart: dynamic}
  - {name: codec, type: categorical, choices: [none, lz4, zstd], format: "{v}", default: lz4}
  - {name: level, min: 1, max: 19, format: "{v}", default: 3, when: {knob: codec, in: [zstd]}}
  - {name: checks, type: bool, format: "{v}", default: true}
  - {name: limit, min: 10, max: 100, special: [-1], format: "{v}"}
limits:
  - heap + 10*limit <= 0.5*pod.memory - 24
`

func TestEveryTypeIsWrittenAndReadBack(t *testing.T) {
	s, err := read(t, every)
	if err != nil {
		t.Fatal(err)
	}
	for knob, texts := range map[string][]string{
		"heap": {"-Xmx256m", "-Xmx1000m"}, "ratio": {"0.1", "0.25", "0.9"}, "codec": {"none", "zstd"}, "checks": {"true", "false"}, "limit": {"-1", "10"},
	} {
		k, _ := s.Knob(knob)
		for _, text := range texts {
			v, err := k.Parse(text)
			if err != nil || k.Render(v) != text || k.Check(v, 0) != nil {
				t.Errorf("%s: %q is read as %d and written as %q (%v, %v)", knob, text, v, k.Render(v), err, k.Check(v, 0))
			}
		}
	}
	for knob, text := range map[string]string{"ratio": "0.12345", "codec": "gzip", "checks": "yes", "limit": "-2"} {
		k, _ := s.Knob(knob)
		if v, err := k.Parse(text); err == nil {
			t.Errorf("%s: %q was taken, as %d", knob, text, v)
		}
	}
	heap, _ := s.Knob("heap")
	if levels := heap.Levels(); levels[0] != 256 || levels[len(levels)-1] != 4096 || levels[len(levels)/2] != 1024 {
		t.Errorf("want levels in equal ratios (got %v)", levels)
	}
}

func TestWhatMeansNothingIsTheDefault(t *testing.T) {
	s, err := read(t, every)
	if err != nil {
		t.Fatal(err)
	}
	p := space.Point{"heap": 512, "ratio": 500, "codec": 1, "level": 9, "checks": 1, "limit": 20}
	if got := s.Canonical(p)["level"]; got != 3 {
		t.Errorf("want the default where the codec has no level (got %d)", got)
	}
	if got := s.Canonical(p.With("codec", 2))["level"]; got != 9 {
		t.Errorf("want the level kept where it has one (got %d)", got)
	}
}

func TestLimits(t *testing.T) {
	s, err := read(t, every)
	if err != nil {
		t.Fatal(err)
	}
	p := space.Point{"heap": 824, "ratio": 500, "codec": 0, "level": 3, "checks": 0, "limit": 20}
	for name, c := range map[string]struct {
		p      space.Point
		memory int64
		want   string
	}{
		"exactly":                        {p, 2096 << 20, ""},
		"one too much":                   {p.With("heap", 825), 2096 << 20, "heap + 10*limit <= 0.5*pod.memory - 24: does not hold"},
		"a special value is no amount":   {p.With("heap", 1020).With("limit", -1), 2096 << 20, ""},
		"nothing is known of the memory": {p.With("heap", 4096), 0, ""},
		"a knob without a value":         {space.Point{"heap": 824, "ratio": 500, "codec": 0, "level": 3, "checks": 0}, 0, "limit: want a value (got none)"},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Check(c.p, space.Pod{Memory: c.memory})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("want %q (got %v)", c.want, err)
			}
			if s.Allows(c.p, space.Pod{Memory: c.memory}) != (err == nil) && len(c.p) == len(s.Knobs) {
				t.Error("the search is told something else")
			}
		})
	}
}

func TestBadSpaces(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"a type that is not there":         {"type: float", "type: real", `type: want int, float, categorical or bool (got "real")`},
		"one choice":                       {"[none, lz4, zstd]", "[lz4]", "choices: want at least two (got [lz4])"},
		"a choice twice":                   {"[none, lz4, zstd]", "[lz4, zstd, lz4]", `choices[2]: want a text of its own (got "lz4")`},
		"log of nothing":                   {"min: 256", "min: 0", "min: want more than 0, since the scale is log (got 0)"},
		"another scale":                    {"scale: log", "scale: cubic", `knobs[0].scale: want linear or log (got "cubic")`},
		"a half for a whole number":        {"min: 256", "min: 256.5", "knobs[0].min: want a whole number (got 256.5)"},
		"a special value inside":           {"special: [-1]", "special: [50]", "special[0]: want a value of its own outside 10..100 (got 50)"},
		"a condition on nothing":           {"knob: codec", "knob: kodec", `knobs[3].when.knob: want the name of another knob (got "kodec")`},
		"a condition on a value not there": {"in: [zstd]", "in: [brotli]", `knobs[3].when.in[0]: want one of none, lz4, zstd (got "brotli")`},
		"a circle":                         {"default: lz4}", "default: lz4, when: {knob: level, in: [1]}}", "want a knob that does not depend on this one in turn"},
		"a default that is none":           {"default: lz4", "default: brotli", `knobs[2].default: want one of none, lz4, zstd (got brotli)`},
		"a limit on a name":                {"heap + 10*limit", "heap + codec", `limits[0]: want knobs that are numbers (got "codec")`},
		"a limit on something unknown":     {"heap + 10*limit", "heap + disk", `limits[0]: want knobs, pod.memory and pod.cpus only (got "disk")`},
		"a limit that is no sum":           {"heap + 10*limit", "heap * limit", `want factor*name, name or a number (got "heap * limit")`},
		"a restart class that is not":      {"restart: dynamic", "restart: never", `restart: want dynamic or rolling (got "never")`},
		"a range for choices":              {"choices: [none, lz4, zstd]", "choices: [none, lz4, zstd], min: 1", "knobs[2].type: want int or float for a knob with min, max"},
		"a name twice":                     {"name: ratio", "name: heap", `knobs[1].name: is there twice (got "heap")`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(every, c.old, c.new, 1)
			if text == every {
				t.Fatal("the mistake was not put in")
			}
			if _, err := read(t, text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %s\ngot  %v", c.want, err)
			}
		})
	}
}
