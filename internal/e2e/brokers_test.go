//go:build e2e && brokers

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/loadgen/workload"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

const (
	brokers      = 3
	minInSync    = 2
	trials       = 5
	safeWorkload = "durable"
	offsetsTopic = "__consumer_offsets"
)

// TestThreeBrokers is a study under load that costs nobody a record: each change is rolled out to three brokers one after the other, and every record is on
// at least two of them before it is acknowledged.
func TestThreeBrokers(t *testing.T) {
	l := newLab(t)
	l.mustBox(t, nil, "down")
	before := machineNow(t, l)
	t.Cleanup(func() {
		if t.Failed() {
			pods, _ := l.kubectl("kubeconfig", "get", "pods", "-A")
			said, _ := l.kubectl("kubeconfig", "logs", "-n", "kafkalab", "tuner-0", "--tail=40")
			t.Logf("pods:\n%s\nthe tuner's log:\n%s", pods, said)
		}
		if out, err := l.box(nil, "down"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		compareMachine(t, before, machineNow(t, l))
	})
	load, err := workload.Preset(safeWorkload)
	if err != nil {
		t.Fatal(err)
	}
	if load.Producer.Acks != "all" {
		t.Fatalf("workload %s: want acks all, or this proves nothing (got %s)", load.Name, load.Producer.Acks)
	}
	file := fiveTrials(t, l)
	up := func(mode string) {
		began := time.Now()
		l.up(t, fmt.Sprintf("BROKERS=%d", brokers), "WORKLOAD="+load.Name, "LAB_FILE="+file, "TUNER_MODE="+mode)
		t.Logf("up in mode %s after %s", mode, time.Since(began).Round(time.Second))
	}

	up("observe") // nothing is changed before somebody watches
	l.mustBeHealthy(t, 3*time.Minute)
	replicated(t)
	generator := l.generator(t)
	o := l.observe(t)
	began := time.Now()
	up("auto")
	o.untilDone(t, 50*time.Minute)
	lasted := time.Since(began)
	t.Logf("the study took %s", lasted.Round(time.Second))
	l.verifyLedger(t)
	records := l.records(t)
	s := study.Fold(records)
	t.Run("five trials came to an end", func(t *testing.T) { fiveEnded(t, s, outcomes(records)) })
	t.Run("each change, and each way back, reached every broker", func(t *testing.T) { reachedAll(t, o, s) })
	o.stop()
	t.Run("no partition had fewer than two replicas in sync", func(t *testing.T) { o.synced.held(t, "in-sync replicas of a partition") })
	t.Run("no two brokers were away at a time", func(t *testing.T) { o.ready.held(t, "brokers that are ready") })
	if now := l.generator(t); now != generator {
		t.Errorf("the load generator was started anew, so what it counts is not the whole study: pod and restarts %q, before %q", now, generator)
	}
	counted := l.endLoad(t)
	t.Run("nothing is lost, and what came twice was sent again", func(t *testing.T) { deliveredOnce(t, counted, uint64(load.SLO.Min*lasted.Seconds()/2)) })
	t.Run("the consumer has read all that there is", func(t *testing.T) { readToTheEnd(t, load.Consumer.Group) })
}

// fiveTrials is lab.yaml with short windows, budgets for five trials, and an objective whose answer is known: more threads are better, of either kind, and
// nothing else matters. So the heap is taken back, two I/O threads and a network thread are kept, and the heap, tried once more from there, is taken back
// again, whatever the machine is doing. These are seven restarts, and the budget leaves none for a comparison with the start. The text is edited, since
// BROKERS finds its lines in it as they are in lab.yaml.
func fiveTrials(t *testing.T, l *lab) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.checkout, "lab.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, guarded := strings.Cut(string(data), "\nguards:\n")
	_, after, found := strings.Cut(rest, "\nwindows:\n")
	if !guarded || !found {
		t.Fatal("lab.yaml: want guards, and windows after them")
	}
	text := before + "\nwindows:\n" + after
	const moreThreads = `sum(avg_over_time(tuner_knob_effective{knob=~"io_threads|network_threads"}[$window]))`
	const alwaysMet = "0 * sum(rate(loadgen_records_acked_total[$window])) + 0.1" // the load holds the SLO as in the demo; here it decides nothing
	for was, is := range map[string]string{
		"    steps: [256, 512, 1024, 2048, 3072]":                                           "    steps: [256, 320]",
		"    steps: [1, 2, 4, 8, 16, 32]":                                                   "    steps: [2, 3, 4]",
		"    steps: [1, 2, 3, 4, 6, 8, 12, 16]":                                             "    steps: [1, 2]",
		"  goodput: sum(rate(loadgen_records_acked_total[$window]))\n":                      "  goodput: " + moreThreads + "\n",
		"  p99: histogram_quantile(0.99, sum(rate(loadgen_end_to_end_seconds[$window])))\n": "  p99: " + alwaysMet + "\n",
		"  settle: 10s\n":                      "  settle: 4s\n",
		"  warmup: 45s\n  warmup_limit: 90s\n": "  warmup: 4s\n  warmup_limit: 8s\n",
		"  window: 10s\n  count: 8\n":          "  window: 8s\n  count: 4\n",
		"  trials: 25\n  restarts: 60\n":       fmt.Sprintf("  trials: %d\n  restarts: 8\n", trials),
		"  recheck: 1h #":                      "  recheck: 0s #",
	} {
		if n := strings.Count(text, was); n != 1 {
			t.Fatalf("lab.yaml: want %q in it once (got it %d times)", was, n)
		}
		text = strings.Replace(text, was, is, 1)
	}
	short := filepath.Join(t.TempDir(), "lab.yaml")
	if err := os.WriteFile(short, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return short
}

// replicated: the load's topic is what the rest of the test is about.
func replicated(t *testing.T) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(kafkaClient(t))
	if err != nil {
		t.Fatal(err)
	}
	topics, err := admin.DescribeTopics([]string{labTopic})
	if err != nil {
		t.Fatal(err)
	}
	partitions := 0
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			partitions++
			if len(p.Replicas) != brokers {
				t.Fatalf("%s/%d: want %d replicas (got %v)", topic.Name, p.ID, brokers, p.Replicas)
			}
		}
	}
	if partitions == 0 {
		t.Fatalf("topic %s has no partitions", labTopic)
	}
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: labTopic, ConfigNames: []string{"min.insync.replicas"}}
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, r := range results {
		for _, e := range r.Configs {
			got = e.Value
		}
	}
	if got != strconv.Itoa(minInSync) {
		t.Fatalf("min.insync.replicas of topic %s: want %d (got %q)", labTopic, minInSync, got)
	}
	t.Logf("topic %s: %d partitions, %d replicas each, %s of them in sync needed", labTopic, partitions, brokers, got)
}

