package collector_test

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

func TestFiltersAreAppliedBeforeRequests(t *testing.T) {
	c := newCluster(t, 1, true)
	for _, topic := range []string{"orders", "orders-old", "other"} {
		c.partition(topic, 0, 1, []int32{1}, []int32{1}, 0, 10)
	}
	for _, g := range []string{"billing", "billing-test", "audit"} {
		c.group(g, 1, "Stable", 1, "orders", map[int32]int64{0: 4})
	}
	c.commits[0].SetOffset("billing", "other", 0, 4, "", sarama.ErrNoError)
	c.start()
	e := newExporter(t, c.addrs(), func(conf *collector.Config) {
		conf.Topics = MustFilter(t, "orders.*", ".*-old")
		conf.Groups = MustFilter(t, "billing|nobody", "")
	})
	got := e.collect(10 * time.Second)
	got.want(t, map[string]string{
		`kafka_topic_partition_end_offset{partition="0",topic="orders"}`:                    "10",
		`kafka_topic_partition_end_offset{partition="0",topic="orders-old"}`:                "",
		`kafka_topic_partitions{topic="other"}`:                                             "",
		`kafka_consumer_group_lag{group="billing",partition="0",topic="orders"}`:            "6",
		`kafka_consumer_group_lag{group="billing",partition="0",topic="other"}`:             "",
		`kafka_consumer_group_committed_offset{group="audit",partition="0",topic="orders"}`: "",
		`kafka_broker_leaders{broker="1"}`:                                                  "", // until the broker has told what it holds
	})
	e.collect(10*time.Second).want(t, map[string]string{`kafka_broker_leaders{broker="1"}`: "3"})
	for _, h := range c.brokers[0].History() {
		if r, ok := h.Request.(*sarama.OffsetFetchRequest); ok && (len(r.Groups) != 1 || r.Groups[0].GroupId != "billing") {
			t.Errorf("want commits asked for billing only, got %+v", r.Groups)
		}
		if r, ok := h.Request.(*sarama.DescribeGroupsRequest); ok && !slices.Equal(r.Groups, []string{"billing"}) {
			t.Errorf("want billing alone described, got %v", r.Groups)
		}
		if r, ok := h.Response.(*sarama.OffsetResponse); ok && (len(r.Blocks) != 1 || r.Blocks["orders"] == nil) {
			t.Errorf("want offsets asked for orders only, got %v", slices.Collect(maps.Keys(r.Blocks)))
		}
	}
}

func TestLeaderlessPartitionsAreVisibleAndCostNothing(t *testing.T) {
	c := newCluster(t, 2, true)
	c.partition("a", 0, 1, []int32{1, 2}, []int32{1, 2}, 3, 9)
	for p := range int32(1000) {
		c.partition("lost", p, 0, []int32{3, 1}, []int32{3}, 0, 0)
	}
	c.start()
	e := newExporter(t, c.addrs(), nil)
	got := e.collect(10 * time.Second)
	got.want(t, map[string]string{
		`kafka_topic_partition_offline{partition="999",topic="lost"}`:             "1",
		`kafka_topic_partition_replicas{partition="999",topic="lost"}`:            "2",
		`kafka_topic_partition_in_sync_replicas{partition="999",topic="lost"}`:    "1",
		`kafka_topic_partition_under_replicated{partition="999",topic="lost"}`:    "1",
		`kafka_topic_partition_leader{partition="999",topic="lost"}`:              "",
		`kafka_topic_partition_leader_is_preferred{partition="999",topic="lost"}`: "",
		`kafka_topic_partition_end_offset{partition="999",topic="lost"}`:          "",
		`kafka_topic_partition_offline{partition="0",topic="a"}`:                  "0",
		`kafka_topic_partition_end_offset{partition="0",topic="a"}`:               "9",
		`kafka_exporter_collector_success{collector="offsets"}`:                   "1",
	})
	if n := c.requests(nil); n["Metadata"] != 1 || n["Offset"] != 2 {
		t.Errorf("want 1 metadata and 2 offset requests (one leader), got %v", n)
	}
}

