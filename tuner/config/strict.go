package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// strict fills a struct from YAML and collects every error with its place. yaml.v3 itself stops at a wrong type's enclosing value, gives no
// column, and does not name the field's path.
type strict struct {
	file string
	at   map[string]place // where each path stands, for errors found later
	errs []error
}

type place struct{ line, column int }

var durationType = reflect.TypeFor[time.Duration]()

func (s *strict) decode(text []byte, into any) {
	in := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := in.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty")
		}
		s.errs = append(s.errs, fmt.Errorf("%s: %w", s.file, err))
		return
	}
	var more yaml.Node
	if err := in.Decode(&more); !errors.Is(err, io.EOF) {
		s.errs = append(s.errs, fmt.Errorf("%s: want one document (got more behind a ---)", s.file))
	}
	s.value(doc.Content[0], reflect.ValueOf(into).Elem(), "")
}

func (s *strict) fail(n *yaml.Node, path, format string, args ...any) {
	if path == "" {
		path = "file"
	}
	s.errs = append(s.errs, fmt.Errorf("%s:%d:%d: %s: %s", s.file, n.Line, n.Column, path, fmt.Sprintf(format, args...)))
}

func (s *strict) value(n *yaml.Node, v reflect.Value, path string) {
	s.at[path] = place{n.Line, n.Column}
	if n.Kind == yaml.AliasNode {
		s.fail(n, path, "aliases are not read; write the value out (got *%s)", n.Value)
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		s.value(n, v.Elem(), path)
	case v.Kind() == reflect.Struct:
		s.object(n, v, path)
	case v.Kind() == reflect.Slice:
		s.list(n, v, path)
	default:
		s.scalar(n, v, path)
	}
}

func (s *strict) object(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		s.fail(n, path, "want a mapping (got %s)", kind(n))
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		fields[name] = v.Field(i)
		names = append(names, name)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		child := join(path, k.Value)
		field, known := fields[k.Value]
		switch {
		case seen[k.Value]:
			s.fail(k, child, "is there twice")
		case !known:
			sort.Strings(names)
			s.fail(k, child, "unknown field; want one of %s", strings.Join(names, ", "))
		default:
			s.value(n.Content[i+1], field, child)
		}
		seen[k.Value] = true
	}
}

func (s *strict) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		s.fail(n, path, "want a list (got %s)", kind(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		s.value(item, v.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
}

func (s *strict) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		s.fail(n, path, "want a value (got %s)", kind(n))
		return
	}
	if v.Type() == durationType {
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			s.fail(n, path, "want a duration like 15s or 5m (got %q)", n.Value)
			return
		}
		v.SetInt(int64(d))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || n.Tag == "!!str" {
			s.fail(n, path, "want an integer (got %q)", n.Value)
			return
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || n.Tag == "!!str" {
			s.fail(n, path, "want a number (got %q)", n.Value)
			return
		}
		v.SetFloat(f)
	default:
		s.fail(n, path, "cannot be read into a %s", v.Type()) // a mistake in File's own fields
	}
}

func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// add is for an error found after decoding: it gets the place of the field, or of the nearest enclosing one that is in the file.
func (s *strict) add(path string, format string, args ...any) {
	where := path
	for where != "" {
		if _, known := s.at[where]; known {
			break
		}
		cut := strings.LastIndexAny(where, ".[")
		if cut < 0 {
			where = ""
			break
		}
		where = where[:cut]
	}
	p, known := s.at[where]
	prefix := s.file
	if known {
		prefix = fmt.Sprintf("%s:%d:%d", s.file, p.line, p.column)
	}
	s.errs = append(s.errs, fmt.Errorf("%s: %s: %s", prefix, path, fmt.Sprintf(format, args...)))
}
