// Package strict reads the YAML files that people write for the programs.
//
// It promises that nothing in a file is ignored or bent into shape: a field that nobody reads, one that is there twice, an alias, a 2.5 for a
// whole number and a duration without a unit are all refused, every one of them at once, each with its line and column, its full name, what
// it must be and what it is. yaml.v3 itself stops at the first wrong value, gives no column and does not name the field. Values of fields that
// sound like secrets are not repeated. It leaves out what a value means: who reads the file adds such findings, and they get their place here.
package strict

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Finding is something wrong with a file.
type Finding struct {
	Line, Column int    // 0 for what is not in the file
	Field        string // full name, as clusters[0].kafka.brokers
	Text         string // problem (got value)
}

// Reader knows what was read, from where, and what was wrong with it.
type Reader struct {
	root     reflect.Type
	findings []Finding
	at       map[string]place // of the fields that are in the file
	failed   map[string]bool
}

type place struct{ line, column int }

// Defaulter is a struct that knows what its fields are when the file does not say: an item of a list cannot be filled before it is read.
type Defaulter interface{ SetDefaults() }

// Read fills a struct from the one document of a file; fields are named by their yaml tags, and what the file does not name keeps its value.
// The error is for what is not one document of YAML; everything else is among the reader's findings.
func Read(text []byte, into any) (*Reader, error) {
	document, err := decode(text)
	if err != nil {
		return nil, err
	}
	to := reflect.ValueOf(into).Elem()
	r := &Reader{root: to.Type(), at: map[string]place{}, failed: map[string]bool{}}
	r.fields(document, "", to)
	return r, nil
}

func decode(text []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := d.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, notYAML(err)
	}
	if err := d.Decode(new(yaml.Node)); err == nil {
		return nil, errors.New("the file holds more than one YAML document: there must be one, without a --- in between")
	} else if !errors.Is(err, io.EOF) {
		return nil, notYAML(err)
	}
	return document.Content[0], nil
}

func notYAML(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "cannot start any token") {
		text += "; blanks indent, tabs do not"
	}
	return fmt.Errorf("not YAML: %s", text)
}

func (r *Reader) bad(n *yaml.Node, field, format string, args ...any) {
	r.findings = append(r.findings, Finding{Line: n.Line, Column: n.Column, Field: cmp.Or(field, "the file"), Text: fmt.Sprintf(format, args...)})
	r.failed[field] = true
}

// Add is for what is wrong with a value that could be read: the finding gets the place of the field, or of the nearest part of the file that
// it would belong to. Of a field that could not be read nothing more is said: most of it would follow from that, and distract.
func (r *Reader) Add(field, text string) {
	if !r.Readable(field) {
		return
	}
	p := r.place(field)
	r.findings = append(r.findings, Finding{Line: p.line, Column: p.column, Field: field, Text: text})
}

// Addf is Add with fmt's format.
func (r *Reader) Addf(field, format string, args ...any) { r.Add(field, fmt.Sprintf(format, args...)) }

// Fail keeps what is added about the field from now on out of the findings.
func (r *Reader) Fail(field string) { r.failed[field] = true }

// AddAll is Add for each line of an error that has one `field: problem (got value)` a line; part is what the fields are parts of.
func (r *Reader) AddAll(part string, err error) {
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		field, text, _ := strings.Cut(line, ": ")
		if part != "" {
			field = part + "." + field
		}
		r.Add(field, text)
	}
}

// Given tells whether the field is in the file.
func (r *Reader) Given(field string) bool { return r.at[field].line > 0 }

func (r *Reader) place(field string) place {
	for ; field != ""; field = parent(field) {
		if p := r.at[field]; p.line > 0 {
			return p
		}
	}
	return place{}
}

func parent(field string) string { return field[:max(strings.LastIndexAny(field, ".["), 0)] }

// Readable tells whether what the field holds is what the file says: neither it nor a part of it nor what it is part of has failed.
func (r *Reader) Readable(field string) bool {
	if r.failed[""] { // the whole file
		return false
	}
	for f := field; f != ""; f = parent(f) {
		if r.failed[f] {
			return false
		}
	}
	for f := range r.failed {
		if strings.HasPrefix(f, field+".") || strings.HasPrefix(f, field+"[") {
			return false
		}
	}
	return true
}

// Findings is everything found, in the order of the file; what is not in it comes last.
func (r *Reader) Findings() []Finding {
	return slices.SortedStableFunc(slices.Values(r.findings), func(a, b Finding) int {
		return cmp.Or(cmp.Compare(uint(a.Line-1), uint(b.Line-1)), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Field, b.Field))
	})
}

// Err joins the findings, each as file:line:column: field: problem (got value); nil when there is none.
func (r *Reader) Err(file string) error {
	var errs []error
	for _, f := range r.Findings() {
		where := file
		if f.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", file, f.Line, f.Column)
		}
		errs = append(errs, fmt.Errorf("%s: %s: %s", where, f.Field, f.Text))
	}
	return errors.Join(errs...)
}

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
