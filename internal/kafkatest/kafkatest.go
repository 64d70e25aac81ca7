// Package kafkatest runs a real Kafka for tests: a single node, or a few brokers and their controller.
//
// It promises brokers that answer requests on loopback, configured by the same KAFKA_* variables and started by the same script as the
// one in the Kafka image, each with a data directory of its own that outlives Restart and Kill; and that nothing of them is left when the test
// ends: no process even when the test program is killed, no file unless it is. It leaves out what a test does with them: topics and data.
//
// It needs Kafka's distribution in .lab/kafka of the checkout and a JRE: "make build" (or k8s-sandbox/image/build.sh kafka-dist) puts it
// there.
package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/child"
	"github.com/kafkalab/kafkalab/internal/kafka"
)

const (
	readyWithin = 3 * time.Minute // about 5 s on an idle machine; tests share it with compilers
	stopWithin  = 2 * time.Minute
	attempts    = 3 // at finding ports that nobody else takes first
)

// Broker is a running Kafka node.
type Broker struct {
	ID          int32
	Addr        string // host:port for clients
	MetricsAddr string // host:port of the JMX agent, path /metrics; empty without Deployed

	Secured *Secured // what Secure added; nil without it

	dir     string // config, data and log
	dist    string
	cluster string
	env     map[string]string
	roles   string  // KAFKA_PROCESS_ROLES
	quorum  string  // host:port of this node as a controller; empty when it is none
	leader  *Broker // the node that is the controller; itself when it is alone
	proc    *child.Process
	starts  int
}

// Option changes how the broker is started.
type Option func(*Broker)

// Env sets variables of the broker's process: KAFKA_NUM_IO_THREADS, KAFKA_HEAP_OPTS and so on. An empty value takes a variable away.
// Variables given earlier stay unless they are named again.
func Env(env map[string]string) Option {
	return func(b *Broker) {
		for k, v := range env {
			if v == "" {
				delete(b.env, k)
				continue
			}
			b.env[k] = v
		}
	}
}

// Deployed runs the node's JVM as the image does: with Kafka's own flags, and with the JMX agent. Without it a node starts in half the time.
func Deployed() Option {
	return Env(map[string]string{"KAFKA_JVM_PERFORMANCE_OPTS": "", "METRICS_LISTEN": ""})
}

// Start runs a new node and waits until it answers requests. At the end of the test it is stopped and its files are removed; if the test
// failed, the end of Kafka's log is shown.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b := newNode(t, 0, roleBroker+","+roleController, clusterID(), defaults(), opts)
	b.leader = b
	startNodes(t, []*Broker{b})
	if b.Secured != nil {
		if err := b.addUser(); err != nil {
			t.Fatalf("start kafka: %v", err)
		}
	}
	return b
}

// newNode prepares a node; its leader is set by the caller.
func newNode(t testing.TB, id int32, roles, cluster string, env map[string]string, opts []Option) *Broker {
	t.Helper()
	dist, err := findDist()
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{ID: id, roles: roles, dir: t.TempDir(), dist: dist, cluster: cluster, env: env}
	for _, opt := range opts {
		opt(b)
	}
	return b
}

// startNodes starts them at the same time, each in a process of its own, and waits until each answers.
func startNodes(t testing.TB, nodes []*Broker) {
	t.Helper()
	end := func() {
		for _, b := range nodes {
			b.end()
		}
	}
	t.Cleanup(func() {
		end()
		for _, b := range nodes {
			if t.Failed() {
				t.Logf("the end of the log of Kafka's node %d (%s):\n%s", b.ID, b.roles, b.Log(100))
			}
		}
	})
	for try := 1; ; try++ {
		err := choosePorts(nodes)
		if err == nil {
			err = launchAll(t.Context(), nodes)
		}
		if err == nil {
			return
		}
		// Between choosing a port and Kafka's bind someone else can have taken it.
		taken := slices.ContainsFunc(nodes, func(b *Broker) bool { return strings.Contains(b.Log(0), "Address already in use") })
		if try == attempts || !taken {
			t.Fatalf("start kafka: %v", err)
		}
		end()
		for _, b := range nodes {
			if err := os.RemoveAll(b.dataDir()); err != nil { // it knows the controller's old port
				t.Fatalf("start kafka again: %v", err)
			}
		}
	}
}

