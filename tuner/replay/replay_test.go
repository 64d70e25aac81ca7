package replay_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/replay"
	"github.com/kafkalab/kafkalab/tuner/search"
)

const (
	csv = `codec,threads,ratio,throughput,latency,cpu
none,1,0.5,100,10,1
none,2,0.5,200,20,1
none,4,0.25,400,90,1
lz4,1,0.5,150,10,1
lz4,2,0.25,300,50,1
lz4,4,0.25,,,
lz4,8,0.5,250,49,1
`
	yaml = `maximize: throughput
constraints: latency <= 50
knobs:
  - {name: codec, default: none}
  - {name: threads, scale: log, default: 1}
  - {name: ratio}
`
)

func load(t *testing.T, surface, space string) (*replay.Surface, error) {
	t.Helper()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "s.csv"), filepath.Join(dir, "s.yaml")
	if err := os.WriteFile(a, []byte(surface), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b, []byte(space), 0o600); err != nil {
		t.Fatal(err)
	}
	return replay.Load(a, b)
}

func TestEveryTrialIsToldOfAsItTrulyIs(t *testing.T) {
	s, err := load(t, csv, yaml)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range search.Names() {
		result, err := replay.Do(t.Context(), replay.Config{Surface: s, Algorithm: name, Trials: 7, Seeds: 3, Noise: 0.05})
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := result.Write(&text); err != nil {
			t.Fatal(err)
		}
		var out struct {
			Optimum struct{ Value float64 }
			Runs    []struct {
				Trials []struct {
					Configuration  map[string]any
					Measured, True map[string]float64
					Feasible       bool
					Failed         bool
				}
				Fraction []float64
			}
		}
		if err := json.Unmarshal(text.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		if out.Optimum.Value != 300 {
			t.Errorf("want the optimum of what holds the constraint, 300 (got %g)", out.Optimum.Value)
		}
		for _, run := range out.Runs {
			best := 0.0
			for i, trial := range run.Trials {
				v, latency := trial.True["throughput"], trial.True["latency"]
				if trial.Feasible != (latency <= 50 && !trial.Failed) {
					t.Errorf("%s: feasible %v with a latency of %g", name, trial.Feasible, latency)
				}
				if trial.Feasible {
					best = max(best, v/300)
				}
				if run.Fraction[i] != best {
					t.Errorf("%s: want the fraction %g (got %g)", name, best, run.Fraction[i])
				}
				if !trial.Failed && (trial.Measured["throughput"] == v || trial.Measured["throughput"] < v*0.7 || trial.Measured["throughput"] > v*1.3) {
					t.Errorf("%s: want a measurement with noise of %g (got %g)", name, v, trial.Measured["throughput"])
				}
			}
			first := run.Trials[0].Configuration
			if first["codec"] != "none" || first["threads"] != 1.0 || first["ratio"] != 0.5 {
				t.Errorf("%s: want the defaults first (got %v)", name, first)
			}
			if len(run.Fraction) == 7 && run.Fraction[6] != 1 && name != search.NameGP {
				t.Errorf("%s: want the optimum once everything was tried (got %v)", name, run.Fraction)
			}
		}
	}
}

func TestTheSameSeedsGiveTheSame(t *testing.T) {
	s, err := load(t, csv, yaml)
	if err != nil {
		t.Fatal(err)
	}
	var texts [2]bytes.Buffer
	for i := range texts {
		result, err := replay.Do(t.Context(), replay.Config{Surface: s, Algorithm: search.NameGP, Trials: 6, Seeds: 4, Noise: 0.1, Outliers: 0.2})
		if err != nil {
			t.Fatal(err)
		}
		if err := result.Write(&texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if texts[0].String() != texts[1].String() {
		t.Error("two replays differ")
	}
}

func TestLessMayBeBetter(t *testing.T) {
	s, err := load(t, csv, strings.Replace(yaml, "maximize: throughput\nconstraints: latency <= 50", "minimize: latency\nconstraints: [throughput >= 250]", 1))
	if err != nil {
		t.Fatal(err)
	}
	if s.Optimum != 49 || s.Fraction(98) != 0.5 {
		t.Errorf("want 49, and twice as much to be half as good (got %g, %g)", s.Optimum, s.Fraction(98))
	}
}

func TestRowsOfOneConfigurationAreMerged(t *testing.T) {
	s, err := load(t, csv+"lz4,2,0.25,340,30,1\n", yaml)
	if err != nil {
		t.Fatal(err)
	}
	if s.Merged != 1 || s.Optimum != 320 {
		t.Errorf("want one row merged, and its mean (got %d and %g)", s.Merged, s.Optimum)
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"no objective":                 {"maximize: throughput\n", "", "maximize: want maximize or minimize"},
		"an objective that is nowhere": {"maximize: throughput", "maximize: goodput", `maximize: want a column of the surface, one of codec, threads, ratio, throughput, latency, cpu (got "goodput")`},
		"a constraint that is none":    {"latency <= 50", "latency", `constraints[0]: want a column, <= or >=, and a number (got "latency")`},
		"a constraint on no column":    {"latency <= 50", "p99 <= 50", `constraints: want a column of the surface`},
		"a constraint nobody holds":    {"latency <= 50", "latency <= 5", "want a row that holds the constraints (got none of 7)"},
		"a knob that is no column":     {"name: codec", "name: kodec", `knobs[0].name: want a column of the surface`},
		"a knob of the wrong type":     {"{name: codec, default: none}", "{name: codec, type: int}", `knobs[0].type: want categorical, since row 2 of the surface has "none" (got int)`},
		"a choice that is missing":     {"{name: codec, default: none}", "{name: codec, type: categorical, choices: [none, zstd]}", `row 5: codec: want one of none, zstd (got "lz4")`},
		"an unknown field":             {"scale: log", "scal: log", "knobs[1].scal: unknown field, probably scale"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(yaml, c.old, c.new, 1)
			if text == yaml {
				t.Fatal("the mistake was not put in")
			}
			if _, err := load(t, csv, text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %s\ngot  %v", c.want, err)
			}
		})
	}
	if _, err := load(t, "a,b\n", yaml); err == nil {
		t.Error("a surface without rows was taken")
	}
}
