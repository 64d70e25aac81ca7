package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/tuner/replay"
	"github.com/kafkalab/kafkalab/tuner/search"
)

type replaying struct {
	space, surface, out string
	config              replay.Config
}

func (r *replaying) flags(app *cli.App) {
	c := app.Command("replay", "Run whole studies on a recorded surface: what a search would have tried, and how good the best of it really is.")
	c.Flag("space", "YAML: maximize or minimize, constraints, knobs (bench/TUNER.md says how).").Required().StringVar(&r.space)
	c.Flag("surface", "CSV with a header and one row per configuration: a column for each knob and each measured quantity.").Required().StringVar(&r.surface)
	c.Flag("trials", "Trials of each study, the start among them.").Default("40").IntVar(&r.config.Trials)
	c.Flag("seeds", "How many studies, with seeds from 1.").Default("10").IntVar(&r.config.Seeds)
	c.Flag("noise", "Relative standard deviation of a measurement.").Default("0.05").Float64Var(&r.config.Noise)
	c.Flag("outliers", "Probability that a measurement is disturbed: 30 to 70 % of what it would be.").Default("0").Float64Var(&r.config.Outliers)
	c.Flag("algorithm", "One of "+strings.Join(search.Names(), ", ")+".").Default(search.NameGP).EnumVar(&r.config.Algorithm, search.Names()...)
	c.Flag("json", "File for every trial of every study; - is standard output.").StringVar(&r.out)
}

func (r *replaying) check() error {
	var errs []error
	c := r.config
	if c.Trials < 1 || c.Trials > 10000 {
		errs = append(errs, fmt.Errorf("trials: want 1..10000 (got %d)", c.Trials))
	}
	if c.Seeds < 1 || c.Seeds > 10000 {
		errs = append(errs, fmt.Errorf("seeds: want 1..10000 (got %d)", c.Seeds))
	}
	if !(c.Noise >= 0 && c.Noise <= 2) {
		errs = append(errs, fmt.Errorf("noise: want 0..2 (got %g)", c.Noise))
	}
	if !(c.Outliers >= 0 && c.Outliers <= 1) {
		errs = append(errs, fmt.Errorf("outliers: want 0..1 (got %g)", c.Outliers))
	}
	return errors.Join(errs...)
}

func (r *replaying) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := r.check(); err != nil {
		return err
	}
	surface, err := replay.Load(r.surface, r.space)
	if err != nil {
		return err
	}
	if surface.Merged > 0 {
		fmt.Fprintf(stderr, "%d rows are of a configuration that has one already; their means are taken\n", surface.Merged)
	}
	c := r.config
	c.Surface = surface
	start, last := time.Now(), time.Now()
	c.Progress = func(done, all int) {
		if time.Since(last) < 2*time.Second && done < all {
			return
		}
		last = time.Now()
		left := time.Since(start) / time.Duration(done) * time.Duration(all-done)
		fmt.Fprintf(stderr, "%s: %d of %d studies, %s left\n", c.Algorithm, done, all, left.Round(time.Second))
	}
	result, err := replay.Do(ctx, c)
	if err != nil {
		return err
	}
	if r.out == "-" {
		return result.Write(stdout)
	}
	if r.out != "" {
		file, err := os.Create(r.out)
		if err != nil {
			return fmt.Errorf("write result: %w", err)
		}
		if err := errors.Join(result.Write(file), file.Close()); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	fmt.Fprintf(stdout, "%s on %d configurations, %d studies: true best feasible value as a fraction of the optimum\n", c.Algorithm, result.Rows, c.Seeds)
	fmt.Fprintf(stdout, "%8s  %6s  %6s  %6s\n", "trials", "mean", "median", "p10")
	for _, f := range result.Summary {
		if n := f.Trials; n == 1 || n%5 == 0 || n == c.Trials {
			fmt.Fprintf(stdout, "%8d  %.4f  %.4f  %.4f\n", n, f.Mean, f.Median, f.P10)
		}
	}
	return nil
}
