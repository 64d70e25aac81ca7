package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

const (
	kindClassic  = "classic"
	kindConsumer = "consumer" // KIP-848; described by an API of its own
	kindShare    = "share"    // has no committed offsets; sarama cannot describe it
	kindStreams  = "streams"  // has them; sarama cannot describe it

	// groupsPerRequest keeps one answer well under sarama's limit of 100 MiB: 500 groups that each commit 2,000 partitions are 40 MB. Where
	// it does not, because of large metadata or many members, fewer are asked for.
	groupsPerRequest = 500
)

// groupsOf reads the groups that the broker coordinates: only the broker that lists a group is asked about it, so no coordinator has to
// be looked up. What could be read is returned even when there is an error.
func (c *collection) groupsOf(ctx context.Context, p *peer) ([]group, error) {
	var listed *sarama.ListGroupsResponse
	err := p.ask(ctx, apiListGroups, func(k *sarama.Broker) (err error) {
		listed, err = k.ListGroups(&sarama.ListGroupsRequest{Version: 5})
		return err
	})
	if err != nil {
		return nil, err
	}
	var problems []error
	if listed.Err != sarama.ErrNoError {
		problems = append(problems, c.refused(apiListGroups, p, "", listed.Err))
	}
	var groups []group
	for id, protocolType := range listed.Groups {
		if c.conf.Groups.Takes(id) {
			data := listed.GroupsData[id]
			groups = append(groups, group{id: id, kind: strings.ToLower(data.GroupType), protocolType: protocolType, state: data.GroupState, coordinator: p.broker.id})
		}
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Compare(a.id, b.id) })
	if c.conf.GroupGranularity != NoDetail {
		problems = append(problems, c.commitsOf(ctx, p, groups))
	}
	problems = append(problems, c.describe(ctx, p, groups))
	return groups, errors.Join(problems...)
}

// commitsOf fills in the committed offsets. No partitions are named, so the answer holds only what was committed.
func (c *collection) commitsOf(ctx context.Context, p *peer, groups []group) error {
	var having []*group
	for i := range groups {
		if groups[i].kind != kindShare {
			having = append(having, &groups[i])
		}
	}
	size := groupsPerRequest
	if version, _ := p.link.speaks(keyOffsetFetch); version < offsetFetchMulti {
		size = 1 // before Kafka 3.0 one request asks for one group
	}
	return inParts(p, apiOffsetFetch, size, having, func(part []*group) error { return c.fetchCommits(ctx, p, part) })
}

// inParts asks about so many groups at a time. When sarama does not take the answer because it is too large, half as many are asked for, also
// from then on: by then the connection is gone.
func inParts(p *peer, api string, size int, groups []*group, ask func([]*group) error) error {
	var problems []error
	for len(groups) > 0 {
		n := min(size, len(groups))
		if most, ok := p.link.most[api]; ok {
			n = min(n, most)
		}
		err := ask(groups[:n])
		if tooLarge(err) {
			p.silent = false // it has answered
			p.link.suspect.Store(false)
			if n > 1 {
				p.link.most[api] = n / 2
				continue
			}
		}
		problems = append(problems, err)
		groups = groups[n:]
	}
	return errors.Join(problems...)
}

func tooLarge(err error) bool {
	var undecoded sarama.PacketDecodingError
	return errors.As(err, &undecoded) && strings.Contains(undecoded.Info, "too large")
}

func (c *collection) fetchCommits(ctx context.Context, p *peer, groups []*group) error {
	ask := &sarama.OffsetFetchRequest{Version: offsetFetchMulti}
	if len(groups) == 1 { // what the versions before 8 send
		ask.ConsumerGroup = groups[0].id
	}
	for _, g := range groups {
		ask.Groups = append(ask.Groups, sarama.OffsetFetchRequestGroup{GroupId: g.id})
	}
	var answer *sarama.OffsetFetchResponse
	err := p.ask(ctx, apiOffsetFetch, func(k *sarama.Broker) (err error) {
		answer, err = k.FetchOffset(ask)
		return err
	})
	if err != nil {
		return err
	}
	if answer.Version < offsetFetchMulti {
		answer.Groups = []sarama.OffsetFetchResponseGroup{{GroupId: groups[0].id, Blocks: answer.Blocks, Err: answer.Err}}
	}
	byID := make(map[string]*group, len(groups))
	for _, g := range groups {
		byID[g.id] = g
	}
	var problems []error
	for _, a := range answer.Groups {
		g := byID[a.GroupId]
		switch {
		case g == nil:
		case a.Err != sarama.ErrNoError:
			problems = append(problems, c.refused(apiOffsetFetch, p, "group "+g.id, a.Err))
		default:
			c.grants.granted(describeGroup, apiOffsetFetch)
			problems = append(problems, c.readCommits(p, g, a.Blocks))
		}
	}
	return errors.Join(problems...)
}

