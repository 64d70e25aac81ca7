// Package config reads the tuner's file: target, knobs, objective, guards, windows, budgets and mode.
//
// It promises that a file it accepts can be acted on as it stands, and that a file it refuses is refused with every error at once, each as
// file:line:column: field: problem (got value). Unknown and doubled fields are errors: a misspelt guard that is silently ignored guards nothing.
// It leaves out whether the cluster looks like the file says.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	promconfig "github.com/prometheus/common/config"
	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/space/spec"
)

// Mode says how far the tuner may go.
type Mode string

// The modes.
const (
	Observe   Mode = "observe"   // measures what others change, and records who and whether it helped
	Recommend Mode = "recommend" // names the next change and leaves it to people
	Approve   Mode = "approve"   // names the next change and makes it once somebody approved it
	Auto      Mode = "auto"      // changes, measures, keeps or takes back
)

// Acts says whether a tuner in this mode tries changes.
func (m Mode) Acts() bool { return m == Approve || m == Auto }

// Acts says whether a tuner with this file may change the target: to try something, or to take back what others did.
func (f File) Acts() bool { return f.Mode.Acts() || f.Reverts() }

// Reverts says whether what others change is taken back when it does harm.
func (f File) Reverts() bool { return f.Mode == Observe && f.Revert }

// File is the tuner's configuration.
type File struct {
	Version    int        `yaml:"version"`
	Mode       Mode       `yaml:"mode"`
	Revert     bool       `yaml:"revert,omitempty"` // in mode observe: take back what others change when it breaches a guard, or the brokers do not run with it
	Target     Target     `yaml:"target"`
	Prometheus Prometheus `yaml:"prometheus"`
	Knobs      []Knob     `yaml:"knobs"`
	Limits     []string   `yaml:"limits,omitempty"` // between knobs and what the pod has, as heap + 300 <= 0.9*pod.memory
	Objective  Objective  `yaml:"objective"`
	Guards     []Guard    `yaml:"guards"`
	Windows    Windows    `yaml:"windows"`
	Live       Live       `yaml:"live"`
	Search     Search     `yaml:"search"`
	Budgets    Budgets    `yaml:"budgets"`
	Again      Again      `yaml:"again"`
	Links      Links      `yaml:"links"`
	Grafana    Grafana    `yaml:"grafana"`

	Digest string `yaml:"-"` // SHA-256 of the text
}

// Target is what is tuned and where its effective values are read back.
type Target struct {
	Namespace  string   `yaml:"namespace"`
	Kind       string   `yaml:"kind"`
	Name       string   `yaml:"name"`
	Container  string   `yaml:"container"` // whose variables the knobs are; none with kind Kafka
	Bootstrap  []string `yaml:"bootstrap"`
	JVMMetrics []string `yaml:"jvm_metrics"`

	TLS  kafka.TLS  `yaml:"tls"` // how the brokers are reached, and who the tuner is to them
	SASL kafka.SASL `yaml:"sasl"`
}

// Security is TLS and SASL.
func (t Target) Security() kafka.Security { return kafka.Security{TLS: t.TLS, SASL: t.SASL} }

// The kinds of target.
const (
	StatefulSet = "StatefulSet"
	Deployment  = "Deployment"
	Strimzi     = "Kafka" // a resource of Strimzi's: what its operator makes of it is left alone
)

// Knob is one setting as the file has it.
type Knob = spec.Knob

// Objective is what is maximised under which SLO, and what counts as better.
type Objective struct {
	Goodput   string        `yaml:"goodput"`
	P99       string        `yaml:"p99"`
	SLO       time.Duration `yaml:"slo"`
	Tolerance float64       `yaml:"tolerance"`
	Margin    float64       `yaml:"margin"`
	Alpha     float64       `yaml:"alpha"`
}

