package config_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/exporter/config"
)

func TestWhatIsSetReachesTheCollector(t *testing.T) {
	file, err := config.Parse("f.yaml", []byte(`
clusters:
  - kafka: {brokers: ["a:1", "b:2"]}
    topic: {filter: "t.*", exclude: "t-old", granularity: topic, config: [retention.ms]}
    group: {filter: "g.*", exclude: "g-old", granularity: none, empty_for: 36h}
    series: {limit: 12345, exclude: "kafka_topic_size_bytes|kafka_consumer_group_.*"}
    lag: {questions: 7}
    collect: {timeout: 3s, min_interval: 2s, slow_interval: 4s, max_age: 5s}
    compat: [native, kminion]
`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := file.Clusters[0].Collector(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got.TopicGranularity != collector.PerTopic || got.GroupGranularity != collector.NoDetail || got.EmptyGroups != 36*time.Hour || got.MaxSeries != 12345 {
		t.Errorf("detail: got %q, %q, %s, %d", got.TopicGranularity, got.GroupGranularity, got.EmptyGroups, got.MaxSeries)
	}
	if got.Questions != 7 || got.Timeout != 3*time.Second || got.MinInterval != 2*time.Second || got.SlowInterval != 4*time.Second || got.MaxAge != 5*time.Second {
		t.Errorf("times: got %+v", got)
	}
	if !slices.Equal(got.Brokers, []string{"a:1", "b:2"}) || !slices.Equal(got.TopicConfigs, []string{"retention.ms"}) ||
		!slices.Equal(got.Names, []collector.Naming{collector.Native, collector.KMinion}) {
		t.Errorf("lists: got %v, %v, %v", got.Brokers, got.TopicConfigs, got.Names)
	}
	for name, tt := range map[string]struct {
		filter collector.Filter
		taken  map[string]bool
	}{
		"topics":  {got.Topics, map[string]bool{"t1": true, "t-old": false, "g1": false}},
		"groups":  {got.Groups, map[string]bool{"g1": true, "g-old": false, "t1": false}},
		"metrics": {got.Families, map[string]bool{"kafka_topic_size_bytes": false, "kafka_consumer_group_lag": false, "kafka_topic_partitions": true}},
	} {
		for value, want := range tt.taken {
			if tt.filter.Takes(value) != want {
				t.Errorf("%s: %s: want taken: %v", name, value, want)
			}
		}
	}
}
