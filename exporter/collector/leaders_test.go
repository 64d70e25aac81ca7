package collector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

// Kafka keeps topics that the exporter may not describe to itself. A count of leaders without them would make a broker look idle.
func TestLeadersAreCountedOnlyWhereAllPartitionsOfTheBrokerAreListed(t *testing.T) {
	holding := func(topics ...string) (dirs []sarama.DescribeLogDirsResponseTopic) {
		for _, topic := range topics {
			dirs = append(dirs, sarama.DescribeLogDirsResponseTopic{Topic: topic, Partitions: []sarama.DescribeLogDirsResponsePartition{{Size: 1}}})
		}
		return dirs
	}
	for name, tt := range map[string]struct {
		held [2][]string // by the brokers
		want [2]string
	}{
		"all are listed":          {[2][]string{{"a"}, {"a"}}, [2]string{"1", "1"}},
		"one broker holds others": {[2][]string{{"a", "secret"}, {"a"}}, [2]string{"", "1"}},
		"both hold others":        {[2][]string{{"secret"}, {"secret", "a"}}, [2]string{"", ""}},
		"the filter leaves it out, the right is missing all the same": {[2][]string{{"a", "other"}, {"a"}}, [2]string{"", "1"}},
		"a broker that holds nothing":                                 {[2][]string{{"a"}, {}}, [2]string{"1", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := twoBrokers(t)
			for i := range c.dirs {
				c.dirs[i].LogDirs[0].Topics = holding(tt.held[i]...)
			}
			c.start()
			e := newExporter(t, c.addrs(), func(conf *collector.Config) {
				conf.SlowInterval = time.Nanosecond // configs and log directories by turns
				conf.Topics = MustFilter(t, "", "other")
			})
			for i := range 6 {
				want := tt.want
				if i == 0 { // nobody has told yet
					want = [2]string{}
				}
				got := e.collect(10 * time.Second)
				for broker, v := range want {
					got.want(t, map[string]string{fmt.Sprintf(`kafka_broker_leaders{broker="%d"}`, broker+1): v})
				}
			}
		})
	}
}
