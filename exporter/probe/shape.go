package probe

import (
	"cmp"
	"maps"
	"slices"

	"github.com/IBM/sarama"
)

// shape is what the probe needs to know of the cluster, at one moment.
type shape struct {
	brokers    map[int32]string // address by id, of those that are live
	controller int32
	partitions []partition // of the topic, by number
	problem    sarama.KError

	replaced chan struct{} // closed when there is a newer one
}

type partition struct {
	number, leader int32 // leader -1: none that is live
	replicas       []int32
	inSync         []int32
}

func unseen() *shape { return &shape{replaced: make(chan struct{})} }

// shapeOf reads what a broker says of the cluster and the one topic that it was asked for.
func shapeOf(md *sarama.MetadataResponse) *shape {
	s := unseen()
	s.controller = md.ControllerID
	s.brokers = make(map[int32]string, len(md.Brokers))
	for _, b := range md.Brokers {
		s.brokers[b.ID()] = b.Addr()
	}
	s.problem = sarama.ErrUnknownTopicOrPartition
	for _, t := range md.Topics {
		s.problem = t.Err
		for _, m := range t.Partitions {
			p := partition{number: m.ID, leader: m.Leader, replicas: m.Replicas, inSync: m.Isr}
			if _, live := s.brokers[p.leader]; !live {
				p.leader = -1
			}
			s.partitions = append(s.partitions, p)
		}
	}
	if len(s.partitions) > 0 {
		s.problem = sarama.ErrNoError // of some partition, which then has no leader
	}
	slices.SortFunc(s.partitions, func(a, b partition) int { return cmp.Compare(a.number, b.number) })
	return s
}

// ids of the live brokers, in order.
func (s *shape) ids() []int32 { return slices.Sorted(maps.Keys(s.brokers)) }

// target is the partition by which a broker is probed: the first that it leads. All probes of a topic choose the same.
func (s *shape) target(broker int32) (number int32, ok bool) {
	for _, p := range s.partitions {
		if p.leader == broker {
			return p.number, true
		}
	}
	return 0, false
}

// leader of a partition; false without one that is live.
func (s *shape) leader(number int32) (broker int32, ok bool) {
	i, ok := slices.BinarySearchFunc(s.partitions, number, func(p partition, n int32) int { return cmp.Compare(p.number, n) })
	if !ok || s.partitions[i].leader < 0 {
		return 0, false
	}
	return s.partitions[i].leader, true
}

// probed says whether a partition is some broker's target.
func (s *shape) probed(number int32) bool {
	broker, ok := s.leader(number)
	if !ok {
		return false
	}
	target, _ := s.target(broker)
	return target == number
}

// uncovered are the live brokers that lead no partition.
func (s *shape) uncovered() []int32 {
	return slices.DeleteFunc(s.ids(), func(b int32) bool {
		_, ok := s.target(b)
		return ok
	})
}
