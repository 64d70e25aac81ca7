package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

func TestValidateNamesEveryBadBroker(t *testing.T) {
	for name, c := range map[string]struct {
		brokers []string
		want    []string
	}{
		"none":         {nil, []string{"at least one host:port"}},
		"no port":      {[]string{"kafka"}, []string{`got "kafka"`}},
		"no host":      {[]string{":9092"}, []string{`got ":9092"`}},
		"two bad ones": {[]string{"a", "b:1", "c"}, []string{`got "a"`, `got "c"`}},
	} {
		t.Run(name, func(t *testing.T) {
			err := kafka.Client{Brokers: c.brokers}.Validate()
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q", err, w)
				}
			}
		})
	}
	if err := (kafka.Client{Brokers: []string{"[::1]:9092", "kafka.svc:9092"}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfigIsOneThatSaramaTakesAndThatEndsInTime(t *testing.T) {
	c, err := kafka.Client{Brokers: []string{"a:1"}, ID: "me", Timeout: time.Second}.Config()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Net.DialTimeout != time.Second || c.Net.ReadTimeout != time.Second || c.Metadata.Timeout != 2*time.Second {
		t.Errorf("timeouts: %v %v %v", c.Net.DialTimeout, c.Net.ReadTimeout, c.Metadata.Timeout)
	}
	if c.Metadata.AllowAutoTopicCreation {
		t.Error("looking at a topic would create it")
	}
	if c.Version != sarama.MaxVersion || c.ClientID != "me" {
		t.Errorf("version %v, client %q", c.Version, c.ClientID)
	}
}
