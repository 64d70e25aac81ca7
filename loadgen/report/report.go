// Package report is the document of one run: what was asked for, what was counted, every latency by bucket, how it went second by second,
// and what limited it.
//
// It promises: the console's table, the JSON and the page show the same figures, because all of them come from the same buckets, by
// hist.Snapshot.Quantile; documents of the copies of one run merge exactly, bucket by bucket and second by second; a document that is
// damaged or from another version is refused with the field named. It leaves out measuring, and deciding what to run next.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/search"
)

// Schema is the version of the document. It changes when a field changes its meaning, appears or goes.
const Schema = 3

// The modes.
const (
	ModeRun    = "run"
	ModeSLO    = "slo"
	ModeSearch = "search"
)

// Report is one run, or several copies of one that have been merged. Times are seconds.
type Report struct {
	Schema     int      `json:"schema"`
	Program    string   `json:"program"` // name and version of what measured
	Mode       string   `json:"mode"`
	Workload   Workload `json:"workload"`
	Topic      string   `json:"topic"`
	Partitions int      `json:"partitions"`
	SLO        float64  `json:"slo_p99_seconds"` // 99th percentile that is to be met; 0: none
	MaxRate    float64  `json:"max_rate"`        // records per second that slo and search may ask for; 0: no limit
	// ProduceOnly says that nothing was to be consumed: the SLO is then about the response time.
	ProduceOnly bool `json:"produce_only"`
	Groups      int  `json:"consumer_groups"` // that each read everything
	// Copies is how many send one schedule together. A report of some of them knows what they have sent, and of what all have sent a part.
	Copies int `json:"copies"`
	// Closed says that the rate follows from the records in flight, not from a schedule.
	Closed bool `json:"closed_loop"`

	Start  time.Time `json:"start"`          // of the schedule
	Warmup float64   `json:"warmup_seconds"` // at its beginning
	Lasted float64   `json:"lasted_seconds"` // for how long records were offered, the warm-up included, the drain not

	WarmUp   Phase `json:"warm_up"` // records that were meant for the warm-up
	Measured Phase `json:"measured"`

	Faults Faults            `json:"faults"`
	Errors map[string]uint64 `json:"errors"` // failures by what the client says of them

	Settings   map[string]string `json:"client_settings"` // as they took effect
	Warnings   []string          `json:"warnings"`        // about what spoils the measurement
	Generators []Generator       `json:"generators"`      // one for each process
	Series     Series            `json:"series"`
	Search     *Search           `json:"search,omitempty"`
}

// Workload is what was run.
type Workload struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config"` // the whole of it, with defaults filled in
}