// generator says which run of the load generator this is.
func (l *lab) generator(t *testing.T) string {
	t.Helper()
	return l.admin(t, "get", "pods", "-n", "kafkalab", "-l", "app.kubernetes.io/name=loadgen", "-o",
		"jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount} {end}")
}

const (
	lookEvery = 250 * time.Millisecond
	readEvery = 2 * time.Second  // what a broker runs with changes by a restart only
	blindFor  = 10 * time.Second // a broker that restarts is away for longer, so it cannot hide between two looks
)

// worst is the lowest figure of all looks, and how far they were apart.
type worst struct {
	least int
	what  string // of the look that had it
	looks int
	last  time.Time
	gap   time.Duration
}

func (w *worst) note(n int, what string) {
	now := time.Now()
	w.looked(now)
	if n < w.least {
		w.least, w.what = n, now.Format(time.TimeOnly)+": "+what
	}
	w.looks++
}

func (w *worst) looked(now time.Time) { w.gap, w.last = max(w.gap, now.Sub(w.last)), now }

// held: one broker at a time was away, and no more. That none ever was would mean that the observer sees nothing.
func (w *worst) held(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: never fewer than %d in %d looks, at most %s apart", what, w.least, w.looks, w.gap.Round(time.Millisecond))
	switch want := brokers - 1; {
	case w.looks == 0:
		t.Errorf("%s: nothing was seen of them", what)
	case w.least < want:
		t.Errorf("%s: want never fewer than %d, got %d (%s)", what, want, w.least, w.what)
	case w.least > want:
		t.Errorf("%s: never fewer than %d, though every broker was restarted: the observer did not see it", what, w.least)
	}
	if w.gap > blindFor {
		t.Errorf("%s: nothing was seen of them for %s, want looks at most %s apart", what, w.gap, blindFor)
	}
}

