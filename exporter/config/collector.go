package config

import (
	"errors"
	"log/slog"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafka"
)

// clientID is what the brokers' request log and quotas know the exporter by.
const clientID = "kafkalab-exporter"

func (c Cluster) client() kafka.Client {
	return kafka.Client{
		Brokers: c.Kafka.Brokers, ID: clientID, Timeout: c.Kafka.Timeout,
		Security: kafka.Security{TLS: c.TLS, SASL: c.SASL},
	}
}

// Collector is the cluster as the collector wants it. It reads the files that the cluster names, and the error is about each of those that
// cannot be used. Kafka is not asked.
func (c Cluster) Collector(log *slog.Logger) (collector.Config, error) {
	settings, err := c.client().Config()
	topics, badTopics := collector.NewFilter(c.Topic.Filter, c.Topic.Exclude)
	groups, badGroups := collector.NewFilter(c.Group.Filter, c.Group.Exclude)
	families, badFamilies := collector.NewFilter("", c.Series.Exclude)
	return collector.Config{
		Kafka:        settings,
		Brokers:      c.Kafka.Brokers,
		Topics:       topics,
		Groups:       groups,
		Names:        c.names(),
		Families:     families,
		MaxSeries:    c.Series.Limit,
		EmptyGroups:  c.Group.EmptyFor,
		Timeout:      c.Collect.Timeout,
		MinInterval:  orNever(c.Collect.MinInterval),
		MaxAge:       c.Collect.MaxAge,
		SlowInterval: c.Collect.SlowInterval,
		TopicConfigs: c.Topic.Config,
		Questions:    orNever(c.Lag.Questions),
		Logger:       log,

		TopicGranularity: c.Topic.Granularity,
		GroupGranularity: c.Group.Granularity,
	}, errors.Join(err, badTopics, badGroups, badFamilies)
}

func (c Cluster) names() []collector.Naming {
	var names []collector.Naming
	for _, n := range c.Compat {
		names = append(names, collector.Naming(n))
	}
	return names
}

// orNever turns a 0 that was asked for into what the collector takes for it: to the collector 0 is "not said".
func orNever[T ~int | ~int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}
