package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/space"
)

const (
	promAddr  = "http://127.0.0.1:9090"
	tunerAddr = "http://127.0.0.1:9500"
	// What the load generator and the broker get to come back after a change, before a window of it counts.
	loadWithin = 3 * time.Minute
	step       = 2 * time.Second // the lab's scrape interval
)

// lab is the embedded sandbox of a checkout, driven as a person would: by its programs.
type lab struct {
	checkout, workload string
	file               config.File // the goal, which all entrants share
	prom               promv1.API
}

func newLab(checkout, workload string) (*lab, error) {
	checkout, err := filepath.Abs(checkout)
	if err != nil {
		return nil, err
	}
	file, err := config.Load(filepath.Join(checkout, "lab.yaml"))
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(api.Config{Address: promAddr})
	if err != nil {
		return nil, err
	}
	l := &lab{checkout: checkout, workload: workload, file: file, prom: promv1.NewAPI(client)}
	if _, err := os.Stat(l.bin("k8s-sandbox")); err != nil {
		return nil, fmt.Errorf("%w: make build makes it", err)
	}
	return l, nil
}

func (l *lab) bin(name string) string { return filepath.Join(l.checkout, ".lab", "bin", name) }

// program runs one of the lab's programs; what it says is in the error.
func (l *lab) program(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.bin(name), args...)
	cmd.Dir, cmd.Env = l.checkout, append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute // it takes back what it was making
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// up brings the lab up, or changes the one that is up. The tuner only looks on, unless an entrant's variables say something else.
func (l *lab) up(ctx context.Context, env ...string) error {
	_, err := l.program(ctx, append([]string{"TUNER_MODE=observe", "WORKLOAD=" + l.workload}, env...), "k8s-sandbox", "up", "--checkout="+l.checkout)
	return err
}

func (l *lab) down() error {
	_, err := l.program(context.Background(), nil, "k8s-sandbox", "down", "--checkout="+l.checkout)
	return err
}

// kubectl speaks as an agent or as the administrator.
func (l *lab) kubectl(ctx context.Context, config string, args ...string) (string, error) {
	return l.program(ctx, nil, "kube", append([]string{"kubectl", "--kubeconfig=" + filepath.Join(l.checkout, ".lab", config)}, args...)...)
}

// play is one run: a lab from nothing, the start measured, the entrant let loose, the end measured.
func (l *lab) play(ctx context.Context, p plan, t turn, log *slog.Logger) (r result, err error) {
	r.turn = t
	if err := l.down(); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.down()) }()
	e := entrants[t.Entrant](seat{lab: l, plan: p, seed: p.Seed*1000 + uint64(t.Repeat), log: log})
	if err := l.up(ctx, e.env...); err != nil {
		return r, err
	}
	if e.hold != nil {
		if err := e.hold(ctx); err != nil {
			return r, err
		}
	}
	if r.Start, err = l.measure(ctx, p.Settle, p.Window); err != nil {
		return r, err
	}
	before, err := l.generation(ctx)
	if err != nil {
		return r, err
	}
	log.Info("start", "entrant", t.Entrant, "goodput", math.Round(r.Start.Goodput), "p99_seconds", r.Start.P99)
	began := time.Now()
	if err := e.tune(ctx, began.Add(p.Budget)); err != nil {
		return r, err
	}
	ended := time.Now()
	if r.End, err = l.measure(ctx, p.Settle, p.Window); err != nil {
		return r, err
	}
	if err := l.account(ctx, &r, began, ended); err != nil {
		return r, err
	}
	r.Changes -= before
	r.Breach = r.End.P99 > l.tolerated()
	log.Info("end", "entrant", t.Entrant, "goodput", math.Round(r.End.Goodput), "p99_seconds", r.End.P99, "gain", r.gain(), "knobs", fmt.Sprint(r.Knobs))
	return r, nil
}

// tolerated is the highest P99 that counts as keeping the SLO, in seconds: a rate that is held at the SLO swings about it.
func (l *lab) tolerated() float64 {
	return l.file.Objective.SLO.Seconds() * (1 + l.file.Objective.Tolerance)
}

