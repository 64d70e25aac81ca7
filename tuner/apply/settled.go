package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/IBM/sarama"
)

// Healthy says why the cluster is not settled, or nil: every partition has its leader, and all of its replicas in sync; none is being moved; the
// preferred replicas lead, so that each broker has the work that it had before its restart; and no group is sharing out its partitions anew.
//
// When all else is well and Elect is set, it asks the controller to make the preferred replicas leaders again: Kafka itself does so only every
// five minutes, and not for few of them.
func (b Brokers) Healthy(ctx context.Context) error {
	return b.withClient(ctx, func(client sarama.Client) error {
		controller, err := client.Controller()
		if err != nil {
			return fmt.Errorf("find controller: %w", err)
		}
		meta, err := controller.GetMetadata(&sarama.MetadataRequest{Version: 7})
		if err != nil {
			return fmt.Errorf("describe topics: %w", err)
		}
		strayed, err := partitions(meta)
		if err != nil {
			return err
		}
		if err := unmoved(controller, meta); err != nil {
			return err
		}
		if err := calm(client); err != nil {
			return err
		}
		if len(strayed) == 0 || !b.Elect {
			return nil
		}
		return b.elect(client, strayed)
	})
}

// partitions finds a partition that is not whole; or else those that another than the preferred replica leads.
func partitions(meta *sarama.MetadataResponse) (strayed map[string][]int32, err error) {
	strayed = map[string][]int32{}
	for _, t := range meta.Topics {
		if t.Err != sarama.ErrNoError && t.Err != sarama.ErrLeaderNotAvailable {
			return nil, fmt.Errorf("describe topic %s: %w", t.Name, t.Err)
		}
		for _, p := range t.Partitions {
			switch {
			case p.Leader < 0:
				return nil, fmt.Errorf("partition %s/%d has no leader", t.Name, p.ID)
			case len(p.Isr) < len(p.Replicas):
				return nil, fmt.Errorf("partition %s/%d is under-replicated: %d of %d replicas in sync", t.Name, p.ID, len(p.Isr), len(p.Replicas))
			case len(p.Replicas) > 0 && p.Leader != p.Replicas[0]:
				strayed[t.Name] = append(strayed[t.Name], p.ID)
			}
		}
	}
	return strayed, nil
}

// unmoved asks for reassignments.
func unmoved(controller *sarama.Broker, meta *sarama.MetadataResponse) error {
	request := &sarama.ListPartitionReassignmentsRequest{TimeoutMs: 5000}
	for _, t := range meta.Topics {
		var ids []int32
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
		request.AddBlock(t.Name, ids)
	}
	if len(meta.Topics) == 0 {
		return nil
	}
	answer, err := controller.ListPartitionReassignments(request)
	if err != nil {
		return fmt.Errorf("list reassignments: %w", err)
	}
	for _, topic := range slices.Sorted(maps.Keys(answer.TopicStatus)) {
		for id := range answer.TopicStatus[topic] {
			return fmt.Errorf("partition %s/%d is being moved to other brokers", topic, id)
		}
	}
	return nil
}

// restless are the states in which a group's members read nothing, or not all of it; the last two are those of the newer protocol.
var restless = []string{"PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"}

// calm asks every broker for the groups that it coordinates.
func calm(client sarama.Client) error {
	for _, k := range client.Brokers() {
		_ = k.Open(client.Config()) // it may be open
		listed, err := k.ListGroups(&sarama.ListGroupsRequest{Version: 5})
		if err != nil {
			return fmt.Errorf("list groups of broker %d: %w", k.ID(), err)
		}
		if listed.Err != sarama.ErrNoError {
			return fmt.Errorf("list groups of broker %d: %w", k.ID(), listed.Err)
		}
		for _, name := range slices.Sorted(maps.Keys(listed.GroupsData)) {
			if state := listed.GroupsData[name].GroupState; slices.Contains(restless, state) {
				return fmt.Errorf("group %s is not stable: %s", name, state)
			}
		}
	}
	return nil
}

// elect brings leaders back. It answers with an error even when that succeeded: what the cluster looks like then, the next look says.
func (b Brokers) elect(client sarama.Client, strayed map[string][]int32) error {
	n := 0
	for _, ids := range strayed {
		n += len(ids)
	}
	what := fmt.Errorf("%d partitions are not led by their preferred replicas, which were asked to", n)
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return errors.Join(what, err)
	}
	results, err := admin.ElectLeaders(sarama.PreferredElection, strayed)
	if err != nil {
		return fmt.Errorf("%w: %w", what, err)
	}
	for topic, ids := range results {
		for id, r := range ids {
			if r.ErrorCode != sarama.ErrNoError && r.ErrorCode != sarama.ErrElectionNotNeeded {
				return fmt.Errorf("%w: %s/%d: %w", what, topic, id, r.ErrorCode)
			}
		}
	}
	return what
}
