// Package probe shows how long a client of each broker waits: it sends records through every broker, reads them back and commits offsets.
//
// It promises an open loop: a record is due at its time whatever became of the ones before, and each latency is counted from when the record
// was due, so that a broker which stalls for three seconds shows as three seconds and not as one slow record. A record that failed or was
// lost is in a counter and in no histogram; nothing is tried twice. Latencies carry the id of the broker that led the partition, or
// coordinated the group, when the request was made. Several probes may share a topic and its groups: each knows its own records, joins no
// group and fences nobody. What is in flight is bounded by the deadline. The topic is not made or changed unless Manage says so, and its
// retention is its owner's.
//
// It leaves out throughput, consumer groups' rebalances, transactions, and retries: what an application's client makes of a failure is its own.
package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Config says which cluster is probed and how. Kafka and Brokers are required.
type Config struct {
	Kafka   *sarama.Config // as kafka.Client makes it; not changed, not kept by reference
	Brokers []string       // host:port, to find the cluster with

	Topic    string        // a broker is covered if it leads a partition of it; the groups have its name with -0, -1 and so on added
	Interval time.Duration // between two records to a broker
	Deadline time.Duration // a record not read back so long after it was due is lost; more than Kafka's timeout

	// Manage lets the probe make the topic, add partitions to it, move them and elect leaders, until each broker leads one.
	Manage bool

	Logger *slog.Logger
}

// What a topic, an interval and a deadline are unless somebody says otherwise. A stall that is longer than the interval is always seen.
const (
	DefaultTopic    = "kafkalab-probe"
	DefaultInterval = 200 * time.Millisecond
	DefaultDeadline = 10 * time.Second
)

const (
	minInterval, maxInterval = 10 * time.Millisecond, 10 * time.Second
	maxDeadline              = time.Minute
	maxName                  = 249 // of a topic, by Kafka's own rule
)

// Check reports every problem as `field: problem (got value)`, one a line, given Kafka's timeout.
func (c Config) Check(timeout time.Duration) error {
	var errs []error
	if !validTopic(c.Topic) {
		errs = append(errs, fmt.Errorf("topic: must be 1 to %d letters, digits, dots, underscores and dashes (got %q)", maxName, c.Topic))
	}
	if c.Interval < minInterval || c.Interval > maxInterval {
		errs = append(errs, fmt.Errorf("interval: must be within %s..%s (got %s)", minInterval, maxInterval, c.Interval))
	}
	if c.Deadline > maxDeadline || c.Deadline < min(c.Interval, maxInterval) {
		errs = append(errs, fmt.Errorf("deadline: must be the interval at least and %s at most (got %s)", maxDeadline, c.Deadline))
	} else if c.Deadline <= timeout {
		errs = append(errs, fmt.Errorf("deadline: must be more than kafka.timeout, %s (got %s)", timeout, c.Deadline))
	}
	return errors.Join(errs...)
}

func validTopic(name string) bool {
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return name != "" && name != "." && name != ".." && len(name) <= maxName
}

// Probe is a prometheus.Collector that works while Run runs.
type Probe struct {
	conf  Config
	kafka *sarama.Config // of the connections
	log   *slog.Logger
	run   runID
	meas  *measured
	sent  *ledger
	soon  chan struct{} // asks for a new look at the cluster

	work sync.WaitGroup // all that Run has started

	mu      sync.Mutex
	life    context.Context              // Run's; nil before
	shape   *shape                       // the cluster as it was last seen; nil before
	senders map[int32]context.CancelFunc // by broker
	readers map[int32]*reader            // by partition
	groups  []*group                     // in use; they stay
	asked   map[int]lookup               // of other groups, by their number; only steer uses it
}

// New checks the configuration. Kafka is not contacted.
func New(c Config) (*Probe, error) {
	if c.Kafka == nil || len(c.Brokers) == 0 {
		return nil, errors.New("probe: kafka settings and at least one broker are required")
	}
	setDefault(&c.Topic, DefaultTopic)
	setDefault(&c.Interval, DefaultInterval)
	setDefault(&c.Deadline, DefaultDeadline)
	setDefault(&c.Logger, slog.New(slog.DiscardHandler))
	net := c.Kafka.Net
	if err := c.Check(max(net.DialTimeout, net.ReadTimeout, net.WriteTimeout)); err != nil {
		return nil, fmt.Errorf("check probe's settings: %w", err)
	}
	conf := *c.Kafka
	// An answer that does not come must not keep later records from being sent. All there can be within the deadline, and some to spare.
	conf.Net.MaxOpenRequests = int(c.Deadline/c.Interval) + 64
	if err := conf.Validate(); err != nil {
		return nil, fmt.Errorf("check kafka settings: %w", err)
	}
	p := &Probe{
		conf: c, kafka: &conf, log: c.Logger.With("component", "probe"), meas: newMeasured(), sent: newLedger(), soon: make(chan struct{}, 1),
		senders: map[int32]context.CancelFunc{}, readers: map[int32]*reader{}, asked: map[int]lookup{},
	}
	rand.Read(p.run[:]) //nolint:errcheck // it never fails
	return p, nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Run probes until ctx ends and returns nil: a cluster that cannot be reached or probed shows in the metrics and in the log. It is called once.
func (p *Probe) Run(ctx context.Context) error {
	p.mu.Lock()
	p.life = ctx
	p.mu.Unlock()
	p.work.Go(func() { p.sweep(ctx) })
	p.steer(ctx)
	p.work.Wait()
	return nil
}

// start runs a goroutine that ends with Run. It is false when Run has ended or not begun. p.mu is held.
func (p *Probe) start(do func(context.Context)) bool {
	ctx := p.life
	if ctx == nil || ctx.Err() != nil {
		return false
	}
	p.work.Go(func() { do(ctx) })
	return true
}

// lookAgain has the cluster looked at before long: an answer said that it has changed.
func (p *Probe) lookAgain() {
	select {
	case p.soon <- struct{}{}:
	default:
	}
}

// now is the cluster as it was last seen, never nil.
func (p *Probe) now() *shape {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shape == nil {
		return unseen()
	}
	return p.shape
}

// address of a broker, empty when it is not among the live ones.
func (p *Probe) address(broker int32) string { return p.now().brokers[broker] }

// sweep gives up records whose deadline has passed.
func (p *Probe) sweep(ctx context.Context) {
	tick := time.NewTicker(max(p.conf.Interval, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			lost, unanswered := p.sent.expire(time.Now().Add(-p.conf.Deadline))
			for _, r := range lost {
				p.meas.lost(r.broker)
			}
			for _, r := range unanswered {
				p.meas.failed(r.broker, apiProduce, errUnanswered)
			}
		}
	}
}
