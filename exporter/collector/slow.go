package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/lag"
)

// kept is what outlives a collection: what is read seldom, and what only time tells. One collection at a time uses it; what a snapshot takes
// of it is replaced, never changed.
type kept struct {
	configs map[string]map[string]string // of each topic, by key
	dirs    []logDir
	sizes   map[string]int64 // bytes of each topic over all replicas; nil unless every broker told
	slow    []outcome        // how it went, last time: of configs, log directories
	past    map[string]past  // of each topic that somebody has committed
	taken   time.Time        // when the collection before was
	drains  map[groupTopic]*lag.Drain

	empty    map[string]empty // groups without members, by their ids
	seed     maphash.Seed
	features []feature
	rights   map[evidence]bool
	held     map[int32]held // of each broker
	suspects []string       // topics that brokers hold and the metadata did not show, when the log directories were read last
}

type tp struct {
	topic     string
	partition int32
}

type groupTopic struct{ group, topic string }

func newKept() *kept {
	return &kept{
		slow:   []outcome{{part: partConfigs}, {part: partLogDirs}},
		drains: map[groupTopic]*lag.Drain{}, held: map[int32]held{}, rights: map[evidence]bool{}, seed: maphash.MakeSeed(),
	}
}

// begun are the outcomes of what has been read once.
func (k *kept) begun() []outcome {
	return slices.DeleteFunc(slices.Clone(k.slow), func(o outcome) bool { return o.at.IsZero() })
}

// configsPerRequest keeps the answer well under sarama's limit.
const configsPerRequest = 2000

// refreshSlow reads what is due and is read seldom, at most one part of it: so no collection has many more requests than another.
func (c *collection) refreshSlow(ctx context.Context) {
	oldest := slices.MinFunc(c.kept.slow, func(a, b outcome) int { return a.at.Compare(b.at) })
	if !oldest.at.IsZero() && time.Since(oldest.at) < c.conf.SlowInterval {
		return
	}
	began := time.Now()
	read := map[string]func(context.Context) error{partConfigs: c.readConfigs, partLogDirs: c.readLogDirs}[oldest.part]
	i := slices.IndexFunc(c.kept.slow, func(o outcome) bool { return o.part == oldest.part })
	slow := slices.Clone(c.kept.slow)
	before := slow[i].success
	if slow[i] = ended(oldest.part, began, read(ctx)); slow[i].problem != nil {
		slow[i].success = before
	}
	c.kept.slow = slow
}

// readConfigs asks one broker for the chosen configs of the topics that are shown: their effective values, whoever set them.
func (c *collection) readConfigs(ctx context.Context) error {
	i := slices.IndexFunc(c.peers, func(p *peer) bool { return !p.silent })
	if i < 0 {
		return errors.New("no broker answers")
	}
	if err := c.readFeatures(ctx, c.peers[i]); err != nil || len(c.conf.TopicConfigs) == 0 {
		return err
	}
	p, configs := c.peers[i], make(map[string]map[string]string, len(c.snap.topics))
	var problems []error
	for part := range slices.Chunk(c.snap.topics, configsPerRequest) {
		ask := &sarama.DescribeConfigsRequest{Version: 4}
		for _, t := range part {
			ask.Resources = append(ask.Resources, &sarama.ConfigResource{Type: sarama.TopicResource, Name: t.name, ConfigNames: c.conf.TopicConfigs})
		}
		var answer *sarama.DescribeConfigsResponse
		err := p.ask(ctx, apiDescribeConfigs, func(k *sarama.Broker) (err error) {
			answer, err = k.DescribeConfigs(ask)
			return err
		})
		if err != nil {
			problems = append(problems, err)
			break
		}
		refused := map[sarama.KError]error{} // one of each kind: a missing right is missing for all
		for _, r := range answer.Resources {
			if code := sarama.KError(r.ErrorCode); code != sarama.ErrNoError {
				refused[code] = c.refused(apiDescribeConfigs, p, "topic "+r.Name, code)
				continue
			}
			c.grants.granted(describeConfigs, apiDescribeConfigs)
			configs[r.Name] = make(map[string]string, len(r.Configs))
			for _, e := range r.Configs {
				configs[r.Name][e.Name] = e.Value
			}
		}
		for _, problem := range refused {
			problems = append(problems, problem)
		}
	}
	c.kept.configs = configs
	return errors.Join(problems...)
}

// readFeatures asks a broker which features are in force in the cluster.
func (c *collection) readFeatures(ctx context.Context, p *peer) error {
	if err := p.ask(ctx, apiVersions, p.link.learn); err != nil {
		return err
	}
	c.kept.features = p.link.levels()
	return nil
}

// feature is one that is in force in the whole cluster, such as metadata.version.
type feature struct {
	name  string
	level int16
}

// number is a topic's config as a number.
func (s *snapshot) number(topic, key string) optional {
	v, err := strconv.ParseInt(s.configs[topic][key], 10, 64)
	if err != nil {
		return optional{}
	}
	return some(v)
}