// observer sees by itself, from the machine and not from the cluster, how the brokers fare while they are replaced: it asks each of them for the in-sync
// replicas and for what it runs with, and the API server for the pods.
type observer struct {
	conf *sarama.Config
	kube kubernetes.Interface
	stop func()

	mu     sync.Mutex
	synced worst              // in-sync replicas of the partition that has the fewest
	ready  worst              // brokers whose pods are ready
	ran    map[int32][]string // by broker, the configurations that it ran with, one after the other
}

func (l *lab) observe(t *testing.T) *observer {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{kafkaAddr}, ID: "e2e-observer"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(l.config)
	config.QPS = -1 // it looks by its own clock
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	all := kafkaClient(t).Brokers()
	if len(all) != brokers {
		t.Fatalf("want %d brokers (got %d)", brokers, len(all))
	}
	now := time.Now()
	o := &observer{conf: conf, kube: kube, synced: worst{least: brokers, last: now}, ready: worst{least: brokers, last: now}, ran: map[int32][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	for _, b := range all {
		id, addr := b.ID(), b.Addr()
		looking.Go(func() { o.watchReplicas(ctx, id, addr) })
		looking.Go(func() { o.watchSettings(ctx, id, addr) })
	}
	looking.Go(func() { o.watchPods(ctx) })
	o.stop = sync.OnceFunc(func() {
		ended := time.Now()
		cancel()
		looking.Wait()
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, w := range []*worst{&o.synced, &o.ready} {
			if ended.After(w.last) {
				w.looked(ended)
			}
		}
	})
	t.Cleanup(func() {
		o.stop()
		t.Log(o)
	})
	return o
}

func (o *observer) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("so far at least %d replicas in sync and %d brokers ready", o.synced.least, o.ready.least)
}

func (o *observer) ranWith(id int32) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.ran[id])
}

