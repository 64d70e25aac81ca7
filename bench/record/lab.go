package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/workload"
	"github.com/kafkalab/kafkalab/tuner/apply"
)

const (
	address = "127.0.0.1:9092"
	warm    = 2 * time.Second // of each measurement: its clients connect, the broker's new threads start
	measure = 8 * time.Second
	compile = 30 * time.Second // of each load after a restart: until then the broker compiles, and all settings look alike
)

// lab is the running one, with a load of our own instead of its generator's.
type lab struct {
	folder  string
	brokers apply.Brokers
	dynamic *apply.Dynamic
	log     *slog.Logger
}

// newLab stops the lab's own load and makes sure that the broker answers.
func newLab(ctx context.Context, folder string, log *slog.Logger) (*lab, error) {
	l := &lab{folder: folder, brokers: apply.Brokers{Bootstrap: []string{address}, Timeout: 5 * time.Second}, log: log}
	var err error
	if l.dynamic, err = apply.NewDynamic(apply.DynamicConfig{Brokers: l.brokers, Logger: log}); err != nil {
		return nil, err
	}
	if err := l.kubectl(ctx, "-n", "kafkalab", "scale", "deployment/loadgen", "--replicas=0"); err != nil {
		return nil, fmt.Errorf("stop the lab's own load (is it up? make up TUNER_MODE=observe): %w", err)
	}
	return l, nil
}

func (l *lab) kubectl(ctx context.Context, args ...string) error {
	args = append([]string{"kubectl", "--kubeconfig", filepath.Join(l.folder, "kubeconfig")}, args...)
	_, err := command(ctx, filepath.Join(l.folder, "bin", "kube"), args...)
	return err
}

// command runs a program; what it says on its standard error is the error when it fails. An interrupt ends it in its own way.
func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), nil
}

// Restart replaces the pod even when the heap is what it was: a deployment is a new process.
func (l *lab) Restart(ctx context.Context, heap int) error {
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kafkalab/recorded":%q}},"spec":{"containers":[{"name":"kafka","env":[
		{"name":"KAFKA_HEAP_OPTS","value":"-Xms%dm -Xmx%dm"}]}]}}}}`, time.Now().Format(time.RFC3339Nano), heap, heap)
	err := l.kubectl(ctx, "-n", "kafka", "patch", "statefulset", "kafka", "-p", patch)
	if err == nil {
		err = l.kubectl(ctx, "-n", "kafka", "rollout", "status", "statefulset/kafka", "--timeout=180s")
	}
	if err != nil {
		return fmt.Errorf("restart with a heap of %d MiB: %w", heap, err)
	}
	for _, load := range loads {
		if _, err := l.drive(ctx, load, 0, compile); err != nil {
			return fmt.Errorf("warm up with %s: %w", load.Workload, err)
		}
	}
	return nil
}

// Measure sets both pools before it loads the broker.
func (l *lab) Measure(ctx context.Context, s Step) (Figures, error) {
	for name, value := range map[string]int{"num.network.threads": s.Network, "num.io.threads": s.IO} {
		if err := l.set(ctx, name, strconv.Itoa(value)); err != nil {
			return Figures{}, err
		}
	}
	for _, load := range loads {
		if load.Workload == s.Workload {
			r, err := l.drive(ctx, load, warm, warm+measure)
			if err != nil {
				return Figures{}, err
			}
			return figures(r)
		}
	}
	return Figures{}, fmt.Errorf("measure: there is no workload %s", s.Workload)
}

func (l *lab) set(ctx context.Context, name, value string) error {
	now, err := l.brokers.Settings(ctx, name)
	if err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	from, err := now.Common(name)
	if err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return l.dynamic.Set(ctx, name, from, value)
}

// drive puts the load on the broker for so long.
func (l *lab) drive(ctx context.Context, load Load, warmup, duration time.Duration) (*report.Report, error) {
	text, err := document(load, warmup)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(l.folder, "record-"+load.Workload+".yaml")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return nil, fmt.Errorf("write workload: %w", err)
	}
	defer os.Remove(name)
	out, err := command(ctx, filepath.Join(l.folder, "bin", "loadgen"), "run", "--listen=127.0.0.1:0", "--log.level=error", "--workload.file="+name,
		"--kafka.brokers="+address, "--topic=record-"+load.Workload, "--duration="+duration.String(), "--report.json=-")
	if err != nil {
		return nil, err
	}
	return report.Read(bytes.NewReader(out))
}

// document is the preset as a closed loop, with topic and group of its own.
func document(load Load, warmup time.Duration) ([]byte, error) {
	w, err := workload.Preset(load.Workload)
	if err != nil {
		return nil, err
	}
	w.Schedule = schedule.Config{Shape: schedule.Closed, InFlight: load.InFlight}
	w.Warmup, w.Consumer.Group = warmup, "record"
	var fields map[string]any
	text, err := yaml.Marshal(w)
	if err == nil {
		err = yaml.Unmarshal(text, &fields)
	}
	if err == nil {
		fields["slo"] = map[string]string{"p99": w.SLO.P99.String()} // a closed loop has no rate to hold, and loadgen refuses those of the preset
		text, err = yaml.Marshal(fields)
	}
	if err != nil {
		return nil, fmt.Errorf("write workload: %w", err)
	}
	return text, nil
}

// figures are a report's, the warm-up left out.
func figures(r *report.Report) (Figures, error) {
	p99, ok := r.Measured.EndToEnd.Snapshot().Quantile(0.99)
	lasted := r.Lasted - r.Warmup
	if !ok || lasted <= 0 {
		return Figures{}, errors.New("measure: nothing was consumed")
	}
	f := Figures{Rate: float64(r.Measured.Acked) / lasted, P99: milliseconds(p99), Errors: r.Measured.Failed}
	for _, g := range r.Generators {
		f.Limited += g.Limited
	}
	begun := r.Start.Add(time.Duration(r.Warmup * float64(time.Second)))
	for _, p := range r.Series.Points {
		if time.Unix(p.At, 0).Before(begun) || p.Seconds < 0.99 {
			continue // of the warm-up, or only a part of a second
		}
		s := Second{Acked: p.Acked}
		if p99, ok := p.EndToEnd.Snapshot().Quantile(0.99); ok {
			s.P99 = milliseconds(p99)
		}
		f.Series = append(f.Series, s)
	}
	return f, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
