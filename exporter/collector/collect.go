package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// collection is one reading of the whole cluster. Its requests:
//
//	metadata    1, to any broker
//	groups      per broker: ListGroups, OffsetFetch, DescribeGroups (and ConsumerGroupDescribe) in chunks; ListOffsets (start)
//	offsets     per leader: ListOffsets (end), begun only after every commit has been read
//	the rest    ListPartitionReassignments to the controller, if a partition lacks replicas; what is read seldom (DescribeConfigs to one broker,
//	            or DescribeLogDirs to each); and per leader ListOffsets by time, as often as fits
//
// A commit that is read before the end offset cannot be ahead of it, so lag needs no clamping. The price is a barrier, and so a broker
// that does not answer: it may hold the others up for half of the time left the first time, and for the probation from then on.
type collection struct {
	conf Config
	pool *pool
	meas *requests

	kept *kept

	snap       *snapshot
	peers      []*peer // by index of snap.brokers
	controller int32   // as the metadata have it: under KRaft any broker, which passes on what it is asked
	unaged     []unaged
	interval   time.Duration // since the collection before
	names      []string      // of all topics, sorted, whatever the filter leaves out
	grants     grants
}

// peer is one broker during one collection. One goroutine at a time works on it.
type peer struct {
	broker *broker
	link   *link
	leads  []ref // the partitions that it leads
	silent bool  // a request was not answered: no more are sent in this collection

	asked     map[string]int // requests, by API
	questions int            // about the past of partitions

	groups                        []group
	groupsProblem, offsetsProblem error
}

// ref points to a partition of the snapshot that is being made.
type ref struct{ topic, partition int }

// ask sends one request, unless the broker has stopped answering.
func (p *peer) ask(ctx context.Context, api string, send func(*sarama.Broker) error) error {
	if p.silent {
		return fmt.Errorf("request %s from %s: not sent, an earlier request was not answered", api, p.link.addr)
	}
	p.asked[api]++
	err := p.link.do(ctx, api, send)
	if err != nil && !errors.Is(err, sarama.ErrUnsupportedVersion) {
		p.silent = true
	}
	return err
}

// refused counts an error code in an answer and makes an error of it.
func (c *collection) refused(api string, p *peer, what string, code sarama.KError) error {
	c.meas.failed(api, code)
	c.grants.refusal(api, code)
	if what != "" {
		what = " for " + what
	}
	return fmt.Errorf("%s from %s%s: %w", api, p.link.addr, what, code)
}

// run returns what could be read, nil when not even the metadata could, and how each part went.
func (c *collection) run(ctx context.Context) (*snapshot, []outcome) {
	began := time.Now()
	err := c.metadata(ctx)
	outcomes := []outcome{ended(partMetadata, began, err)}
	if c.snap == nil {
		return nil, append(outcomes, c.kept.begun()...)
	}

	began = time.Now()
	half, cancel := fraction(ctx, 0.5)
	c.onEach(half, func(ctx context.Context, p *peer) {
		p.groups, p.groupsProblem = c.groupsOf(ctx, p)
		p.offsetsProblem = c.offsets(ctx, p, sarama.OffsetOldest, func(p *partition) *optional { return &p.start })
	})
	cancel()
	outcomes = append(outcomes, ended(partGroups, began, c.problems(func(p *peer) error { return p.groupsProblem })))

	began = time.Now()
	c.onEach(ctx, func(ctx context.Context, p *peer) {
		err := c.offsets(ctx, p, sarama.OffsetNewest, func(p *partition) *optional { return &p.end })
		p.offsetsProblem = errors.Join(p.offsetsProblem, err)
	})
	outcomes = append(outcomes, ended(partOffsets, began, c.problems(func(p *peer) error { return p.offsetsProblem })))

	groups := make([][]group, len(c.peers))
	for i, p := range c.peers {
		groups[i] = p.groups
	}
	c.snap.groups = c.current(merge(groups))
	c.snap.addLag()
	if !c.kept.taken.IsZero() {
		c.interval = c.snap.taken.Sub(c.kept.taken)
	}
	c.kept.taken = c.snap.taken
	c.addTimes()
	outcomes = append(outcomes, c.rest(ctx)...)
	for _, p := range c.peers {
		p.broker.reached = !p.silent
		p.broker.counted = c.kept.held[p.broker.id].listed
	}
	c.snap.rights = c.grants.sum(c.kept.rights)
	return c.snap, append(outcomes, c.kept.begun()...)
}

// rest is what lag need not wait for.
func (c *collection) rest(ctx context.Context) []outcome {
	began := time.Now()
	moves := ended(partMoves, began, c.reassigned(ctx))
	c.refreshSlow(ctx)
	began = time.Now()
	times := ended(partTimes, began, c.askPast(ctx))
	c.snap.configs, c.snap.dirs, c.snap.sizes = c.kept.configs, c.kept.dirs, c.kept.sizes
	c.snap.features = c.kept.features
	return []outcome{moves, times}
}

