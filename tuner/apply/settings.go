package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/IBM/sarama"
)

// Source says where a broker has a value from, in Kafka's own words.
type Source string

// The sources, the stronger first.
const (
	DynamicBroker  Source = "DYNAMIC_BROKER_CONFIG"         // of this broker, in the cluster's metadata
	DynamicDefault Source = "DYNAMIC_DEFAULT_BROKER_CONFIG" // of all brokers, in the cluster's metadata
	Static         Source = "STATIC_BROKER_CONFIG"          // its file, which is made of the variables
	Default        Source = "DEFAULT_CONFIG"
)

// Dynamic says whether the value was set at the running cluster. It then outlives restarts and hides what the variables say.
func (s Source) Dynamic() bool { return s == DynamicBroker || s == DynamicDefault }

// Setting is one setting of one broker.
type Setting struct {
	Value    string
	Source   Source
	Values   map[Source]string // everything that is set, by where; all but the one in force are hidden
	ReadOnly bool              // a change needs a restart
}

// rest is the value that would be in force without dynamic ones.
func (s Setting) rest() (string, bool) {
	for _, from := range []Source{Static, Default} {
		if v, has := s.Values[from]; has {
			return v, true
		}
	}
	return "", false
}

func (s Setting) String() string { return fmt.Sprintf("%s (%s)", s.Value, s.Source) }

// Settings are those of a cluster, by broker and name.
type Settings map[int32]map[string]Setting

// Brokers are the ids, in order.
func (s Settings) Brokers() []int32 { return slices.Sorted(maps.Keys(s)) }

// Common is the setting's value on every broker. That they disagree, or that one of them does not know it, is an error.
func (s Settings) Common(name string) (string, error) {
	value, first := "", int32(-1)
	for _, id := range s.Brokers() {
		got, has := s[id][name]
		switch {
		case !has:
			return "", fmt.Errorf("broker %d has no setting %s", id, name)
		case first < 0:
			value, first = got.Value, id
		case got.Value != value:
			return "", fmt.Errorf("brokers disagree about %s: %s on broker %d and, on broker %d, %s", name, s[first][name], first, id, got)
		}
	}
	return value, nil
}

// Settings asks every broker itself: a value in one broker's answer says nothing about the others.
func (b Brokers) Settings(ctx context.Context, names ...string) (Settings, error) {
	var out Settings
	err := b.with(ctx, func(admin sarama.ClusterAdmin) (err error) {
		out, err = describe(admin, names)
		return err
	})
	return out, err
}

func describe(admin sarama.ClusterAdmin, names []string) (Settings, error) {
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		return nil, fmt.Errorf("describe cluster: %w", err)
	}
	if len(brokers) == 0 {
		return nil, errors.New("describe cluster: it has no broker")
	}
	out := Settings{}
	for _, broker := range brokers {
		id := strconv.Itoa(int(broker.ID()))
		resource := &sarama.ConfigResource{Type: sarama.BrokerResource, Name: id, ConfigNames: names}
		results, err := admin.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{IncludeSynonyms: true})
		if err != nil {
			return nil, fmt.Errorf("describe configs of broker %s: %w", id, err)
		}
		settings := map[string]Setting{}
		for _, r := range results {
			if r.ErrorCode != sarama.ErrNoError {
				return nil, fmt.Errorf("describe configs of broker %s: %w: %s", id, r.ErrorCode, r.ErrorMsg)
			}
			for _, e := range r.Configs {
				if slices.Contains(names, e.Name) {
					settings[e.Name] = setting(e)
				}
			}
		}
		out[broker.ID()] = settings
	}
	return out, nil
}

func setting(e sarama.ConfigEntry) Setting {
	s := Setting{Value: e.Value, Source: source(e.Source), Values: map[Source]string{}, ReadOnly: e.ReadOnly}
	for _, synonym := range e.Synonyms {
		// A setting can have older names, whose values stand behind its own.
		if from := source(synonym.Source); from != "" && (synonym.ConfigName == e.Name || s.Values[from] == "") {
			s.Values[from] = synonym.ConfigValue
		}
	}
	return s
}

func source(s sarama.ConfigSource) Source {
	switch s {
	case sarama.SourceDynamicBroker:
		return DynamicBroker
	case sarama.SourceDynamicDefaultBroker:
		return DynamicDefault
	case sarama.SourceStaticBroker:
		return Static
	case sarama.SourceDefault:
		return Default
	}
	return ""
}