// Guard is a query with bounds, checked in every window. Breach says what a value outside means. One of kind worse is also watched from the
// moment a change is made to its end, at every scrape, with a $window of Scrapes scrapes: its breach takes the change back at once.
type Guard struct {
	Name   string        `yaml:"name"`
	Query  string        `yaml:"query"`
	Min    *float64      `yaml:"min"`
	Max    *float64      `yaml:"max"`
	Breach string        `yaml:"breach"` // inconclusive: the measurement is worthless; worse: the candidate is to blame
	For    time.Duration `yaml:"for"`    // how long it must be breached without a break before it counts, while it is watched
	Grace  time.Duration `yaml:"grace"`  // it is not watched until so long after a rollout: a restart breaks latencies for a moment
}

// The meanings of a breach.
const (
	BreachInconclusive = "inconclusive"
	BreachWorse        = "worse"
)

// Windows are the times of a trial.
type Windows struct {
	Preflight   time.Duration `yaml:"preflight"`    // longest wait for a cluster that may be changed
	Rollout     time.Duration `yaml:"rollout"`      // longest rollout
	Verify      time.Duration `yaml:"verify"`       // longest wait for the values to be read back
	Settle      time.Duration `yaml:"settle"`       // how long the load must be back without a break
	SettleLimit time.Duration `yaml:"settle_limit"` // longest wait for that
	Warmup      time.Duration `yaml:"warmup"`       // shortest warm-up
	WarmupLimit time.Duration `yaml:"warmup_limit"` // longest: measured then, steady or not
	Steady      float64       `yaml:"steady"`       // relative change from window to window below which the load is steady
	Window      time.Duration `yaml:"window"`
	Count       int           `yaml:"count"`
	Extra       int           `yaml:"extra"`   // further windows in place of bad ones
	MaxAge      time.Duration `yaml:"max_age"` // of the incumbent's measurement before it is taken again
}

// Live is what the status files and the page show.
type Live struct {
	Window    time.Duration `yaml:"window"`
	Interval  time.Duration `yaml:"interval"`
	Freshness time.Duration `yaml:"freshness"` // a newest sample older than this is no data
	Newest    string        `yaml:"newest"`    // the unix time of the newest sample
	P50       string        `yaml:"p50"`
	P999      string        `yaml:"p999"`
	Offered   string        `yaml:"offered"`
	Consumed  string        `yaml:"consumed"`
	Errors    string        `yaml:"errors"`
	Samples   string        `yaml:"samples"`
}

// Search says how the next configuration is chosen.
type Search struct {
	Algorithm string `yaml:"algorithm"`
	Seed      uint64 `yaml:"seed"`
}

// The algorithms.
const (
	ByStep = "step" // one knob at a time, by verdicts
	ByGP   = "gp"   // all knobs at once, by a model of what was measured
)

// Budgets end a search, and bound each trial of it.
type Budgets struct {
	Trials    int           `yaml:"trials"`
	Restarts  int           `yaml:"restarts"`
	Violation time.Duration `yaml:"violation"` // for how long in all a guard may be breached while changes are tried
	Fruitless int           `yaml:"fruitless"` // trials in a row that did not help
	Recheck   time.Duration `yaml:"recheck"`   // for one comparison in blocks taken in turns: a trial's that restarts nothing, and the winner's with the start at the end; 0: none is made
	Steps     int           `yaml:"steps"`     // by how many of its steps a trial may move a knob; 0: any number
}

// Again says when a search that has ended begins anew: the load has shifted, and since the last search so long has passed. Each search in a row
// in which nothing helped doubles the rest.
type Again struct {
	Shift   float64       `yaml:"shift"` // relative change of the incumbent's goodput or P99 that is a shift
	Rest    time.Duration `yaml:"rest"`
	MaxRest time.Duration `yaml:"max_rest"`
}

// Links are shown on the page.
type Links struct {
	Prometheus string `yaml:"prometheus"`
	Grafana    string `yaml:"grafana"`
}

