package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// strict reads a JSON value into a Go value and names every field that is unknown, missing or of another type. encoding/json itself stops at
// the first, says nothing of missing ones, and forgets the path when a type reads itself.
func strict(data []byte, into any) error {
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		var at *json.SyntaxError
		if errors.As(err, &at) {
			return fmt.Errorf("not JSON from byte %d on: %w", at.Offset, err)
		}
		return err
	}
	var found problems
	found.read(raw, reflect.ValueOf(into).Elem(), "")
	return errors.Join(found...)
}

// problems collects every finding before any is returned.
type problems []error

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

func (p *problems) need(ok bool, path, problem string, got any) {
	if !ok {
		p.add(path, "%s (got %v)", problem, got)
	}
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (p *problems) read(raw json.RawMessage, v reflect.Value, path string) {
	switch own := v.Addr().Type().Implements(unmarshaler); {
	case own:
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw); err != nil {
			*p = append(*p, fmt.Errorf("%s: %w", path, err))
		}
	case v.Kind() == reflect.Struct:
		p.object(raw, v, path)
	case v.Kind() == reflect.Slice && string(raw) != "null":
		p.array(raw, v, path)
	case v.Kind() == reflect.Pointer && string(raw) != "null":
		v.Set(reflect.New(v.Type().Elem()))
		p.read(raw, v.Elem(), path)
	default:
		p.value(raw, v, path)
	}
}

func (p *problems) object(raw json.RawMessage, v reflect.Value, path string) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		p.add(or(path, "report"), "must be an object (got %s)", brief(raw))
		return
	}
	p.fields(fields, v, path)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		p.add(join(path, name), "there is no such field")
	}
}

// fields reads and takes away those that v has.
func (p *problems) fields(from map[string]json.RawMessage, v reflect.Value, path string) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			p.fields(from, v.Field(i), path)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		raw, there := from[name]
		delete(from, name)
		switch {
		case there:
			p.read(raw, v.Field(i), join(path, name))
		case options != "omitempty":
			p.add(join(path, name), "is missing")
		}
	}
}

func (p *problems) array(raw json.RawMessage, v reflect.Value, path string) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		p.add(path, "must be an array (got %s)", brief(raw))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, e := range elements {
		p.read(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (p *problems) value(raw json.RawMessage, v reflect.Value, path string) {
	if string(raw) == "null" && v.Kind() != reflect.Slice && v.Kind() != reflect.Map && v.Kind() != reflect.Pointer {
		p.add(path, "must be set (got null)")
		return
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		p.add(path, "must be a value of type %s (got %s)", v.Type(), brief(raw))
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func brief(raw []byte) string {
	raw = bytes.Join(bytes.Fields(raw), []byte(" "))
	if len(raw) > 40 {
		return string(raw[:40]) + "…"
	}
	return string(raw)
}