// twoBrokers is a cluster in which either broker leads a partition and coordinates a group.
func twoBrokers(t *testing.T) *cluster {
	c := newCluster(t, 2, false)
	c.partition("a", 0, 1, []int32{1, 2}, []int32{1, 2}, 0, 10)
	c.partition("a", 1, 2, []int32{2, 1}, []int32{2, 1}, 0, 20)
	c.group("one", 1, "Stable", 1, "a", map[int32]int64{0: 7, 1: 15})
	c.group("two", 2, "Stable", 2, "a", map[int32]int64{0: 8})
	return c
}

// withoutTwo is what must be there when the second broker tells nothing about itself.
var withoutTwo = map[string]string{
	`kafka_up`:      "1",
	`kafka_brokers`: "2",
	`kafka_exporter_broker_success{broker="1"}`:                                  "1",
	`kafka_exporter_broker_success{broker="2"}`:                                  "0",
	`kafka_exporter_collector_success{collector="metadata"}`:                     "1",
	`kafka_exporter_collector_success{collector="groups"}`:                       "0",
	`kafka_exporter_collector_success{collector="offsets"}`:                      "0",
	`kafka_topic_partition_end_offset{partition="0",topic="a"}`:                  "10",
	`kafka_topic_partition_end_offset{partition="1",topic="a"}`:                  "",
	`kafka_topic_partition_replicas{partition="1",topic="a"}`:                    "2",
	`kafka_consumer_group_lag{group="one",partition="0",topic="a"}`:              "3",
	`kafka_consumer_group_lag{group="one",partition="1",topic="a"}`:              "",
	`kafka_consumer_group_committed_offset{group="one",partition="1",topic="a"}`: "15",
	`kafka_consumer_group_topic_lag{group="one",topic="a"}`:                      "",
	`kafka_consumer_group_topic_unknown_lag_partitions{group="one",topic="a"}`:   "1",
	`kafka_consumer_group_members{group="two"}`:                                  "",
	`kafka_consumer_group_lag{group="two",partition="0",topic="a"}`:              "",
}

func TestABrokerThatNeverAnswersHidesNothingOfTheOthers(t *testing.T) {
	for name, mute := range map[string][]string{
		"it answers only metadata": {"ListGroupsRequest", "OffsetRequest"},
		"it answers nothing":       {"ApiVersionsRequest", "MetadataRequest", "ListGroupsRequest", "OffsetRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it only waits
			c := twoBrokers(t).start()
			none := map[string]sarama.MockResponse{}
			for _, r := range mute {
				none[r] = nil
			}
			c.setAnswers(1, none)
			e := newExporter(t, c.addrs(), nil)
			for attempt := range 3 {
				began := time.Now()
				e.collect(3*time.Second).want(t, withoutTwo)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("collection %d: want an answer within the 3 s given, took %s", attempt, took)
				}
			}
			c.setAnswers(1, nil)
			e.collect(3*time.Second).want(t, map[string]string{
				`kafka_consumer_group_topic_lag{group="one",topic="a"}`: "8",
				`kafka_consumer_group_topic_lag{group="two",topic="a"}`: "2",
				`kafka_exporter_broker_success{broker="2"}`:             "1",
			})
		})
	}
}

func TestABrokerThatRefusesConnectionsHidesNothingOfTheOthers(t *testing.T) {
	c := twoBrokers(t)
	c.setAnswers(0, nil)
	t.Cleanup(c.brokers[0].Close)
	c.brokers[1].Close()
	e := newExporter(t, c.addrs(), nil)
	got := e.collect(10 * time.Second)
	got.want(t, withoutTwo)
	got.want(t, map[string]string{`kafka_exporter_kafka_request_errors_total{api="ListGroups",code="connection"}`: "1"})
}