// NewWorkload takes the configuration from a value with yaml tags. It must hold no secret.
func NewWorkload(name string, config any) (Workload, error) {
	text, err := yaml.Marshal(config)
	if err != nil {
		return Workload{}, fmt.Errorf("write workload: %w", err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return Workload{}, fmt.Errorf("read workload back: %w", err)
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return Workload{}, fmt.Errorf("write workload: %w", err)
	}
	return Workload{Name: name, Config: raw}, nil
}

// partial says that copies are missing. What the ones that are there consumed is then not what they sent.
func (r *Report) partial() bool { return len(r.Generators) < r.Copies }

func (w Workload) equal(o Workload) bool { return w.Name == o.Name && bytes.Equal(w.Config, o.Config) }

// Phase is what was counted of the records meant for one phase, however late they came.
type Phase struct {
	Offered       uint64 `json:"offered"` // whose intended send time has come
	Sent          uint64 `json:"sent"`    // handed to the client
	Acked         uint64 `json:"acked"`
	Failed        uint64 `json:"failed"` // given up, sent or not
	Retried       uint64 `json:"retried"`
	Aborted       uint64 `json:"aborted"` // in a transaction that was aborted on purpose: neither acknowledged nor failed
	Consumed      uint64 `json:"consumed"`
	AckedBytes    uint64 `json:"acked_bytes"` // of values
	ConsumedBytes uint64 `json:"consumed_bytes"`

	Response hist.Packed `json:"response"`     // acknowledged − intended
	Service  hist.Packed `json:"service"`      // acknowledged − sent
	Lag      hist.Packed `json:"schedule_lag"` // sent − intended
	EndToEnd hist.Packed `json:"end_to_end"`   // consumed − intended
}

// Faults are records that were not delivered exactly once, in order and undamaged. Of a search they are those of all its trials.
type Faults struct {
	Lost        uint64   `json:"lost"`
	Duplicated  uint64   `json:"duplicated"`
	Reordered   uint64   `json:"reordered"`
	Corrupted   uint64   `json:"corrupted"`
	Uncommitted uint64   `json:"uncommitted"` // of an aborted transaction, and seen by a reader of committed records
	Unverified  uint64   `json:"unverified"`  // acknowledged, and neither known to have arrived nor known to be lost when the run ended
	Redelivered uint64   `json:"redelivered"` // consumed again after a rebalance, in which a consumer goes back to where it has committed: no fault of the cluster
	Foreign     uint64   `json:"foreign"`     // another program's, without a stamp
	Skewed      uint64   `json:"skewed"`      // consumed before their intended send time, by two clocks that differ
	Named       []string `json:"named"`       // the first of them, at most MaxNamed
}

// MaxNamed is how many faults are named at most.
const MaxNamed = 100

// Generator is what one process says of itself.
type Generator struct {
	Run       string      `json:"run"`               // its random number
	Senders   int         `json:"senders"`           // goroutines that send
	Overslept hist.Packed `json:"overslept"`         // how late they woke up while nothing but the machine kept them
	Blocked   float64     `json:"blocked_seconds"`   // that they waited for a free slot or for the client, over all senders
	Limited   float64     `json:"limited_seconds"`   // in which loadgen_generator_limited was 1
	InFlight  int         `json:"in_flight_limit"`   // records sent and neither acknowledged nor failed that are allowed
	CPU       float64     `json:"cpu_seconds"`       // of the whole process
	CPUs      float64     `json:"processors"`        // that it may use
	PeakBytes uint64      `json:"peak_memory_bytes"` // resident
}

// Search is how the highest rate that meets the SLO was found. Rates are records per second.
type Search struct {
	Kind   string  `json:"kind"` // see search.Kind: what sort of answer the rates are
	Rate   float64 `json:"rate"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Why    string  `json:"why"`
	Trials []Trial `json:"trials"`
}

// Trial is one rate that was tried.
type Trial struct {
	Rate     float64 `json:"rate"` // asked for
	Offered  float64 `json:"offered"`
	Acked    float64 `json:"acked"`
	Consumed float64 `json:"consumed"`
	P99      float64 `json:"p99_seconds"`
	Samples  uint64  `json:"samples"`
	Errors   uint64  `json:"errors"`
	Limited  bool    `json:"generator_limited"`
	Steady   bool    `json:"steady"`
	Verdict  string  `json:"verdict"`
	Why      string  `json:"why"`
}

// NewSearch takes a search's result into the document.
func NewSearch(r search.Result) *Search {
	s := &Search{Kind: string(r.Kind), Rate: r.Rate, Low: r.Low, High: r.High, Why: r.Why}
	for _, t := range r.Trials {
		o := t.Outcome
		s.Trials = append(s.Trials, Trial{
			Rate: t.Rate, Offered: o.Offered, Acked: o.Acked, Consumed: o.Consumed, P99: o.P99.Seconds(), Samples: o.Samples, Errors: o.Errors,
			Limited: o.GeneratorLimited, Steady: o.Steady, Verdict: string(t.Verdict), Why: t.Why,
		})
	}
	return s
}

// Total is both phases together.
func (r *Report) Total() Phase {
	t := r.WarmUp
	t.add(r.Measured)
	return t
}

func (p *Phase) add(o Phase) {
	for _, n := range []struct{ to, from *uint64 }{
		{&p.Offered, &o.Offered}, {&p.Sent, &o.Sent}, {&p.Acked, &o.Acked}, {&p.Failed, &o.Failed}, {&p.Retried, &o.Retried},
		{&p.Aborted, &o.Aborted}, {&p.Consumed, &o.Consumed}, {&p.AckedBytes, &o.AckedBytes}, {&p.ConsumedBytes, &o.ConsumedBytes},
	} {
		*n.to += *n.from
	}
	for _, h := range []struct{ to, from *hist.Packed }{
		{&p.Response, &o.Response}, {&p.Service, &o.Service}, {&p.Lag, &o.Lag}, {&p.EndToEnd, &o.EndToEnd},
	} {
		*h.to = h.to.Plus(*h.from)
	}
}

func addCounts(to, from map[string]uint64) map[string]uint64 {
	sum := maps.Clone(to)
	if sum == nil {
		sum = map[string]uint64{}
	}
	for k, n := range from {
		sum[k] += n
	}
	return sum
}

// Verdict is what limited a run, with reasons in words and figures.
type Verdict struct {
	Limit   Limit    `json:"limit"`
	Reasons []string `json:"reasons"`
}

// Limit names what held the rate back.
type Limit string

// The limits.
const (
	LimitTarget    Limit = "target reached"    // nothing: the rate asked for was served
	LimitGenerator Limit = "generator-limited" // this program, or the machine that it runs on
	LimitBroker    Limit = "broker"            // Kafka, or the way to it
	LimitErrors    Limit = "errors"            // records failed: what was measured is that
	LimitUnknown   Limit = "unknown"           // too little was measured
)
