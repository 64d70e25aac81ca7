// Package workload describes a load: the topic, the records, the producers, the consumers and the latency to be met.
//
// Workloads are YAML, either one of the presets in this package or a file. The package promises that a workload it returns is complete and
// sound: unknown fields are refused with their line, defaults are filled in, and every problem is reported at once as
// `field: problem (got value)`. It leaves out addresses and rates, which are the caller's.
package workload

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/loadgen/keys"
	"github.com/kafkalab/kafkalab/loadgen/payload"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

// Default is the preset taken when none is named. What holds it back at the de-tuned start is a heap of 256 MB, not the processor, so the
// cost shows on a small machine too (bench/ has the figures).
const Default = "bulk"

//go:embed presets/*.yaml
var presets embed.FS

// Workload is one load.
type Workload struct {
	Name     string          `yaml:"name"`
	About    string          `yaml:"about"`
	Topic    Topic           `yaml:"topic"`
	Schedule schedule.Config `yaml:"schedule"` // without a shape, a constant rate is the caller's to give
	Keys     keys.Config     `yaml:"keys"`
	Payload  payload.Config  `yaml:"payload"`
	Producer Producer        `yaml:"producer"`
	Consumer Consumer        `yaml:"consumer"`
	SLO      SLO             `yaml:"slo"`
	Warmup   time.Duration   `yaml:"warmup"` // the first records of a run are labelled so, not left out
	Seed     uint64          `yaml:"seed"`   // of what has none of its own: the times of a poisson schedule, which transactions are aborted
}

// Topic is what the topic must be. Config holds topic configs by their Kafka names.
type Topic struct {
	Partitions  int               `yaml:"partitions"`
	Replication int               `yaml:"replication"`
	Config      map[string]string `yaml:"config"`
}

// Producer is how records are sent.
type Producer struct {
	Clients    int           `yaml:"clients"` // independent producers, each with connections of its own
	Acks       string        `yaml:"acks"`    // none, leader or all
	Idempotent bool          `yaml:"idempotent"`
	Codec      string        `yaml:"codec"`     // none, gzip, snappy, lz4 or zstd
	Linger     time.Duration `yaml:"linger"`    // wait this long for a batch to fill; 0: send at once
	Batch      int           `yaml:"batch"`     // send when so many records wait; 0: no such limit
	Sticky     int           `yaml:"sticky"`    // records in a row to one partition before the next one's turn
	MaxBatch   int           `yaml:"max_batch"` // never more records than this in a request; 0: no limit but bytes
	InFlight   int           `yaml:"in_flight"` // records sent and not acknowledged, over all clients; beyond it the schedule waits
	GiveUp     time.Duration `yaml:"give_up"`   // a record that cannot be sent for so long has failed

	Transactions Transactions `yaml:"transactions"`
}

// Transactions is how each producing client groups its records.
type Transactions struct {
	Records   int     `yaml:"records"`    // in one transaction; 0: no transactions
	AbortRate float64 `yaml:"abort_rate"` // part of the transactions that are aborted, 0 to 1
}

// Consumer is how records are read back.
type Consumer struct {
	Groups    int           `yaml:"groups"`    // each reads every record
	Clients   int           `yaml:"clients"`   // in each group; 0: nothing is read back
	Group     string        `yaml:"group"`     // name; further groups are called name-1, name-2 and so on
	Isolation string        `yaml:"isolation"` // read_uncommitted or read_committed
	FetchMin  int           `yaml:"fetch_min"` // bytes the broker waits for, at most for MaxWait
	FetchMax  int           `yaml:"fetch_max"` // bytes per partition and fetch
	MaxWait   time.Duration `yaml:"max_wait"`
}

// SLO is what the slo mode holds, and where it starts.
type SLO struct {
	P99   time.Duration `yaml:"p99"` // end to end
	Start float64       `yaml:"start"`
	Min   float64       `yaml:"min"`
	Max   float64       `yaml:"max"`
}

func defaults() Workload {
	return Workload{
		Topic:    Topic{Partitions: 6, Replication: 1},
		Producer: Producer{Clients: 2, Acks: "all", Codec: "none", Sticky: 1, InFlight: 4096, GiveUp: 30 * time.Second},
		Consumer: Consumer{Groups: 1, Clients: 1, Group: "lab", Isolation: "read_uncommitted", FetchMin: 1, FetchMax: 1 << 20, MaxWait: 100 * time.Millisecond},
		SLO:      SLO{P99: 200 * time.Millisecond, Start: 50, Min: 10, Max: 1e6},
		Warmup:   10 * time.Second,
		Seed:     1,
	}
}

