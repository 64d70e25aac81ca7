package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// Space is the answer to GET /api/v1/space: what may be turned, and how far.
type Space struct {
	Knobs     []Knob        `json:"knobs"`
	Limits    []string      `json:"limits,omitempty"` // between knobs and what the container has
	Container status.Limits `json:"container"`        // what the target may use
}

// Knob is one setting with what it may be and what it is. Values are as they are meant: numbers, true and false, names.
type Knob struct {
	Name           string     `json:"name"`
	Env            string     `json:"env"`
	Type           space.Type `json:"type"`
	Unit           string     `json:"unit,omitempty"`
	Min            any        `json:"min,omitempty"`
	Max            any        `json:"max,omitempty"`
	MemoryFraction float64    `json:"memory_fraction,omitempty"` // at most this part of the container's memory
	Steps          []any      `json:"steps,omitempty"`           // what the search tries; a proposal may be anything in the range
	Choices        []string   `json:"choices,omitempty"`
	Special        []any      `json:"special,omitempty"` // outside the range, with a meaning of their own
	When           *When      `json:"when,omitempty"`    // otherwise it means nothing
	Restart        string     `json:"restart"`           // dynamic: takes effect at once; rolling: every broker restarts
	Desired        any        `json:"desired"`
	Effective      any        `json:"effective"` // as the broker or the JVM says
	Best           any        `json:"best"`
	Decimals       int        `json:"decimals,omitempty"` // of a float: orders count it in units of its last decimal
}

// When makes a knob mean something only while another one has one of some values.
type When struct {
	Knob string `json:"knob"`
	In   []any  `json:"in"`
}

func (a *API) space(w http.ResponseWriter, _ *http.Request) {
	s := a.c.Board.Snapshot()
	knobs := a.c.File.SearchSpace()
	out := Space{Knobs: []Knob{}, Container: s.Limits}
	for _, l := range knobs.Limits {
		out.Limits = append(out.Limits, l.Text)
	}
	for i, k := range knobs.Knobs {
		shown := knob(knobs, k)
		if i < len(s.Knobs) && s.Knobs[i].Name == k.Name {
			shown.Desired, shown.Effective, shown.Best = known(k, s.Knobs[i].Desired), known(k, s.Knobs[i].Effective), known(k, s.Knobs[i].Best)
		}
		out.Knobs = append(out.Knobs, shown)
	}
	answer(w, http.StatusOK, out)
}

func knob(all space.Space, k space.Knob) Knob {
	out := Knob{
		Name: k.Name, Env: k.Env, Type: k.Type, Unit: k.Unit, MemoryFraction: k.MemoryFraction, Choices: k.Choices, Special: values(k, k.Special),
		Restart: string(space.Rolling), Decimals: k.Decimals,
	}
	if k.Type == "" {
		out.Type = space.Int
	}
	if k.IsDynamic() {
		out.Restart = string(space.Dynamic)
	}
	if out.Type == space.Int || out.Type == space.Float {
		out.Min, out.Max, out.Steps = value(k, k.Min), value(k, k.Max), values(k, k.Steps)
	}
	if k.When != nil {
		on, _ := all.Knob(k.When.Knob)
		out.When = &When{Knob: on.Name, In: values(on, k.When.In)}
	}
	return out
}

// value is what a whole number of a point stands for.
func value(k space.Knob, v int64) any {
	switch k.Type {
	case space.Categorical:
		return k.Text(v)
	case space.Bool:
		return v != 0
	}
	return json.Number(k.Text(v))
}

func values(k space.Knob, of []int64) []any {
	var out []any
	for _, v := range of {
		out = append(out, value(k, v))
	}
	return out
}

func known(k space.Knob, v *int64) any {
	if v == nil {
		return nil
	}
	return value(k, *v)
}

// Goal is the answer to GET /api/v1/goal: what is wanted, what is watched, and how much may be tried for it.
type Goal struct {
	Mode      config.Mode `json:"mode"`
	Objective Objective   `json:"objective"`
	Guards    []Guarded   `json:"guards"`
	Budgets   Budgets     `json:"budgets"`
}

// Objective is what is maximised under which SLO, and what counts as better.
type Objective struct {
	Goodput   string  `json:"maximise"` // PromQL
	P99       string  `json:"p99"`      // PromQL
	SLO       float64 `json:"slo_ms"`
	Tolerance float64 `json:"tolerance"` // how far above the SLO P99 may be, relative
	Margin    float64 `json:"margin"`    // gain of goodput that is worth a change, relative
	Alpha     float64 `json:"alpha"`     // level of the test
	Windows   int     `json:"windows"`   // that a configuration is measured in
	Window    float64 `json:"window_seconds"`
}

// Guarded is what must not happen while something is tried.
type Guarded struct {
	Name   string   `json:"name"`
	Query  string   `json:"query"`
	Min    *float64 `json:"min,omitempty"`
	Max    *float64 `json:"max,omitempty"`
	Breach string   `json:"breach"` // worse: the change is taken back; inconclusive: the measurement is worthless
	For    float64  `json:"for_seconds"`
	Grace  float64  `json:"grace_seconds"`
}

// Budgets of a search, and of each of its trials.
type Budgets struct {
	status.Budget
	Fruitless int `json:"fruitless"` // trials in a row that did not help and end a search
	Steps     int `json:"steps,omitempty"`
}

func (a *API) goal(w http.ResponseWriter, _ *http.Request) {
	f, s := a.c.File, a.c.Board.Snapshot()
	o := f.Objective
	out := Goal{
		Mode: f.Mode, Guards: []Guarded{}, Budgets: Budgets{Budget: s.Budget, Fruitless: f.Budgets.Fruitless, Steps: f.Budgets.Steps},
		Objective: Objective{
			Goodput: o.Goodput, P99: o.P99, SLO: float64(o.SLO) / float64(time.Millisecond), Tolerance: o.Tolerance, Margin: o.Margin, Alpha: o.Alpha,
			Windows: f.Windows.Count, Window: f.Windows.Window.Seconds(),
		},
	}
	for _, g := range f.Guards {
		out.Guards = append(out.Guards, Guarded{
			Name: g.Name, Query: g.Query, Min: g.Min, Max: g.Max, Breach: g.Breach, For: g.For.Seconds(), Grace: g.Grace.Seconds(),
		})
	}
	answer(w, http.StatusOK, out)
}
