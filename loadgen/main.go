// Loadgen drives a Kafka cluster at a rate that does not depend on how the cluster copes, and measures each record's latency from the time
// it was meant to be sent.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/web"
	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/slo"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

const (
	// The end takes 5 s at most: the records under way are acknowledged, then consumed, then the group is left.
	drainProducers = 3 * time.Second
	drainConsumers = time.Second
	// In slo mode no backlog is sent after an outage: what is later than this has failed.
	sloCatchup = time.Second
	// The collector runs less often than by default: what this process allocates is the client's short-lived buffers, and the processor
	// belongs to the broker.
	gcPercent = 400
	gcLimit   = 512 << 20
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// options is the command line.
type options struct {
	listen, name, file, topic string
	brokers                   []string
	rate                      float64
	p99, duration             time.Duration
	slo                       bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	app := cli.New("loadgen", "Drives Kafka by an open-loop schedule and tells the truth about latency.", stdout, stderr)
	app.Flag("listen", "Address of the metrics.").Default("127.0.0.1:9400").StringVar(&o.listen)
	app.Flag("workload", fmt.Sprintf("Name of a preset: %v.", workload.Names())).Default(workload.Default).StringVar(&o.name)
	app.Flag("workload.file", "YAML file of a workload, instead of a preset.").StringVar(&o.file)
	app.Flag("kafka.brokers", "host:port of a broker; repeat for more.").Default("127.0.0.1:9092").StringsVar(&o.brokers)
	app.Flag("topic", "Topic to drive; created or altered to what the workload needs.").Default("lab").StringVar(&o.topic)
	app.Flag("duration", "How long to run; 0 is for ever.").Default("0s").DurationVar(&o.duration)
	fixed := app.Command("run", "Holds a rate.")
	fixed.Flag("rate", "Records per second.").Required().Float64Var(&o.rate)
	held := app.Command("slo", "Holds the highest rate at which the P99 of end-to-end latency meets the SLO.")
	held.Flag("slo.p99", "The SLO; default from the workload.").DurationVar(&o.p99)
	command, log, code, ended := app.Parse(args)
	if ended {
		return code
	}
	o.slo = command == held.FullCommand()
	w, err := o.load()
	if err != nil {
		fmt.Fprintf(stderr, "loadgen: %v\n", err)
		return 2
	}
	ctx, stop := cli.Context(ctx)
	defer stop()
	if err := drives(ctx, o, w, log, stdout); err != nil {
		log.Error("loadgen ended", "err", err)
		return 1
	}
	return 0
}

// load is the workload with the command line's changes, or every problem of both.
func (o *options) load() (workload.Workload, error) {
	var (
		w    workload.Workload
		errs []error
		err  error
	)
	if o.file != "" {
		w, err = workload.File(o.file)
	} else {
		w, err = workload.Preset(o.name)
	}
	if err != nil {
		errs = append(errs, err)
	}
	if o.p99 != 0 {
		w.SLO.P99 = o.p99
	}
	if o.p99 < 0 {
		errs = append(errs, fmt.Errorf("slo.p99: must be above 0 (got %v)", o.p99))
	}
	if !o.slo && !(o.rate > 0 && o.rate <= 1e8) {
		errs = append(errs, fmt.Errorf("rate: must be above 0 and at most 1e+08 records per second (got %v)", o.rate))
	}
	if o.duration < 0 {
		errs = append(errs, fmt.Errorf("duration: must be 0 or more (got %v)", o.duration))
	}
	if o.topic == "" {
		errs = append(errs, errors.New("topic: must be set (got none)"))
	}
	if err := (kafka.Client{Brokers: o.brokers}).Validate(); err != nil {
		errs = append(errs, fmt.Errorf("kafka.%w", err))
	}
	return w, errors.Join(errs...)
}

// drives runs until ctx or the duration ends, and prints the report.
func drives(ctx context.Context, o options, w workload.Workload, log *slog.Logger, stdout io.Writer) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(gcLimit)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), versioncollector.NewCollector("loadgen"))
	ready := &readiness{}
	server, err := web.New(web.Config{Name: "loadgen", Listen: o.listen, Registry: registry, Logger: log, Ready: ready.check})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx)) // metrics can be scraped to the end of the drain
	group.Go(func() error { return server.Serve(serving) })
	group.Go(func() error {
		defer stopServing()
		return load(ctx, o, w, log, stdout, registry, ready)
	})
	return group.Wait()
}