func TestErrorCodesMakeValuesAbsent(t *testing.T) {
	moved := &sarama.OffsetResponse{Version: 6, Blocks: map[string]map[int32]*sarama.OffsetResponseBlock{
		"a": {1: {Err: sarama.ErrNotLeaderForPartition, Offset: -1}},
	}}
	for name, tt := range map[string]struct {
		answers map[string]sarama.MockResponse // of broker 2
		want    map[string]string
	}{
		"the leader has moved": {
			map[string]sarama.MockResponse{"OffsetRequest": sarama.NewMockWrapper(moved)},
			map[string]string{
				`kafka_exporter_kafka_request_errors_total{api="ListOffsets",code="NOT_LEADER_OR_FOLLOWER"}`: "2",
				`kafka_topic_partition_end_offset{partition="1",topic="a"}`:                                  "",
				`kafka_topic_partition_start_offset{partition="1",topic="a"}`:                                "",
				`kafka_consumer_group_topic_lag{group="one",topic="a"}`:                                      "",
				`kafka_exporter_collector_success{collector="offsets"}`:                                      "0",
				`kafka_exporter_broker_success{broker="2"}`:                                                  "1",
			},
		},
		"the coordinator is loading": {
			map[string]sarama.MockResponse{"ListGroupsRequest": sarama.NewMockWrapper(&sarama.ListGroupsResponse{Version: 5, Err: sarama.ErrOffsetsLoadInProgress})},
			map[string]string{
				`kafka_exporter_kafka_request_errors_total{api="ListGroups",code="COORDINATOR_LOAD_IN_PROGRESS"}`: "1",
				`kafka_consumer_group_members{group="two"}`:                                                       "",
				`kafka_consumer_group_topic_lag{group="one",topic="a"}`:                                           "8",
				`kafka_exporter_collector_success{collector="groups"}`:                                            "0",
				`kafka_exporter_collector_success{collector="offsets"}`:                                           "1",
			},
		},
		"commits of a group are not to be had": {
			map[string]sarama.MockResponse{"OffsetFetchRequest": sarama.NewMockOffsetFetchResponse(t).SetError(sarama.ErrGroupAuthorizationFailed)},
			map[string]string{
				`kafka_exporter_kafka_request_errors_total{api="OffsetFetch",code="GROUP_AUTHORIZATION_FAILED"}`: "1",
				`kafka_consumer_group_members{group="two"}`:                                                      "2",
				`kafka_consumer_group_committed_offset{group="two",partition="0",topic="a"}`:                     "",
				`kafka_consumer_group_topic_lag{group="two",topic="a"}`:                                          "",
			},
		},
		"a group cannot be described": {
			map[string]sarama.MockResponse{"DescribeGroupsRequest": sarama.NewMockDescribeGroupsResponse(t).AddGroupDescription("two",
				&sarama.GroupDescription{GroupId: "two", ErrorCode: int16(sarama.ErrNotCoordinatorForConsumer)})},
			map[string]string{
				`kafka_exporter_kafka_request_errors_total{api="DescribeGroups",code="NOT_COORDINATOR"}`: "1",
				`kafka_consumer_group_members{group="two"}`:                                              "",
				`kafka_consumer_group_state{group="two",state="Stable"}`:                                 "1",
				`kafka_consumer_group_topic_lag{group="two",topic="a"}`:                                  "2",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := twoBrokers(t).start()
			c.setAnswers(1, tt.answers)
			newExporter(t, c.addrs(), nil).collect(10*time.Second).want(t, tt.want)
		})
	}
}

func TestAGroupThatTwoBrokersListIsShownOnce(t *testing.T) {
	c := twoBrokers(t)
	c.listed[0].Groups["two"] = "consumer" // broker 1 has not noticed yet that the group has moved away: it describes it as Dead
	c.listed[0].GroupsData["two"] = sarama.GroupData{GroupState: "Dead", GroupType: "classic"}
	c.start()
	got := newExporter(t, c.addrs(), nil).collect(10 * time.Second)
	got.want(t, map[string]string{
		`kafka_consumer_group_members{group="two"}`:             "2",
		`kafka_consumer_group_topic_lag{group="two",topic="a"}`: "2",
	})
	if n := len(got.of("kafka_consumer_group_info")); n != 2 {
		t.Errorf("want 2 groups, got %d", n)
	}
}

