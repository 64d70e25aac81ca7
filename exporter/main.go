// Command exporter shows the state of Kafka clusters (brokers, partitions, consumer groups and their lag) as Prometheus metrics.
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
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/exporter/clusters"
	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/exporter/config"
	"github.com/kafkalab/kafkalab/exporter/probe"
	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/internal/web"
)

const about = `Shows the state of Kafka clusters as Prometheus metrics.

A cluster is read when /metrics is asked for, within the time that Prometheus gives in the scrape's header; scrapes that come at the same time share one reading. Kafka may be down at the start.

Filters are regular expressions that match the whole name. They are applied before Kafka is asked for details. No flag takes a password: flags name the file or the environment variable that it is in.`

// collectFor is how long the readings under way go on after the end was asked for. What they have by then is still sent.
const collectFor = 3500 * time.Millisecond

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	failed   = 1
	badUsage = 2
)

func run(parent context.Context, args []string, stdout, stderr io.Writer) int {
	app := cli.New("exporter", about, stdout, stderr)
	listen := kingpinflag.AddFlags(app.Application, "127.0.0.1:9308")
	settings := config.NewFlags(app.Application)
	_, log, code, done := app.Parse(args)
	if done {
		return code
	}
	all, err := settings.Clusters()
	if err != nil {
		fmt.Fprintf(stderr, "exporter: %v (see --help)\n", err)
		return badUsage
	}
	if settings.Check {
		return check(all, *listen.WebConfigFile, stdout, stderr)
	}
	ctx, cancel := cli.Context(parent)
	defer cancel()
	if err := serve(ctx, all, listen, log); err != nil {
		log.Error("exporter failed", "err", err)
		return failed
	}
	return 0
}

// check says what the exporter would do, or what keeps it from doing so. It asks neither Kafka nor for an address.
func check(all []config.Cluster, webFile string, stdout, stderr io.Writer) int {
	var problems []error
	if err := toolkit.Validate(webFile); err != nil {
		problems = append(problems, fmt.Errorf("--web.config.file: %s: %w", webFile, err))
	}
	if _, _, err := assemble(all, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		fmt.Fprintf(stderr, "exporter: %v\n", errors.Join(problems...))
		return failed
	}
	for _, c := range all {
		fmt.Fprint(stdout, c)
	}
	return 0
}

// assemble makes the exporter of each cluster, and the probe of those that want one, and registers their metrics.
func assemble(all []config.Cluster, registry prometheus.Registerer, log *slog.Logger) (*clusters.Clusters, []*probe.Probe, error) {
	var members []clusters.Member
	var probes []*probe.Probe
	var problems []error
	var timeout time.Duration
	for _, c := range all {
		log, registry := log, registry
		if c.Name != "" {
			log = log.With("cluster", c.Name)
			registry = prometheus.WrapRegistererWith(prometheus.Labels{clusters.Label: c.Name}, registry)
		}
		settings, err := c.Collector(log)
		if err != nil {
			problems = append(problems, inCluster(c, err))
			continue
		}
		exporter, err := collector.New(settings)
		if err == nil {
			err = registry.Register(exporter)
		}
		if err != nil {
			problems = append(problems, inCluster(c, err))
			continue
		}
		members = append(members, clusters.Member{Name: c.Name, Exporter: exporter})
		if c.Probe.Enabled {
			p, err := newProbe(c, registry, log)
			if err != nil {
				problems = append(problems, inCluster(c, err))
				continue
			}
			probes = append(probes, p)
		}
		timeout = max(timeout, c.Collect.Timeout)
	}
	if len(problems) > 0 {
		return nil, nil, errors.Join(problems...)
	}
	shown, err := clusters.New(timeout, members...)
	return shown, probes, err
}

func newProbe(c config.Cluster, registry prometheus.Registerer, log *slog.Logger) (*probe.Probe, error) {
	settings, err := c.Prober(log)
	if err != nil {
		return nil, err
	}
	p, err := probe.New(settings)
	if err != nil {
		return nil, err
	}
	return p, registry.Register(p)
}

func inCluster(c config.Cluster, err error) error {
	if c.Name == "" {
		return err
	}
	return fmt.Errorf("cluster %s: %w", c.Name, err)
}

func serve(ctx context.Context, all []config.Cluster, listen *toolkit.FlagConfig, log *slog.Logger) error {
	registry := prometheus.NewRegistry()
	shown, probes, err := assemble(all, registry, log)
	if err != nil {
		return err
	}
	registry.MustRegister(versioncollector.NewCollector("kafka_exporter"), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	server, err := web.New(web.Config{
		Name: "Kafka exporter", Listen: *listen.WebListenAddresses, SystemdSocket: *listen.WebSystemdSocket, File: *listen.WebConfigFile,
		Registry: registry, Logger: log, Ready: shown.Ready, Metrics: shown.Scrape,
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		log.Info("reading kafka", "cluster", c.Name, "brokers", c.Kafka.Brokers)
	}
	group, ctx := errgroup.WithContext(ctx)
	collecting, stop := context.WithCancel(context.WithoutCancel(ctx)) // a scrape under way is answered in full if there is time
	defer context.AfterFunc(ctx, func() { time.AfterFunc(collectFor, stop) })()
	group.Go(func() error {
		defer stop()
		return server.Serve(ctx)
	})
	group.Go(func() error { return shown.Run(collecting) })
	for _, p := range probes {
		group.Go(func() error { return p.Run(ctx) }) // it fails in metrics and log only
	}
	return group.Wait()
}
