package strict

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

// Number is a number as it is written, for values whose type is known only later, or that must not lose a decimal.
type Number string

// Lone is a list for which a single value may be written without brackets.
type Lone interface{ Lone() }

var (
	durationType = reflect.TypeFor[time.Duration]()
	numberType   = reflect.TypeFor[Number]()
	loneType     = reflect.TypeFor[Lone]()
)

// value reads n into to, a settable struct, list, map of texts, scalar, or pointer to one.
func (r *Reader) value(n *yaml.Node, field string, to reflect.Value) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.bad(n, field, "must be written out: anchors and aliases are not taken (got %s)", hide(field, got(n)))
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && to.Kind() == reflect.Struct:
		r.bad(n, field, "must have fields, indented below it (got nothing)")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		r.bad(n, field, "must have a value (got nothing)")
	case to.Kind() == reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		r.value(n, field, to.Elem())
	case to.Kind() == reflect.Struct:
		r.fields(n, field, to)
	case to.Kind() == reflect.Slice:
		r.list(n, field, to)
	case to.Kind() == reflect.Map:
		r.table(n, field, to)
	default:
		if wanted := scalar(n, to); wanted != "" {
			r.bad(n, field, "must be %s (got %s)", wanted, hide(field, got(n)))
		}
	}
}

func (r *Reader) fields(n *yaml.Node, field string, to reflect.Value) {
	tags := tagged(to.Type())
	if n.Kind != yaml.MappingNode {
		r.bad(n, field, "must be fields with values, of %s (got %s)", names(tags), got(n))
		return
	}
	if d, ok := to.Addr().Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	r.each(n, field, func(key, value *yaml.Node, name string) {
		i, known := tags[key.Value]
		if !known {
			r.unknown(key, value, field, name, tags)
			return
		}
		r.value(value, name, to.Field(i))
	})
}

// each calls read for every entry of a mapping, with its full name.
func (r *Reader) each(n *yaml.Node, field string, read func(key, value *yaml.Node, name string)) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			r.bad(key, field, "must have plain names for its fields (got %s)", got(key))
			continue
		}
		name := join(field, key.Value)
		if first := r.at[name]; first.line > 0 {
			r.bad(key, name, "must be there once only: line %d has it too (got %s)", first.line, hide(name, got(value)))
			continue
		}
		if r.at[name] = (place{key.Line, key.Column}); value.Kind == yaml.ScalarNode {
			r.at[name] = place{value.Line, value.Column}
		}
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

func (r *Reader) list(n *yaml.Node, field string, to reflect.Value) {
	if n.Kind == yaml.ScalarNode && to.Type().Implements(loneType) {
		to.Set(reflect.MakeSlice(to.Type(), 1, 1))
		r.value(n, field, to.Index(0))
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.bad(n, field, "must be a list (got %s)", hide(field, got(n)))
		return
	}
	to.Set(reflect.MakeSlice(to.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		name := fmt.Sprintf("%s[%d]", field, i)
		r.at[name] = place{item.Line, item.Column}
		r.value(item, name, to.Index(i))
	}
}

// table reads a map of texts.
func (r *Reader) table(n *yaml.Node, field string, to reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, field, "must be names with values (got %s)", hide(field, got(n)))
		return
	}
	to.Set(reflect.MakeMap(to.Type()))
	r.each(n, field, func(key, value *yaml.Node, name string) {
		text := reflect.New(to.Type().Elem()).Elem()
		r.value(value, name, text)
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
	case to.Type() == numberType:
		if !number {
			return "a number, without quotes"
		}
		to.SetString(text)
	case to.Kind() == reflect.Int || to.Kind() == reflect.Int64:
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
		return "left out: it cannot be read from a file" // a mistake in the struct
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
