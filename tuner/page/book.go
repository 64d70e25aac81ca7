package page

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/report"
	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// book keeps what the page shows of the ledger. The file is read again when it has grown and somebody looks; whoever looks gets what is ready.
type book struct {
	c Config

	mu         sync.Mutex
	ready      *view // nil: not read yet
	reading    bool
	explaining bool
	told       string // of what the importance is known
	importance []Importance
	first      chan struct{} // closed when ready is set
}

// view is the ledger at one moment.
type view struct {
	tag    string
	body   []byte
	report *report.Report
	err    error // why the ledger could not be read; the rest is as it was before
	stamp  stamp
}

// stamp of a file: the ledger only ever grows.
type stamp struct {
	size int64
	at   time.Time
}

// Importance is how much a knob matters, as the model of the search understands it: 0 not at all, 1 alone. Low and High hold it in 9 of 10 functions that the
// measurements leave possible.
type Importance struct {
	Knob  string  `json:"knob"`
	Total float64 `json:"total"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

type content struct {
	Report     *report.Report        `json:"report"`
	Steps      map[int][]status.Step `json:"steps"` // of each trial, in the knobs' units: shorter than the report's texts
	Changes    []status.Change       `json:"changes"`
	Importance []Importance          `json:"importance"`
}

func newBook(c Config) *book { return &book{c: c, first: make(chan struct{})} }

// newest is what is ready, which may be nothing. That more is read is begun here and not waited for.
func (b *book) newest() view {
	now := b.stamp()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.reading && (b.ready == nil || b.ready.stamp != now) {
		b.reading = true
		go b.read(now)
	}
	if b.ready == nil {
		return view{}
	}
	return *b.ready
}

// view waits for the first reading only.
func (b *book) view() view {
	b.newest()
	<-b.first
	return b.newest()
}

func (b *book) stamp() stamp {
	info, err := os.Stat(b.c.Ledger)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime()}
}

func (b *book) read(at stamp) {
	c, err := ledger.Load(b.c.Ledger)
	if errors.Is(err, fs.ErrNotExist) {
		c, err = ledger.Content{}, nil // before the first record
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	if err != nil {
		b.fail(at, err)
		return
	}
	s := study.Fold(c.Records)
	b.show(at, report.New(c), s)
	if of := measuredIn(s); of != b.told && !b.explaining {
		b.explaining = true
		go b.explain(of, s)
	}
}

func (b *book) fail(at stamp, err error) {
	v := view{tag: "none", body: []byte(`{"report":null,"steps":{},"changes":[],"importance":null}`)}
	if b.ready != nil {
		v = *b.ready
	}
	v.err, v.stamp = err, at
	b.set(v)
}

func (b *book) set(v view) {
	if b.ready == nil {
		close(b.first)
	}
	b.ready = &v
}

// show makes the view of a ledger. The caller holds the lock.
func (b *book) show(at stamp, r *report.Report, s *study.Study) {
	out := content{Report: r, Steps: map[int][]status.Step{}, Changes: []status.Change{}, Importance: b.importance}
	for _, t := range s.Trials {
		for _, c := range t.Changes {
			out.Steps[t.Number] = append(out.Steps[t.Number], status.Step{Knob: c.Knob, Old: c.Old, New: c.New})
		}
	}
	for _, c := range s.Changes {
		was, is := strconv.FormatInt(c.Old, 10), strconv.FormatInt(c.New, 10)
		if c.Old == c.New { // it is none of the values that a knob has
			was, is = cmp.Or(c.OldText, was), cmp.Or(c.NewText, is)
		}
		out.Changes = append(out.Changes, status.Change{
			ID: c.ID, Time: c.Time, Trial: c.Trial, Author: c.Author, Outcome: c.Outcome, Knob: c.Knob, Old: was, New: is, Effect: c.Effect, Reason: c.Reason,
		})
	}
	body, err := json.Marshal(out)
	if err != nil {
		b.fail(at, fmt.Errorf("show ledger: %w", err))
		return
	}
	b.set(view{tag: fmt.Sprintf("%d-%s-%d", r.Ledger.Records, short(r.Ledger.Head), len(b.importance)) + "-" + b.told, body: body, report: r, stamp: at})
}

func short(s string) string { return s[:min(len(s), 12)] }

// html writes the report.
func (b *book) html(w io.Writer) error {
	v := b.view()
	if v.report == nil {
		return v.err
	}
	return v.report.HTML(w)
}

// The measurements that a model is made of: fewer say nothing, and of more than so many the newest do, in a second rather than a minute.
const (
	fewest = 4
	most   = 80
)

// measuredIn names the measurements that there are.
func measuredIn(s *study.Study) string {
	n := 0
	for _, t := range s.Counted() {
		if len(t.Windows) > 0 && t.Phase.Done() {
			n++
		}
	}
	return fmt.Sprintf("%d.%d", len(s.Trials)-len(s.Counted()), n)
}

// explain finds out what matters, which takes a while, and shows it.
func (b *book) explain(of string, s *study.Study) {
	found := important(b.c, s)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.explaining, b.told, b.importance = false, of, found
	if b.ready != nil && b.ready.report != nil {
		b.ready.stamp = stamp{} // so that it is read again, with this in it
	}
}

func important(c Config, s *study.Study) []Importance {
	o := c.File.Objective
	sc := search.Config{
		Space: c.File.SearchSpace(), Pod: space.Pod{Memory: c.Memory}, Start: s.Start, Seed: c.File.Search.Seed,
		Bounds: []search.Bound{{Name: "p99", Limit: o.SLO.Seconds() * (1 + o.Tolerance)}},
	}
	history := []search.Trial{}
	add := func(p space.Point, windows []judge.Window) {
		for _, k := range sc.Space.Knobs {
			if _, has := p[k.Name]; !has {
				return // of a file with other knobs
			}
		}
		if len(windows) > 0 {
			history = append(history, search.Trial{Point: p, Value: judge.Median(windows, judge.Goodput), Bounds: []float64{judge.Median(windows, judge.P99)}})
		}
	}
	add(s.Start, s.Baseline)
	counted := s.Counted()
	for _, t := range counted[max(0, len(counted)-most):] {
		if t.Phase.Done() {
			add(t.Candidate, t.Windows)
		}
	}
	if len(history) < fewest {
		return nil
	}
	found, err := search.Explain(sc, history)
	if err != nil {
		c.Logger.Debug("importance of knobs", "err", err)
		return nil
	}
	out := make([]Importance, len(found))
	for i, f := range found {
		out[i] = Importance{f.Knob, f.Total, f.Low, f.High}
	}
	return out
}
