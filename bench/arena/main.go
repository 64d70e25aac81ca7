package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/cli"
)

func main() {
	ctx, stop := cli.Context(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := cli.New("arena", "Lets entrants tune the lab, one after the other, and compares them. Needs what make up needs, and a lab that is down.", stdout, stderr)
	entrants := app.Flag("entrants", "Who takes part, separated by commas: "+strings.Join(entrantNames(), ", ")+".").Default(strings.Join(usual, ",")).String()
	repeats := app.Flag("repeats", "How often each of them.").Default("3").Int()
	budget := app.Flag("budget", "How long each of them may tune.").Default("8m").Duration()
	settle := app.Flag("settle", "Load before each measurement, so that the broker's JVM has compiled what it needs.").Default("60s").Duration()
	window := app.Flag("window", "How long the start and the end are measured.").Default("60s").Duration()
	workload := app.Flag("workload", "The load.").Default("bulk").String()
	seed := app.Flag("seed", "Of the order, and of the entrants that draw.").Default("1").Uint64()
	checkout := app.Flag("checkout", "The folder with lab.yaml and .lab.").Default(".").ExistingDir()
	out := app.Flag("out", "Folder of the results; one that is there already is gone on with.").Default(".lab/arena").String()
	_, log, code, done := app.Parse(args)
	if done {
		return code
	}
	p := plan{Seed: *seed, Repeats: *repeats, Budget: *budget, Settle: *settle, Window: *window, Workload: *workload}
	if *entrants != "" {
		p.Entrants = strings.Split(*entrants, ",")
	}
	if err := compare(ctx, p, *checkout, *out, stdout, log); err != nil {
		fmt.Fprintln(stderr, "arena:", err)
		return 1
	}
	return 0
}

// compare makes the runs that are not made yet, one after the other, and shows the table after each.
func compare(ctx context.Context, p plan, checkout, out string, stdout io.Writer, log *slog.Logger) error {
	if err := p.validate(); err != nil {
		return err
	}
	j, err := openJournal(out, p)
	if err != nil {
		return err
	}
	defer j.close()
	l, err := newLab(checkout, p.Workload)
	if err != nil {
		return err
	}
	for {
		r, left := p.next(j.results)
		if left == 0 {
			break
		}
		log.Info("run", "entrant", r.Entrant, "repeat", r.Repeat, "of", p.Repeats, "left", left, "about", (time.Duration(left) * p.lasts()).Round(time.Minute))
		result, err := l.play(ctx, p, r, log)
		if ctx.Err() != nil {
			return fmt.Errorf("run %s %d: %w; what is done is kept in %s", r.Entrant, r.Repeat, context.Cause(ctx), out)
		}
		if err != nil {
			return fmt.Errorf("run %s %d: %w", r.Entrant, r.Repeat, err)
		}
		if err := j.add(result); err != nil {
			return err
		}
		if err := write(out, p, j.results); err != nil {
			return err
		}
		fmt.Fprintln(stdout, table(p, j.results))
	}
	fmt.Fprintln(stdout, table(p, j.results))
	return nil
}
