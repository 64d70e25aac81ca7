package kafkatest_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// TestMakeTheArchive is no test: it serves those that run after it, in other programs too.
func TestMakeTheArchive(t *testing.T) {
	name := os.Getenv("KAFKATEST_ARCHIVE")
	if name == "" {
		t.Skip("KAFKATEST_ARCHIVE names no file")
	}
	if _, err := os.Stat(name); err == nil {
		t.Skip("it is there")
	}
	kafkatest.MakeArchive(t, name)
}

func TestTheBroker(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, kafkatest.Deployed(), kafkatest.Env(map[string]string{
		"KAFKA_NUM_NETWORK_THREADS": "1",
		"KAFKA_NUM_IO_THREADS":      "2",
	}))

	t.Run("has the threads and the heap that the environment asked for", func(t *testing.T) {
		wantConfig(t, b, "num.network.threads", "1")
		wantConfig(t, b, "num.io.threads", "2")
		wantHeap(t, b, 256<<20)
	})

	produce(t, b, "before restart")
	b.Restart(t, kafkatest.Env(map[string]string{
		"KAFKA_HEAP_OPTS":           "-Xms320m -Xmx320m",
		"KAFKA_NUM_NETWORK_THREADS": "3",
		"KAFKA_NUM_IO_THREADS":      "5",
	}))
	t.Run("has other threads and another heap after a restart with another environment", func(t *testing.T) {
		wantConfig(t, b, "num.network.threads", "3")
		wantConfig(t, b, "num.io.threads", "5")
		wantHeap(t, b, 320<<20)
	})
	t.Run("keeps its data over a restart", func(t *testing.T) { wantRecords(t, b, "before restart") })
	t.Run("stops gracefully, not by force", func(t *testing.T) {
		if !strings.Contains(b.Log(0), "shut down completed (kafka.server.BrokerServer)") {
			t.Errorf("Kafka's log shows no orderly end:\n%s", b.Log(30))
		}
	})

	produce(t, b, "before kill")
	pid := b.PID()
	b.Kill(t)
	if alive(pid) {
		t.Errorf("process %d is there after Kill", pid)
	}
	b.Restart(t)
	t.Run("keeps acknowledged data over a crash", func(t *testing.T) { wantRecords(t, b, "before restart", "before kill") })
	t.Run("keeps the environment over a crash", func(t *testing.T) { wantConfig(t, b, "num.io.threads", "5") })
}

func TestAConfigurationThatKafkaRefusesIsReportedInItsWords(t *testing.T) {
	t.Parallel()
	var said string
	rec := &recorder{TB: t, said: &said}
	done := make(chan struct{})
	go func() {
		defer close(done)
		kafkatest.Start(rec, kafkatest.Env(map[string]string{"KAFKA_NUM_IO_THREADS": "many"}))
	}()
	<-done
	if want := "Invalid value many for configuration num.io.threads"; !strings.Contains(said, want) {
		t.Errorf("got failure %q, want it to contain %q", said, want)
	}
}

func TestWithoutTheDistributionItSaysHowToGetIt(t *testing.T) {
	t.Chdir(t.TempDir())
	var said string
	rec := &recorder{TB: t, said: &said}
	done := make(chan struct{})
	go func() {
		defer close(done)
		kafkatest.Start(rec)
	}()
	<-done
	if !strings.Contains(said, "make build") {
		t.Errorf("got failure %q, want it to name make build", said)
	}
}

// recorder takes what would fail a test; Fatal ends its goroutine as in a real one.
type recorder struct {
	testing.TB
	said *string
}

func (r *recorder) Fatal(args ...any) { *r.said = fmt.Sprint(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	*r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// alive says whether the process runs; one that has ended but that nobody has reaped does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func config(t *testing.T, b *kafkatest.Broker) (string, *sarama.Config) {
	t.Helper()
	c, err := kafka.Client{Brokers: []string{b.Addr}, ID: "kafkatest-test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Metadata.AllowAutoTopicCreation = true
	c.Metadata.Retry.Max, c.Producer.Retry.Max = 100, 100 // a topic that has just been asked for has no leader yet
	return b.Addr, c
}

func wantConfig(t *testing.T, b *kafkatest.Broker, name, want string) {
	t.Helper()
	addr, conf := config(t, b)
	admin, err := sarama.NewClusterAdmin([]string{addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	resource := &sarama.ConfigResource{Type: sarama.BrokerResource, Name: "0", ConfigNames: []string{name}}
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || len(results[0].Configs) != 1 || results[0].Configs[0].Value != want {
		t.Errorf("broker's %s: got %+v, want %s", name, results, want)
	}
}

func wantHeap(t *testing.T, b *kafkatest.Broker, want float64) {
	t.Helper()
	resp, err := http.Get("http://" + b.MetricsAddr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, `jvm_memory_max_bytes{area="heap"} `); ok {
			got, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil || got != want {
				t.Errorf("heap of the JVM: got %s, want %.0f", rest, want)
			}
			return
		}
	}
	t.Errorf("no jvm_memory_max_bytes{area=\"heap\"} in %d bytes of metrics", len(page))
}

func produce(t *testing.T, b *kafkatest.Broker, value string) {
	t.Helper()
	addr, conf := config(t, b)
	p, err := sarama.NewSyncProducer([]string{addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "kept", Value: sarama.StringEncoder(value)}); err != nil {
		t.Fatal(err)
	}
}

// wantRecords compares the whole topic with want.
func wantRecords(t *testing.T, b *kafkatest.Broker, want ...string) {
	t.Helper()
	addr, conf := config(t, b)
	c, err := sarama.NewConsumer([]string{addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var part sarama.PartitionConsumer
	within(t, 30*time.Second, "the partition is led", func() (err error) {
		part, err = c.ConsumePartition("kept", 0, sarama.OffsetOldest)
		return err
	})
	defer part.Close()
	for i, value := range want {
		select {
		case got := <-part.Messages():
			if got.Offset != int64(i) || string(got.Value) != value {
				t.Errorf("record %d: got %q at offset %d, want %q", i, got.Value, got.Offset, value)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("record %d: nothing came, want %q", i, value)
		}
	}
}

func within(t *testing.T, limit time.Duration, what string, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("within %s: %s: %v", limit, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
