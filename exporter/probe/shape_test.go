package probe

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
)

// cluster makes a shape of brokers and partitions, each written leader:replicas:in-sync, as 1:123:12; leader 0 is none.
func cluster(brokers string, partitions ...string) *shape {
	md := &sarama.MetadataResponse{Version: 7, ControllerID: 1}
	for _, b := range ids(brokers) {
		md.AddBroker(fmt.Sprintf("broker-%d:9092", b), b)
	}
	if len(partitions) == 0 {
		md.AddTopic("t", sarama.ErrUnknownTopicOrPartition)
	}
	for i, text := range partitions {
		f := strings.Split(text, ":")
		leader := ids(f[0])[0]
		if leader == 0 {
			leader = -1
		}
		md.AddTopicPartition("t", int32(len(partitions)-1-i), leader, ids(f[1]), ids(f[2]), nil, sarama.ErrNoError) // not in order
	}
	return shapeOf(md)
}

func ids(digits string) []int32 {
	var out []int32
	for _, d := range digits {
		out = append(out, int32(d-'0'))
	}
	return out
}

func TestEachBrokerIsProbedByTheFirstPartitionThatItLeads(t *testing.T) {
	s := cluster("123", "1:1:1", "2:2:2", "1:1:1", "0:3:3", "9:9:9") // partitions 4 to 0
	got := map[int32]int32{}
	for _, b := range s.ids() {
		if p, ok := s.target(b); ok {
			got[b] = p
		}
	}
	if diff := cmp.Diff(map[int32]int32{1: 2, 2: 3}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := s.uncovered(); !slices.Equal(got, []int32{3}) {
		t.Errorf("want broker 3 uncovered, got %v", got)
	}
	var probed []int32
	for n := range int32(6) {
		if s.probed(n) {
			probed = append(probed, n)
		}
	}
	if !slices.Equal(probed, []int32{2, 3}) {
		t.Errorf("want partitions 2 and 3 probed, got %v", probed)
	}
	for _, n := range []int32{0, 1, 5} { // led by a broker that is gone, by none, and not there
		if b, ok := s.leader(n); ok {
			t.Errorf("want no leader of partition %d, got %d", n, b)
		}
	}
}

func TestWhatATopicLacks(t *testing.T) {
	for name, tt := range map[string]struct {
		s    *shape
		want string
	}{
		"the topic":                       {cluster("1234"), "CreateTopics [[1 2 3] [2 3 4] [3 4 1] [4 1 2]]"},
		"the topic, with few brokers":     {cluster("12"), "CreateTopics [[1 2] [2 1]]"},
		"nothing":                         {cluster("12", "2:21:12", "1:12:12"), ""},
		"nothing, with more than needed":  {cluster("12", "2:21:12", "1:12:12", "1:12:12"), ""},
		"brokers":                         {cluster(""), ""},
		"the right to look":               {&shape{brokers: map[int32]string{1: "a"}, problem: sarama.ErrTopicAuthorizationFailed}, ""},
		"a partition for a new broker":    {cluster("123", "2:21:12", "1:12:12"), "CreatePartitions [[3 1]]"},
		"a leader where it should be":     {cluster("12", "1:21:12", "1:12:12"), "ElectLeaders 1"},
		"patience until it is in sync":    {cluster("12", "1:21:1", "1:12:12"), ""},
		"a move away from one that left":  {cluster("134", "3:31:13", "1:21:1", "1:13:13"), "AlterPartitionReassignments 1 [[4 1]]"},
		"a partition, not one of another": {cluster("134", "3:31:13", "1:13:13", "1:13:13"), "CreatePartitions [[4 1]]"},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			switch c := tt.s.lacks(); {
			case c == nil:
			case c.api == apiElectLeaders:
				got = fmt.Sprint(c.api, " ", c.partition)
			case c.api == apiReassign:
				got = fmt.Sprint(c.api, " ", c.partition, " ", c.assigned)
			default:
				got = fmt.Sprint(c.api, " ", c.assigned)
			}
			if got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}