// measure waits until load flows, gives it time to settle, and takes one window.
func (l *lab) measure(ctx context.Context, settle, window time.Duration) (f figures, err error) {
	limit, cancel := context.WithTimeoutCause(ctx, loadWithin, fmt.Errorf("no record was consumed within %s", loadWithin))
	defer cancel()
	for {
		if rate, err := l.value(limit, "sum(rate(loadgen_records_consumed_total[6s]))"); err == nil && rate > 0 {
			break
		}
		if !sleep(limit, step) {
			return f, context.Cause(limit)
		}
	}
	if !sleep(ctx, settle+window) {
		return f, context.Cause(ctx)
	}
	over := func(query string) string {
		return strings.ReplaceAll(query, "$window", fmt.Sprintf("%.0fs", window.Seconds()))
	}
	var err1, err2 error
	f.Goodput, err1 = l.value(ctx, over(l.file.Objective.Goodput))
	f.P99, err2 = l.value(ctx, over(l.file.Objective.P99))
	return f, errors.Join(err1, err2)
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// value asks Prometheus for one figure.
func (l *lab) value(ctx context.Context, query string) (float64, error) {
	answer, _, _, err := l.prom.Query(ctx, query, time.Now())
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", query, err)
	}
	v, ok := answer.(model.Vector)
	if !ok || len(v) != 1 || math.IsNaN(float64(v[0].Value)) {
		return 0, fmt.Errorf("query %s: want one number (got %v)", query, answer)
	}
	return float64(v[0].Value), nil
}

// account fills in what the tuning has cost, and what it has left.
func (l *lab) account(ctx context.Context, r *result, began, ended time.Time) error {
	p99 := strings.ReplaceAll(l.file.Objective.P99, "$window", "10s")
	answer, _, _, err := l.prom.QueryRange(ctx, p99, promv1.Range{Start: began, End: ended, Step: step})
	if err != nil {
		return fmt.Errorf("query %s: %w", p99, err)
	}
	kept := 0.0 // seconds in which there was a P99 and it was tolerable
	for _, series := range answer.(model.Matrix) {
		for _, v := range series.Values {
			if float64(v.Value) <= l.tolerated() {
				kept += step.Seconds()
			}
		}
	}
	r.Violation = max(0, math.Round(ended.Sub(began).Seconds()-kept))
	over := fmt.Sprintf("%.0fs", time.Since(began).Seconds())
	var err1, err2, err3, err4 error
	r.Restarts, err1 = l.value(ctx, `sum(changes(process_start_time_seconds{job="kafka"}[`+over+`]))`)
	r.Lost, err2 = l.value(ctx, "sum(increase(loadgen_records_lost_total["+over+"]))")
	r.Changes, err3 = l.generation(ctx)
	r.Knobs, err4 = l.knobs(ctx)
	return errors.Join(err1, err2, err3, err4)
}

// generation counts the changes of the workload since it was made.
func (l *lab) generation(ctx context.Context) (n int64, err error) {
	t := l.file.Target
	out, err := l.kubectl(ctx, "kubeconfig", "get", strings.ToLower(t.Kind), t.Name, "-n", t.Namespace, "-o", "jsonpath={.metadata.generation}")
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(out, &n)
	return n, err
}

// knobs are the values in the workload's template.
func (l *lab) knobs(ctx context.Context) (space.Point, error) {
	t := l.file.Target
	out, err := l.kubectl(ctx, "kubeconfig", "get", strings.ToLower(t.Kind), t.Name, "-n", t.Namespace, "-o", fmt.Sprintf(
		`jsonpath={.spec.template.spec.containers[?(@.name==%q)].env}`, t.Container))
	if err != nil {
		return nil, err
	}
	var vars []struct{ Name, Value string }
	if err := json.Unmarshal([]byte(out), &vars); err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, v := range vars {
		env[v.Name] = v.Value
	}
	return space.Parse(l.file.Space(), env)
}