// Names lists the presets.
func Names() []string {
	entries, err := fs.ReadDir(presets, "presets")
	if err != nil {
		return nil // the folder is part of the binary
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Preset returns a preset by name.
func Preset(name string) (Workload, error) {
	if !slices.Contains(Names(), name) {
		return Workload{}, fmt.Errorf("workload: must be one of %s (got %q)", strings.Join(Names(), ", "), name)
	}
	text, err := presets.ReadFile(path.Join("presets", name+".yaml"))
	if err != nil {
		return Workload{}, fmt.Errorf("read preset %q: %w", name, err)
	}
	w, err := Parse(text)
	if err != nil {
		return Workload{}, fmt.Errorf("read preset %q: %w", name, err)
	}
	return w, nil
}

// File reads a workload from a file.
func File(name string) (Workload, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return Workload{}, fmt.Errorf("read workload: %w", err)
	}
	w, err := Parse(text)
	if err != nil {
		return Workload{}, fmt.Errorf("read workload %q: %w", name, err)
	}
	return w, nil
}

// Parse reads a workload from YAML and validates it.
func Parse(text []byte) (Workload, error) {
	w := defaults()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&w); err != nil {
		if errors.Is(err, io.EOF) {
			return Workload{}, errors.New("the file is empty: at least a name is needed")
		}
		return Workload{}, err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Workload{}, errors.New("the file holds more than one YAML document: one workload per file")
	}
	// Which of the payload's fields have a meaning depends on its distribution, so there is a default for the whole of it only.
	if w.Payload == (payload.Config{}) {
		w.Payload = payload.Config{Bytes: 1024, Compressible: 0.5, Seed: 1}
	}
	if w.Payload.Distribution == "" {
		w.Payload.Distribution = payload.Fixed
	}
	if err := w.Validate(); err != nil {
		return Workload{}, err
	}
	return w, nil
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// problems collects every finding before any is returned.
type problems []error

func (p *problems) need(ok bool, field, problem string, got any) {
	if !ok {
		if s, text := got.(string); text {
			got = fmt.Sprintf("%q", s)
		}
		*p = append(*p, fmt.Errorf("%s: %s (got %v)", field, problem, got))
	}
}

func (p *problems) within(field string, got, low, high int) {
	p.need(got >= low && got <= high, field, fmt.Sprintf("must be within %d..%d", low, high), got)
}

func (p *problems) lasting(field string, got, low, high time.Duration) {
	p.need(got >= low && got <= high, field, fmt.Sprintf("must be within %v..%v", low, high), got)
}

func (p *problems) oneOf(field, got string, allowed ...string) {
	p.need(slices.Contains(allowed, got), field, "must be one of "+strings.Join(allowed, ", "), got)
}

// Validate reports every problem of the workload.
func (w Workload) Validate() error {
	var p problems
	p.need(nameForm.MatchString(w.Name), "name", "must be lower-case letters, digits and dashes, beginning with a letter", w.Name)
	w.Topic.validate(&p)
	if err := w.Payload.Validate(stamp.Size); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			p = append(p, errors.New("payload."+line))
		}
	}
	w.Producer.validate(&p)
	c := w.Consumer
	p.within("consumer.clients", c.Clients, 1, 64)
	p.need(c.Clients <= max(w.Topic.Partitions, 1), "consumer.clients", "must not exceed topic.partitions: the others would stay idle", c.Clients)
	p.need(c.Group != "", "consumer.group", "must be set", c.Group)
	p.within("consumer.fetch_min", c.FetchMin, 1, 50<<20)
	p.within("consumer.fetch_max", c.FetchMax, 1024, 50<<20)
	p.lasting("consumer.max_wait", c.MaxWait, time.Millisecond, 10*time.Second)
	s := w.SLO
	p.lasting("slo.p99", s.P99, time.Millisecond, 10*time.Minute)
	p.need(s.Min > 0, "slo.min", "must be above 0 records/s", s.Min)
	p.need(s.Start >= s.Min, "slo.start", fmt.Sprintf("must be at least slo.min %v", s.Min), s.Start)
	p.need(s.Max >= s.Start && s.Max <= 1e8, "slo.max", fmt.Sprintf("must be within slo.start %v..1e+08", s.Start), s.Max)
	p.lasting("warmup", w.Warmup, 0, time.Hour)
	return errors.Join(p...)
}

func (t Topic) validate(p *problems) {
	p.within("topic.partitions", t.Partitions, 1, 10000)
	p.within("topic.replication", t.Replication, 1, 100)
	for _, key := range slices.Sorted(maps.Keys(t.Config)) {
		p.need(key != "" && key == strings.TrimSpace(key), "topic.config", "a config's name must not be empty or padded", key)
		p.need(t.Config[key] != "", "topic.config."+key, "must have a value", t.Config[key])
	}
}

func (c Producer) validate(p *problems) {
	p.within("producer.clients", c.Clients, 1, 1024)
	p.oneOf("producer.acks", c.Acks, "none", "leader", "all")
	p.need(!c.Idempotent || c.Acks == "all", "producer.idempotent", "needs acks all", c.Acks)
	p.oneOf("producer.codec", c.Codec, "none", "gzip", "snappy", "lz4", "zstd")
	p.lasting("producer.linger", c.Linger, 0, 10*time.Second)
	p.within("producer.batch", c.Batch, 0, 1_000_000)
	p.need(c.Batch == 0 || c.Linger > 0, "producer.batch", "needs a linger, or the last records would wait for ever", c.Batch)
	p.within("producer.sticky", c.Sticky, 1, 1_000_000)
	p.within("producer.max_batch", c.MaxBatch, 0, 1_000_000)
	p.need(c.MaxBatch == 0 || c.MaxBatch >= c.Batch, "producer.max_batch", fmt.Sprintf("must be at least batch %d", c.Batch), c.MaxBatch)
	p.within("producer.in_flight", c.InFlight, 1, 1_000_000)
	p.need(c.InFlight >= c.Clients, "producer.in_flight", fmt.Sprintf("must be at least one per client, %d", c.Clients), c.InFlight)
	p.lasting("producer.give_up", c.GiveUp, time.Second, 10*time.Minute)
}
