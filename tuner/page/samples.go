package page

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// kept is how far back the curves go.
const kept = 6 * time.Hour

// Sample is one point of the curves; nil is not known. Latencies are in milliseconds, rates in records per second.
type Sample struct {
	Time                     time.Time
	P50, P99, Offered, Acked *float64
}

// Past says what was, at each step of a stretch of time, oldest first. Beside an error it may give what it had.
type Past func(ctx context.Context, from, to time.Time, step time.Duration) ([]Sample, error)

// samples are the curves. They begin with what the past holds and go on with what is remembered. It is safe for concurrent use.
type samples struct {
	mu    sync.Mutex
	rows  []row
	start int64
	turns int // how often something was put before what was there
}

type row struct {
	at     int64 // Unix milliseconds
	values [4]float64
}

func newSamples(now time.Time) *samples { return &samples{start: now.UnixNano()} }

func known(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

func (s Sample) row() row {
	return row{s.Time.UnixMilli(), [4]float64{known(s.P50), known(s.P99), known(s.Offered), known(s.Acked)}}
}

func (s *samples) add(one Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := one.row()
	if n := len(s.rows); n > 0 && r.at <= s.rows[n-1].at {
		return // a clock that was put back: the curves only go on
	}
	s.rows = append(s.rows, r)
	if old := r.at - kept.Milliseconds(); s.rows[0].at < old-time.Minute.Milliseconds() { // not with each one
		s.rows = slices.Clone(s.rows[s.since(old):])
	}
}

// since is the place of the first row at or after the time.
func (s *samples) since(at int64) int {
	i, _ := slices.BinarySearchFunc(s.rows, at, func(r row, at int64) int { return cmp.Compare(r.at, at) })
	return i
}

// before puts the past before what was remembered meanwhile.
func (s *samples) before(past []Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []row
	for _, p := range past {
		r := p.row()
		if (len(s.rows) == 0 || r.at < s.rows[0].at) && (len(rows) == 0 || r.at > rows[len(rows)-1].at) {
			rows = append(rows, r)
		}
	}
	s.rows = append(rows, s.rows...)
	s.turns++
}

// epoch is another one whenever a reader must forget what it has.
func (s *samples) epoch() string { return strconv.FormatInt(s.start, 36) + "-" + strconv.Itoa(s.turns) }

// json is what came after the time, or everything for a reader of another epoch. Columns are shorter than objects, and five digits are more than a screen has.
func (s *samples) json(epoch string, after int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := epoch != s.epoch()
	rows := s.rows
	if !whole {
		rows = rows[s.since(after+1):]
	}
	out := fmt.Appendf(nil, `{"epoch":%q,"whole":%t,"t":[`, s.epoch(), whole)
	for i, r := range rows {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(out, r.at, 10)
	}
	for column, name := range []string{"p50", "p99", "offered", "acked"} {
		out = fmt.Appendf(out, `],%q:[`, name)
		for i, r := range rows {
			if i > 0 {
				out = append(out, ',')
			}
			if v := r.values[column]; math.IsNaN(v) || math.IsInf(v, 0) {
				out = append(out, "null"...)
			} else {
				out = strconv.AppendFloat(out, v, 'g', 5, 64)
			}
		}
	}
	return append(out, "]}"...)
}

// again is the pause between two questions about the past.
const again = 10 * time.Second

// Recall puts what Prometheus holds of the last hours before what is remembered, so that the curves do not begin anew with each tuner. It asks until it is
// told something or the context ends.
func (p *Page) Recall(ctx context.Context) {
	if p.c.Past == nil {
		return
	}
	step := max(p.c.File.Live.Window, p.c.File.Live.Interval, kept/10000)
	for {
		now := time.Now()
		past, err := p.c.Past(ctx, now.Add(-kept).Truncate(step), now, step)
		if ctx.Err() != nil {
			return
		}
		if len(past) > 0 {
			p.samples.before(past)
			p.c.Logger.Debug("curves", "recalled", len(past), "err", err)
			return
		}
		p.c.Logger.Debug("recall curves", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
	}
}
