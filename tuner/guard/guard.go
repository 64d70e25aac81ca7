// Package guard watches the guards of the tuner's file while a change is on its way or in force, at every scrape and not only when a window ends.
//
// It promises that a guard of kind worse which is breached without a break for as long as it says is reported, with since when; that a tuner which
// was down asks about the time it missed, so a breach in which it was killed is reported at its first look; that no answer is never taken for a
// good one: when a guard cannot be asked for too long, that is reported as well; and that the seconds in which any guard was breached are
// counted. It leaves out what to do about it.
package guard

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
)

// Source answers queries; promql.Client is one.
type Source interface {
	Number(ctx context.Context, query string, at time.Time) (promql.Sample, error)
}

// Reading is one guard at one moment.
type Reading struct {
	Guard  config.Guard
	Value  float64
	Absent string // why there is no value
}

// Breached says whether the value is outside the bounds.
func (r Reading) Breached() bool {
	return r.Absent == "" && (r.Guard.Min != nil && r.Value < *r.Guard.Min || r.Guard.Max != nil && r.Value > *r.Guard.Max)
}

func (r Reading) String() string {
	switch {
	case r.Absent != "":
		return fmt.Sprintf("guard %s: %s", r.Guard.Name, r.Absent)
	case r.Guard.Min != nil && r.Value < *r.Guard.Min:
		return fmt.Sprintf("guard %s: want at least %g (got %g)", r.Guard.Name, *r.Guard.Min, r.Value)
	case r.Guard.Max != nil:
		return fmt.Sprintf("guard %s: want at most %g (got %g)", r.Guard.Name, *r.Guard.Max, r.Value)
	}
	return fmt.Sprintf("guard %s: %g", r.Guard.Name, r.Value)
}

// Reader asks for all watched guards at once.
type Reader struct {
	source Source
	guards []config.Guard
	file   config.Prometheus // what it says of each figure
	window string
	step   time.Duration
}

// NewReader takes those guards of the file that are watched.
func NewReader(source Source, f config.File) *Reader {
	r := &Reader{source: source, file: f.Prometheus, step: f.Prometheus.ScrapeInterval}
	r.window = strconv.FormatInt((config.Scrapes*r.step).Milliseconds(), 10) + "ms"
	for _, g := range f.Guards {
		if g.Breach == config.BreachWorse {
			r.guards = append(r.guards, g)
		}
	}
	return r
}

// Read asks for every guard as of the given time (zero: now), all at once, so that one slow answer does not hold up the others.
func (r *Reader) Read(ctx context.Context, at time.Time) []Reading {
	out := make([]Reading, len(r.guards))
	var all sync.WaitGroup
	for i, g := range r.guards {
		all.Go(func() { out[i] = r.one(ctx, g, at) })
	}
	all.Wait()
	return out
}

// one asks for a guard. What the file says of its figure holds here as for what is measured.
func (r *Reader) one(ctx context.Context, g config.Guard, at time.Time) Reading {
	m, out := r.file.Metric(g.Name), Reading{Guard: g}
	sample, err := r.source.Number(ctx, strings.ReplaceAll(g.Query, "$window", r.window), at)
	if none := promql.CauseOf(err) == promql.NoData; none && m.Missing == config.MissingIgnore {
		out.Guard.Min, out.Guard.Max = nil, nil // it does not apply
		return out
	} else if none && m.Missing == config.MissingZero {
		return out
	}
	if err == nil {
		err = m.Check(sample.Value)
	}
	if err != nil {
		out.Absent = err.Error()
		return out
	}
	out.Value = sample.Value
	return out
}

// Breach is a guard that must not stay so.
type Breach struct {
	Name  string
	Since time.Time
	Why   string
	// Blind is set when the guard could not be asked: the change is taken back, and nothing is said against it.
	Blind bool
}

// blindness is how long no answer is borne with; a restarted Prometheus is back by then.
const blindness = 2 * time.Minute