func TestACommitBeyondTheEndHasNoLag(t *testing.T) {
	c := newCluster(t, 1, true)
	c.partition("again", 0, 1, []int32{1}, []int32{1}, 0, 5) // deleted and made again: the commit is of the old one
	c.partition("again", 1, 1, []int32{1}, []int32{1}, 0, 5)
	c.partition("again", 2, 1, []int32{1}, []int32{1}, 0, 1<<40)
	c.group("g", 1, "Empty", 0, "again", map[int32]int64{0: 900, 1: 5, 2: 3})
	c.start()
	newExporter(t, c.addrs(), nil).collect(10*time.Second).want(t, map[string]string{
		`kafka_consumer_group_committed_offset{group="g",partition="0",topic="again"}`: "900",
		`kafka_consumer_group_lag{group="g",partition="0",topic="again"}`:              "",
		`kafka_consumer_group_lag{group="g",partition="1",topic="again"}`:              "0",
		`kafka_consumer_group_lag{group="g",partition="2",topic="again"}`:              "1.099511627773e+12", // far more than 32 bits hold
		`kafka_consumer_group_topic_lag{group="g",topic="again"}`:                      "",
		`kafka_consumer_group_topic_unknown_lag_partitions{group="g",topic="again"}`:   "1",
	})
}

func TestCommitsAreReadBeforeEndOffsets(t *testing.T) {
	c := twoBrokers(t)
	var mu sync.Mutex
	var order []int // index of the broker, for each request that the two answered
	for i, b := range c.brokers {
		b.SetNotifier(func(int, int) {
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
		})
	}
	c.brokers[1].SetLatency(100 * time.Millisecond) // the slow one's commits must hold up the quick one's end offsets
	c.start()
	newExporter(t, c.addrs()[:1], nil).collect(20 * time.Second)

	at, seen, next := map[string]int{}, make([]int, 2), 0
	histories := [][]sarama.RequestResponse{c.brokers[0].History(), c.brokers[1].History()}
	for _, i := range order {
		h := histories[i][seen[i]]
		seen[i]++
		next++
		switch h.Request.(type) {
		case *sarama.OffsetFetchRequest:
			at[fmt.Sprintf("commits %d", i)] = next
		case *sarama.OffsetRequest:
			at[fmt.Sprintf("offsets %d", i)] = next // the last one counts: end offsets
		}
	}
	if len(at) != 4 {
		t.Fatalf("want commits and offsets of both brokers, got %v", at)
	}
	if max(at["commits 0"], at["commits 1"]) > min(at["offsets 0"], at["offsets 1"]) {
		t.Errorf("want all commits before any end offset, got %v", at)
	}
}

func TestConnectionsAreKeptAndASeedIsLeft(t *testing.T) {
	c := twoBrokers(t).start()
	seed := sarama.NewMockBroker(t, 1) // another address of the cluster, such as a Kubernetes service
	t.Cleanup(seed.Close)
	seed.SetHandlerByMap(c.answers[0])
	e := newExporter(t, []string{seed.Addr()}, nil)
	e.collect(10 * time.Second)
	first := c.requests(nil)
	for range 20 {
		e.collect(10 * time.Second)
	}
	if n := c.requests(first)["ApiVersions"]; n != 0 {
		t.Errorf("want no new connection in 20 collections, got %d requests that begin one", n)
	}
	for _, h := range seed.History() {
		switch h.Request.(type) {
		case *sarama.ApiVersionsRequest, *sarama.MetadataRequest:
		default:
			t.Errorf("want the seed asked for metadata only, got %T", h.Request)
		}
	}
}

func TestTheControllerIsShownOnlyWhereItIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		kraft bool
		want  int
	}{
		"ZooKeeper: the metadata names it":                {false, 2},
		"KRaft: the metadata names any broker that lives": {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2, tt.kraft).start()
			got := newExporter(t, c.addrs(), nil).collect(10 * time.Second)
			if n := len(got.of("kafka_broker_is_controller")); n != tt.want {
				t.Errorf("want %d samples, got %d", tt.want, n)
			}
		})
	}
}

// silentListener never answers: the kernel accepts for it. (A connection that was accepted and forgotten would be closed by the garbage collector.)
func silentListener(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestAnotherSeedIsAskedWhenOneIsSilent(t *testing.T) {
	c := twoBrokers(t).start()
	// Seeds are asked in the order of their names: the silent one first.
	e := newExporter(t, []string{silentListener(t), strings.Replace(c.addrs()[0], "127.0.0.1", "localhost", 1)}, nil)
	e.collect(4*time.Second).want(t, map[string]string{`kafka_up`: "1", `kafka_brokers`: "2"})
}
