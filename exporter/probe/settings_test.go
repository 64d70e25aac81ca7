package probe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/exporter/probe"
	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// settings have more patience than the defaults: the machine may be busy with other things.
func settings(t *testing.T, addr string) probe.Config {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{addr}, ID: "kafkalab-probe", Timeout: 30 * time.Second}.Config()
	if err != nil {
		t.Fatal(err)
	}
	return probe.Config{Kafka: conf, Brokers: []string{addr}, Deadline: time.Minute}
}

func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*probe.Config)
		says   []string // empty: accepted
	}{
		"few":                      {func(*probe.Config) {}, nil},
		"none but the cluster":     {func(c *probe.Config) { *c = defaults(t) }, nil},
		"no cluster":               {func(c *probe.Config) { c.Kafka = nil }, []string{"kafka settings"}},
		"no broker":                {func(c *probe.Config) { c.Brokers = nil }, []string{"one broker"}},
		"a topic with a blank":     {func(c *probe.Config) { c.Topic = "my topic" }, []string{"topic:", `"my topic"`}},
		"a topic too long":         {func(c *probe.Config) { c.Topic = strings.Repeat("x", 250) }, []string{"topic: must", "249"}},
		"a topic that is a folder": {func(c *probe.Config) { c.Topic = ".." }, []string{"topic:"}},
		"an interval too short":    {func(c *probe.Config) { c.Interval = time.Millisecond }, []string{"interval:", "1ms", "10ms"}},
		"a negative interval":      {func(c *probe.Config) { c.Interval = -time.Second }, []string{"interval:", "-1s"}},
		"a deadline before Kafka's timeout": {func(c *probe.Config) { c.Deadline = 4 * time.Second },
			[]string{"deadline: must be more than kafka.timeout, 30s (got 4s)"}},
		"a deadline too long":   {func(c *probe.Config) { c.Deadline = time.Hour }, []string{"deadline:", "1m0s"}},
		"every mistake at once": {func(c *probe.Config) { c.Topic, c.Interval, c.Deadline = "?", time.Hour, time.Hour }, []string{"topic:", "interval:", "deadline:"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := settings(t, "127.0.0.1:9092")
			tt.change(&c)
			_, err := probe.New(c)
			if (err == nil) != (len(tt.says) == 0) {
				t.Fatalf("want an error with %q, got %v", tt.says, err)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("want %q in the error, got: %v", s, err)
				}
			}
		})
	}
}

// defaults are settings that name the cluster and nothing else.
func defaults(t *testing.T) probe.Config {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{"127.0.0.1:9092"}}.Config()
	if err != nil {
		t.Fatal(err)
	}
	return probe.Config{Kafka: conf, Brokers: []string{"127.0.0.1:9092"}}
}

// secured are those of a user with a name.
func secured(t *testing.T, b *kafkatest.Broker) probe.Config {
	t.Helper()
	c := settings(t, b.Secured.SASLAddr)
	conf, err := kafka.Client{Brokers: c.Brokers, ID: "kafkalab-probe", Security: kafka.Security{SASL: kafka.SASL{
		Mechanism: "SCRAM-SHA-512", Username: kafkatest.User, PasswordFile: b.Secured.PasswordFile,
	}}}.Config()
	if err != nil {
		t.Fatal(err)
	}
	c.Kafka = conf
	return c
}
