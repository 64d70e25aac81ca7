package space

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// findings collects what is wrong, as field: problem (got value).
type findings []error

func (f *findings) bad(field, want string, got any) {
	*f = append(*f, fmt.Errorf("%s: %s (got %v)", field, want, got))
}

// Validate reports everything wrong with how the knob is written and read back.
func (k Knob) Validate() []error {
	var f findings
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(k.Env) {
		f.bad("env", "want the name of an environment variable", strconv.Quote(k.Env))
	}
	if !strings.Contains(k.Format, Placeholder) {
		f.bad("format", "want a text with "+Placeholder+" in it", strconv.Quote(k.Format))
	}
	if k.Scale < 1 {
		f.bad("unit", "want MiB, threads or count", strconv.Quote(k.Unit))
	}
	if k.Min < 0 {
		f.bad("min", "want at least 0: what is below is a special value", k.Text(k.Min))
	}
	if setting, broker := k.Source.BrokerSetting(); k.Source != JVMHeap && (!broker || setting == "") {
		f.bad("readback", fmt.Sprintf("want %s or %s<setting>", JVMHeap, BrokerConfig), strconv.Quote(string(k.Source)))
	}
	if _, broker := k.Source.BrokerSetting(); k.IsDynamic() && (!broker || k.Format != Placeholder) {
		f.bad("restart", fmt.Sprintf("want rolling: only what is read back as %s<setting> and written as %s is changed at a running broker", BrokerConfig, Placeholder), Dynamic)
	}
	if k.MemoryFraction < 0 || k.MemoryFraction > 1 {
		f.bad("memory_fraction", "want 0..1", k.MemoryFraction)
	}
	return append(f, k.ValidateRange()...)
}

// ValidateRange reports everything wrong with what the knob's values are.
func (k Knob) ValidateRange() []error {
	var f findings
	if k.Name == "" {
		f.bad("name", "a name is needed", `""`)
	}
	if k.Restart != "" && k.Restart != Dynamic && k.Restart != Rolling {
		f.bad("restart", "want dynamic or rolling", strconv.Quote(string(k.Restart)))
	}
	switch k.Type {
	case Categorical:
		k.validateChoices(&f)
	case Bool:
	case Int, Float, "":
		k.validateNumbers(&f)
	default:
		f.bad("type", "want int, float, categorical or bool", strconv.Quote(string(k.Type)))
	}
	return f
}

func (k Knob) validateChoices(f *findings) {
	if len(k.Choices) < 2 {
		f.bad("choices", "want at least two", k.Choices)
	}
	for i, c := range k.Choices {
		if c == "" || slices.Index(k.Choices, c) < i {
			f.bad(fmt.Sprintf("choices[%d]", i), "want a text of its own", strconv.Quote(c))
		}
	}
	if k.Log {
		f.bad("scale", "want linear: choices have no ratios", "log")
	}
}

func (k Knob) validateNumbers(f *findings) {
	if k.Log && k.Min < 1 {
		f.bad("min", "want more than 0, since the scale is log", k.Text(k.Min))
	}
	if k.Max < k.Min {
		f.bad("max", fmt.Sprintf("want at least min, which is %s", k.Text(k.Min)), k.Text(k.Max))
	}
	if k.Max == k.Min {
		f.bad("max", fmt.Sprintf("want more than min, which is %s", k.Text(k.Min)), k.Text(k.Max))
	}
	if len(k.Steps) == 1 {
		f.bad("steps", "want at least two values", "["+k.Text(k.Steps[0])+"]")
		return
	}
	for i, s := range k.Steps {
		if s < k.Min || s > k.Max {
			f.bad(fmt.Sprintf("steps[%d]", i), fmt.Sprintf("want %s..%s", k.Text(k.Min), k.Text(k.Max)), k.Text(s))
		}
		if i > 0 && s <= k.Steps[i-1] {
			f.bad(fmt.Sprintf("steps[%d]", i), fmt.Sprintf("want more than the step before, %s", k.Text(k.Steps[i-1])), k.Text(s))
		}
	}
	for i, v := range k.Special {
		if v >= k.Min && v <= k.Max || slices.Index(k.Special, v) < i {
			f.bad(fmt.Sprintf("special[%d]", i), fmt.Sprintf("want a value of its own outside %s..%s", k.Text(k.Min), k.Text(k.Max)), k.Text(v))
		}
	}
}

// Validate reports everything wrong between the knobs: doubled names, conditions that cannot be, limits that name nothing.
func (s Space) Validate() []error {
	var f findings
	names := map[string]bool{}
	for i, k := range s.Knobs {
		if names[k.Name] {
			f.bad(fmt.Sprintf("knobs[%d].name", i), "is there twice", strconv.Quote(k.Name))
		}
		names[k.Name] = true
		if k.When == nil {
			continue
		}
		where := fmt.Sprintf("knobs[%d].when", i)
		if _, known := s.Knob(k.When.Knob); !known || k.When.Knob == k.Name {
			f.bad(where+".knob", "want the name of another knob", strconv.Quote(k.When.Knob))
		} else if s.circular(k) {
			f.bad(where+".knob", "want a knob that does not depend on this one in turn", strconv.Quote(k.When.Knob))
		}
		if len(k.When.In) == 0 {
			f.bad(where+".in", "want at least one value", "none")
		}
	}
	for i, l := range s.Limits {
		for _, t := range l.Terms {
			k, known := s.Knob(t.Name)
			switch {
			case t.Name == PodMemory || t.Name == PodCPUs:
			case !known:
				f.bad(fmt.Sprintf("limits[%d]", i), fmt.Sprintf("want knobs, %s and %s only", PodMemory, PodCPUs), strconv.Quote(t.Name))
			case k.Named():
				f.bad(fmt.Sprintf("limits[%d]", i), "want knobs that are numbers", strconv.Quote(t.Name))
			}
		}
	}
	return f
}

func (s Space) circular(k Knob) bool {
	for at, steps := k, 0; at.When != nil; steps++ {
		if steps > len(s.Knobs) {
			return true
		}
		at, _ = s.Knob(at.When.Knob)
	}
	return false
}
