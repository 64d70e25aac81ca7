// Command record records what the Kafka of the running lab does with each configuration of its three knobs, for two workloads; bench/TUNER.md says
// how to run it and what came of it.
//
// A pass measures every configuration once, in random order, so that what the machine does meanwhile falls on all of them; the repeats are whole passes.
// Only a heap needs a restart: a pass goes through the heaps in random order, and through everything else at random within each, so that the repeats
// of a configuration are deployments of their own. The pools of threads are changed in the running broker, in hops, and read back.
//
// Load is a closed loop: so many records are under way at any time. It measures throughput and P99 of a configuration in seconds, where the rate that
// holds an SLO takes half a minute to find; in return the P99 is that of clients who wait, not of users who come whether or not they are served.
//
// It promises that a measurement is on disk before the next one begins, and that a recording which was ended in any way goes on where it was when it is
// started again. It leaves out bringing the lab up and down.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/kafkalab/kafkalab/internal/cli"
)

func main() {
	ctx, stop := cli.Context(context.Background())
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("record", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "bench/record/data", "folder of the recording and of what is made of it")
	passes := flags.Int("passes", 3, "how often every configuration is measured")
	seed := flags.Uint64("seed", 1, "of the order")
	lab := flags.String("lab", ".lab", "the lab's folder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *passes < 1 {
		return fmt.Errorf("passes: want at least 1 (got %d)", *passes)
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	j, err := OpenJournal(*dir)
	if err != nil {
		return err
	}
	defer j.Close()
	plan := Plan(*seed, *passes)
	left := Left(plan, j.Done())
	log := slog.New(slog.NewTextHandler(stderr, nil))
	log.Info("recording", "measurements", len(plan), "left", len(left), "file", j.Name())
	if len(left) > 0 {
		k, err := newLab(ctx, *lab, log)
		if err != nil {
			return err
		}
		if err := record(ctx, left, k, j, log); err != nil {
			return err
		}
	}
	return Export(*dir, j.Done())
}

// cluster is what measurements are made on.
type cluster interface {
	// Restart gives the broker a heap of so many MiB and waits until it has compiled what it needs.
	Restart(ctx context.Context, heap int) error
	// Measure sets the pools of threads and measures the load.
	Measure(ctx context.Context, s Step) (Figures, error)
}

const (
	tries    = 2 // a measurement that fails twice is noted as failed
	inARow   = 3 // so many failures in a row are not the configurations'
	progress = time.Minute
)

// record measures what is left.
func record(ctx context.Context, left []Step, c cluster, j *Journal, log *slog.Logger) error {
	failures, told, begun := 0, time.Now(), time.Now()
	for i, s := range left {
		if i == 0 || s.Deployment() != left[i-1].Deployment() {
			if err := c.Restart(ctx, s.Heap); err != nil {
				return err
			}
		}
		m := Measurement{Step: s, Start: time.Now().UTC()}
		var err error
		for range tries {
			if m.Figures, err = c.Measure(ctx, s); err == nil || ctx.Err() != nil {
				break
			}
			log.Warn("measurement failed", "configuration", s, "err", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failures++
		if err == nil {
			failures = 0
		} else if m.Failed = err.Error(); failures == inARow {
			return fmt.Errorf("%d measurements in a row failed, the last: %w", failures, err)
		}
		if err := j.Append(m); err != nil {
			return err
		}
		if time.Since(told) > progress {
			told = time.Now()
			each := time.Since(begun) / time.Duration(i+1)
			log.Info("recording", "done", i+1, "of", len(left), "left", (each * time.Duration(len(left)-i-1)).Round(time.Minute))
		}
	}
	return nil
}
