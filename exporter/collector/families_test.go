package collector_test

import (
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

func TestMetricsCanBeLeftOutByTheirNames(t *testing.T) {
	c := twoBrokers(t).start()
	e := newExporter(t, c.addrs(), func(conf *collector.Config) {
		conf.Families = MustFilter(t, "", "kafka_topic_partition_leader_epoch|.*_lag")
	})
	e.collect(10*time.Second).want(t, map[string]string{
		`kafka_topic_partition_end_offset{partition="0",topic="a"}`:                  "10",
		`kafka_topic_partition_leader{partition="0",topic="a"}`:                      "1",
		`kafka_topic_partition_leader_epoch{partition="0",topic="a"}`:                "",
		`kafka_consumer_group_lag{group="one",partition="0",topic="a"}`:              "",
		`kafka_consumer_group_topic_lag{group="one",topic="a"}`:                      "",
		`kafka_consumer_group_committed_offset{group="one",partition="0",topic="a"}`: "7",
		`kafka_up`: "1",
	})
	for _, f := range e.Shows() {
		if f.Name == "kafka_consumer_group_lag" {
			t.Error("want a family that is left out not listed as shown")
		}
	}
}