func launchAll(ctx context.Context, nodes []*Broker) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	problems := make([]error, len(nodes))
	for i, b := range nodes {
		all.Go(func() {
			if problems[i] = b.launch(ctx); problems[i] != nil {
				cancel() // the others may wait for this one
			}
		})
	}
	all.Wait()
	return errors.Join(problems...)
}

// Restart stops the node as Kubernetes would (SIGTERM, then a wait), applies further options and starts it again at the same addresses
// with the same data.
func (b *Broker) Restart(t testing.TB, opts ...Option) {
	t.Helper()
	b.Stop(t)
	for _, opt := range opts {
		opt(b)
	}
	if err := b.launch(t.Context()); err != nil {
		t.Fatalf("restart kafka: %v", err)
	}
}

// Stop ends the node gracefully. Restart starts it again.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	if b.proc == nil {
		return
	}
	if err := b.proc.Stop(stopWithin); err != nil {
		t.Fatalf("stop kafka: %v", err)
	}
	b.proc = nil
}

// Kill ends the node at once (SIGKILL), as a crash would. Restart starts it again.
func (b *Broker) Kill(t testing.TB) {
	t.Helper()
	if b.proc == nil {
		t.Fatal("kill kafka: it is not running")
	}
	b.proc.Kill()
	b.proc = nil
}

