package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// entrant is how somebody takes part.
type entrant struct {
	env  []string                                         // variables of the lab
	hold func(ctx context.Context) error                  // keeps it from beginning while the start is measured
	tune func(ctx context.Context, until time.Time) error // returns when the time is up and what it wants to leave is in force
}

// seat is what an entrant is given.
type seat struct {
	*lab
	plan plan
	seed uint64
	log  *slog.Logger
}

// entrants by name. Those that search without judging stand for what a script does: they measure each configuration once, with what everybody can
// read, and in the end go back to the best figure that they saw.
var entrants = map[string]func(seat) entrant{
	"no-op":    func(s seat) entrant { return entrant{tune: s.wait} },
	"random":   func(s seat) entrant { return entrant{tune: s.searching(search.NameRandom)} },
	"one-knob": func(s seat) entrant { return entrant{tune: s.searching(search.NameOneKnob)} },
	"tuner": func(s seat) entrant {
		return entrant{env: []string{"TUNER_MODE=auto"}, hold: s.order("pause"), tune: s.tuner}
	},
	"vibectl":          func(s seat) entrant { return entrant{tune: s.agent("AGENT=vibectl")} },
	"vibectl-scripted": func(s seat) entrant { return entrant{tune: s.agent("AGENT=scripted")} },
}

func entrantNames() []string { return slices.Sorted(maps.Keys(entrants)) }

// usual take part unless others are named: those that need no key.
var usual = []string{"no-op", "random", "one-knob", "tuner", "vibectl-scripted"}

func (s seat) wait(ctx context.Context, until time.Time) error {
	if !sleep(ctx, time.Until(until)) {
		return context.Cause(ctx)
	}
	return nil
}

// searching tries what an algorithm suggests, as an agent: with its rights, and by what Prometheus says.
func (s seat) searching(algorithm string) func(ctx context.Context, until time.Time) error {
	return func(ctx context.Context, until time.Time) error {
		start, err := s.knobs(ctx)
		if err != nil {
			return err
		}
		var about api.Space
		if err := s.ask(ctx, http.MethodGet, "space", nil, &about); err != nil {
			return err
		}
		memory, err := resource.ParseQuantity(about.Container.Memory)
		if err != nil {
			return fmt.Errorf("memory limit of the broker: %w", err)
		}
		a, err := search.New(algorithm, search.Config{
			Space: s.file.SearchSpace(), Pod: space.Pod{Memory: memory.Value()}, Start: start, Seed: s.seed,
			Bounds: []search.Bound{{Name: "p99", Limit: s.tolerated()}},
		})
		if err != nil {
			return err
		}
		return explore(ctx, a, s.tolerated(), s.trying(start, until), s.log)
	}
}

// attempt puts a configuration in force and, if told to look, measures it; it is false when there is no time left for that.
type attempt func(ctx context.Context, p space.Point, look bool) (t search.Trial, ok bool, err error)

// rollout is what a change of the workload takes, about.
const rollout = 30 * time.Second

// trying makes attempts on the lab until the time is up, beginning with what is in force.
func (s seat) trying(now space.Point, until time.Time) attempt {
	settle, window := s.plan.Settle/2, s.plan.Window/2
	return func(ctx context.Context, p space.Point, look bool) (t search.Trial, ok bool, err error) {
		if look && time.Until(until) < settle+window+rollout {
			return t, false, nil
		}
		if !maps.Equal(now, p) {
			if err := s.set(ctx, p); err != nil {
				return t, false, err
			}
			now = p
		}
		if !look {
			return t, true, nil
		}
		f, err := s.measure(ctx, settle, window)
		return search.Trial{Point: p, Value: f.Goodput, Bounds: []float64{f.P99}}, true, err
	}
}

// explore tries what the algorithm suggests until try has no more time, and leaves the best that it saw: what kept the SLO first.
func explore(ctx context.Context, a search.Algorithm, tolerated float64, try attempt, log *slog.Logger) error {
	var history []search.Trial
	for {
		next, more := a.Suggest(history)
		if !more {
			break
		}
		t, ok, err := try(ctx, next.Point, true)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		log.Info("tried", "knobs", next.Point.Key(), "goodput", t.Value, "p99_seconds", t.Bounds[0])
		history = append(history, t)
	}
	if len(history) == 0 {
		return nil
	}
	best := slices.MaxFunc(history, func(a, b search.Trial) int {
		if keeps := func(t search.Trial) bool { return t.Bounds[0] <= tolerated }; keeps(a) != keeps(b) {
			return map[bool]int{true: 1, false: -1}[keeps(a)]
		}
		return cmp.Compare(a.Value, b.Value)
	})
	_, _, err := try(ctx, best.Point, false)
	return err
}

// set patches the workload as an agent may, and waits for the rollout.
func (s seat) set(ctx context.Context, p space.Point) error {
	type variable struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	var env []variable
	for _, k := range s.file.Space() {
		env = append(env, variable{k.Env, k.Render(p[k.Name])})
	}
	t := s.file.Target
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": t.Container, "env": env}},
	}}}})
	if err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "agent.kubeconfig", "patch", strings.ToLower(t.Kind), t.Name, "-n", t.Namespace, "-p", string(patch)); err != nil {
		return err
	}
	_, err = s.kubectl(ctx, "kubeconfig", "rollout", "status", strings.ToLower(t.Kind)+"/"+t.Name, "-n", t.Namespace, "--timeout=3m")
	return err
}

// tuner lets the lab's own tuner go on, and at the end has it take back what it is trying.
func (s seat) tuner(ctx context.Context, until time.Time) error {
	if err := s.order("resume")(ctx); err != nil {
		return err
	}
	if err := s.wait(ctx, until); err != nil {
		return err
	}
	if err := s.order("pause")(ctx); err != nil {
		return err
	}
	var now status.Snapshot
	if err := s.ask(ctx, http.MethodGet, "status", nil, &now); err != nil {
		return err
	}
	if now.Trial != nil {
		if err := s.order("abort")(ctx); err != nil {
			return err
		}
	}
	limit, cancel := context.WithTimeoutCause(ctx, loadWithin, errors.New("the tuner did not come to rest"))
	defer cancel()
	for now.Trial != nil {
		if !sleep(limit, step) {
			return context.Cause(limit)
		}
		now = status.Snapshot{}
		if err := s.ask(ctx, http.MethodGet, "status", nil, &now); err != nil {
			return err
		}
	}
	return nil
}

// agent puts an agent at the wheel, and takes it away when the time is up. What it has done by then stays.
func (s seat) agent(env ...string) func(ctx context.Context, until time.Time) error {
	return func(ctx context.Context, until time.Time) error {
		if err := s.up(ctx, env...); err != nil {
			return err
		}
		if err := s.wait(ctx, until); err != nil {
			return err
		}
		return s.up(ctx)
	}
}

// order gives the tuner an order; it is asked again while it is starting.
func (s seat) order(command string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		body := map[string]string{"by": "arena", "reason": "its time " + map[string]string{"pause": "is not running", "resume": "is running", "abort": "is up"}[command]}
		var err error
		for range 30 {
			if err = s.ask(ctx, http.MethodPost, command, body, nil); err == nil {
				return nil
			}
			if !sleep(ctx, step) {
				return context.Cause(ctx)
			}
		}
		return err
	}
}

func (s seat) ask(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, tunerAddr+"/api/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(all))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(all, answer)
}
