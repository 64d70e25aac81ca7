// Package space says what may be turned: knobs with their type, range and steps, when they mean anything, how a value is written into an
// environment variable and read from it, and which values the pod can hold, one by one and together.
//
// Values are whole numbers, so that two points are equal or not, in a file as in memory: an int is itself, a float is counted in its smallest
// decimal, a bool is 0 or 1, and a category is its place among the choices. Text gives people and programs the value as it is meant.
//
// It is pure. It promises that Render and Parse are each other's inverse, and that a point that Check accepts is inside every range, the memory
// limit and the limits between knobs. It leaves out which value to try next (search) and how to bring it to the cluster (apply).
package space

import (
	"errors"
	"fmt"
	"slices"
)

// Pod is what the container may use; 0 is not known.
type Pod struct {
	Memory int64   // bytes
	CPUs   float64 // cores
}

// Space is the knobs and what holds between them.
type Space struct {
	Knobs  []Knob
	Limits []Limit
}

// Knob is the one of the name.
func (s Space) Knob(name string) (Knob, bool) {
	i := slices.IndexFunc(s.Knobs, func(k Knob) bool { return k.Name == name })
	if i < 0 {
		return Knob{}, false
	}
	return s.Knobs[i], true
}

// Active says whether the knob means anything at p: its condition holds, and that of the knob it depends on.
func (s Space) Active(k Knob, p Point) bool {
	for range s.Knobs { // a chain of conditions is no longer than that
		if k.When == nil {
			return true
		}
		if !slices.Contains(k.When.In, p[k.When.Knob]) {
			return false
		}
		k, _ = s.Knob(k.When.Knob)
	}
	return false
}

// Canonical sets each knob that means nothing to its default, so that configurations that are the same are equal.
func (s Space) Canonical(p Point) Point {
	q := p.Clone()
	for _, k := range s.Knobs {
		if _, has := p[k.Name]; has && !s.Active(k, p) {
			q[k.Name] = k.Default
		}
	}
	return q
}

// Check says everything for which the pod may not get p.
func (s Space) Check(p Point, pod Pod) error {
	var errs []error
	for _, k := range s.Knobs {
		v, has := p[k.Name]
		if !has {
			errs = append(errs, fmt.Errorf("%s: want a value (got none)", k.Name))
			continue
		}
		errs = append(errs, k.Check(v, pod.Memory))
	}
	for _, l := range s.Limits {
		errs = append(errs, l.Check(s, p, pod))
	}
	return errors.Join(errs...)
}

// Allows is Check for a search, which asks often and wants no reasons.
func (s Space) Allows(p Point, pod Pod) bool {
	for _, k := range s.Knobs {
		if !k.holds(p[k.Name], pod.Memory) {
			return false
		}
	}
	for _, l := range s.Limits {
		if !l.holds(s, p, pod) {
			return false
		}
	}
	return true
}