// Tally follows the readings of one change.
type Tally struct {
	bad  map[string]time.Time // since when each guard has been breached, without a break
	mute map[string]time.Time // since when each could not be asked
	old  map[string]bool      // was breached before the change already, and has been ever since
	now  map[string]bool      // is breached, borne with or not
	last time.Time
	seen bool
	sum  time.Duration
}

// NewTally begins at the given time with the readings from before the change. What is breached then speaks for nothing until it was in bounds.
func NewTally(begin time.Time, before []Reading) *Tally {
	t := &Tally{bad: map[string]time.Time{}, mute: map[string]time.Time{}, old: map[string]bool{}, now: map[string]bool{}, last: begin}
	for _, r := range before {
		if r.Breached() {
			t.old[r.Guard.Name] = true
		}
	}
	return t
}

// Add takes the next readings, made at the given time, into account. settled is when the last rollout was complete; zero: it is under way. The
// first guard that counts as breached is returned.
func (t *Tally) Add(at time.Time, readings []Reading, settled time.Time) *Breach {
	var found *Breach
	violated := false
	t.seen = true
	for _, r := range readings {
		name := r.Guard.Name
		violated = violated || r.Breached()
		if r.Absent == "" {
			delete(t.mute, name)
		} else if _, known := t.mute[name]; !known {
			t.mute[name] = at
		}
		graced := r.Guard.Grace > 0 && (settled.IsZero() || at.Sub(settled) < r.Guard.Grace)
		switch {
		case r.Absent != "": // what was breached stays so until an answer says otherwise
			if since := t.mute[name]; at.Sub(since) >= blindness && found == nil {
				found = &Breach{Name: name, Since: since, Why: fmt.Sprintf("%s, for %s", r, at.Sub(since).Round(time.Second)), Blind: true}
			}
			continue
		case !r.Breached():
			delete(t.bad, name)
			delete(t.old, name)
			delete(t.now, name)
			continue
		}
		t.now[name] = true
		switch {
		case graced || t.old[name]:
			delete(t.bad, name)
			continue
		}
		if _, known := t.bad[name]; !known {
			t.bad[name] = at
		}
		if since := t.bad[name]; at.Sub(since) >= r.Guard.For && (found == nil || found.Blind) {
			found = &Breach{Name: name, Since: since, Why: r.String()}
			if lasted := at.Sub(since); lasted > 0 {
				found.Why += fmt.Sprintf(", for %s", lasted.Round(time.Millisecond))
			}
		}
	}
	if at.After(t.last) {
		if violated {
			t.sum += at.Sub(t.last)
		}
		t.last = at
	}
	return found
}

// Pending says whether it is open how this will end: nothing was read yet, or a guard is breached that will count if it stays so.
func (t *Tally) Pending() bool {
	for name := range t.now {
		if !t.old[name] {
			return true
		}
	}
	return !t.seen
}

// Take returns the seconds in which a guard was breached since it was asked last.
func (t *Tally) Take() float64 {
	s := t.sum.Seconds()
	t.sum = 0
	return s
}

// most looks into the past; further back than this many scrapes the answer would come too late to be of use.
const most = 60

// Missed are the moments to ask about when nobody looked since the given time, oldest first, spread over what was missed. A breach that was
// under way then is seen from its beginning, as far as it counts.
func (r *Reader) Missed(since, now time.Time) []time.Time {
	for _, g := range r.guards {
		if early := now.Add(-g.For - r.step); early.Before(since) {
			since = early
		}
	}
	gap := now.Sub(since)
	if gap < 2*r.step {
		return nil
	}
	step := max(r.step, gap/most)
	var out []time.Time
	for at := now.Add(-gap + step); at.Before(now); at = at.Add(step) {
		out = append(out, at)
	}
	return out
}

// Step is the time between looks.
func (r *Reader) Step() time.Duration { return r.step }

// Any says whether there is anything to watch.
func (r *Reader) Any() bool { return len(r.guards) > 0 }
