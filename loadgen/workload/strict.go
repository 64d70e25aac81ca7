package workload

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// finding is something wrong with a file. line is 0 for what is not in it.
type finding struct {
	line  int
	field string
	text  string // problem (got value)
}

// strict reads YAML into structs. Unlike the library it names the field and what is allowed, keeps 2.5 from becoming 2 and a duration from
// having no unit, and goes on to the end whatever it finds.
type strict struct {
	findings []finding
	lines    map[string]int // of the fields that are in the file
	failed   map[string]bool
}

func (s *strict) bad(n *yaml.Node, field, format string, args ...any) {
	s.findings = append(s.findings, finding{line: n.Line, field: field, text: fmt.Sprintf(format, args...)})
	s.failed[field] = true
}

// given tells whether the field is in the file.
func (s *strict) given(field string) bool { return s.lines[field] > 0 }

// line is where the field is, or else the part of the file that it would belong to.
func (s *strict) line(field string) int {
	for ; field != ""; field = parent(field) {
		if n := s.lines[field]; n > 0 {
			return n
		}
	}
	return 0
}

func parent(field string) string {
	return field[:max(strings.LastIndexAny(field, ".["), 0)]
}

// readable tells whether what the field holds is what the file says: neither it nor a part of it nor what it is part of has failed.
func (s *strict) readable(field string) bool {
	for f := field; f != ""; f = parent(f) {
		if s.failed[f] {
			return false
		}
	}
	for f := range s.failed {
		if strings.HasPrefix(f, field+".") || strings.HasPrefix(f, field+"[") {
			return false
		}
	}
	return true
}

// report is everything found, in the order of the file.
func (s *strict) report() []string {
	slices.SortStableFunc(s.findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(uint(a.line-1), uint(b.line-1)), cmp.Compare(a.field, b.field)) // what has no line comes last
	})
	var out []string
	for _, f := range s.findings {
		text := f.field + ": " + f.text
		if f.line > 0 {
			text = fmt.Sprintf("line %d: %s", f.line, text)
		}
		out = append(out, text)
	}
	return out
}

var durationType = reflect.TypeFor[time.Duration]()

// value reads n into to, a settable struct, list, map of texts or scalar.
func (s *strict) value(n *yaml.Node, field string, to reflect.Value) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		s.bad(n, field, "must be written out: anchors and aliases are not taken (got %s)", hide(field, got(n)))
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && to.Kind() == reflect.Struct:
		s.bad(n, field, "must have fields, indented below it (got nothing)")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		s.bad(n, field, "must have a value (got nothing)")
	case to.Kind() == reflect.Struct:
		s.fields(n, field, to)
	case to.Kind() == reflect.Slice:
		s.list(n, field, to)
	case to.Kind() == reflect.Map:
		s.table(n, field, to)
	default:
		if wanted := scalar(n, to); wanted != "" {
			s.bad(n, field, "must be %s (got %s)", wanted, hide(field, got(n)))
		}
	}
}

func (s *strict) fields(n *yaml.Node, field string, to reflect.Value) {
	tags := tagged(to.Type())
	if n.Kind != yaml.MappingNode {
		s.bad(n, field, "must be fields with values, of %s (got %s)", names(tags), got(n))
		return
	}
	s.each(n, field, func(key, value *yaml.Node, name string) {
		i, known := tags[key.Value]
		if !known {
			s.unknown(key, value, field, name, tags)
			return
		}
		s.value(value, name, to.Field(i))
	})
}

// each calls read for every entry of a mapping, with its full name.
func (s *strict) each(n *yaml.Node, field string, read func(key, value *yaml.Node, name string)) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			s.bad(key, cmp.Or(field, "the file"), "must have plain names for its fields (got %s)", got(key))
			continue
		}
		name := join(field, key.Value)
		if first := s.lines[name]; first > 0 {
			s.bad(key, name, "must be there once only: line %d has it too (got %s)", first, hide(name, got(value)))
			continue
		}
		s.lines[name] = key.Line
		read(key, value, name)
	}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func join(field, name string) string {
	if !plain.MatchString(name) {
		name = strconv.Quote(name)
	}
	if field == "" {
		return name
	}
	return field + "." + name
}

func (s *strict) list(n *yaml.Node, field string, to reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		s.bad(n, field, "must be a list (got %s)", got(n))
		return
	}
	to.Set(reflect.MakeSlice(to.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		name := fmt.Sprintf("%s[%d]", field, i)
		s.lines[name] = item.Line
		s.value(item, name, to.Index(i))
	}
}

// table reads a map[string]string.
func (s *strict) table(n *yaml.Node, field string, to reflect.Value) {
	if n.Kind != yaml.MappingNode {
		s.bad(n, field, "must be names with values (got %s)", got(n))
		return
	}
	to.Set(reflect.MakeMap(to.Type()))
	s.each(n, field, func(key, value *yaml.Node, name string) {
		text := reflect.New(to.Type().Elem()).Elem()
		s.value(value, name, text)
		to.SetMapIndex(reflect.ValueOf(key.Value), text)
	})
}

// scalar reads n into to, or says what it would have to be.
func scalar(n *yaml.Node, to reflect.Value) (wanted string) {
	tag := n.ShortTag()
	number := n.Kind == yaml.ScalarNode && (tag == "!!int" || tag == "!!float")
	text := strings.ReplaceAll(n.Value, "_", "")
	switch {
	case to.Type() == durationType:
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			return "a duration with its unit, as 250ms, 10s or 5m"
		}
		to.SetInt(int64(d))
	case to.Kind() == reflect.Int:
		v, wanted := whole(text)
		if !number || wanted != "" {
			return cmp.Or(wanted, "a whole number, without quotes")
		}
		to.SetInt(v)
	case to.Kind() == reflect.Uint64:
		v, err := strconv.ParseUint(text, 10, 64)
		if !number || err != nil {
			return "a whole number within 0..18446744073709551615"
		}
		to.SetUint(v)
	case to.Kind() == reflect.Float64:
		if !number || n.Decode(to.Addr().Interface()) != nil {
			return "a number"
		}
	case to.Kind() == reflect.Bool:
		if n.Kind != yaml.ScalarNode || tag != "!!bool" || n.Decode(to.Addr().Interface()) != nil {
			return "true or false"
		}
	case to.Kind() == reflect.String:
		if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, tag) {
			return "text"
		}
		to.SetString(n.Value)
	default:
		return "left out: it cannot be read from a file"
	}
	return ""
}

// whole reads an integer, also one written as 1e6, or says what it would have to be.
func whole(text string) (v int64, wanted string) {
	v, err := strconv.ParseInt(text, 10, 64)
	if err == nil {
		return v, ""
	}
	if errors.Is(err, strconv.ErrRange) {
		return 0, "a whole number within -9223372036854775808..9223372036854775807"
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 || strings.HasPrefix(text, "0x") {
		return 0, "a whole number"
	}
	return int64(f), ""
}

// got describes what the file has.
func got(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "*" + n.Value
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float", "!!bool":
		if n.Style == 0 {
			return n.Value
		}
	}
	return strconv.Quote(n.Value)
}
