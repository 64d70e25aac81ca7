// Package collector reads the state of a Kafka cluster in a handful of requests and shows it as Prometheus metrics.
//
// It promises that all metrics of a scrape come from one collection; that the number of requests depends on the number of brokers
// and not on partitions or groups (one more per 500 groups); that filters work before requests are made; that commits are read before
// end offsets, so lag is never negative; that a broker which does not answer hides nothing of what the others know; that a value
// which is not known is absent; and that what is read seldom (topic configs, log directories) or asked about the past never makes one
// collection much larger than another.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says what to read, and how often at most. Kafka and Brokers are required.
type Config struct {
	Kafka   *sarama.Config // as kafka.Client makes it; not changed, not kept by reference
	Brokers []string       // host:port, to find the cluster with

	Topics, Groups Filter

	Names []Naming // whose names the metrics have; default Native

	// TopicGranularity is how finely topics are shown, GroupGranularity the lag of groups; default PerPartition. Without detail of groups
	// nobody is asked for commits.
	TopicGranularity, GroupGranularity Granularity
	Families                           Filter // which metrics are shown, by their names, of those that the granularity leaves; not those of the requests to Kafka
	// EmptyGroups is how long a group without members is shown after its last commit that the exporter has seen; 0: always. A group can
	// commit without members: some clients take partitions by themselves.
	EmptyGroups time.Duration
	// MaxSeries is how many series a snapshot may have; whole families are left out until it has no more, single partitions first. 0: no limit.
	MaxSeries int

	Timeout     time.Duration // for one collection when the scrape sets no earlier deadline; default 10 s
	MinInterval time.Duration // a snapshot younger than this is shown again instead of asking Kafka; default 1 s, negative: always ask
	// TopicConfigs are the keys of the topic configs to show; SlowInterval is how old they and the log directories may become, default 1 min.
	TopicConfigs []string
	SlowInterval time.Duration
	// Questions is about how many partitions per broker one collection asks at most when their records were written, where the exporter has
	// not seen it itself: each is a search in the broker's index. Default 500, negative: none.
	Questions int
	MaxAge    time.Duration // how long the last snapshot is shown while the cluster cannot be reached; default 1 min

	Logger *slog.Logger
}

// Exporter collects when asked and remembers the last snapshot, which Show shows. As a prometheus.Collector it shows its requests to Kafka.
type Exporter struct {
	conf  Config
	log   *slog.Logger
	meas  *requests
	pool  *pool
	kept  *kept // of the collection under way
	names namings

	hidden     map[string]bool // families that the settings leave out
	expendable []string        // families in the order in which they are dropped

	life context.Context // of all collections; ends with Run
	end  context.CancelFunc

	mu      sync.Mutex
	flight  *flight // the collection under way, if any
	closed  bool
	last    *snapshot
	report  report
	started time.Time // of the last collection that ended
}

// flight is a collection under way, which all who ask during it share.
type flight struct{ done chan struct{} }

// New checks the configuration. Kafka is not contacted.
func New(c Config) (*Exporter, error) {
	if c.Kafka == nil || len(c.Brokers) == 0 {
		return nil, errors.New("collector: kafka settings and at least one broker are required")
	}
	kafka := *c.Kafka
	if err := kafka.Validate(); err != nil {
		return nil, fmt.Errorf("check kafka settings: %w", err)
	}
	c.Kafka = &kafka
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.MinInterval, time.Second)
	setDefault(&c.MaxAge, time.Minute)
	setDefault(&c.SlowInterval, time.Minute)
	if c.Questions == 0 {
		c.Questions = 500
	}
	if c.MinInterval > c.MaxAge {
		return nil, fmt.Errorf("collector: minimal interval: want at most the maximal age %s (got %s)", c.MaxAge, c.MinInterval)
	}
	if c.Timeout < 0 || c.MaxAge < 0 {
		return nil, fmt.Errorf("collector: timeout and maximal age: want positive durations (got %s and %s)", c.Timeout, c.MaxAge)
	}
	if err := errors.Join(c.TopicGranularity.check("topics"), c.GroupGranularity.check("groups")); err != nil {
		return nil, err
	}
	if c.EmptyGroups < 0 || c.MaxSeries < 0 {
		return nil, fmt.Errorf("collector: time of empty groups and limit of series: want none below 0 (got %s and %d)", c.EmptyGroups, c.MaxSeries)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	names, err := newNamings(c.Names)
	if err != nil {
		return nil, err
	}
	e := &Exporter{conf: c, log: c.Logger, meas: newRequests(), kept: newKept(), names: names}
	e.pool = newPool(c.Kafka, e.meas, c.Brokers)
	e.hidden = map[string]bool{}
	families := names.families(c.TopicConfigs)
	for _, f := range families {
		if !c.shows(f) {
			e.hidden[f.Name] = true
		}
	}
	if e.expendable = expendable(families); c.MaxSeries > 0 {
		for _, f := range e.expendable {
			e.meas.dropped.WithLabelValues(f) // 0 is known
		}
	}
	e.report.lastSuccess = map[string]time.Time{}
	e.life, e.end = context.WithCancel(context.Background())
	return e, nil
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}