// logDir is a folder in which a broker keeps partitions.
type logDir struct {
	broker int32
	path   string
	failed bool // the broker has taken it out of service
	used   int64
	total  optional // of the volume that it is on
	usable optional
}

func (c *collection) readLogDirs(ctx context.Context) error {
	type told struct {
		dirs  []logDir
		sizes map[string]int64
		err   error
	}
	byPeer := make(map[*peer]*told, len(c.peers))
	for _, p := range c.peers {
		byPeer[p] = &told{}
	}
	c.onEach(ctx, func(ctx context.Context, p *peer) {
		t := byPeer[p]
		t.dirs, t.sizes, t.err = c.logDirsOf(ctx, p)
	})
	var (
		dirs     []logDir
		problems []error
	)
	sizes := map[string]int64{}
	for _, p := range c.peers {
		t := byPeer[p]
		dirs, problems = append(dirs, t.dirs...), append(problems, t.err)
		if t.err == nil {
			c.holds(p.broker.id, t.sizes)
		}
		for topic, bytes := range t.sizes {
			sizes[topic] += bytes
		}
	}
	err := errors.Join(problems...)
	if err != nil {
		sizes = nil // a sum without a broker's share would look like lost data
	} else {
		c.grants.granted(describeCluster, apiDescribeLogDirs)
		c.stored(sizes)
	}
	c.kept.dirs, c.kept.sizes = dirs, sizes
	return err
}

func (c *collection) logDirsOf(ctx context.Context, p *peer) ([]logDir, map[string]int64, error) {
	var answer *sarama.DescribeLogDirsResponse
	err := p.ask(ctx, apiDescribeLogDirs, func(k *sarama.Broker) (err error) {
		answer, err = k.DescribeLogDirs(&sarama.DescribeLogDirsRequest{Version: 4})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if answer.ErrorCode != sarama.ErrNoError {
		return nil, nil, c.refused(apiDescribeLogDirs, p, "", answer.ErrorCode)
	}
	var (
		dirs     []logDir
		problems []error
	)
	sizes := map[string]int64{}
	for _, d := range answer.LogDirs {
		dir := logDir{broker: p.broker.id, path: d.Path}
		switch d.ErrorCode {
		case sarama.ErrNoError:
		case sarama.ErrKafkaStorageError:
			dir.failed = true
			dirs = append(dirs, dir)
			continue
		default:
			problems = append(problems, c.refused(apiDescribeLogDirs, p, d.Path, d.ErrorCode))
			continue
		}
		for _, t := range d.Topics {
			for _, part := range t.Partitions {
				dir.used += part.Size
				sizes[t.Topic] += part.Size
			}
		}
		if answer.Version >= 4 && d.TotalBytes >= 0 { // −1 where the broker cannot tell
			dir.total, dir.usable = some(d.TotalBytes), some(d.UsableBytes)
		}
		dirs = append(dirs, dir)
	}
	slices.SortFunc(dirs, func(a, b logDir) int { return cmp.Compare(a.path, b.path) })
	if len(answer.LogDirs) == 0 { // what a broker answers to whoever may not describe the cluster
		problems = append(problems, c.refused(apiDescribeLogDirs, p, "", sarama.ErrClusterAuthorizationFailed))
	}
	return dirs, sizes, errors.Join(problems...)
}

// reassigned asks which partitions are being moved to other brokers. Until the last of the new replicas has caught up, the in-sync set of such
// a partition is smaller than its replicas; so where there is none of these, nobody needs to be asked.
func (c *collection) reassigned(ctx context.Context) error {
	ask := &sarama.ListPartitionReassignmentsRequest{TimeoutMs: int32(c.conf.Timeout.Milliseconds())}
	var suspects []*partition
	for i := range c.snap.topics {
		t := &c.snap.topics[i]
		var ids []int32
		for j := range t.partitions {
			p := &t.partitions[j]
			p.reassigning = some(0)
			if p.inSync < len(p.replicas) {
				p.reassigning = optional{}
				suspects = append(suspects, p)
				ids = append(ids, p.id)
			}
		}
		if len(ids) > 0 {
			ask.AddBlock(t.name, ids)
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	p := c.peer(c.controller)
	if p == nil {
		return fmt.Errorf("request %s: the controller %d is not among the live brokers", apiListReassignments, c.controller)
	}
	var answer *sarama.ListPartitionReassignmentsResponse
	err := p.ask(ctx, apiListReassignments, func(k *sarama.Broker) (err error) {
		answer, err = k.ListPartitionReassignments(ask)
		return err
	})
	if err != nil {
		return err
	}
	if answer.ErrorCode != sarama.ErrNoError {
		return c.refused(apiListReassignments, p, "", answer.ErrorCode)
	}
	c.grants.granted(describeCluster, apiListReassignments)
	for _, p := range suspects {
		p.reassigning = some(0)
	}
	for name, partitions := range answer.TopicStatus {
		for id := range partitions {
			if p := c.snap.topic(name).partition(id); p != nil {
				p.reassigning = some(1)
			}
		}
	}
	return nil
}
