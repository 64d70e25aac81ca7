package collector_test

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// The past is known by having watched it: a broker that once does not tell of its groups must not cost what was seen.
func TestABrokerThatOnceDoesNotTellOfItsGroupsCostsNoAge(t *testing.T) {
	const age = `kafka_consumer_group_lag_seconds{group="g",partition="0",topic="a"}`
	c := newCluster(t, 2, true)
	c.partition("a", 0, 1, []int32{1, 2}, []int32{1, 2}, 0, 10)
	c.group("g", 2, "Stable", 1, "a", map[int32]int64{0: 15})
	c.start()
	e := newExporter(t, c.addrs(), nil) // which asks Kafka nothing about the past
	e.collect(10 * time.Second)
	grown := sarama.NewMockOffsetResponse(t).SetOffset("a", 0, sarama.OffsetOldest, 0).SetOffset("a", 0, sarama.OffsetNewest, 20)
	c.setAnswers(0, map[string]sarama.MockResponse{"OffsetRequest": grown})
	if v, known := e.collect(10 * time.Second).value(age); !known {
		t.Fatal("want an age for a record that was written between two collections")
	} else if v == "0" {
		t.Fatalf("want an age above 0, got %s", v)
	}
	c.setAnswers(1, map[string]sarama.MockResponse{"ListGroupsRequest": sarama.NewMockWrapper(&sarama.ListGroupsResponse{Version: 5, Err: sarama.ErrOffsetsLoadInProgress})})
	if got := e.collect(10 * time.Second).of("kafka_consumer_group_lag"); len(got) > 0 {
		t.Fatalf("want no group of a broker that does not tell of them, got %v", got)
	}
	c.setAnswers(1, nil)
	if _, known := e.collect(10 * time.Second).value(age); !known {
		t.Error("want the age known as before, got none")
	}
}