func load(ctx context.Context, o options, w workload.Workload, log *slog.Logger, stdout io.Writer, registry *prometheus.Registry, ready *readiness) error {
	cluster := drive.Kafka{Client: kafka.Client{Brokers: o.brokers}, Topic: o.topic, Workload: w, Logger: log}
	partitions, err := cluster.EnsureTopic(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // asked to end while waiting for the cluster
		}
		return err
	}
	config := drive.Config{Workload: w, Topic: o.topic, Partitions: partitions, Rate: o.rate, Run: rand.Uint64(), Catchup: w.Producer.GiveUp, Logger: log}
	var step func(slo.Observation) float64
	if o.slo {
		controller, err := slo.New(slo.Config{SLO: w.SLO.P99, Start: w.SLO.Start, Min: w.SLO.Min, Max: w.SLO.Max})
		if err != nil {
			return err
		}
		step = controller.Step
		config.Rate, config.Catchup, config.Restart = w.SLO.Start, max(sloCatchup, 2*w.SLO.P99), true
	}
	engine, err := drive.New(config)
	if err != nil {
		return err
	}
	if err := registry.Register(drive.NewCollector(engine, w.SLO.P99)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	ready.set(engine.Ready)
	log.Info("workload", "name", w.Name, "topic", o.topic, "partitions", partitions, "run", fmt.Sprintf("%016x", config.Run), "slo_mode", o.slo, "slo_p99", w.SLO.P99,
		"producers", w.Producer.Clients, "acks", w.Producer.Acks, "idempotent", w.Producer.Idempotent, "codec", w.Producer.Codec, "linger", w.Producer.Linger,
		"batch", w.Producer.Batch, "max_batch", w.Producer.MaxBatch, "sticky", w.Producer.Sticky, "in_flight", w.Producer.InFlight, "record_bytes", w.Payload.MeanBytes())
	err = session(ctx, o.duration, engine, cluster, w, step)
	return errors.Join(err, engine.Report(stdout))
}

// session runs consumers and producers: the consumers first, so that no record is missed, and after the producers have ended as long as
// records are still to come.
func session(ctx context.Context, duration time.Duration, engine *drive.Engine, cluster drive.Kafka, w workload.Workload, step func(slo.Observation) float64) error {
	consuming, stopConsuming := context.WithCancel(context.WithoutCancel(ctx))
	defer stopConsuming()
	joined := make(chan struct{}, 1)
	group, consuming := errgroup.WithContext(consuming)
	for n := range w.Consumer.Clients {
		group.Go(func() error {
			return cluster.Consume(consuming, n, engine.Arrived, func() {
				select {
				case joined <- struct{}{}:
				default:
				}
			})
		})
	}
	select {
	case <-joined:
	case <-consuming.Done():
		return group.Wait()
	case <-ctx.Done():
		stopConsuming()
		return group.Wait()
	}
	group.Go(func() error { return engine.Watch(consuming, step) })
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	if duration > 0 {
		sending, stopSending = context.WithTimeout(ctx, duration)
		defer stopSending()
	}
	context.AfterFunc(consuming, stopSending) // a consumer that failed for good ends the run
	err := engine.Run(sending, cluster, drainProducers)
	engine.Settle(consuming, drainConsumers)
	stopConsuming()
	return errors.Join(err, group.Wait())
}
