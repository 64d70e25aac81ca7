package kafkatest_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

func TestTheBrokersOfAClusterAreStoppedOneByOne(t *testing.T) {
	t.Parallel()
	// A broker that is silent for so long is no longer part of the cluster.
	c := kafkatest.StartCluster(t, 3, kafkatest.Env(map[string]string{"KAFKA_BROKER_SESSION_TIMEOUT_MS": "3000", "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500"}))
	for _, b := range c.Brokers {
		wantBrokers(t, b, 1, 2, 3)
	}

	c.Broker(2).Pause(t)
	if _, err := brokers(c.Broker(2)); !timedOut(err) {
		t.Errorf("paused broker: got %v, want a connection and no answer", err)
	}
	c.Broker(3).Kill(t)
	if _, err := brokers(c.Broker(3)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("killed broker: got %v, want no connection", err)
	}
	wantBrokers(t, c.Broker(1), 1)

	c.Broker(2).Resume(t)
	wantBrokers(t, c.Broker(1), 1, 2)
	c.Broker(3).Restart(t)
	for _, b := range c.Brokers {
		wantBrokers(t, b, 1, 2, 3)
	}
}

// wantBrokers waits until the broker lists those with the ids and no others.
func wantBrokers(t *testing.T, b *kafkatest.Broker, want ...int32) {
	t.Helper()
	within(t, 30*time.Second, fmt.Sprintf("broker %d lists %v", b.ID, want), func() error {
		got, err := brokers(b)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	})
}

// brokers asks one broker, and no other, for the ids of those that are there.
func brokers(b *kafkatest.Broker) ([]int32, error) {
	conf, err := kafka.Client{Brokers: []string{b.Addr}, ID: "kafkatest-test", Timeout: time.Second}.Config()
	if err != nil {
		return nil, err
	}
	one := sarama.NewBroker(b.Addr)
	if err := one.Open(conf); err != nil {
		return nil, err
	}
	defer one.Close()
	meta, err := one.GetMetadata(&sarama.MetadataRequest{Version: 7})
	if err != nil {
		return nil, err
	}
	var ids []int32
	for _, m := range meta.Brokers {
		ids = append(ids, m.ID())
	}
	slices.Sort(ids)
	return ids, nil
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestAKilledTestProgramLeavesNoBroker(t *testing.T) {
	if os.Getenv("KAFKATEST_CHILD") != "" {
		c := kafkatest.StartCluster(t, 1)
		c.Broker(1).Pause(t) // it cannot see to its own end
		fmt.Printf("child-brokers %d %d\n", c.Controller.PID(), c.Broker(1).PID())
		select {} // until the parent kills this program
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledTestProgramLeavesNoBroker$", "-test.v")
	// The child is killed before it can remove its files: they go with this test's own folder.
	cmd.Env = append(os.Environ(), "KAFKATEST_CHILD=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids, said []string
	for lines := bufio.NewScanner(out); pids == nil && lines.Scan(); {
		said = append(said, lines.Text())
		if _, rest, ok := strings.Cut(lines.Text(), "child-brokers "); ok {
			pids = strings.Fields(rest)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if len(pids) != 2 {
		t.Fatalf("the child started no cluster: %s", strings.Join(said, "\n"))
	}
	within(t, time.Minute, "the cluster is gone", func() error {
		for _, text := range pids {
			pid, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			if alive(pid) {
				return fmt.Errorf("process %d is still there", pid)
			}
		}
		return nil
	})
}