func (c *collection) readCommits(p *peer, g *group, blocks map[string]map[int32]*sarama.OffsetFetchResponseBlock) error {
	var problem error
	n := 0
	for _, partitions := range blocks {
		n += len(partitions)
	}
	g.commits = slices.Grow(g.commits, n)
	for _, topic := range slices.Sorted(maps.Keys(blocks)) {
		if t := c.snap.topic(topic); t != nil {
			topic = t.name // the answer's memory can go
		} else if !c.conf.Topics.Takes(topic) {
			continue
		}
		first := len(g.commits)
		for id, block := range blocks[topic] {
			switch {
			case block.Err != sarama.ErrNoError:
				problem = c.refused(apiOffsetFetch, p, fmt.Sprintf("group %s, %s/%d", g.id, topic, id), block.Err)
				g.commits = append(g.commits, commit{topic: topic, partition: id})
			case block.Offset >= 0:
				g.commits = append(g.commits, commit{topic: topic, partition: id, offset: some(block.Offset)})
			}
		}
		slices.SortFunc(g.commits[first:], func(a, b commit) int { return cmp.Compare(a.partition, b.partition) })
	}
	return problem
}

// describe fills in members, protocol and state, each type of group by its own API.
func (c *collection) describe(ctx context.Context, p *peer, groups []group) error {
	var classic, consumer []*group
	for i := range groups {
		switch g := &groups[i]; g.kind {
		case "", kindClassic: // brokers before 3.8 do not tell the type: they have only this one
			classic = append(classic, g)
		case kindConsumer:
			consumer = append(consumer, g)
		}
	}
	if _, ok := p.link.speaks(keyDescribe848); !ok {
		consumer = nil
	}
	return errors.Join(
		inParts(p, apiDescribe, groupsPerRequest, classic, func(part []*group) error { return c.describeClassic(ctx, p, part) }),
		inParts(p, apiDescribe848, groupsPerRequest, consumer, func(part []*group) error { return c.describeConsumer(ctx, p, part) }),
	)
}

func (c *collection) describeClassic(ctx context.Context, p *peer, groups []*group) error {
	var answer *sarama.DescribeGroupsResponse
	err := p.ask(ctx, apiDescribe, func(k *sarama.Broker) (err error) {
		answer, err = k.DescribeGroups(&sarama.DescribeGroupsRequest{Version: 5, Groups: ids(groups)})
		return err
	})
	if err != nil {
		return err
	}
	var problems []error
	for _, d := range answer.Groups {
		g := find(groups, d.GroupId)
		switch {
		case g == nil:
		case d.Err != sarama.ErrNoError:
			problems = append(problems, c.refused(apiDescribe, p, "group "+g.id, d.Err))
		default:
			g.state, g.protocolType, g.protocol = d.State, d.ProtocolType, d.Protocol
			g.members = some(int64(len(d.Members)))
			c.grants.granted(describeGroup, apiDescribe)
			c.assignedClassic(g, d)
		}
	}
	return errors.Join(problems...)
}

func (c *collection) describeConsumer(ctx context.Context, p *peer, groups []*group) error {
	ask := sarama.NewConsumerGroupDescribeRequest(p.link.conf.Version)
	ask.GroupIDs = ids(groups)
	var answer *sarama.ConsumerGroupDescribeResponse
	err := p.ask(ctx, apiDescribe848, func(k *sarama.Broker) (err error) {
		answer, err = k.ConsumerGroupDescribe(ask)
		return err
	})
	if err != nil {
		return err
	}
	var problems []error
	for _, d := range answer.Groups {
		g := find(groups, d.GroupID)
		switch {
		case g == nil:
		case d.ErrorCode != sarama.ErrNoError:
			problems = append(problems, c.refused(apiDescribe848, p, "group "+g.id, d.ErrorCode))
		default:
			g.state, g.protocol = d.GroupState, d.AssignorName
			g.members = some(int64(len(d.Members)))
			c.grants.granted(describeGroup, apiDescribe848)
			tally := tally{takes: c.conf.Topics.Takes}
			for _, m := range d.Members {
				for _, a := range m.Assignment.TopicPartitions {
					tally.add(a.TopicName, len(a.Partitions))
				}
				tally.endMember()
			}
			tally.into(g)
		}
	}
	return errors.Join(problems...)
}

func ids(groups []*group) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.id
	}
	return names
}

// find relies on the groups being sorted by id.
func find(groups []*group, id string) *group {
	i, ok := slices.BinarySearchFunc(groups, id, func(g *group, id string) int { return cmp.Compare(g.id, id) })
	if !ok {
		return nil
	}
	return groups[i]
}

// merge joins what the brokers listed. While a group moves to another coordinator two brokers list it; the one that knows more is right.
func merge(perBroker [][]group) []group {
	all := slices.Concat(perBroker...)
	slices.SortFunc(all, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.id, b.id), -cmp.Compare(a.knowledge(), b.knowledge()), cmp.Compare(a.coordinator, b.coordinator))
	})
	return slices.CompactFunc(all, func(a, b group) bool { return a.id == b.id })
}

func (g group) knowledge() int {
	score := 0
	if g.state != "" && g.state != "Dead" {
		score += 4
	}
	if g.members.known && g.members.value > 0 {
		score += 2
	}
	if len(g.commits) > 0 {
		score++
	}
	return score
}
