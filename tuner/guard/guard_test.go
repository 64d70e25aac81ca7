package guard_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/guard"
)

func most(v float64) *float64 { return &v }

// TestTally: what readings every two seconds come to. A digit is a reading of a guard whose most is 3; x is no answer; the change's rollout is complete
// where the bar stands.
func TestTally(t *testing.T) {
	for name, c := range map[string]struct {
		before   string
		readings string
		hold     time.Duration
		grace    time.Duration
		at       int // the reading that is the breach; -1: none
		blind    bool
		violated time.Duration
	}{
		"all is well":                                  {"1", "111|11111", 0, 0, -1, false, 0},
		"one bad reading is enough":                    {"1", "111|11511", 0, 0, 5, false, 2 * time.Second},
		"it must last":                                 {"1", "|5555551", 6 * time.Second, 0, 3, false, 12 * time.Second},
		"a break begins it anew":                       {"1", "|555155511", 6 * time.Second, 0, -1, false, 12 * time.Second},
		"no answer is no break":                        {"1", "|55x551", 6 * time.Second, 0, 3, false, 8 * time.Second},
		"no answer is no breach":                       {"1", "|1xxxxx1", 0, 0, -1, false, 0},
		"no answer for two minutes is the end":         {"1", "|1" + strings.Repeat("x", 61), 0, 0, 61, true, 0},
		"the rollout is borne with":                    {"1", "999|999111", 0, 6 * time.Second, -1, false, 12 * time.Second},
		"but not for longer than the grace":            {"1", "999|9999", 0, 6 * time.Second, 6, false, 14 * time.Second},
		"without grace the rollout is not borne with":  {"1", "119|", 0, 0, 2, false, 2 * time.Second},
		"what was so before is not the change's doing": {"9", "|99999", 0, 0, -1, false, 10 * time.Second},
		"unless it was well in between":                {"9", "|99199", 0, 0, 3, false, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			g := config.Guard{Name: "g", Max: most(3), For: c.hold, Grace: c.grace}
			read := func(r rune) []guard.Reading {
				if r == 'x' {
					return []guard.Reading{{Guard: g, Absent: "no answer"}}
				}
				return []guard.Reading{{Guard: g, Value: float64(r - '0')}}
			}
			now := time.Unix(1000, 0)
			tally := guard.NewTally(now, read(rune(c.before[0])))
			var settled time.Time
			found, n := -1, 0
			for _, r := range c.readings {
				if r == '|' {
					settled = now.Add(2 * time.Second) // the reading that follows
					continue
				}
				now = now.Add(2 * time.Second)
				b := tally.Add(now, read(r), settled)
				if b != nil && found < 0 {
					found = n
					if b.Blind != c.blind || !strings.Contains(b.Why, "guard g: ") {
						t.Errorf("want it blind: %v, and named (got %+v)", c.blind, b)
					}
				}
				n++
			}
			if found != c.at {
				t.Errorf("want the breach at reading %d (got %d)", c.at, found)
			}
			if got := tally.Take(); got != c.violated.Seconds() {
				t.Errorf("want %s of violation (got %g s)", c.violated, got)
			}
		})
	}
}

type source func(query string, at time.Time) (float64, error)

func (s source) Number(_ context.Context, query string, at time.Time) (promql.Sample, error) {
	v, err := s(query, at)
	return promql.Sample{Value: v, Time: at}, err
}

func TestReader(t *testing.T) {
	f := config.Default()
	f.Guards = []config.Guard{
		{Name: "lost", Query: "lost[$window]", Max: most(0), Breach: config.BreachWorse},
		{Name: "load", Query: "load", Min: most(1), Breach: config.BreachInconclusive},
		{Name: "lag", Query: "lag", Max: most(5), Min: most(1), Breach: config.BreachWorse},
	}
	var mu sync.Mutex
	var asked []string
	r := guard.NewReader(source(func(query string, _ time.Time) (float64, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, query)
		if query == "lag" {
			return 0, fmt.Errorf("no answer")
		}
		return 2, nil
	}), f)
	got := r.Read(t.Context(), time.Time{})
	if len(got) != 2 || len(asked) != 2 || !got[0].Breached() || got[0].String() != "guard lost: want at most 0 (got 2)" || got[1].Absent != "no answer" || got[1].Breached() {
		t.Errorf("want the two of kind worse (asked %q, got %v)", asked, got)
	}
	if asked[0] != "lost[8000ms]" && asked[1] != "lost[8000ms]" {
		t.Errorf("want four scrapes asked for (got %q)", asked)
	}
}

// TestWhatTheFileSaysOfAFigure holds for what is watched as for what is measured: a value that cannot be is no answer, and no series may be one.
func TestWhatTheFileSaysOfAFigure(t *testing.T) {
	none := &promql.Error{Cause: promql.NoData, Query: "lost", Why: "no such series"}
	for name, c := range map[string]struct {
		metric   config.Metric
		value    float64
		err      error
		breached bool
		absent   string
	}{
		"a value that can be":                  {config.Metric{Max: most(9)}, 9, nil, true, ""},
		"more than can be":                     {config.Metric{Max: most(9)}, 10, nil, false, "want at most 9, since more cannot be (got 10)"},
		"less than can be":                     {config.Metric{Min: most(0)}, -1, nil, false, "want at least 0, since less cannot be (got -1)"},
		"no series":                            {config.Metric{}, 0, none, false, "no such series"},
		"no series, which stands for 0":        {config.Metric{Missing: config.MissingZero}, 0, none, true, ""},
		"no series, to which nothing applies":  {config.Metric{Missing: config.MissingIgnore}, 0, none, false, ""},
		"no answer, which is something else":   {config.Metric{Missing: config.MissingZero}, 0, fmt.Errorf("timeout"), false, "timeout"},
		"no answer, to which a policy is mute": {config.Metric{Missing: config.MissingIgnore}, 0, fmt.Errorf("timeout"), false, "timeout"},
	} {
		f := config.Default()
		f.Guards = []config.Guard{{Name: "lost", Query: "lost", Min: most(1), Max: most(5), Breach: config.BreachWorse}}
		c.metric.Name = "lost"
		f.Prometheus.Metrics = []config.Metric{c.metric}
		got := guard.NewReader(source(func(string, time.Time) (float64, error) { return c.value, c.err }), f).Read(t.Context(), time.Time{})[0]
		if got.Breached() != c.breached || (got.Absent == "") != (c.absent == "") || !strings.Contains(got.Absent, c.absent) {
			t.Errorf("%s: want breached %v, absent %q (got %v, %q)", name, c.breached, c.absent, got.Breached(), got.Absent)
		}
	}
}

func TestWhatWasMissed(t *testing.T) {
	f := config.Default()
	f.Guards = []config.Guard{{Name: "lag", Query: "lag", Max: most(5), Breach: config.BreachWorse, For: 20 * time.Second}}
	r := guard.NewReader(nil, f)
	now := time.Unix(10000, 0)
	for name, c := range map[string]struct {
		away  time.Duration
		least int
		most  int
	}{
		"a breach that began before is seen from its beginning": {0, 10, 11},
		"a minute":         {time.Minute, 29, 30},
		"a day is sampled": {24 * time.Hour, 59, 60},
	} {
		got := r.Missed(now.Add(-c.away), now)
		if len(got) < c.least || len(got) > c.most {
			t.Errorf("%s: want %d to %d looks (got %d)", name, c.least, c.most, len(got))
		}
		for i, at := range got {
			if !at.Before(now) || i > 0 && !at.After(got[i-1]) {
				t.Errorf("%s: want them in order and in the past (got %v)", name, got)
			}
		}
	}
}