// Default is what a file need not say.
func Default() File {
	return File{
		Mode:       Observe,
		Target:     Target{Kind: StatefulSet},
		Prometheus: Prometheus{Timeout: 5 * time.Second, ScrapeInterval: 2 * time.Second},
		Objective: Objective{
			Goodput:   "sum(rate(loadgen_records_acked_total[$window]))",
			P99:       "histogram_quantile(0.99, sum(rate(loadgen_end_to_end_seconds[$window])))",
			Tolerance: 0.2, Margin: 0.03, Alpha: 0.05,
		},
		Windows: Windows{
			Preflight: 2 * time.Minute, Rollout: 3 * time.Minute, Verify: time.Minute, Settle: 10 * time.Second, SettleLimit: 2 * time.Minute,
			Warmup: 20 * time.Second, WarmupLimit: time.Minute, Steady: 0.1, Window: 12 * time.Second, Count: 4, Extra: 2, MaxAge: 5 * time.Minute,
		},
		Live: Live{
			Window: 10 * time.Second, Interval: 2 * time.Second, Freshness: 10 * time.Second,
			Newest:   "max(timestamp(loadgen_records_acked_total))",
			P50:      "histogram_quantile(0.5, sum(rate(loadgen_end_to_end_seconds[$window])))",
			P999:     "histogram_quantile(0.999, sum(rate(loadgen_end_to_end_seconds[$window])))",
			Offered:  "sum(rate(loadgen_records_offered_total[$window]))",
			Consumed: "sum(rate(loadgen_records_consumed_total[$window]))",
			Errors:   "sum(rate(loadgen_records_failed_total[$window]))",
			Samples:  "histogram_count(sum(increase(loadgen_end_to_end_seconds[$window])))",
		},
		Search:  Search{Algorithm: ByStep, Seed: 1},
		Budgets: Budgets{Trials: 25, Restarts: 60, Violation: 30 * time.Minute, Fruitless: 12, Recheck: time.Hour},
		Again:   Again{Shift: 0.3, Rest: 10 * time.Minute, MaxRest: 24 * time.Hour},
	}
}

// Load reads and checks a file. The error joins everything that is wrong with it.
func Load(path string) (File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("read configuration: %w", err)
	}
	f, err := Parse(path, text)
	if err != nil {
		return File{}, err
	}
	f.Prometheus.from(filepath.Dir(path))
	for _, name := range append(f.Target.TLS.Files(), f.Target.SASL.Files()...) {
		*name = promconfig.JoinDir(filepath.Dir(path), *name)
	}
	f.Grafana.from(filepath.Dir(path))
	return f, nil
}

// Parse is Load for a text; name is the file's in errors.
func Parse(name string, text []byte) (File, error) {
	f := Default()
	r, err := strict.Read(text, &f)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	f.validate(r)
	if err := r.Err(name); err != nil {
		return File{}, err
	}
	sum := sha256.Sum256(text)
	f.Digest = hex.EncodeToString(sum[:])
	return f, nil
}

// Question is a digest of what decides how trials come out: knobs, objective, guards and windows. Answers to another question say nothing here.
func (f File) Question() string {
	text, _ := yaml.Marshal(File{Knobs: f.Knobs, Limits: f.Limits, Objective: f.Objective, Guards: f.Guards, Windows: f.Windows}) // such a struct always encodes
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Space are the knobs as the other packages use them.
func (f File) Space() []space.Knob { return f.SearchSpace().Knobs }

// SearchSpace is the knobs with the limits between them. What could not be read of a file that was accepted is nothing.
func (f File) SearchSpace() space.Space { return f.space(func(string, string) {}) }

func (f File) space(report func(field, problem string)) space.Space {
	out := space.Space{Knobs: spec.Build(f.Knobs, "knobs", report)}
	for i, text := range f.Limits {
		l, err := space.ParseLimit(text)
		if err != nil {
			report(fmt.Sprintf("limits[%d]", i), err.Error())
			continue
		}
		out.Limits = append(out.Limits, l)
	}
	return out
}
