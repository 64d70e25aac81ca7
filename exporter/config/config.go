// Package config is what the exporter is told: the clusters, how they are reached, what of them is shown and how often they are asked.
//
// Each setting has one name. In a file topic.filter is the field filter of a cluster's topic; for the one cluster of the command line it is the
// flag --topic.filter (tls.ca_file is --tls.ca-file). The package promises that what it accepts can be acted on as it stands, as far as that
// can be known without asking Kafka, and that everything wrong with it is said at once: field, value and what is allowed, in a file with line
// and column. Secrets are never in a setting; a setting names the file or the environment variable that they are in.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/exporter/probe"
	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/strict"
)

// File is what a configuration file holds.
type File struct {
	Clusters []Cluster `yaml:"clusters"`
}

// Cluster is one Kafka cluster and what is shown of it.
type Cluster struct {
	Name    string     `yaml:"name"` // value of the label kafka_cluster; without a name the metrics have no such label
	Kafka   Kafka      `yaml:"kafka"`
	TLS     kafka.TLS  `yaml:"tls"`
	SASL    kafka.SASL `yaml:"sasl"`
	Topic   Topic      `yaml:"topic"`
	Group   Group      `yaml:"group"`
	Lag     Lag        `yaml:"lag"`
	Series  Series     `yaml:"series"`
	Collect Collect    `yaml:"collect"`
	Probe   Probe      `yaml:"probe"`
	Compat  []string   `yaml:"compat"` // whose names the metrics have
}

// Kafka is where the cluster is.
type Kafka struct {
	Brokers []string      `yaml:"brokers"`
	Timeout time.Duration `yaml:"timeout"`
}

// Topic is which topics are shown, which of their configs, and how finely.
type Topic struct {
	Filter      string                `yaml:"filter"`
	Exclude     string                `yaml:"exclude"`
	Config      []string              `yaml:"config"`
	Granularity collector.Granularity `yaml:"granularity"`
}

// Group is which consumer groups are shown, how finely, and for how long after they have lost their last member.
type Group struct {
	Filter      string                `yaml:"filter"`
	Exclude     string                `yaml:"exclude"`
	Granularity collector.Granularity `yaml:"granularity"`
	EmptyFor    time.Duration         `yaml:"empty_for"`
}

// Series is how many there may be, and which are left out.
type Series struct {
	Limit   int    `yaml:"limit"`
	Exclude string `yaml:"exclude"`
}

// Lag is how lag in seconds is found.
type Lag struct {
	Questions int `yaml:"questions"`
}

// Collect is how often and how long the cluster is read.
type Collect struct {
	Timeout      time.Duration `yaml:"timeout"`
	MinInterval  time.Duration `yaml:"min_interval"`
	SlowInterval time.Duration `yaml:"slow_interval"`
	MaxAge       time.Duration `yaml:"max_age"`
}

// Probe is whether and how records are sent, to measure what clients wait for.
type Probe struct {
	Enabled  bool          `yaml:"enabled"`
	Topic    string        `yaml:"topic"`
	Interval time.Duration `yaml:"interval"`
	Deadline time.Duration `yaml:"deadline"`
	Manage   bool          `yaml:"manage"` // the topic may be made and changed
}

// SetDefaults fills in what need not be said.
func (c *Cluster) SetDefaults() {
	*c = Cluster{
		Kafka: Kafka{Brokers: []string{"127.0.0.1:9092"}, Timeout: 5 * time.Second},
		Topic: Topic{Filter: ".*", Granularity: collector.PerPartition,
			Config: []string{"min.insync.replicas", "retention.ms", "retention.bytes", "cleanup.policy", "max.message.bytes"}},
		Group:   Group{Filter: ".*", Granularity: collector.PerPartition},
		Lag:     Lag{Questions: 500},
		Collect: Collect{Timeout: 10 * time.Second, MinInterval: time.Second, SlowInterval: time.Minute, MaxAge: time.Minute},
		Probe:   Probe{Topic: probe.DefaultTopic, Interval: probe.DefaultInterval, Deadline: probe.DefaultDeadline},
		Compat:  []string{string(collector.Native)},
	}
}

// Default is a cluster of which nothing was said.
func Default() Cluster {
	var c Cluster
	c.SetDefaults()
	return c
}

// Load reads and checks a file. Names of other files in it are taken from its folder.
func Load(name string) (File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return File{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(name, text)
}

// Parse is Load for a text; name is the file's in errors, and its folder that of the files named in the text.
func Parse(name string, text []byte) (File, error) {
	var f File
	r, err := strict.Read(text, &f)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(f.Clusters) == 0 {
		r.Add("clusters", "must have at least one cluster (got none)")
	}
	first := map[string]int{}
	for i := range f.Clusters {
		c, field := &f.Clusters[i], fmt.Sprintf("clusters[%d]", i)
		if !r.Given(field + ".kafka.brokers") {
			r.Add(field+".kafka.brokers", "must be set: at least one host:port (got nothing)")
		}
		if c.Name == "" && len(f.Clusters) > 1 {
			r.Add(field+".name", `must be set, since there are several clusters (got "")`)
		}
		if before, taken := first[c.Name]; taken && c.Name != "" {
			r.Add(field+".name", fmt.Sprintf("must differ from that of clusters[%d] (got %q)", before, c.Name))
		} else {
			first[c.Name] = i
		}
		r.AddAll(field, c.Validate())
		c.place(filepath.Dir(name))
	}
	if err := r.Err(name); err != nil {
		return File{}, err
	}
	return f, nil
}

// place takes the names of files from the configuration's own folder.
func (c *Cluster) place(folder string) {
	for _, name := range append(c.TLS.Files(), c.SASL.Files()...) {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(folder, *name)
		}
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// configForm is what Kafka's names of topic configs look like.
var configForm = regexp.MustCompile(`^[a-z][a-z0-9]*(\.[a-z0-9]+)*$`)

const day = 24 * time.Hour

// Validate reports every problem as `field: problem (got value)`, one a line. It opens no file: Collector does.
func (c Cluster) Validate() error {
	var p problems
	p.need(c.Name == "" || nameForm.MatchString(c.Name), "name", "must be letters, digits, dots, dashes and underscores, 63 at most", c.Name)
	client := c.client()
	if err := client.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if strings.HasPrefix(line, "brokers") {
				line = "kafka." + line
			}
			p = append(p, errors.New(line))
		}
	}
	p.lasting("kafka.timeout", c.Kafka.Timeout, 100*time.Millisecond, 5*time.Minute)
	p.shown(c)
	p.whole("lag.questions", c.Lag.Questions, 1_000_000)
	t := c.Collect
	p.lasting("collect.timeout", t.Timeout, 100*time.Millisecond, 5*time.Minute)
	p.lasting("collect.max_age", t.MaxAge, time.Second, day)
	p.lasting("collect.min_interval", t.MinInterval, 0, day)
	if t.MinInterval > t.MaxAge && t.MinInterval <= day && t.MaxAge >= time.Second {
		p = append(p, fmt.Errorf("collect.min_interval: must be at most collect.max_age, %s (got %s)", t.MaxAge, t.MinInterval))
	}
	p.lasting("collect.slow_interval", t.SlowInterval, time.Second, day)
	p = append(p, c.badProbe()...)
	p.need(len(c.Compat) > 0, "compat", "must be at least one of native, kafka_exporter, kminion", "")
	for i, name := range c.Compat {
		p.need(slices.Contains(collector.Namings(), collector.Naming(name)), fmt.Sprintf("compat[%d]", i), "must be native, kafka_exporter or kminion", name)
	}
	return errors.Join(p...)
}
