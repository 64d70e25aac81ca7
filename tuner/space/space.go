// Package space says what may be turned: knobs with their range and steps, how a value is written into an environment variable and read from
// it, and which values the pod's memory can hold.
//
// It is pure. It promises that Render and Parse are each other's inverse and that a value that Check accepts is inside the range and the memory
// limit. It leaves out which value to try next (search) and how to bring it to the cluster (apply).
package space

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Placeholder stands for the value in a Knob's Format.
const Placeholder = "{v}"

// Source says where a knob's effective value is read back.
type Source string

// The sources. BrokerConfig is followed by the name of a broker setting.
const (
	JVMHeap      Source = "jvm-heap"
	BrokerConfig Source = "broker-config:"
)

// BrokerSetting is the broker's name of the setting, or false for another source.
func (s Source) BrokerSetting() (string, bool) {
	return strings.CutPrefix(string(s), string(BrokerConfig))
}

// Knob is one integer setting.
type Knob struct {
	Name   string
	Env    string // the environment variable of the container
	Format string // the variable's text with {v} for the value, for example -Xms{v}m -Xmx{v}m
	Unit   string // for people: MiB, threads
	Scale  int64  // what one unit is in base units (1048576 for MiB, 1 for a count)
	Min    int64
	Max    int64
	Steps  []int64 // ascending; what the search may try
	Source Source
	// MemoryFraction above 0 limits value × Scale to that part of the container's memory limit.
	MemoryFraction float64
}

// Point is one value per knob, by name, in the knob's unit.
type Point map[string]int64

// Clone is a copy that the caller may change.
func (p Point) Clone() Point { return maps.Clone(p) }

// With is a copy with one value changed.
func (p Point) With(knob string, value int64) Point {
	q := maps.Clone(p)
	q[knob] = value
	return q
}

// Key is the same for equal points.
func (p Point) Key() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%d ", name, p[name])
	}
	return strings.TrimSpace(b.String())
}

// Render is the variable's text for v.
func (k Knob) Render(v int64) string {
	return strings.ReplaceAll(k.Format, Placeholder, strconv.FormatInt(v, 10))
}

// Parse is the value in a variable's text. A text of another form, or one whose placeholders hold different values, is refused: nothing is
// known about its meaning then.
func (k Knob) Parse(text string) (int64, error) {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(strings.Fields(k.Format), " ")), regexp.QuoteMeta(Placeholder), `(\d{1,18})`)
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(strings.Join(strings.Fields(text), " "))
	if found == nil {
		return 0, fmt.Errorf("%s: want the form %q (got %q)", k.Env, k.Format, text)
	}
	for _, other := range found[2:] {
		if other != found[1] {
			return 0, fmt.Errorf("%s: want one value in every place of %q (got %q)", k.Env, k.Format, text)
		}
	}
	return strconv.ParseInt(found[1], 10, 64)
}

// Check says whether a container with this memory limit (bytes; 0: not known) may get v.
func (k Knob) Check(v, memory int64) error {
	if v < k.Min || v > k.Max {
		return fmt.Errorf("%s: want %d..%d %s (got %d)", k.Name, k.Min, k.Max, k.Unit, v)
	}
	if k.MemoryFraction > 0 && memory > 0 && float64(v)*float64(k.Scale) > k.MemoryFraction*float64(memory) {
		return fmt.Errorf("%s: want at most %.0f %% of the pod's memory limit of %d MiB, which is %d MiB (got %d %s)",
			k.Name, k.MemoryFraction*100, memory>>20, int64(k.MemoryFraction*float64(memory))>>20, v, k.Unit)
	}
	return nil
}

// Validate reports everything wrong with the knob, one error per field.
func (k Knob) Validate() []error {
	var errs []error
	bad := func(field, want string, got any) {
		errs = append(errs, fmt.Errorf("%s: %s (got %v)", field, want, got))
	}
	if k.Name == "" {
		bad("name", "a name is needed", `""`)
	}
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(k.Env) {
		bad("env", "want the name of an environment variable", strconv.Quote(k.Env))
	}
	if !strings.Contains(k.Format, Placeholder) {
		bad("format", "want a text with "+Placeholder+" in it", strconv.Quote(k.Format))
	}
	if k.Scale < 1 {
		bad("unit", "want MiB, threads or count", strconv.Quote(k.Unit))
	}
	if k.Min < 1 {
		bad("min", "want at least 1", k.Min)
	}
	if k.Max < k.Min {
		bad("max", fmt.Sprintf("want at least min, which is %d", k.Min), k.Max)
	}
	errs = append(errs, k.validateSteps()...)
	if setting, broker := k.Source.BrokerSetting(); k.Source != JVMHeap && (!broker || setting == "") {
		bad("readback", fmt.Sprintf("want %s or %s<setting>", JVMHeap, BrokerConfig), strconv.Quote(string(k.Source)))
	}
	if k.MemoryFraction < 0 || k.MemoryFraction > 1 {
		bad("memory_fraction", "want 0..1", k.MemoryFraction)
	}
	return errs
}

func (k Knob) validateSteps() []error {
	if len(k.Steps) < 2 {
		return []error{fmt.Errorf("steps: want at least two values (got %v)", k.Steps)}
	}
	var errs []error
	for i, s := range k.Steps {
		if s < k.Min || s > k.Max {
			errs = append(errs, fmt.Errorf("steps[%d]: want %d..%d (got %d)", i, k.Min, k.Max, s))
		}
		if i > 0 && s <= k.Steps[i-1] {
			errs = append(errs, fmt.Errorf("steps[%d]: want more than the step before, %d (got %d)", i, k.Steps[i-1], s))
		}
	}
	return errs
}

// Parse reads every knob from the variables of a container. The error names each variable that is absent or of another form.
func Parse(knobs []Knob, env map[string]string) (Point, error) {
	p := Point{}
	var errs []error
	for _, k := range knobs {
		text, set := env[k.Env]
		if !set {
			errs = append(errs, fmt.Errorf("%s: want the form %q (got no such variable)", k.Env, k.Format))
			continue
		}
		v, err := k.Parse(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p[k.Name] = v
	}
	return p, errors.Join(errs...)
}
