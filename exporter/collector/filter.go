package collector

import (
	"fmt"
	"regexp"
)

// Filter picks names: those that match Include and do not match Exclude. The expressions match the whole name, as in Prometheus.
type Filter struct {
	include, exclude *regexp.Regexp // nil: everything, nothing
}

// NewFilter compiles the two expressions. An empty include takes every name, an empty exclude refuses none.
func NewFilter(include, exclude string) (Filter, error) {
	if include == ".*" {
		include = "" // the same, without looking at each name
	}
	in, err := anchored(include)
	if err != nil {
		return Filter{}, fmt.Errorf("include: %w", err)
	}
	ex, err := anchored(exclude)
	if err != nil {
		return Filter{}, fmt.Errorf("exclude: %w", err)
	}
	return Filter{include: in, exclude: ex}, nil
}

func anchored(expr string) (*regexp.Regexp, error) {
	if expr == "" {
		return nil, nil
	}
	// Compiled by itself first: "a)(b" would be valid between the anchors' parentheses.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, fmt.Errorf("want a regular expression (got %q): %w", expr, err)
	}
	re, err := regexp.Compile("^(?s:" + expr + ")$")
	if err != nil {
		return nil, fmt.Errorf("want a regular expression (got %q): %w", expr, err)
	}
	return re, nil
}

// Takes says whether the name passes.
func (f Filter) Takes(name string) bool {
	if f.include != nil && !f.include.MatchString(name) {
		return false
	}
	return f.exclude == nil || !f.exclude.MatchString(name)
}
