// Loadgen drives a Kafka cluster at a rate that does not depend on how the cluster copes, and measures each record's latency from the time
// it was meant to be sent.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/internal/web"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/search"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// Exit codes.
const (
	failed   = 1
	badUsage = 2
	breached = 3 // with --fail-on-breach
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// options is the command line.
type options struct {
	mode                      string
	listen, name, file, topic string
	brokers                   []string
	rate                      float64
	p99, duration             time.Duration
	share, start              string
	find                      search.Config
	json, html                string
	replication               int
	failOnBreach              bool
	files                     []string // of the report command
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	app := cli.New("loadgen", "Drives Kafka by an open-loop schedule and tells the truth about latency.", stdout, stderr)
	o.flags(app)
	mode, log, code, ended := app.Parse(args)
	if ended {
		return code
	}
	o.mode = mode
	complain := func(err error) int {
		fmt.Fprintf(stderr, "loadgen: %v\n", err)
		return badUsage
	}
	if o.mode == "report" {
		r, err := o.merge()
		if err == nil {
			err = o.write(r, stdout)
		}
		if err != nil {
			return complain(err)
		}
		return o.verdict(r, log)
	}
	p, err := o.plan(time.Now())
	if err != nil {
		return complain(err)
	}
	p.log = log
	ctx, stop := cli.Context(ctx)
	defer stop()
	r, err := p.measure(ctx)
	if r != nil {
		err = errors.Join(err, o.write(r, stdout))
	}
	if err != nil {
		log.Error("loadgen ended", "err", err)
		return failed
	}
	return o.verdict(r, log)
}

// verdict is the exit code for a report.
func (o *options) verdict(r *report.Report, log *slog.Logger) int {
	if r == nil || !o.failOnBreach {
		return 0
	}
	why := breaches(r)
	for _, w := range why {
		log.Error("breach", "why", w)
	}
	if len(why) > 0 {
		return breached
	}
	return 0
}

func (o *options) flags(app *cli.App) {
	app.Flag("listen", "Address of the metrics.").Default("127.0.0.1:9400").StringVar(&o.listen)
	app.Flag("workload", fmt.Sprintf("Name of a preset: %v.", workload.Names())).Default(workload.Default).StringVar(&o.name)
	app.Flag("workload.file", "YAML file of a workload, instead of a preset.").StringVar(&o.file)
	app.Flag("kafka.brokers", "host:port of a broker; repeat for more.").Default("127.0.0.1:9092").StringsVar(&o.brokers)
	app.Flag("topic", "Topic to drive; created or altered to what the workload needs.").Default("lab").StringVar(&o.topic)
	app.Flag("topic.replication", "Replicas of the topic if it is created; default: the workload's topic.replication.").IntVar(&o.replication)
	app.Flag("duration", "How long to run; 0 is for ever.").Default("0s").DurationVar(&o.duration)
	app.Flag("slo.p99", "99th percentile to be met, of end-to-end latency or, when nothing is consumed, of the response time; default from the workload.").DurationVar(&o.p99)
	app.Flag("report.json", "File to write the report to, as JSON; - is the standard output, instead of the table.").StringVar(&o.json)
	app.Flag("report.html", "File to write the report to, as one page of HTML.").StringVar(&o.html)
	app.Flag("fail-on-breach", "Exit with 3 when the SLO was breached, records failed or faults were found.").BoolVar(&o.failOnBreach)
	held := app.Command(report.ModeRun, "Sends by a schedule.")
	held.Flag("rate", "Records per second, over all copies; default: the workload's schedule.").Float64Var(&o.rate)
	held.Flag("share", "INDEX/COUNT: this is copy INDEX, from 0, of COUNT that send one schedule together.").Default("0/1").StringVar(&o.share)
	held.Flag("share.start", "When the copies' schedule begins, as 2006-01-02T15:04:05Z; default: the next full minute that is at least 10 s away.").StringVar(&o.start)
	app.Command(report.ModeSLO, "Holds the highest rate at which the SLO is met.")
	found := app.Command(report.ModeSearch, "Finds the highest rate at which the SLO is met, in a few trials.")
	found.Flag("search.min", "Lowest rate to try, in records per second; default: the workload's slo.min.").Float64Var(&o.find.Min)
	found.Flag("search.max", "Highest rate to try, in records per second; default: the workload's slo.max.").Float64Var(&o.find.Max)
	found.Flag("search.start", "Rate to begin with, in records per second; default: the workload's slo.start.").Float64Var(&o.find.Start)
	found.Flag("search.trials", "Trials at most.").Default(fmt.Sprint(search.DefaultTrials)).IntVar(&o.find.Trials)
	found.Flag("search.warmup", "Warm-up of each trial.").Default("5s").DurationVar(&o.find.Warmup)
	found.Flag("search.measure", "Measured time of each trial: the longer, the surer.").Default("30s").DurationVar(&o.find.Measure)
	merged := app.Command("report", "Prints a report that was written as JSON, or one of several copies merged.")
	merged.Arg("file", "JSON reports of the copies of one run.").Required().StringsVar(&o.files)
}

// serve answers for metrics while work runs, and to the end of it.
func serve(ctx context.Context, listen string, log *slog.Logger, ready func() error, registry *prometheus.Registry, work func(context.Context) error) error {
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), versioncollector.NewCollector("loadgen"))
	server, err := web.New(web.Config{Name: "loadgen", Listen: []string{listen}, Registry: registry, Logger: log, Ready: ready})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx)) // metrics can be scraped to the end of the drain
	group.Go(func() error { return server.Serve(serving) })
	group.Go(func() error {
		defer stopServing()
		return work(ctx)
	})
	return group.Wait()
}