// every looks again and again until ctx ends.
func every(ctx context.Context, pause time.Duration, look func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for ctx.Err() == nil {
		look()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// watchReplicas asks one of the brokers, of which two answer while the third restarts. What one that has just started says may be old, but was true once.
func (o *observer) watchReplicas(ctx context.Context, id int32, addr string) {
	broker := sarama.NewBroker(addr)
	defer broker.Close()
	every(ctx, lookEvery, func() {
		_ = broker.Open(o.conf) // it may be open
		meta, err := broker.GetMetadata(&sarama.MetadataRequest{Version: 7, Topics: []string{labTopic, offsetsTopic}})
		if err != nil {
			return // it may be the one that is away
		}
		least, what := brokers+1, ""
		for _, topic := range meta.Topics {
			for _, p := range topic.Partitions {
				if len(p.Isr) < least {
					least, what = len(p.Isr), fmt.Sprintf("%s/%d had %v of %v in sync, as broker %d said", topic.Name, p.ID, p.Isr, p.Replicas, id)
				}
			}
		}
		if least > brokers {
			return // it does not know the topics yet
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.synced.note(least, what)
	})
}

func (o *observer) watchPods(ctx context.Context) {
	every(ctx, lookEvery, func() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		pods, err := o.kube.CoreV1().Pods("kafka").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=kafka"})
		if err != nil {
			return
		}
		var ready []string
		for _, p := range pods.Items {
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
					ready = append(ready, p.Name)
				}
			}
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ready.note(len(ready), fmt.Sprintf("only %v were", ready))
	})
}

// watchSettings notes each configuration that a broker runs with.
func (o *observer) watchSettings(ctx context.Context, id int32, addr string) {
	broker := sarama.NewBroker(addr)
	defer broker.Close()
	every(ctx, readEvery, func() {
		_ = broker.Open(o.conf) // it may be open
		point, err := o.runsWith(ctx, broker, strconv.Itoa(int(id)))
		if err != nil {
			return // it may be away
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if ran := o.ran[id]; len(ran) == 0 || ran[len(ran)-1] != point.Key() {
			o.ran[id] = append(ran, point.Key())
		}
	})
}

// runsWith asks the broker itself, and its JVM. A trial changes one knob, so two answers from before and after a restart are one of the two configurations
// all the same.
func (o *observer) runsWith(ctx context.Context, broker *sarama.Broker, id string) (space.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	knobs := map[string]string{"num.io.threads": "io_threads", "num.network.threads": "network_threads"}
	ask := &sarama.ConfigResource{Type: sarama.BrokerResource, Name: id, ConfigNames: slices.Collect(maps.Keys(knobs))}
	answer, err := broker.DescribeConfigs(&sarama.DescribeConfigsRequest{Version: 4, Resources: []*sarama.ConfigResource{ask}})
	if err != nil {
		return nil, err
	}
	point := space.Point{}
	for _, r := range answer.Resources {
		for _, e := range r.Configs {
			if point[knobs[e.Name]], err = strconv.ParseInt(e.Value, 10, 64); err != nil {
				return nil, err
			}
		}
	}
	if len(point) != len(knobs) {
		return nil, fmt.Errorf("broker %s does not say all of %v: %v", id, ask.ConfigNames, point)
	}
	heap, err := heapGauge(ctx, o.kube, "kafka-"+id, "jvm_memory_init_bytes")
	if err != nil {
		return nil, err
	}
	point["heap"] = int64(heap) >> 20
	return point, nil
}

// untilDone waits for the end of the study and says how far it is.
func (o *observer) untilDone(t *testing.T, limit time.Duration) {
	t.Helper()
	told := ""
	eventually(t, limit, "the end of the study", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s, err := tunerStatus(ctx)
		if err != nil {
			return err
		}
		now := string(s.State)
		if s.Trial != nil {
			now = fmt.Sprintf("trial %d of %d, %s, %s", s.Trial.Number, s.Budget.Trials, s.Trial.Summary(), s.Trial.Phase)
		}
		if now != told {
			t.Logf("%s: %s", now, o)
			told = now
		}
		if s.State != status.Done {
			return fmt.Errorf("%s (%s)", now, s.Reason)
		}
		return nil
	})
}

var counter = regexp.MustCompile(`(?m)^(acknowledged|failed|retried|consumed|lost|duplicated|reordered|corrupted) +(\d+)`)

// endLoad stops the load and gives the counters of its report. Those of records leave the warm-up out, in which no broker restarts; those of faults do not.
func (l *lab) endLoad(t *testing.T) map[string]uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	follow := exec.CommandContext(ctx, l.path("bin", "kube"), "kubectl", "--kubeconfig="+l.path("kubeconfig"), "logs", "--follow", "-n", "kafkalab", "deployment/loadgen")
	pipe, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	follow.Stderr = os.Stderr
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewReader(pipe)
	if _, err := log.ReadString('\n'); err != nil { // with the first line it follows: the report goes with the pod
		t.Fatalf("follow the load's log: %v", errors.Join(err, follow.Wait()))
	}
	l.admin(t, "scale", "deployment", "loadgen", "-n", "kafkalab", "--replicas=0")
	data, err := io.ReadAll(log)
	err = errors.Join(err, follow.Wait())
	said := string(data)
	report := said[max(0, strings.LastIndex(said, "\nworkload ")):]
	counted := map[string]uint64{}
	for _, row := range counter.FindAllStringSubmatch(report, -1) {
		n, err := strconv.ParseUint(row[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		counted[row[1]] = n
	}
	if len(counted) != 8 {
		t.Fatalf("the load ended without a whole report (%v), after\n%s", err, said[max(0, len(said)-5000):])
	}
	t.Logf("the load's report:%s", report)
	return counted
}

// fiveEnded: each trial was read back and judged, and what came of it is what the objective says.
func fiveEnded(t *testing.T, s *study.Study, got map[string][]ledger.Outcome) {
	for _, trial := range s.Trials {
		c := trial.Change
		t.Logf("trial %d: %s %d → %d: %s after %s: %s", trial.Number, c.Knob, c.Old, c.New, trial.Outcome, trial.Ended.Sub(trial.Started).Round(time.Second), trial.Reason)
		if !trial.Phase.Done() || trial.Outcome == "" {
			t.Errorf("trial %d: ended in phase %s with outcome %q", trial.Number, trial.Phase, trial.Outcome)
		}
		if read, want := trial.Effective.Key(), trial.Candidate.Key(); read != want {
			t.Errorf("trial %d: the tuner read back %q, want %q", trial.Number, read, want)
		}
	}
	if len(s.Trials) != trials {
		t.Errorf("%d trials, want %d", len(s.Trials), trials)
	}
	want := map[string][]ledger.Outcome{
		"heap":            {ledger.OutcomeReverted, ledger.OutcomeReverted},
		"io_threads":      {ledger.OutcomeKept, ledger.OutcomeKept},
		"network_threads": {ledger.OutcomeKept},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes by knob (-want +got):\n%s", diff)
	}
}

// reachedAll compares what each broker ran with, as it says itself, with what the ledger says was in force: the same configurations in the same order.
func reachedAll(t *testing.T, o *observer, s *study.Study) {
	want := []string{s.First.Key()}
	for _, trial := range s.Trials {
		want = append(want, trial.Candidate.Key())
		if after := trial.After.Key(); after != trial.Candidate.Key() {
			want = append(want, after)
		}
	}
	for id := range int32(brokers) {
		eventually(t, 30*time.Second, fmt.Sprintf("what broker %d ran with", id), func() error { // the last of it may just have begun
			if got := o.ranWith(id); !slices.Equal(got, want) {
				return fmt.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
			return nil
		})
	}
}

// deliveredOnce takes loadgen's own verifier at its word. A record that came twice is what acks=all without idempotence allows, but only where it was sent
// again: its first answer went with the broker.
func deliveredOnce(t *testing.T, counted map[string]uint64, least uint64) {
	t.Logf("%d acknowledged, %d lost, %d duplicated of %d retried, %d failed", counted["acknowledged"], counted["lost"], counted["duplicated"], counted["retried"], counted["failed"])
	if got := counted["acknowledged"]; got < least {
		t.Errorf("only %d records were acknowledged; want %d, half of the lowest rate that the load goes down to", got, least)
	}
	for _, fault := range []string{"lost", "corrupted"} {
		if n := counted[fault]; n > 0 {
			t.Errorf("%d records were %s", n, fault)
		}
	}
	if twice, again := counted["duplicated"], counted["retried"]; twice > again {
		t.Errorf("%d records came twice, but only %d were sent again", twice, again)
	}
}

// readToTheEnd: the group, which has no members any more, has committed what is the end of each partition.
func readToTheEnd(t *testing.T, group string) {
	client := kafkaClient(t)
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	partitions, err := client.Partitions(labTopic)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "every partition read to its end", func() error {
		committed, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{labTopic: partitions})
		if err != nil {
			return err
		}
		var records int64
		for _, p := range partitions {
			end, err := client.GetOffset(labTopic, p, sarama.OffsetNewest)
			if err != nil {
				return err
			}
			block := committed.GetBlock(labTopic, p)
			if block == nil || block.Err != sarama.ErrNoError || block.Offset != end {
				return fmt.Errorf("%s/%d ends at %d, group %s has committed %+v", labTopic, p, end, group, block)
			}
			records += end
		}
		t.Logf("%d records in %d partitions", records, len(partitions))
		return nil
	})
}
