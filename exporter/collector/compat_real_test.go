package collector_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

func TestOtherExportersNamesOnARealKafka(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, kafkatest.Env(map[string]string{"KAFKA_BROKER_RACK": "r1"}))
	c := newClient(t, broker.Addr)
	c.topic("orders", 3)
	c.produce("orders", 0, 100)
	c.produce("orders", 1, 40)
	c.commit("billing", "orders", 0, 63)
	c.commit("billing", "orders", 1, 40)
	c.join("live", "orders")

	e := newExporter(t, []string{broker.Addr}, func(conf *collector.Config) {
		conf.Names = []collector.Naming{collector.KafkaExporter, collector.KMinion}
	})
	e.collect(20 * time.Second)
	e.collect(20 * time.Second)
	got := e.collect(20 * time.Second) // what is read seldom comes one after the other
	id := c.kafka.Brokers()[0].ID()
	host, port, err := net.SplitHostPort(broker.Addr)
	if err != nil {
		t.Fatal(err)
	}
	got.want(t, map[string]string{
		fmt.Sprintf(`kafka_broker_info{address=%q,id="%d"}`, broker.Addr, id):                                                                      "1",
		`kafka_topic_partition_current_offset{partition="0",topic="orders"}`:                                                                       "100",
		`kafka_topic_partition_oldest_offset{partition="0",topic="orders"}`:                                                                        "0",
		`kafka_topic_partition_under_replicated_partition{partition="0",topic="orders"}`:                                                           "0",
		`kafka_consumergroup_current_offset{consumergroup="billing",partition="0",topic="orders"}`:                                                 "63",
		`kafka_consumergroup_current_offset_sum{consumergroup="billing",topic="orders"}`:                                                           "103",
		`kafka_consumergroup_lag{consumergroup="billing",partition="0",topic="orders"}`:                                                            "37",
		`kafka_consumergroup_lag_sum{consumergroup="billing",topic="orders"}`:                                                                      "37",
		`kafka_consumergroup_lag{consumergroup="billing",partition="2",topic="orders"}`:                                                            "",
		`kafka_consumergroup_members{consumergroup="live"}`:                                                                                        "1",
		`kminion_kafka_topic_high_water_mark_sum{topic_name="orders"}`:                                                                             "140",
		`kminion_kafka_consumer_group_topic_lag{group_id="billing",topic_name="orders"}`:                                                           "37",
		`kminion_kafka_consumer_group_topic_offset_sum{group_id="billing",topic_name="orders"}`:                                                    "103",
		`kminion_kafka_topic_info{cleanup_policy="delete",min_insync_replicas="1",partition_count="3",replication_factor="1",topic_name="orders"}`: "1",
		fmt.Sprintf(`kminion_kafka_broker_info{address=%q,broker_id="%d",is_controller="",port=%q,rack_id="r1"}`, host, id, port):                  "1",
	})
	info := got.of("kminion_kafka_cluster_info")
	if len(info) != 1 || !strings.Contains(info[0], `broker_count="1"`) || !strings.Contains(info[0], `cluster_version="v4.3"`) {
		t.Errorf("want one broker of release 4.3, got %v", info)
	}
}
