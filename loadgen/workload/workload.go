// Package workload describes a load: the topic, when records are sent and what is in them, the producers, the consumers and the latency to
// be met. WORKLOADS.md, one folder up, explains every field.
//
// Workloads are YAML, either one of the presets in this package or a file. The package promises that a workload it returns is complete and
// sound: unknown fields are refused, defaults are filled in, and every problem is reported at once, with its line, as
// `field: problem (got value)`; what is allowed but spoils the measurement, Warnings tells. It leaves out addresses, which are the caller's.
package workload

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/strict"
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
	Security kafka.Security  `yaml:"security"`
	SLO      SLO             `yaml:"slo"`
	Warmup   time.Duration   `yaml:"warmup"` // the first records of a run are labelled so, not left out
	Seed     uint64          `yaml:"seed"`   // of what has none of its own: the times of a poisson schedule, which transactions are aborted
}

// arenaBytes bounds the memory of all values; with large records it bounds the records under way too.
const arenaBytes = 64 << 20

// Slots is how many records each producing client may have under way.
func (w Workload) Slots() int {
	most := w.Producer.InFlight
	if w.Schedule.Shape == schedule.Closed {
		most = w.Schedule.InFlight
	}
	return max(1, min(most, arenaBytes/w.Payload.MeanBytes())/w.Producer.Clients)
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
	Records   int     `yaml:"records"`    // in one transaction, or as many as come within a second; 0: no transactions
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

// fixedBytes is the size of records of which nothing is said.
const fixedBytes = 1024

func defaults() Workload {
	return Workload{
		Topic:   Topic{Partitions: 6, Replication: 1},
		Keys:    keys.Config{Distribution: keys.None, Seed: 1},
		Payload: payload.Config{Distribution: payload.Fixed, Compressible: 0.5, Stamp: payload.InValue, Seed: 1},
		Producer: Producer{
			Clients: 2, Acks: "all", Codec: "none", Sticky: 1, InFlight: 4096, GiveUp: 30 * time.Second,
		},
		Consumer: Consumer{
			Groups: 1, Clients: 1, Group: "lab", Isolation: "read_uncommitted", FetchMin: 1, FetchMax: 1 << 20, MaxWait: 100 * time.Millisecond,
		},
		SLO:    SLO{P99: 200 * time.Millisecond, Start: 50, Min: 10, Max: 1e6},
		Warmup: 10 * time.Second,
		Seed:   1,
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
	return parse(name+".yaml", text)
}

// File reads a workload from a file. Names of other files in it are taken from its folder.
func File(name string) (Workload, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return Workload{}, fmt.Errorf("read workload: %w", err)
	}
	return parse(name, text)
}

// Parse reads a workload from YAML and validates it.
func Parse(text []byte) (Workload, error) { return parse("workload", text) }

func parse(name string, text []byte) (Workload, error) {
	w := defaults()
	r, err := strict.Read(text, &w)
	if err != nil {
		return Workload{}, fmt.Errorf("%s: %w", name, err)
	}
	if r.Given("schedule") && w.Schedule.Shape == "" {
		w.Schedule.Shape = schedule.Constant
	}
	if w.Payload.Distribution == payload.Fixed && !r.Given("payload.bytes") {
		w.Payload.Bytes = fixedBytes
	}
	w.place(filepath.Dir(name))
	if w.Payload.Distribution == payload.File && w.Payload.File != "" && r.Readable("payload") {
		if w.Payload.Sizes, err = sizes(w.Payload); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				r.Add("payload.file", line)
			}
			r.Fail("payload.file") // that there are no sizes goes without saying
		}
	}
	refuseRates(r, w)
	for _, f := range w.problems() {
		r.Add(f.Field, f.Text)
	}
	if err := r.Err(name); err != nil {
		return Workload{}, err
	}
	return w, nil
}

// refuseRates complains of rates to hold where there is no rate. Only the file tells whether they were asked for: they have defaults.
func refuseRates(r *strict.Reader, w Workload) {
	if w.Schedule.Shape != schedule.Closed {
		return
	}
	for field, rate := range map[string]float64{"slo.start": w.SLO.Start, "slo.min": w.SLO.Min, "slo.max": w.SLO.Max} {
		if r.Given(field) {
			r.Add(field, fmt.Sprintf("must be left out with schedule.shape closed, which has no rate to hold (got %v)", rate))
		}
	}
}

// place takes the names of files from the workload's own folder.
func (w *Workload) place(folder string) {
	for _, name := range slices.Concat([]*string{&w.Payload.File}, w.Security.TLS.Files(), w.Security.SASL.Files()) {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(folder, *name)
		}
	}
}

func sizes(c payload.Config) (*payload.Sizes, error) {
	f, err := os.Open(c.File)
	if err != nil {
		return nil, fmt.Errorf("must be a file of sizes that can be read: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	return payload.ReadSizes(c.File, f, c.Smallest(stamp.Size))
}