// Pause stops the node's process where it is (SIGSTOP): connections to it are accepted by the kernel, and nothing is answered. It cannot be
// stopped gracefully until Resume.
func (b *Broker) Pause(t testing.TB) { b.signal(t, syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (b *Broker) Resume(t testing.TB) { b.signal(t, syscall.SIGCONT) }

func (b *Broker) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if b.proc == nil {
		t.Fatalf("send %v to kafka: it is not running", s)
	}
	if err := b.proc.Signal(s); err != nil {
		t.Fatalf("send %v to kafka: %v", s, err)
	}
}

// PID is the process id of the broker's JVM, 0 when it is stopped.
func (b *Broker) PID() int {
	if b.proc == nil {
		return 0
	}
	return b.proc.PID()
}

// Log returns the last lines of everything the node has written since Start; 0 means all of it.
func (b *Broker) Log(lines int) string {
	log, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	log = bytes.TrimRight(log, "\n")
	if lines <= 0 {
		return string(log)
	}
	all := bytes.Split(log, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// launch starts the process and waits for an answer.
func (b *Broker) launch(ctx context.Context) error {
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	b.starts++
	fmt.Fprintf(log, "---- start %d ----\n", b.starts)

	cmd := exec.Command(filepath.Join(b.dist, "bin", "kafka-run"))
	cmd.Env = b.environ()
	cmd.Dir = b.dir
	cmd.Stdout, cmd.Stderr = log, log
	if b.proc, err = child.Start(cmd); err != nil {
		return err
	}
	if err := b.ready(ctx); err != nil {
		b.proc.Kill()
		b.proc = nil
		return err
	}
	return nil
}

// ready waits until the node says over Kafka's protocol that it is a registered broker and the controller is known: an open port alone is
// no sign of either. A node that is controller only is shown to be there by the brokers that register with it.
func (b *Broker) ready(ctx context.Context) error {
	if b.Addr == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("no answer yet")
	for {
		select {
		case <-b.proc.Done():
			return fmt.Errorf("kafka ended before it was ready: %v; its log ends with:\n%s", b.proc.Err(), b.Log(20))
		case <-ctx.Done():
			return fmt.Errorf("kafka was not ready within %s: %w", readyWithin, last)
		case <-tick.C:
		}
		if last = b.ask(nil); last == nil {
			return nil
		}
	}
}

// ask makes one metadata request of its own connection: the node has to list itself and those of the given ids.
func (b *Broker) ask(others []int32) error {
	conf, err := kafka.Client{Brokers: []string{b.Addr}, ID: "kafkatest", Timeout: 2 * time.Second}.Config()
	if err != nil {
		return err
	}
	br := sarama.NewBroker(b.Addr)
	if err := br.Open(conf); err != nil {
		return err
	}
	defer br.Close() //nolint:errcheck // only the answer matters
	meta, err := br.GetMetadata(&sarama.MetadataRequest{Version: 7})
	if err != nil {
		return err
	}
	var listed []int32
	for _, m := range meta.Brokers {
		listed = append(listed, m.ID())
	}
	for _, id := range append(others, b.ID) {
		if !slices.Contains(listed, id) || meta.ControllerID < 0 {
			return fmt.Errorf("metadata of broker %d: brokers %v, controller %d, want broker %d among them", b.ID, listed, meta.ControllerID, id)
		}
	}
	return nil
}

// end kills what is still running; the data is about to be removed, so there is nothing to be graceful for.
func (b *Broker) end() {
	if b.proc != nil {
		b.proc.Kill()
		b.proc = nil
	}
}

func (b *Broker) dataDir() string { return filepath.Join(b.dir, "data") }
func (b *Broker) logFile() string { return filepath.Join(b.dir, "kafka.log") }

// environ is what the process sees: what the script needs of ours, the addresses, then the test's own variables.
func (b *Broker) environ() []string {
	var listen, advertised, protocols []string
	for _, l := range b.listeners() {
		protocols = append(protocols, l.name+":"+l.protocol)
		if *l.addr == "" {
			continue // of a role that the node does not have
		}
		listen = append(listen, l.name+"://"+*l.addr)
		if l.addr != &b.quorum || b.Addr == "" {
			advertised = append(advertised, l.name+"://"+*l.addr)
		}
	}
	env := map[string]string{
		"PATH":           os.Getenv("PATH"),
		"JAVA_HOME":      os.Getenv("JAVA_HOME"),
		"CLUSTER_ID":     b.cluster,
		"RUN_DIR":        filepath.Join(b.dir, "run"),
		"METRICS_LISTEN": b.MetricsAddr,

		"KAFKA_PROCESS_ROLES":                  b.roles,
		"KAFKA_NODE_ID":                        strconv.Itoa(int(b.ID)),
		"KAFKA_LOG_DIRS":                       b.dataDir(),
		"KAFKA_LISTENERS":                      strings.Join(listen, ","),
		"KAFKA_ADVERTISED_LISTENERS":           strings.Join(advertised, ","),
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": strings.Join(protocols, ","),
		"KAFKA_CONTROLLER_QUORUM_VOTERS":       fmt.Sprintf("%d@%s", b.leader.ID, b.leader.quorum),
	}
	if archive := os.Getenv(archiveVar); exists(archive) {
		env["JAVA_TOOL_OPTIONS"] = "-XX:SharedArchiveFile=" + archive // also of the Java that reads these variables before Kafka itself is started
	}
	maps.Copy(env, b.env)
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	return list
}

// defaults keep a test's broker small and quick; Env overrides each.
func defaults() map[string]string {
	return map[string]string{
		"METRICS_LISTEN":  "off",
		"KAFKA_HEAP_OPTS": "-Xms256m -Xmx256m",
		// The quick compiler and the simple collector: a test's node lives for seconds.
		"KAFKA_JVM_PERFORMANCE_OPTS":                 "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true -XX:+ExitOnOutOfMemoryError",
		"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS":         "4",
		"KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":     "0",
	}
}

// clusterID is 16 random bytes as Kafka writes them. The first is below 0x80, because Kafka refuses an id that begins with a dash.
func clusterID() string {
	var id [16]byte
	rand.Read(id[:]) //nolint:errcheck // it never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// findDist looks for .lab/kafka from the test's folder upwards.
func findDist() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find kafka: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			dist := filepath.Join(dir, ".lab", "kafka")
			if _, err := os.Stat(filepath.Join(dist, "bin", "kafka-run")); err == nil {
				return dist, nil
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find kafka: .lab/kafka is not in the checkout: run \"make build\" (it needs a JDK and Maven)")
		}
		dir = up
	}
}
