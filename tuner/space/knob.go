package space

import (
	"fmt"
	"math"
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

// Type of a knob.
type Type string

// The types; no type is Int.
const (
	Int         Type = "int"
	Float       Type = "float"
	Categorical Type = "categorical"
	Bool        Type = "bool"
)

// Restart is what a change costs.
type Restart string

// The classes; none is Rolling, the dearer one.
const (
	Dynamic Restart = "dynamic" // takes effect at once
	Rolling Restart = "rolling" // every broker restarts
)

// Condition makes a knob mean something only while another one has one of some values.
type Condition struct {
	Knob string
	In   []int64
}

// Knob is one setting.
type Knob struct {
	Name     string
	Type     Type
	Decimals int      // of a Float: 3 when its values are counted in thousandths
	Choices  []string // of a Categorical
	Env      string   // the environment variable of the container
	Format   string   // the variable's text with {v} for the value, for example -Xms{v}m -Xmx{v}m
	Unit     string   // for people: MiB, threads
	Scale    int64    // what one unit is in base units (1048576 for MiB, 1 for a count)
	Min      int64
	Max      int64
	Log      bool    // equal ratios matter equally, rather than equal differences
	Steps    []int64 // ascending; what the search may try
	Special  []int64 // values that stand for something else than a number, as -1 for no limit
	Default  int64
	When     *Condition // nil: always
	Restart  Restart
	Source   Source
	// MemoryFraction above 0 limits value × Scale to that part of the container's memory limit.
	MemoryFraction float64
}

// Named says whether the values are names rather than amounts: none is between two others.
func (k Knob) Named() bool { return k.Type == Categorical }

// IsDynamic says whether a change takes effect without a restart.
func (k Knob) IsDynamic() bool { return k.Restart == Dynamic }

// Float is the value as the number that it means; the place of a category.
func (k Knob) Float(v int64) float64 {
	if k.Type == Float {
		return float64(v) / math.Pow10(k.Decimals)
	}
	return float64(v)
}

// Text is the value as it is written.
func (k Knob) Text(v int64) string {
	switch {
	case slices.Contains(k.Special, v):
	case k.Type == Categorical && v >= 0 && v < int64(len(k.Choices)):
		return k.Choices[v]
	case k.Type == Bool:
		return strconv.FormatBool(v != 0)
	}
	if k.Type == Float {
		return strconv.FormatFloat(k.Float(v), 'f', -1, 64)
	}
	return strconv.FormatInt(v, 10)
}

// Value is the inverse of Text; of a number other ways of writing it are understood too.
func (k Knob) Value(text string) (int64, error) {
	switch k.Type {
	case Categorical:
		if i := slices.Index(k.Choices, text); i >= 0 {
			return int64(i), nil
		}
		return 0, fmt.Errorf("%s: want one of %s (got %q)", k.Name, strings.Join(k.Choices, ", "), text)
	case Bool:
		switch strings.ToLower(text) {
		case "true", "1":
			return 1, nil
		case "false", "0":
			return 0, nil
		}
		return 0, fmt.Errorf("%s: want true or false (got %q)", k.Name, text)
	case Float:
		v, err := fixed(text, k.Decimals)
		if err != nil {
			return 0, fmt.Errorf("%s: want a number with at most %d decimals (got %q)", k.Name, k.Decimals, text)
		}
		return v, nil
	}
	v, err := fixed(text, 0)
	if err != nil {
		return 0, fmt.Errorf("%s: want a whole number (got %q)", k.Name, text)
	}
	return v, nil
}

// fixed is a number in units of its last decimal.
func fixed(text string, decimals int) (int64, error) {
	if v, err := strconv.ParseInt(text, 10, 64); err == nil && decimals == 0 {
		return v, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, err
	}
	scaled := f * math.Pow10(decimals)
	v := math.Round(scaled)
	if math.Abs(scaled) > 1<<53 || !(math.Abs(scaled-v) <= 1e-6*max(1, math.Abs(v))) {
		return 0, strconv.ErrRange
	}
	return int64(v), nil
}

// Decimals is how many decimals a number's text needs.
func Decimals(text string) int {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	_, fraction, _ := strings.Cut(strconv.FormatFloat(f, 'f', -1, 64), ".")
	return len(fraction)
}

// Check says whether a container with this memory limit (bytes; 0: not known) may get v.
func (k Knob) Check(v, memory int64) error {
	switch {
	case k.holds(v, memory):
		return nil
	case slices.Contains(k.Special, v):
	case k.Type == Categorical:
		return fmt.Errorf("%s: want one of %s (got %d)", k.Name, strings.Join(k.Choices, ", "), v)
	case v < k.Min || v > k.Max:
		return fmt.Errorf("%s: want %s..%s %s (got %s)", k.Name, k.Text(k.Min), k.Text(k.Max), k.Unit, k.Text(v))
	}
	return fmt.Errorf("%s: want at most %.0f %% of the pod's memory limit of %d MiB, which is %d MiB (got %s %s)",
		k.Name, k.MemoryFraction*100, memory>>20, int64(k.MemoryFraction*float64(memory))>>20, k.Text(v), k.Unit)
}

func (k Knob) holds(v, memory int64) bool {
	if slices.Contains(k.Special, v) {
		return true
	}
	if v < k.Min || v > k.Max {
		return false
	}
	return k.MemoryFraction == 0 || memory == 0 || k.Float(v)*float64(k.Scale) <= k.MemoryFraction*float64(memory)
}

// maxLevels is how many values of a wide range a search looks at: finer than anything that a measurement can tell apart.
const maxLevels = 33

// Levels are the values that a search may try, ascending, special ones last.
func (k Knob) Levels() []int64 {
	levels := k.Steps
	if len(levels) == 0 {
		levels = k.spread()
	}
	return append(slices.Clone(levels), k.Special...)
}

func (k Knob) spread() []int64 {
	n := min(k.Max-k.Min, maxLevels-1)
	var out []int64
	for i := range n + 1 {
		part := float64(i) / float64(max(n, 1))
		v := float64(k.Min) + part*float64(k.Max-k.Min)
		if k.Log && k.Min > 0 {
			v = float64(k.Min) * math.Pow(float64(k.Max)/float64(k.Min), part)
		}
		if r := int64(math.Round(v)); len(out) == 0 || r > out[len(out)-1] {
			out = append(out, r)
		}
	}
	return out
}
