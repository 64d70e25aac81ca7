package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/internal/web"
	"github.com/kafkalab/kafkalab/tuner/annotate"
	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/audit"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/guard"
	"github.com/kafkalab/kafkalab/tuner/lead"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/page"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

const (
	effectiveEvery = 10 * time.Second // how often the values in force are read back for people
	effectiveLimit = 8 * time.Second
)

// parts is everything that runs together.
type parts struct {
	settings settings
	config   trial.Config // of each term's runner
	seat     seat
	target   func(term int64) (target, error) // as the holder of that term of the lease writes to it
	election *lead.Election                   // nil: the file lets it act never
	board    *status.Board
	audit    *audit.Book
	notes    *annotate.Worker // nil: the file names no Grafana
	files    *status.Files
	page     *page.Page
	past     page.Past
	server   *web.Server
	observer *observe.Observer
	brokers  apply.Brokers
	log      *slog.Logger
	interval time.Duration
}

// serve runs the tuner until ctx ends. What needs no other program is checked first, so that a mistake is the first thing to be seen.
func serve(ctx context.Context, s settings, file config.File, log *slog.Logger) error {
	if s.dryRun && file.Acts() {
		log.Info("dry run: says what it would do and does nothing", "mode", file.Mode)
		if file.Revert = false; file.Mode.Acts() {
			file.Mode = config.Recommend
		}
	}
	if err := tryLedger(s.ledger, file.Acts()); err != nil {
		return err
	}
	p, err := assemble(s, file, log)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.server.Serve(ctx) })
	group.Go(func() error { return p.work(ctx) })
	group.Go(func() error { return p.live(ctx) })
	group.Go(func() error { p.readBack(ctx); return nil })
	group.Go(func() error { p.page.Recall(ctx); return nil })
	return group.Wait()
}

// tryLedger finds out whether the ledger can be written. That another tuner writes it is in order where that one may hold the lease.
func tryLedger(path string, elects bool) error {
	book, _, err := ledger.Open(path)
	switch {
	case err == nil:
		return book.Close()
	case errors.Is(err, ledger.ErrLocked) && elects:
		return nil
	}
	return err
}

func assemble(s settings, file config.File, log *slog.Logger) (*parts, error) {
	memory, err := apply.ParseMemory(s.memory)
	if err != nil {
		return nil, fmt.Errorf("--sandbox.memory: %w", err)
	}
	p := &parts{settings: s, log: log, interval: file.Live.Interval}
	if p.files, err = status.NewFiles(s.statusDir); err != nil {
		return nil, err
	}
	client, err := promql.New(promql.Config{
		URL: file.Prometheus.URL, Timeout: file.Prometheus.Timeout, MaxAge: max(file.Live.Freshness, 2*file.Prometheus.Timeout),
		Access: file.Prometheus.Access(),
	})
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	if p.observer, err = observe.New(client, file); err != nil {
		return nil, err
	}
	clients, err := apply.Connect(s.kubeconfig)
	if err != nil {
		return nil, err
	}
	p.brokers = apply.Brokers{
		Bootstrap: file.Target.Bootstrap, JVM: file.Target.JVMMetrics, Knobs: file.Space(), Timeout: 5 * time.Second, Elect: file.Acts(),
		Security: file.Target.Security(),
	}
	if p.target, err = reach(clients, file, p.brokers, log); err != nil {
		return nil, err
	}
	p.past = past(client, file)
	p.audit = audit.New()
	p.config = trial.Config{
		File: file, Broker: p.brokers, Meter: p.observer, Sentry: guard.NewReader(client, file), Stop: s.stopped,
		Logger: log, Memory: memory, Build: version.Version,
	}
	first := trial.First(p.config)
	first.Limits = status.Limits{CPUs: s.cpus, Memory: s.memory}
	p.board = status.NewBoard(first)
	p.config.Board = p.board
	if file.Grafana.URL != "" {
		p.notes, err = annotate.New(annotate.Config{
			URL: file.Grafana.URL, Access: file.Grafana.Access(), Target: file.Target.Namespace + "/" + file.Target.Name, Logger: log,
			Show: func(a status.Annotations) { p.board.Update(func(s *status.Snapshot) { s.Annotations = &a }) },
		})
		if err != nil {
			return nil, err
		}
	}
	if file.Acts() {
		if err := p.elect(clients.Kube); err != nil {
			return nil, err
		}
	}
	return p, p.listen(s)
}

