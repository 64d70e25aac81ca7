package apply_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/internal/kubetest"
	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// machine runs a real broker as a real StatefulSet's pod says: when the pod is replaced, the broker is restarted with the pod's variables.
type machine struct {
	*apply.Mixed
	brokers apply.Brokers
	broker  *kafkatest.Broker
	kube    *kube

	mu   sync.Mutex
	runs [3]string // heap, network, io
	want chan [3]string
}

func variablesOf(p corev1.Pod) [3]string {
	return [3]string{env(p, heap), env(p, "KAFKA_NUM_NETWORK_THREADS"), env(p, "KAFKA_NUM_IO_THREADS")}
}

// behave is ready once the broker runs with what the pod says.
func (m *machine) behave(p corev1.Pod) corev1.PodStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := variablesOf(p)
	if wanted == m.runs {
		return kubetest.Ready(p)
	}
	if wanted[0] == heapOf("2000m") { // more than the limit of 1Gi
		return kubetest.Crashing(p, "OOMKilled", 137, 2)
	}
	select {
	case m.want <- wanted:
	default:
	}
	return kubetest.Starting(p)
}

func newMachine(t *testing.T, s *kube, namespace, strategy string) *machine {
	t.Helper()
	m := &machine{runs: [3]string{heapOf("256m"), "3", "4"}, want: make(chan [3]string, 1), kube: s}
	slot(t)
	m.broker = kafkatest.Start(t, kafkatest.Deployed(), m.option(m.runs))
	s.in(namespace, m.behave)
	w := target(t, s, apply.StatefulSet, namespace, "serviceName: kafka\n  podManagementPolicy: Parallel\n  "+strategy)
	m.brokers = apply.Brokers{Bootstrap: []string{m.broker.Addr}, JVM: []string{"http://" + m.broker.MetricsAddr + "/metrics"}, Knobs: knobs(), Timeout: 30 * time.Second}
	m.Mixed = m.under(t, w.Under(1), slog.New(slog.NewTextHandler(t.Output(), nil)))
	m.roll(t)
	return m
}

