package workload

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// tagged maps the YAML names of a struct's fields to their indices.
func tagged(t reflect.Type) map[string]int {
	out := make(map[string]int)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "-" && name != "" {
			out[name] = i
		}
	}
	return out
}

func names(tags map[string]int) string { return strings.Join(slices.Sorted(maps.Keys(tags)), ", ") }

// secretive are names of fields whose values must not get into a terminal or a log.
var secretive = regexp.MustCompile(`(?i)pass|pwd|secret|token|credential|jaas`)

func hide(field, value string) string {
	if secretive.MatchString(field) {
		return "a value that is not shown"
	}
	return value
}

// unknown complains of a field that nothing reads, and says what was probably meant.
func (s *strict) unknown(key, value *yaml.Node, field, name string, tags map[string]int) {
	shown := hide(name, got(value))
	switch near, home := nearest(key.Value, tags), s.home(key.Value); {
	case strings.HasPrefix(field, "security") && secretive.MatchString(key.Value):
		s.bad(key, name, "must not be in a workload: sasl.password_file names a file that holds the password, sasl.password_env a variable (got %s)", shown)
		s.failed[join(field, "password_file")] = true // that it is missing goes without saying
	case near != "":
		s.bad(key, name, "unknown field, probably %s; must be one of %s (got %s)", near, names(tags), shown)
	case home != "" && home != field:
		s.bad(key, name, "unknown field here, but one of %s: is it indented as it should be? must be one of %s (got %s)", home, names(tags), shown)
	default:
		s.bad(key, name, "unknown field; must be one of %s (got %s)", names(tags), shown)
	}
}

// home is the part of a workload that has a field of the name, "" when none or several have.
func (s *strict) home(name string) string {
	var homes []string
	all := reflect.TypeFor[Workload]()
	for part, i := range tagged(all) {
		if t := all.Field(i).Type; t.Kind() == reflect.Struct {
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
