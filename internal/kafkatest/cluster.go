package kafkatest

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"
)

const (
	mostBrokers  = 5   // a node takes about 250 MB
	controllerID = 100 // no broker's id
)

// Cluster is a few brokers, with the ids 1, 2, 3 and so on, and one node beside them that is controller only: so each broker can be stopped,
// paused and killed by itself, and the rest of the cluster gets to know.
type Cluster struct {
	Brokers    []*Broker
	Controller *Broker // has no Addr
}

// StartCluster runs that many brokers and waits until each knows all of them. Options count for every node. At the end of the test all are
// stopped and their files removed, however they were left.
func StartCluster(t testing.TB, brokers int, opts ...Option) *Cluster {
	t.Helper()
	if brokers < 1 || brokers > mostBrokers {
		t.Fatalf("start kafka: want 1 to %d brokers (got %d)", mostBrokers, brokers)
	}
	id := clusterID()
	c := &Cluster{Controller: newNode(t, controllerID, roleController, id, nodeDefaults(brokers), opts)}
	c.Controller.leader = c.Controller
	nodes := []*Broker{c.Controller}
	for i := range brokers {
		b := newNode(t, int32(i+1), roleBroker, id, nodeDefaults(brokers), opts)
		b.leader = c.Controller
		c.Brokers = append(c.Brokers, b)
	}
	startNodes(t, append(nodes, c.Brokers...))
	if err := c.whole(); err != nil {
		t.Fatalf("start kafka: %v", err)
	}
	if b := c.Brokers[0]; b.Secured != nil {
		if err := b.addUser(); err != nil {
			t.Fatalf("start kafka: %v", err)
		}
	}
	return c
}

// Broker returns the one with the id.
func (c *Cluster) Broker(id int32) *Broker { return c.Brokers[id-1] }

// Addrs are the brokers' addresses for clients, in the order of the ids.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Brokers))
	for i, b := range c.Brokers {
		addrs[i] = b.Addr
	}
	return addrs
}

// whole waits until each broker lists all others: until then they give different answers.
func (c *Cluster) whole() error {
	ids := make([]int32, len(c.Brokers))
	for i, b := range c.Brokers {
		ids[i] = b.ID
	}
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(50 * time.Millisecond) {
		var problems []error
		for _, b := range c.Brokers {
			problems = append(problems, b.ask(ids))
		}
		err := errors.Join(problems...)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the brokers did not find each other within %s: %w", readyWithin, err)
		}
	}
}

// nodeDefaults keep several nodes beside each other small, and quick to start; Kafka's own topics are replicated as in a cluster that somebody
// relies on.
func nodeDefaults(brokers int) map[string]string {
	env := defaults()
	replicas := strconv.Itoa(min(brokers, 3))
	for _, name := range []string{"OFFSETS_TOPIC", "TRANSACTION_STATE_LOG", "SHARE_COORDINATOR_STATE_TOPIC"} {
		env["KAFKA_"+name+"_REPLICATION_FACTOR"] = replicas
	}
	env["KAFKA_HEAP_OPTS"] = "-Xms64m -Xmx192m"
	env["KAFKA_LOG_CLEANER_DEDUPE_BUFFER_SIZE"] = "4194304"
	return env
}
