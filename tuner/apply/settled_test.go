package apply_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/tuner/apply"
)

// TestSettled: a cluster of which one broker was restarted, as a rollout does.
func TestSettled(t *testing.T) {
	t.Parallel()
	slot(t)
	c := kafkatest.StartCluster(t, 2, kafkatest.Env(map[string]string{"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "15000"}))
	looks := apply.Brokers{Bootstrap: c.Addrs(), Timeout: 5 * time.Second}
	acts := looks
	acts.Elect = true
	c.Broker(1).Tool(t, "topics", "--create", "--topic", "t", "--replica-assignment", "2:1,2:1,1:2")
	healthy := func(b apply.Brokers) func() error { return func() error { return b.Healthy(t.Context()) } }
	says := func(part string) func() error {
		return func() error {
			if err := acts.Healthy(t.Context()); err == nil || !strings.Contains(err.Error(), part) {
				return fmt.Errorf("want %q (got %w)", part, err)
			}
			return nil
		}
	}
	eventually(t, "it is settled", healthy(acts))

	c.Broker(2).Stop(t)
	eventually(t, "a broker that is away is missed", says("is under-replicated: 1 of 2 replicas in sync"))
	c.Broker(2).Restart(t)
	eventually(t, "who only looks does not miss the preferred leaders", healthy(looks))
	leaders := func() string { return c.Broker(1).Tool(t, "topics", "--describe", "--topic", "t") }
	if out := leaders(); strings.Contains(out, "Leader: 2") {
		t.Fatalf("want the leaders to have moved by the restart, or this test shows nothing:\n%s", out)
	}
	eventually(t, "they are asked back", says("2 partitions are not led by their preferred replicas"))
	eventually(t, "they are back", healthy(acts))
	eventually(t, "broker 2 leads two partitions again", func() error {
		if out := leaders(); strings.Count(out, "Leader: 2") != 2 {
			return errors.New(out)
		}
		return nil
	})

	c.Broker(1).StartTool(t, "console-consumer", "--topic", "t", "--group", "g")
	eventually(t, "a group that forms is waited for", says("group g is not stable: PreparingRebalance"))
	eventually(t, "it is stable then", func() error {
		if err := acts.Healthy(t.Context()); err != nil {
			return err
		}
		if out := c.Broker(1).Tool(t, "consumer-groups", "--describe", "--group", "g", "--state"); !strings.Contains(out, "Stable") {
			return errors.New(out)
		}
		return nil
	})
}
