package strict

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// secretive are names of fields whose values must not get into a terminal or a log.
var secretive = regexp.MustCompile(`(?i)pass|pwd|secret|token|credential|jaas`)

// pointer are names of fields that say where a secret is.
var pointer = regexp.MustCompile(`_(file|env|url)$`)

func hide(field, value string) string {
	if secretive.MatchString(field) {
		return "a value that is not shown"
	}
	return value
}

// unknown complains of a field that nothing reads, and says what was probably meant.
func (r *Reader) unknown(key, value *yaml.Node, field, name string, tags map[string]int) {
	shown := hide(name, got(value))
	switch near, home, instead := nearest(key.Value, tags), r.home(key.Value), places(tags); {
	case secretive.MatchString(key.Value) && !pointer.MatchString(key.Value) && len(instead) > 0:
		r.bad(key, name, "must not be in the file: a secret is in a file or an environment variable of its own, which %s name (got %s)",
			strings.Join(instead, ", "), shown)
		for _, f := range instead {
			r.failed[join(field, f)] = true // that they are missing goes without saying
		}
	case near != "":
		r.bad(key, name, "unknown field, probably %s; must be one of %s (got %s)", near, names(tags), shown)
		r.failed[join(field, near)] = true // it is not missing
	case home != "" && home != field:
		r.bad(key, name, "unknown field here, but one of %s: is it indented as it should be? must be one of %s (got %s)", home, names(tags), shown)
	default:
		r.bad(key, name, "unknown field; must be one of %s (got %s)", names(tags), shown)
	}
}

// places are those of the fields that say where a secret is.
func places(tags map[string]int) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		if secretive.MatchString(name) && pointer.MatchString(name) && !strings.HasSuffix(name, "_url") {
			out = append(out, name)
		}
	}
	return out
}

// home is the part of the file that has a field of the name, "" when none or several have.
func (r *Reader) home(name string) string {
	var homes []string
	for part, i := range tagged(r.root) {
		if t := r.root.Field(i).Type; t.Kind() == reflect.Struct {
			if _, has := tagged(t)[name]; has {
				homes = append(homes, part)
			}
		}
	}
	if len(homes) != 1 {
		return ""
	}
	return homes[0]
}

// nearest is the one name that is a slip or two away.
func nearest(name string, tags map[string]int) string {
	best, least, several := "", 1+min(2, len(name)/2), false
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		switch d := distance(strings.ReplaceAll(name, "-", "_"), tag); {
		case d < least:
			best, least, several = tag, d, false
		case d == least:
			several = true
		}
	}
	if several && least > 1 {
		return ""
	}
	return best
}

// distance is how many letters must be put in, left out or changed to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
