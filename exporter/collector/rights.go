package collector

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/IBM/sarama"
)

// right is what an ACL grants, by the names that Kafka's own tools have for it.
type right struct{ operation, resource string }

// The rights that the exporter needs. Without them Kafka mostly leaves things out without a word.
var (
	describeCluster = right{"Describe", "Cluster"}
	describeTopic   = right{"Describe", "Topic"}
	describeGroup   = right{"Describe", "Group"}
	describeConfigs = right{"DescribeConfigs", "Topic"}
)

// acl is the command that adds the right.
func (r right) acl(broker, principal string) string {
	on := "--cluster"
	if r.resource != "Cluster" {
		on = "--" + strings.ToLower(r.resource) + " '*'"
	}
	return fmt.Sprintf("kafka-acls.sh --bootstrap-server %s --add --allow-principal '%s' --operation %s %s", broker, principal, r.operation, on)
}

// principal is who the brokers take the exporter for, as far as the settings tell.
func principal(conf *sarama.Config) string {
	if conf.Net.SASL.Enable && conf.Net.SASL.User != "" {
		return "User:" + conf.Net.SASL.User
	}
	return "User:NAME"
}

// evidence is where a right shows: each kind of request shows it at its own times.
type evidence struct {
	right
	api string
}

// grants is what the answers of one collection told of the exporter's rights. A right that is refused anywhere is missing.
type grants struct {
	mu    sync.Mutex
	known map[evidence]bool
}

func (g *grants) granted(r right, api string) { g.note(evidence{r, api}, true) }
func (g *grants) missing(r right, api string) { g.note(evidence{r, api}, false) }

func (g *grants) note(e evidence, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known = map[evidence]bool{}
	}
	if before, seen := g.known[e]; seen {
		ok = ok && before
	}
	g.known[e] = ok
}

// refusal draws the conclusion from an error code.
func (g *grants) refusal(api string, code sarama.KError) {
	switch {
	case code == sarama.ErrTopicAuthorizationFailed && api == apiDescribeConfigs:
		g.missing(describeConfigs, api)
	case code == sarama.ErrTopicAuthorizationFailed:
		g.missing(describeTopic, api)
	case code == sarama.ErrGroupAuthorizationFailed:
		g.missing(describeGroup, api)
	case code == sarama.ErrClusterAuthorizationFailed:
		g.missing(describeCluster, api)
	}
}

// operations reads the bits of Kafka's authorized operations, one for each operation by its number.
func (g *grants) operations(r right, api string, bits int32) {
	const untold = math.MinInt32
	if bits != untold {
		g.note(evidence{r, api}, bits&(1<<sarama.AclOperationDescribe) != 0)
	}
}

// grant is a right that is known to be granted or missing.
type grant struct {
	right
	ok bool
}

// sum adds what this collection learned to what was known before, and says what that means.
func (g *grants) sum(known map[evidence]bool) []grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.Copy(known, g.known)
	rights := map[right]bool{}
	for e, ok := range known {
		before, seen := rights[e.right]
		rights[e.right] = ok && (before || !seen)
	}
	all := make([]grant, 0, len(rights))
	for r, ok := range rights {
		all = append(all, grant{r, ok})
	}
	slices.SortFunc(all, func(a, b grant) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.operation, b.operation))
	})
	return all
}

// stored compares the topics of which brokers hold partitions with those that the metadata show: topics that the exporter may not describe
// are kept from the latter without a word. A topic that was just made or deleted looks the same, but not the next time.
func (c *collection) stored(sizes map[string]int64) {
	var suspects []string
	again := false
	for topic := range sizes {
		if c.lists(topic) || !c.conf.Topics.Takes(topic) {
			continue
		}
		suspects = append(suspects, topic)
		again = again || slices.Contains(c.kept.suspects, topic)
	}
	c.kept.suspects = suspects
	switch {
	case again:
		c.grants.missing(describeTopic, apiDescribeLogDirs)
	case len(suspects) == 0 && len(sizes) > 0:
		c.grants.granted(describeTopic, apiDescribeLogDirs)
	}
}

// lists says whether the metadata showed the topic. The controllers' own log is none.
func (c *collection) lists(topic string) bool {
	_, shown := slices.BinarySearch(c.names, topic)
	return shown || topic == "__cluster_metadata"
}

// held is what a broker's log directories told of its topics.
type held struct {
	unlisted []string // those that the metadata did not show, the last time
	listed   bool     // there were none
}

// holds compares the topics of one broker with those that the metadata show, whatever the filter: how many partitions it leads can be counted
// only if all of them are there. What leads is alive and holds its partition, so that no other broker has to be asked.
func (c *collection) holds(broker int32, sizes map[string]int64) {
	before := c.kept.held[broker]
	now := held{listed: before.listed}
	again := false
	for topic := range sizes {
		if !c.lists(topic) {
			now.unlisted = append(now.unlisted, topic)
			again = again || slices.Contains(before.unlisted, topic) // not just made or deleted
		}
	}
	if len(now.unlisted) == 0 || again {
		now.listed = !again
	}
	c.kept.held[broker] = now
}
