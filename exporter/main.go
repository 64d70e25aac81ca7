// Command exporter shows the state of a Kafka cluster (brokers, partitions, consumer groups and their lag) as Prometheus metrics.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/web"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"golang.org/x/sync/errgroup"
)

const about = `Shows the state of a Kafka cluster as Prometheus metrics.

The cluster is read when /metrics is asked for, within the time that Prometheus gives in the scrape's header; scrapes that come at the same time share one reading. Kafka may be down at the start.

Filters are regular expressions that match the whole name. They are applied before Kafka is asked for details.`

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

type settings struct {
	listen                       string
	brokers                      []string
	topicInclude, topicExclude   string
	groupInclude, groupExclude   string
	kafkaTimeout                 time.Duration
	timeout, minInterval, maxAge time.Duration
	slow                         time.Duration
	configs                      []string
	questions                    int
	compat                       []string
}

func (s *settings) flags(app *cli.App) {
	app.Flag("web.listen-address", "Address to serve /metrics, /-/healthy and /-/ready on.").Default("127.0.0.1:9308").StringVar(&s.listen)
	app.Flag("compat", "Whose names the metrics have: native, kafka_exporter, kminion; repeat the flag or separate by commas. COMPAT.md says what they show.").
		Default(string(collector.Native)).StringsVar(&s.compat)
	app.Flag("kafka.brokers", "Brokers to find the cluster with, host:port; repeat the flag or separate by commas. One that is up is enough.").
		Default("127.0.0.1:9092").StringsVar(&s.brokers)
	app.Flag("kafka.timeout", "Longest wait for a connection and for an answer.").Default("5s").DurationVar(&s.kafkaTimeout)
	app.Flag("topic.filter", "Topics to show.").Default(".*").StringVar(&s.topicInclude)
	app.Flag("topic.exclude", "Topics to leave out, of those that topic.filter takes.").Default("").StringVar(&s.topicExclude)
	app.Flag("group.filter", "Consumer groups to show.").Default(".*").StringVar(&s.groupInclude)
	app.Flag("group.exclude", "Consumer groups to leave out, of those that group.filter takes.").Default("").StringVar(&s.groupExclude)
	app.Flag("topic.config", "Topic config to show, by Kafka's name; repeat the flag or separate by commas.").
		Default("min.insync.replicas,retention.ms,retention.bytes,cleanup.policy,max.message.bytes").StringsVar(&s.configs)
	app.Flag("lag.questions", "About how many partitions per broker Kafka is asked at most, in one reading, when their records were written, where the exporter has not seen it itself; 0: none.").
		Default("500").IntVar(&s.questions)
	app.Flag("collect.timeout", "Longest time for reading the cluster, when the scrape does not set a shorter one.").Default("10s").DurationVar(&s.timeout)
	app.Flag("collect.min-interval", "A reading younger than this is shown again instead of asking Kafka.").Default("1s").DurationVar(&s.minInterval)
	app.Flag("collect.slow-interval", "How old topic configs and log directories may become before they are read again.").Default("1m").DurationVar(&s.slow)
	app.Flag("collect.max-age", "How long the last reading is shown while the cluster cannot be reached.").Default("1m").DurationVar(&s.maxAge)
}

func run(parent context.Context, args []string, stdout, stderr io.Writer) int {
	var s settings
	app := cli.New("exporter", about, stdout, stderr)
	s.flags(app)
	_, log, code, done := app.Parse(args)
	if done {
		return code
	}
	ctx, cancel := cli.Context(parent)
	defer cancel()
	if err := serve(ctx, s, log); err != nil {
		var bad *usageError
		if errors.As(err, &bad) {
			fmt.Fprintf(stderr, "exporter: %v (see --help)\n", err)
			return 2
		}
		log.Error("exporter failed", "err", err)
		return 1
	}
	return 0
}

// usageError is the caller's mistake on the command line.
type usageError struct{ error }

// collector turns the settings into an exporter; every mistake is reported at once.
func (s *settings) collector(log *slog.Logger) (*collector.Exporter, error) {
	var problems []error
	positive := func(flag string, d time.Duration) {
		if d <= 0 {
			problems = append(problems, fmt.Errorf("--%s: want a positive duration (got %s)", flag, d))
		}
	}
	filter := func(name, include, exclude string) collector.Filter {
		f, err := collector.NewFilter(include, exclude)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s.filter, --%s.exclude: %w", name, name, err))
		}
		return f
	}
	client := kafka.Client{Brokers: split(s.brokers), ID: "kafkalab-exporter", Timeout: s.kafkaTimeout}
	if err := client.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("--kafka.brokers: %w", err))
	}
	positive("kafka.timeout", s.kafkaTimeout)
	positive("collect.timeout", s.timeout)
	positive("collect.max-age", s.maxAge)
	positive("collect.slow-interval", s.slow)
	if s.questions < 0 {
		problems = append(problems, fmt.Errorf("--lag.questions: want 0 or more (got %d)", s.questions))
	}
	if s.minInterval < 0 || s.minInterval > s.maxAge {
		problems = append(problems, fmt.Errorf("--collect.min-interval: want 0s to --collect.max-age (got %s)", s.minInterval))
	}
	conf := collector.Config{
		Brokers: client.Brokers, Topics: filter("topic", s.topicInclude, s.topicExclude), Groups: filter("group", s.groupInclude, s.groupExclude),
		Timeout: s.timeout, MinInterval: s.minInterval, MaxAge: s.maxAge, Logger: log,
		TopicConfigs: split(s.configs), SlowInterval: s.slow, Questions: s.questions,
	}
	if conf.Questions == 0 {
		conf.Questions = -1 // asked for on purpose: none
	}
	for _, name := range split(s.compat) {
		if !slices.Contains(collector.Namings(), collector.Naming(name)) {
			problems = append(problems, fmt.Errorf("--compat: must be %s, %s or %s (got %q)", collector.Native, collector.KafkaExporter, collector.KMinion, name))
		}
		conf.Names = append(conf.Names, collector.Naming(name))
	}
	if len(problems) > 0 {
		return nil, &usageError{errors.Join(problems...)}
	}
	if conf.MinInterval == 0 {
		conf.MinInterval = -1 // asked for on purpose: always read
	}
	var err error
	if conf.Kafka, err = client.Config(); err != nil {
		return nil, err
	}
	return collector.New(conf)
}

func split(values []string) []string {
	var all []string
	for _, v := range strings.Split(strings.Join(values, ","), ",") {
		if v = strings.TrimSpace(v); v != "" {
			all = append(all, v)
		}
	}
	return all
}

func serve(ctx context.Context, s settings, log *slog.Logger) error {
	exp, err := s.collector(log)
	if err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		exp, versioncollector.NewCollector("kafka_exporter"),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	srv, err := web.New(web.Config{
		Name: "Kafka exporter", Listen: s.listen, Registry: reg, Logger: log, Ready: exp.Ready,
		Metrics: exp.Scrape,
	})
	if err != nil {
		return err
	}
	log.Info("reading kafka", "brokers", strings.Join(split(s.brokers), ","))
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return srv.Serve(ctx) })
	all.Go(func() error { return exp.Run(ctx) })
	return all.Wait()
}
