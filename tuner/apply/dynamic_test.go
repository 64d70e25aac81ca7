package apply_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/tuner/apply"
)

func TestHops(t *testing.T) {
	for name, c := range map[string]struct {
		from, to int64
		want     []int64
	}{
		"up":                       {3, 16, []int64{6, 12, 16}},
		"down, in whole numbers":   {16, 3, []int64{8, 4, 3}},
		"an odd number down":       {7, 1, []int64{3, 1}},
		"from three the floor is":  {3, 1, []int64{1}},
		"exactly double":           {4, 8, []int64{8}},
		"exactly half":             {8, 4, []int64{4}},
		"nowhere":                  {5, 5, nil},
		"from one":                 {1, 5, []int64{2, 4, 5}},
		"to what no broker allows": {4, 0, []int64{2, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, apply.Hops(c.from, c.to)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

const (
	network = "num.network.threads"
	handler = "num.io.threads"
)

// live is a running cluster whose settings are changed; said collects what was asked of it.
type live struct {
	*apply.Dynamic
	brokers apply.Brokers
	said    *bytes.Buffer
}

func dynamicOf(t *testing.T, addrs ...string) live {
	t.Helper()
	l := live{brokers: apply.Brokers{Bootstrap: addrs, Timeout: 30 * time.Second}, said: &bytes.Buffer{}}
	var err error
	l.Dynamic, err = apply.NewDynamic(apply.DynamicConfig{Brokers: l.brokers, Logger: slog.New(slog.NewTextHandler(l.said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// asked are the changes that were sent since the last time.
func (l live) asked() (what []string) {
	for _, m := range regexp.MustCompile(`what="([^"]*)"`).FindAllStringSubmatch(l.said.String(), -1) {
		what = append(what, m[1])
	}
	l.said.Reset()
	return what
}

func (l live) set(t *testing.T, name, old, new string) {
	t.Helper()
	if err := l.Set(t.Context(), name, old, new); err != nil {
		t.Fatal(err)
	}
}

// has checks value and source of a setting on every broker.
func (l live) has(t *testing.T, name, value string, from apply.Source) {
	t.Helper()
	if err := l.differs(t, name, value, from); err != nil {
		t.Error(err)
	}
}

func (l live) differs(t *testing.T, name, value string, from apply.Source) error {
	all, err := l.brokers.Settings(t.Context(), name)
	if err != nil {
		return err
	}
	var differ []error
	for _, id := range all.Brokers() {
		if got := all[id][name]; got.Value != value || got.Source != from {
			differ = append(differ, fmt.Errorf("%s on broker %d: want %s (%s) (got %s)", name, id, value, from, got))
		}
	}
	return errors.Join(differ...)
}

// alter does what somebody else would do.
func (l live) alter(t *testing.T, broker, name, value string) error {
	t.Helper()
	conf, err := kafka.Client{Brokers: l.brokers.Bootstrap, ID: "somebody-else", Timeout: 30 * time.Second}.Config()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin(l.brokers.Bootstrap, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for try := 1; ; try++ { // a broker that gives up network threads closes their connections
		err := admin.IncrementalAlterConfig(sarama.BrokerResource, broker,
			map[string]sarama.IncrementalAlterConfigsEntry{name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false)
		if !errors.Is(err, io.EOF) || try == 5 {
			return err
		}
	}
}

// threads counts a broker's threads of one kind, by a dump that the JVM itself writes: not by what the configuration says.
func threads(t *testing.T, b *kafkatest.Broker, kind string) int {
	t.Helper()
	before := len(b.Log(0))
	if err := syscall.Kill(b.PID(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	var dump string
	eventually(t, "the JVM has written its threads", func() error {
		if dump = b.Log(0)[before:]; !strings.Contains(dump, "JNI global ref") { // its end
			return errors.New("not yet")
		}
		return nil
	})
	return len(regexp.MustCompile(`(?m)^"data-plane-kafka-`+kind+`-`).FindAllString(dump, -1))
}

// slots are for tests that run brokers: they need the processors for a while. Each holds one until it ends.
var slots = make(chan struct{}, 3)

func slot(t *testing.T) {
	t.Helper()
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
}

func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func variables(network, io string) kafkatest.Option {
	return kafkatest.Env(map[string]string{"KAFKA_NUM_NETWORK_THREADS": network, "KAFKA_NUM_IO_THREADS": io})
}

func TestThreadsChangeWithoutARestart(t *testing.T) {
	t.Parallel()
	slot(t)
	b := kafkatest.Start(t, variables("3", "4"))
	l, pid := dynamicOf(t, b.Addr), b.PID()
	// A node that is a controller too has several of each pool.
	sockets, pools := threads(t, b, "network-thread")/3, threads(t, b, "request-handler")/4
	if sockets == 0 || pools == 0 {
		t.Fatal("want the broker's threads in the dump")
	}

	if err := l.alter(t, "", network, "16"); !errors.Is(err, sarama.ErrInvalidConfig) && !errors.Is(err, sarama.ErrInvalidRequest) {
		t.Errorf("want Kafka to refuse the whole way at once, which is why there are hops (got %v)", err)
	}
	l.set(t, network, "3", "16")
	want := []string{"set num.network.threads to 6", "set num.network.threads to 12", "set num.network.threads to 16"}
	if diff := cmp.Diff(want, l.asked()); diff != "" {
		t.Errorf("hops: -want +got:\n%s", diff)
	}
	l.has(t, network, "16", apply.DynamicDefault)
	eventually(t, "the JVM runs 16 network threads", func() error { return equal(threads(t, b, "network-thread"), 16*sockets) })
	l.set(t, handler, "4", "8")
	eventually(t, "the JVM runs 8 I/O threads", func() error { return equal(threads(t, b, "request-handler"), 8*pools) })
	if b.PID() != pid {
		t.Error("the broker was restarted")
	}

	// The cluster keeps it over a restart; the broker may need the hops again.
	b.Restart(t)
	l.set(t, network, "3", "16")
	l.set(t, handler, "4", "8")
	l.has(t, network, "16", apply.DynamicDefault)
	// Once the file says the same, nothing needs to hide it any more.
	b.Restart(t, variables("16", "8"))
	l.asked()
	l.set(t, network, "3", "16")
	l.set(t, handler, "8", "8")
	l.has(t, network, "16", apply.Static)
	l.has(t, handler, "8", apply.Static)
	if diff := cmp.Diff([]string{"remove num.network.threads", "remove num.io.threads"}, l.asked()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What is as it should be needs no request; and a way back ends at the file's value with nothing left.
	l.set(t, network, "3", "16")
	l.set(t, network, "16", "3")
	l.set(t, network, "3", "16")
	l.has(t, network, "16", apply.Static)
}

func equal(got, want int) error {
	if got != want {
		return fmt.Errorf("want %d (got %d)", want, got)
	}
	return nil
}

func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	slot(t)
	b := kafkatest.Start(t, variables("3", "4"))
	l := dynamicOf(t, b.Addr)
	for name, c := range map[string]struct{ setting, old, new, says string }{
		"a setting that needs a restart":   {"queued.max.requests", "500", "100", "only by a restart"},
		"a setting that is not there":      {"num.dream.threads", "1", "2", "knows no such setting"},
		"a value that Kafka refuses":       {"compression.type", "producer", "string", "set compression.type to string"},
		"a way that ends in the forbidden": {handler, "4", "0", "set num.io.threads to 0"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := l.Set(t.Context(), c.setting, c.old, c.new); !errors.Is(err, apply.ErrRefused) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want it refused with %q (got %v)", c.says, err)
			}
		})
	}
	l.has(t, handler, "4", apply.Static)
	l.has(t, "compression.type", "producer", apply.Default)

	if err := l.alter(t, "", handler, "5"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broker has what somebody else set", func() error {
		s, err := l.brokers.Settings(t.Context(), handler)
		if err == nil && s[b.ID][handler].Value != "5" {
			err = fmt.Errorf("got %s", s[b.ID][handler])
		}
		return err
	})
	err := l.Set(t.Context(), handler, "4", "8")
	if !errors.Is(err, apply.ErrChanged) || !strings.Contains(err.Error(), "got 5 (DYNAMIC_DEFAULT_BROKER_CONFIG) on broker 0") {
		t.Errorf("want it left, with the value named (got %v)", err)
	}
	l.has(t, handler, "5", apply.DynamicDefault)
}

// TestEveryBrokerGetsIt: brokers with values of their own, which hide the cluster's, and one that was left half-way.
func TestEveryBrokerGetsIt(t *testing.T) {
	t.Parallel()
	slot(t)
	c := kafkatest.StartCluster(t, 2, variables("3", "4"))
	l := dynamicOf(t, c.Addrs()...)
	if err := l.alter(t, "1", handler, "8"); err != nil { // a hop of a tuner that was killed
		t.Fatal(err)
	}
	if err := l.alter(t, "2", network, "3"); err != nil { // the same value as before, but left over
		t.Fatal(err)
	}
	left := func(name string, id int32) func() error {
		return func() error {
			s, err := l.brokers.Settings(t.Context(), name)
			if err == nil && s[id][name].Source != apply.DynamicBroker {
				err = fmt.Errorf("got %s", s[id][name])
			}
			return err
		}
	}
	eventually(t, "broker 1 has its own", left(handler, 1))
	eventually(t, "broker 2 has its own", left(network, 2))
	l.set(t, handler, "4", "16")
	l.set(t, network, "3", "6")
	l.has(t, handler, "16", apply.DynamicDefault)
	l.has(t, network, "6", apply.DynamicDefault)
	all, err := l.brokers.Settings(t.Context(), handler, network)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range all.Brokers() {
		for name, s := range all[id] {
			if v, own := s.Values[apply.DynamicBroker]; own {
				t.Errorf("broker %d has still %s of its own for %s", id, v, name)
			}
		}
	}
	// And back: what the files say is in force again, and nothing hides it.
	l.set(t, handler, "16", "4")
	l.set(t, network, "6", "3")
	l.has(t, handler, "4", apply.Static)
	l.has(t, network, "3", apply.Static)
	if got := l.asked(); !slices.Contains(got, "set num.io.threads to 16 on broker 1") {
		t.Errorf("want brokers with values of their own brought along one by one (got %q)", got)
	}
}
