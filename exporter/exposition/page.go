// Package exposition answers scrapes with many samples in Prometheus' exposition formats, quickly.
//
// It promises what a registry and promhttp would answer for the same samples, in the text format, OpenMetrics and protobuf: the samples of a
// family together, families sorted by name, labels sorted by name, everything escaped; and that no label value and no duplicate makes an
// answer invalid. Samples are kept as they are sent, so there is no object for any of them: that is why it is quick. It leaves out histograms,
// summaries, exemplars and timestamps: a registry's answer follows for these.
package exposition

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/bits"
	"slices"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Family describes one metric family.
type Family struct {
	Name   string
	Kind   string // gauge or counter
	Labels []string
	Help   string
}

// Page holds the samples of one scrape in one format. One goroutine at a time uses it.
type Page struct {
	format expfmt.Format
	enc    encoder
	rows   []*row // by name
	byName map[string]*row
	last   *row // that got a sample

	names  []string // of the labels that all families have besides their own
	shared []string // their values

	// The labels of the sample before: most samples have those of their neighbour, so they are encoded once for all of these.
	set    int // of label names; -1: there is none
	values []string
	all    []string // with those that are shared
	block  []byte
	id     int // of the block

	seed maphash.Seed
	ids  map[uint64]int // of blocks, by hash: of 64 bits, so no two blocks meet
}

// row is what a page holds of one family.
type row struct {
	Family
	names  []string // of all labels
	set    int      // the same number for the same names
	order  []int    // of the labels, by name
	head   []byte   // in the page's format
	sample string   // the samples' name
	body   []byte   // the samples
	seen   []uint   // a bit for each block that there is a sample with
	unsent bool     // nobody asked for it
	next   *row     // that got a sample after this one, and will again, for the next partition
}

// New prepares a page for families that are gauges or counters; one that is there twice is one. The shared labels are those that all have
// besides their own.
func New(families []Family, shared ...string) (*Page, error) {
	p := &Page{last: &row{}, byName: map[string]*row{}, names: shared, seed: maphash.MakeSeed(), ids: map[uint64]int{}}
	sets := map[string]int{}
	var problems []error
	for _, f := range families {
		if r := p.byName[f.Name]; r != nil {
			if f.Kind != r.Kind || f.Help != r.Help || !slices.Equal(f.Labels, r.Labels) {
				problems = append(problems, fmt.Errorf("family %s: want one kind, help and list of labels", f.Name))
			}
			continue
		}
		r := &row{Family: f, names: slices.Concat(shared, f.Labels)}
		if err := check(f, r.names); err != nil {
			problems = append(problems, err)
			continue
		}
		for i := range r.names {
			r.order = append(r.order, i)
		}
		slices.SortFunc(r.order, func(a, b int) int { return cmp.Compare(r.names[a], r.names[b]) })
		key := fmt.Sprintf("%q", r.names)
		if _, ok := sets[key]; !ok {
			sets[key] = len(sets)
		}
		r.set = sets[key]
		p.rows = append(p.rows, r)
		p.byName[f.Name] = r
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("prepare page: %w", err)
	}
	slices.SortFunc(p.rows, func(a, b *row) int { return cmp.Compare(a.Name, b.Name) })
	return p, nil
}

// check refuses names that could be sent only escaped: then no format and no reader needs that.
func check(f Family, labels []string) error {
	if !model.LegacyValidation.IsValidMetricName(f.Name) {
		return fmt.Errorf("family %q: want a name of letters, digits, : and _", f.Name)
	}
	if f.Kind != "gauge" && f.Kind != "counter" {
		return fmt.Errorf("family %s: kind: want gauge or counter (got %q)", f.Name, f.Kind)
	}
	seen := map[string]bool{}
	for _, l := range labels {
		if !model.LegacyValidation.IsValidLabelName(l) || seen[l] {
			return fmt.Errorf("family %s: label %q: want a name of letters, digits and _, once", f.Name, l)
		}
		seen[l] = true
	}
	return nil
}

// Begin makes the page empty and sets its format.
func (p *Page) Begin(format expfmt.Format) {
	if p.format != format || p.enc == nil {
		p.format, p.enc = format, encoderOf(format)
		for _, r := range p.rows {
			r.head, r.sample = p.enc.head(r.Family)
		}
	}
	for _, r := range p.rows {
		r.body, r.unsent = r.body[:0], false
		clear(r.seen)
	}
	p.shared, p.set = nil, -1
	clear(p.ids)
}

// Only leaves out all families but these, until the page begins anew. No names leave out none, as Prometheus' own handler has it.
func (p *Page) Only(names []string) {
	for _, r := range p.rows {
		r.unsent = len(names) > 0 && !slices.Contains(names, r.Name)
	}
}

// Share sets the values of the shared labels for the samples to come.
func (p *Page) Share(values ...string) { p.shared, p.set = values, -1 }

// Add takes a sample with the values of the family's labels, in the order of Family.Labels. A second sample of the same series is left out. A
// family that the page was not made for, or another number of values than there are labels, is a mistake in the program: Add panics.
func (p *Page) Add(family string, v float64, values ...string) {
	r := p.last.next
	if r == nil || r.Name != family {
		r = p.byName[family]
		p.last.next = r
	}
	if r == nil || len(values) != len(r.Labels) || len(p.shared) != len(p.names) {
		panic(fmt.Sprintf("exposition: no family %s with %d labels and %d shared ones", family, len(values), len(p.shared)))
	}
	p.last = r
	if r.unsent {
		return
	}
	if p.set != r.set || !slices.Equal(p.values, values) {
		p.label(r, values)
	}
	if r.repeats(p.id) {
		return
	}
	r.body = p.enc.sample(r.body, r.sample, p.block, v)
}

func (p *Page) label(r *row, values []string) {
	p.set, p.values = r.set, append(p.values[:0], values...)
	p.all = append(append(p.all[:0], p.shared...), values...)
	p.block = p.enc.block(p.block[:0], r, p.all)
	hash := maphash.Bytes(p.seed, p.block)
	id, ok := p.ids[hash]
	if !ok {
		id = len(p.ids)
		p.ids[hash] = id
	}
	p.id = id
}

// repeats says whether it was asked about the block before.
func (r *row) repeats(block int) bool {
	i, bit := block/bits.UintSize, uint(1)<<(block%bits.UintSize)
	for len(r.seen) <= i {
		r.seen = append(r.seen, 0)
	}
	was := r.seen[i]&bit != 0
	r.seen[i] |= bit
	return was
}

// WriteTo writes the families that have samples, without the mark that ends an answer in OpenMetrics.
func (p *Page) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for _, r := range p.rows {
		if len(r.body) == 0 {
			continue
		}
		n, err := p.enc.family(w, r)
		written += n
		if err != nil {
			return written, fmt.Errorf("write family %s: %w", r.Name, err)
		}
	}
	return written, nil
}