func (p *parts) listen(s settings) (err error) {
	p.page, err = page.New(page.Config{
		Board: p.board, Ledger: s.ledger, File: p.config.File, Memory: p.config.Memory, Token: s.tokenFile != "", Past: p.past, Logger: p.log,
	})
	if err != nil {
		return err
	}
	orders, err := api.New(api.Config{
		Board: p.board, Orders: &p.seat, File: p.config.File, Ledger: s.ledger, TokenFile: s.tokenFile, Listen: s.listen, Logger: p.log,
	})
	if err != nil {
		return err
	}
	routes := p.page.Routes()
	maps.Copy(routes, orders.Routes())
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("tuner"), status.NewCollector(p.board), p.audit)
	if p.notes != nil {
		registry.MustRegister(p.notes)
	}
	p.server, err = web.New(web.Config{
		Name: "tuner", Listen: []string{s.listen}, File: s.webFile, Registry: registry, Logger: p.log, Routes: routes,
	})
	return err
}

// live keeps figures, files and curves fresh. A file that cannot be written is said once, and tried again.
func (p *parts) live(ctx context.Context) error {
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	said := ""
	for {
		l := p.observer.Live(ctx)
		if ctx.Err() != nil {
			return p.stop()
		}
		p.board.Update(func(s *status.Snapshot) { s.Live = figures(l, s.Live.Window) })
		now := p.board.Snapshot()
		p.page.Remember(now)
		problem := ""
		if err := p.files.Write(now); err != nil {
			problem = err.Error()
		}
		if problem != said && problem != "" {
			p.log.Error("status files", "err", problem)
		}
		said = problem
		select {
		case <-ctx.Done():
			return p.stop()
		case <-tick.C:
		}
	}
}

// stop leaves N/A behind: a figure that nobody refreshes is not a current one.
func (p *parts) stop() error {
	p.board.Update(func(s *status.Snapshot) {
		s.State = status.Stopped
		s.Live = status.Live{Window: s.Live.Window, Missing: map[string]string{"p99": "the tuner was stopped"}}
	})
	return p.files.Write(p.board.Snapshot())
}

func figures(l observe.Live, window float64) status.Live {
	ms := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		return status.Ptr(*v * 1000)
	}
	return status.Live{
		Window: window, Age: l.Age, P50: ms(l.P50), P99: ms(l.P99), P999: ms(l.P999),
		Offered: l.Offered, Acked: l.Acked, Consumed: l.Consumed, Errors: l.Errors, Samples: l.Samples, Missing: l.Missing,
	}
}

// past is what the page's curves begin with.
func past(client *promql.Client, file config.File) page.Past {
	return func(ctx context.Context, from, to time.Time, step time.Duration) ([]page.Sample, error) {
		found, err := observe.Past(ctx, client, file, from, to, step)
		out := make([]page.Sample, len(found))
		for i, l := range found {
			f := figures(l, 0)
			out[i] = page.Sample{Time: l.Time, P50: f.P50, P99: f.P99, Offered: f.Offered, Acked: f.Acked}
		}
		return out, err
	}
}

// readBack shows the values in force, also those that somebody else changed; while they cannot be read they are not known.
func (p *parts) readBack(ctx context.Context) {
	tick := time.NewTicker(effectiveEvery)
	defer tick.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, effectiveLimit)
		point, err := p.brokers.Effective(limited)
		cancel()
		if err != nil {
			point = nil
			p.log.Debug("read back", "err", err)
		}
		p.board.Update(trial.SetEffective(point))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
