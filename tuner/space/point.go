package space

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Point is one value per knob, by name.
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