// Run looks for the cluster until it is found once, so that a wrong address shows in the log and in Ready without any scrape. When ctx
// ends it stops the collection under way, closes the connections and returns nil.
func (e *Exporter) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, e.end)
	defer stop()
	for wait := time.Second; ctx.Err() == nil && e.Ready() != nil; wait = min(2*wait, 15*time.Second) {
		e.Refresh(ctx)
		if e.Ready() == nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	<-ctx.Done()
	e.mu.Lock()
	e.closed = true
	under := e.flight
	e.mu.Unlock()
	if under != nil {
		<-under.done
	}
	e.pool.close()
	return nil
}

// Ready is nil once the cluster has been reached, and stays so: an exporter that can report "Kafka is down" does its work.
func (e *Exporter) Ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.report.lastSuccess[partMetadata]; ok {
		return nil
	}
	for _, o := range e.report.outcomes {
		if o.problem != nil {
			return fmt.Errorf("the cluster has not been reached yet: %w", o.problem)
		}
	}
	return errors.New("the cluster has not been reached yet")
}

// Down tells whether the last collection did not reach the cluster.
func (e *Exporter) Down() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.report.ended && !e.report.up
}

// Refresh returns when there is a snapshot younger than the minimal interval, when the collection for it has failed, or when ctx ends.
// Whoever asks while a collection is under way waits for that one; it has the deadline of the first who asked.
func (e *Exporter) Refresh(ctx context.Context) {
	e.mu.Lock()
	if e.closed || (e.flight == nil && e.report.ended && time.Since(e.started) < e.conf.MinInterval) {
		e.mu.Unlock()
		return
	}
	f := e.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		e.flight = f
		deadline := time.Now().Add(e.conf.Timeout)
		if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
			deadline = d
		}
		go e.fly(f, deadline)
	}
	e.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
	}
}

func (e *Exporter) fly(f *flight, deadline time.Time) {
	ctx, cancel := context.WithDeadline(e.life, deadline)
	defer cancel()
	began := time.Now()
	c := &collection{conf: e.conf, pool: e.pool, meas: e.meas, kept: e.kept}
	snap, outcomes := c.run(ctx)

	e.mu.Lock()
	defer e.mu.Unlock()
	e.tell(outcomes)
	e.started = began
	e.flight = nil
	lastSuccess := maps.Clone(e.report.lastSuccess) // scrapes hold the old one
	for _, o := range outcomes {
		if !o.success.IsZero() {
			lastSuccess[o.part] = o.success
		}
	}
	e.report = report{ended: true, up: snap != nil, outcomes: outcomes, lastSuccess: lastSuccess}
	if snap != nil {
		e.tellRights(snap)
		e.guard(snap)
		e.last = snap
	}
	close(f.done)
}

// tell logs only what changed since the last collection: a broker that is down for an hour is one line.
func (e *Exporter) tell(outcomes []outcome) {
	if e.life.Err() != nil {
		return // what fails now was stopped by us
	}
	before := map[string]bool{}
	for _, o := range e.report.outcomes {
		before[o.part] = o.ok()
	}
	for _, o := range outcomes {
		ok, seen := before[o.part]
		switch {
		case o.problem != nil && (ok || !seen):
			e.log.Warn("collection incomplete", "collector", o.part, "err", o.problem)
		case o.problem == nil && seen && !ok:
			e.log.Info("collection complete again", "collector", o.part)
		}
	}
}

// tellRights logs each right once when it turns out to be missing, with the command that grants it.
func (e *Exporter) tellRights(snap *snapshot) {
	for _, g := range snap.rights {
		before := g
		before.ok = true
		if e.last != nil {
			if i := slices.IndexFunc(e.last.rights, func(b grant) bool { return b.right == g.right }); i >= 0 {
				before = e.last.rights[i]
			}
		}
		switch {
		case !g.ok && before.ok:
			e.log.Warn("a right is missing: what it would show is left out", "operation", g.operation, "resource", g.resource,
				"add", g.acl(e.conf.Brokers[0], principal(e.conf.Kafka)))
		case g.ok && !before.ok:
			e.log.Info("a right is no longer missing", "operation", g.operation, "resource", g.resource)
		}
	}
}

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(out chan<- *prometheus.Desc) {
	e.meas.each(func(c prometheus.Collector) { c.Describe(out) })
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(out chan<- prometheus.Metric) {
	e.meas.each(func(c prometheus.Collector) { c.Collect(out) })
}