func (m *machine) under(t *testing.T, w *apply.Workload, log *slog.Logger) *apply.Mixed {
	t.Helper()
	d, err := apply.NewDynamic(apply.DynamicConfig{Brokers: m.brokers, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := apply.NewMixed(apply.MixedConfig{
		Workload: w, Dynamic: d, Settings: map[string]string{"KAFKA_NUM_NETWORK_THREADS": network, "KAFKA_NUM_IO_THREADS": handler}, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return mixed
}

func (m *machine) option(e [3]string) kafkatest.Option {
	return kafkatest.Env(map[string]string{heap: e[0], "KAFKA_NUM_NETWORK_THREADS": e[1], "KAFKA_NUM_IO_THREADS": e[2]})
}

// roll waits for the rollout and meanwhile restarts the broker when a new pod wants other variables.
func (m *machine) roll(t *testing.T) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- m.Rollback(t.Context()) }()
	for {
		select {
		case wanted := <-m.want:
			if wanted == m.runs { // asked for again while the broker was restarted for it
				continue
			}
			m.broker.Restart(t, m.option(wanted))
			m.mu.Lock()
			m.runs = wanted
			m.mu.Unlock()
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

func (m *machine) set(t *testing.T, variable, old, new string) apply.View {
	t.Helper()
	v, err := m.Set(t.Context(), variable, old, new)
	if err != nil {
		t.Fatal(err)
	}
	if v.Env[variable] != new {
		t.Errorf("%s: want %s in the view (got %s)", variable, new, v.Env[variable])
	}
	return v
}

func (m *machine) effective(t *testing.T, heap, network, io int64) {
	t.Helper()
	got, err := m.brokers.Effective(t.Context())
	if diff := cmp.Diff(space.Point{"heap": heap, "network_threads": network, "io_threads": io}, got); err != nil || diff != "" {
		t.Errorf("read back: %v, -want +got:\n%s", err, diff)
	}
}

// variable is what the StatefulSet itself says.
func (m *machine) variable(t *testing.T, name string) string {
	t.Helper()
	v, err := m.Workload.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v.Env[name]
}

func (m *machine) from(t *testing.T, name string) apply.Source {
	t.Helper()
	all, err := m.brokers.Settings(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return all[m.broker.ID][name].Source
}

func mixed(t *testing.T, s *kube) {
	const networkVariable, ioVariable = "KAFKA_NUM_NETWORK_THREADS", "KAFKA_NUM_IO_THREADS"
	m := newMachine(t, s, "mixed", "")
	start, err := m.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lives, err := m.Lives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid := m.broker.PID()

	// Only dynamic settings: no restart of any kind.
	m.set(t, networkVariable, "3", "16")
	v := m.set(t, ioVariable, "4", "8")
	m.roll(t)
	m.effective(t, 256, 16, 8)
	now, err := m.Lives(t.Context())
	if err != nil || now.Since(lives) != nil || m.broker.PID() != pid {
		t.Errorf("want no restart (got %v, %v, process %d before and %d now)", now.Since(lives), err, pid, m.broker.PID())
	}
	if v.Rest != start.Rest || v.Generation != start.Generation || m.variable(t, networkVariable) != "3" {
		t.Errorf("want the template untouched (got %+v)", v)
	}
	if diff := cmp.Diff(map[string]string{networkVariable: "16", ioVariable: "8"}, v.Pending); diff != "" {
		t.Errorf("pending: -want +got:\n%s", diff)
	}
	// A tuner that starts while no broker can be asked knows it all the same.
	m.broker.Stop(t)
	if got, err := m.Look(t.Context()); err != nil || got.Env[networkVariable] != "16" || got.Env[ioVariable] != "8" {
		t.Errorf("want the values known without the broker (got %v, %v)", got.Env, err)
	}
	m.broker.Restart(t)
	m.roll(t)
	m.effective(t, 256, 16, 8) // and they come back after a restart

	// The next change that restarts anyway takes them along in the same patch, and nothing is left to hide them.
	m.set(t, heap, heapOf("256m"), heapOf("300m"))
	m.roll(t)
	m.effective(t, 300, 16, 8)
	if m.from(t, network) != apply.Static || m.from(t, handler) != apply.Static || m.variable(t, networkVariable) != "16" {
		t.Errorf("want the variables to say it, and no left-over (got %s, %s, %s)", m.from(t, network), m.from(t, handler), m.variable(t, networkVariable))
	}
	if v, err := m.Look(t.Context()); err != nil || len(v.Pending) > 0 {
		t.Errorf("want nothing pending (got %v, %v)", v.Pending, err)
	}

	// A heap that the pod cannot hold is taken back; the threads stay as they are.
	m.set(t, networkVariable, "16", "8")
	m.set(t, heap, heapOf("300m"), heapOf("2000m"))
	if err := m.Rollout(t.Context()); apply.ClassOf(err) != apply.OutOfMemory {
		t.Errorf("want it killed for memory (got %v)", err)
	}
	m.set(t, heap, heapOf("2000m"), heapOf("300m"))
	m.roll(t)
	m.effective(t, 300, 8, 8)
	if m.from(t, network) != apply.Static {
		t.Errorf("want nothing left (got %s)", m.from(t, network))
	}

	// What a person writes into the variable counts, although the metadata would hide it.
	before := m.set(t, ioVariable, "8", "16")
	m.kube.Kubectl(t, "-n", "mixed", "set", "env", "statefulset/kafka", ioVariable+"=6")
	seen, err := m.Look(t.Context())
	if got := seen.Since(before); err != nil || got == nil || got.Author != "kubectl-set" || seen.Env[ioVariable] != "6" {
		t.Errorf("want the person's value, and who it was (got %+v, %v, %v)", got, seen.Env, err)
	}
	if _, err := m.Set(t.Context(), ioVariable, "16", "32"); !errors.Is(err, apply.ErrChanged) {
		t.Errorf("want it left alone (got %v)", err)
	}
	m.roll(t)
	m.effective(t, 300, 8, 6)
	if m.from(t, handler) != apply.Static {
		t.Errorf("want nothing left that hides it (got %s)", m.from(t, handler))
	}
	// And so does what somebody sets at the brokers.
	before, err = m.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := dynamicOf(t, m.broker.Addr).alter(t, "", handler, "7"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is seen", func() error {
		seen, err := m.Look(t.Context())
		if err == nil && seen.Since(before) == nil {
			err = errors.New("not yet")
		}
		if err == nil && !strings.HasPrefix(seen.Since(before).Author, "unknown") {
			t.Errorf("want nobody blamed without a record (got %q)", seen.Since(before).Author)
		}
		return err
	})
}

// word is a logger's output that does something when a text is said.
type word struct {
	text string
	do   func()
}

func (w word) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		w.do()
	}
	return len(p), nil
}

// mixedWhereNothingRestarts: the variable is written at once when the workload restarts nothing by itself.
func mixedWhereNothingRestarts(t *testing.T, s *kube) {
	m := newMachine(t, s, "quiet", "updateStrategy: {type: OnDelete}")
	lives, err := m.Lives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.set(t, "KAFKA_NUM_IO_THREADS", "4", "8")
	m.roll(t)
	m.effective(t, 256, 3, 8)
	now, err := m.Lives(t.Context())
	if err != nil || now.Since(lives) != nil || m.variable(t, "KAFKA_NUM_IO_THREADS") != "8" {
		t.Errorf("want it written and no restart (got %v, %v, %s)", now.Since(lives), err, m.variable(t, "KAFKA_NUM_IO_THREADS"))
	}
	// Whoever deletes the pod gets the value from the variable, and then nothing is left over it.
	m.kube.Kubectl(t, "-n", "quiet", "delete", "pod", "kafka-0")
	acts := m.Mixed
	m.Mixed = m.under(t, m.Workload.Under(0), slog.New(slog.DiscardHandler)) // one that only looks leaves it there
	m.roll(t)
	m.effective(t, 256, 3, 8)
	if from := m.from(t, handler); !from.Dynamic() {
		t.Errorf("want a tuner that may not act to remove nothing (got %s)", from)
	}
	m.Mixed = acts
	eventually(t, "nothing is left over it", func() error {
		if err := m.Rollout(t.Context()); err != nil {
			return err
		}
		if from := m.from(t, handler); from != apply.Static {
			return fmt.Errorf("got %s", from)
		}
		return nil
	})
	// Another tuner takes over in the middle of a change: the hop that is about to be sent is not, and the other one goes on from there.
	const networkVariable = "KAFKA_NUM_NETWORK_THREADS"
	later := m.under(t, m.Workload.Under(2), slog.New(slog.DiscardHandler))
	takesOver := word{"num.network.threads to 12", func() {
		if err := later.Claim(t.Context()); err != nil {
			t.Error(err)
		}
	}}
	earlier := m.under(t, m.Workload.Under(1), slog.New(slog.NewTextHandler(takesOver, nil)))
	if err := earlier.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := earlier.Set(t.Context(), networkVariable, "3", "16"); !errors.Is(err, apply.ErrFenced) {
		t.Errorf("want it to stop on the way (got %v)", err)
	}
	m.effective(t, 256, 6, 8)
	if _, err := later.Set(t.Context(), networkVariable, "3", "16"); err != nil {
		t.Errorf("want the later one to go on (got %v)", err)
	}
	m.effective(t, 256, 16, 8)
}