// problems joins those of all brokers.
func (c *collection) problems(of func(*peer) error) error {
	var all error
	for _, p := range c.peers {
		all = errors.Join(all, of(p))
	}
	return all
}

// onEach works on all brokers at the same time and returns when all are done.
func (c *collection) onEach(ctx context.Context, work func(context.Context, *peer)) {
	var all sync.WaitGroup
	for _, p := range c.peers {
		all.Go(func() {
			ctx, cancel := p.link.within(ctx)
			defer cancel()
			work(ctx, p)
		})
	}
	all.Wait()
}

// fraction ends after a part of the time that ctx has left.
func fraction(ctx context.Context, part float64) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(part*float64(time.Until(deadline))))
}

// metadata reads the cluster's shape and prepares the snapshot. A topic that the cluster refuses to describe is an error, but no obstacle.
func (c *collection) metadata(ctx context.Context) error {
	ctx, cancel := fraction(ctx, 0.4)
	defer cancel()
	patience := probation
	if deadline, ok := ctx.Deadline(); ok {
		patience = max(time.Until(deadline)/4, time.Millisecond)
	}
	answer, err := c.pool.metadata(ctx, patience)
	if err != nil {
		return err
	}
	md := answer.data
	c.snap = &snapshot{taken: time.Now()}
	if md.ClusterID != nil {
		c.snap.clusterID = *md.ClusterID
	}
	if c.kept.features == nil { // not read yet; the connection has just told
		c.kept.features = answer.from.levels()
	}
	c.controller = md.ControllerID
	if _, kraft := answer.from.speaks(keyQuorum); !kraft && md.ControllerID >= 0 {
		c.snap.controller = some(int64(md.ControllerID))
	}
	if md.Version >= 8 && md.Version <= metadataVersion {
		c.grants.operations(describeCluster, apiMetadata, md.ClusterAuthorizedOperations)
	}
	c.meet(md.Brokers)

	var problems []error
	for _, t := range md.Topics {
		c.names = append(c.names, t.Name)
		if len(t.Partitions) == 0 && t.Err != sarama.ErrNoError {
			if c.conf.Topics.Takes(t.Name) {
				problems = append(problems, c.refused(apiMetadata, &peer{link: answer.from}, "topic "+t.Name, t.Err))
			}
			continue
		}
		c.grants.granted(describeTopic, apiMetadata)
		c.add(t)
	}
	slices.SortFunc(c.snap.topics, func(a, b topic) int { return cmp.Compare(a.name, b.name) })
	slices.Sort(c.names)
	c.shareOut()
	return errors.Join(problems...)
}

// meet takes the brokers of the metadata into the snapshot and lets go of the connections to others.
func (c *collection) meet(listed []*sarama.Broker) {
	slices.SortFunc(listed, func(a, b *sarama.Broker) int { return cmp.Compare(a.ID(), b.ID()) })
	addrs := make([]string, 0, len(listed))
	for _, b := range listed {
		c.snap.brokers = append(c.snap.brokers, broker{id: b.ID(), addr: b.Addr(), rack: b.Rack()})
		addrs = append(addrs, b.Addr())
	}
	for i := range c.snap.brokers {
		b := &c.snap.brokers[i]
		c.peers = append(c.peers, &peer{broker: b, link: c.pool.at(b.addr), asked: map[string]int{}})
	}
	c.pool.keep(addrs)
}

// add takes a topic into the snapshot, and counts its leaders even when the filter leaves the topic out.
func (c *collection) add(t *sarama.TopicMetadata) {
	out := topic{name: t.Name, partitions: make([]partition, 0, len(t.Partitions))}
	for _, m := range t.Partitions {
		p := partition{id: m.ID, replicas: m.Replicas, inSync: len(m.Isr)}
		if leader := c.peer(m.Leader); leader != nil {
			leader.broker.leaders++
			p.leader = some(int64(m.Leader))
		}
		if m.Version >= 7 && m.LeaderEpoch >= 0 {
			p.leaderEpoch = some(int64(m.LeaderEpoch))
		}
		out.partitions = append(out.partitions, p)
	}
	if !c.conf.Topics.Takes(t.Name) {
		return
	}
	slices.SortFunc(out.partitions, func(a, b partition) int { return cmp.Compare(a.id, b.id) })
	c.snap.topics = append(c.snap.topics, out)
}

// peer finds a broker by its id; nil when it is not among the live ones.
func (c *collection) peer(id int32) *peer {
	i, ok := slices.BinarySearchFunc(c.peers, id, func(p *peer, id int32) int { return cmp.Compare(p.broker.id, id) })
	if !ok {
		return nil
	}
	return c.peers[i]
}

// shareOut gives each broker the partitions that it leads. Those without a leader stay in the snapshot and cost no request.
func (c *collection) shareOut() {
	for t := range c.snap.topics {
		for p, part := range c.snap.topics[t].partitions {
			if part.leader.known {
				leader := c.peer(int32(part.leader.value))
				leader.leads = append(leader.leads, ref{topic: t, partition: p})
			}
		}
	}
}
