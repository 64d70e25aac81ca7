package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/slo"
)

const (
	// The end takes 5 s at most: the records under way are acknowledged, then consumed, then the group is left.
	drainProducers = 2500 * time.Millisecond
	drainConsumers = time.Second
	readEnds       = 500 * time.Millisecond
	leaveGroup     = time.Second
	// Where the rate is set by latency no backlog is sent after an outage: what is later than this has failed.
	catchup = time.Second
)

// measure does what is planned until it or ctx ends. The report is nil when nothing was sent.
func (p plan) measure(ctx context.Context) (r *report.Report, err error) {
	registry := prometheus.NewRegistry()
	ready := &readiness{}
	err = serve(ctx, p.listen, p.log, ready.check, registry, func(ctx context.Context) error {
		var err error
		r, err = p.drive(ctx, registry, ready)
		return err
	})
	return r, err
}

// drive prepares the cluster, starts the consumers and sends beside them.
func (p plan) drive(ctx context.Context, registry *prometheus.Registry, ready *readiness) (*report.Report, error) {
	s := &session{plan: p, registry: registry, ready: ready}
	s.cluster = drive.Kafka{Client: p.client, Topic: p.topic, Workload: p.workload, Logger: p.log, First: uint64(p.share.Index * p.workload.Producer.Clients)}
	var err error
	if s.settings, err = s.cluster.Settings(); err != nil {
		return nil, err
	}
	if s.partitions, err = s.cluster.EnsureTopic(ctx); err == nil {
		s.cluster.Partitions = s.partitions
		s.ends, err = s.cluster.Ends(ctx, s.partitions)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil // asked to end while waiting for the cluster
		}
		return nil, err
	}
	s.announce()
	limitMemory(s.workload.Producer.Clients * s.workload.Slots() * s.workload.Payload.MeanBytes())
	s.processors = addThreads()
	return s.run(ctx)
}

// session is a cluster with consumers that read while engines send, one after the other.
type session struct {
	plan
	cluster    drive.Kafka
	partitions int
	ends       []int64 // of the partitions, before the first record
	settings   map[string]string
	processors int
	registry   *prometheus.Registry
	ready      *readiness
	relay      relay
}

func (s *session) announce() {
	w := s.workload
	s.log.Info("workload", "name", w.Name, "topic", s.topic, "partitions", s.partitions, "mode", s.mode, "slo_p99", w.SLO.P99)
	s.log.Info("client settings", "settings", s.settings)
	for _, warning := range w.Warnings(max(1, s.share.Count)) {
		s.log.Warn(warning)
	}
}

// run reads with the workload's consumers until the sending is over.
func (s *session) run(ctx context.Context) (r *report.Report, err error) {
	consuming, stopConsuming := context.WithCancel(context.WithoutCancel(ctx))
	defer stopConsuming()
	group, consuming := errgroup.WithContext(consuming)
	group.Go(func() error { return s.consume(consuming) })
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	context.AfterFunc(consuming, stopSending) // a consumer that failed for good ends the run
	switch s.mode {
	case report.ModeSearch:
		r, err = s.search(sending, consuming)
	case report.ModeSLO:
		r, err = s.hold(sending, consuming)
	default:
		r, err = s.send(sending, consuming)
	}
	stopConsuming()
	left := make(chan error, 1)
	go func() { left <- group.Wait() }()
	select {
	case cerr := <-left:
		err = errors.Join(err, cerr)
	case <-time.After(leaveGroup): // sarama waits for a broker that is away for as long as it may retry
		s.log.Warn("ended without having left the consumer group: the broker did not answer in time", "waited", leaveGroup)
	}
	return r, err
}

// consume reads from where the partitions ended before the first record, so nobody has to wait for it.
func (s *session) consume(ctx context.Context) error {
	clients := s.workload.Consumer.Groups * s.workload.Consumer.Clients
	if clients == 0 {
		return nil
	}
	if err := s.cluster.Pin(ctx, s.ends); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for n := range clients {
		group.Go(func() error { return s.cluster.Consume(ctx, n, &s.relay) })
	}
	return group.Wait()
}

func (s *session) config() drive.Config {
	return drive.Config{
		Workload: s.workload, Topic: s.topic, Partitions: s.partitions, Run: rand.Uint64(), Catchup: s.workload.Producer.GiveUp, Processors: s.processors,
		Logger: s.log,
	}
}

// send follows the schedule.
func (s *session) send(ctx, consuming context.Context) (*report.Report, error) {
	c := s.config()
	c.Duration, c.Share, c.Joining = s.duration, s.share, true
	if !s.share.Start.IsZero() {
		s.log.Info("the schedule begins together with the other copies'", "copy", s.share.Index, "of", s.share.Count, "start", s.share.Start.UTC().Format(time.RFC3339))
	}
	return s.engine(ctx, consuming, c, nil)
}

// hold adjusts the rate to what the SLO allows.
func (s *session) hold(ctx, consuming context.Context) (*report.Report, error) {
	w := s.workload
	controller, err := slo.New(slo.Config{SLO: w.SLO.P99, Start: w.SLO.Start, Min: w.SLO.Min, Max: w.SLO.Max})
	if err != nil {
		return nil, err
	}
	c := s.config()
	c.Rate, c.Duration, c.Joining = w.SLO.Start, s.duration, true
	c.Catchup, c.Restart = max(catchup, 2*w.SLO.P99), true
	return s.engine(ctx, consuming, c, controller.Step)
}

// engine runs one engine from its first record to its report.
func (s *session) engine(ctx, consuming context.Context, c drive.Config, step func(slo.Observation) float64) (*report.Report, error) {
	e, err := drive.New(c)
	if err != nil {
		return nil, err
	}
	collector := drive.NewCollector(e, s.workload.SLO.P99)
	if err := s.registry.Register(collector); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if s.mode == report.ModeSearch {
		defer s.registry.Unregister(collector) // the next trial has metrics of its own
	}
	s.ready.set(e.Ready)
	s.relay.to(e)
	watching, stopWatching := context.WithCancel(consuming)
	defer stopWatching()
	var group errgroup.Group
	group.Go(func() error { return e.Watch(watching, step) })
	err = e.Run(ctx, s.cluster, drainProducers)
	if s.mode == report.ModeSearch {
		// What a trial has left would be in the next one's latency.
		e.Settle(ctx, s.workload.Producer.GiveUp)
	}
	e.Settle(consuming, drainConsumers)
	if consuming.Err() == nil { // also where nothing is outstanding: a gap that later records have shown is not
		ending, stop := context.WithTimeout(consuming, readEnds)
		if ends, err := s.cluster.Ends(ending, s.partitions); err == nil { // where it cannot be read, nothing is said about the tail
			e.Finish(ends)
		}
		stop()
	}
	stopWatching()
	err = errors.Join(err, group.Wait())
	r, rerr := e.Report()
	if rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	r.Program, r.Mode, r.Settings, r.Warnings = "loadgen "+version.Version, s.mode, s.settings, s.workload.Warnings(max(1, s.share.Count))
	if s.mode == report.ModeSLO {
		r.MaxRate = s.workload.SLO.Max
	}
	return r, err
}
