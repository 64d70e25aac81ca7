package trial_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kafkalab/kafkalab/internal/kubetest"
	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/lead"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/observe"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// The tests of this file kill real processes: this test's own program, which is a tuner when asked to be. It acts on a real API server with the real
// controllers; broker and measurements are simulated, and depend on the configuration and the seed alone.

// plan is what such a tuner is told.
type plan struct {
	Kubeconfig string
	Namespace  string
	Ledger     string
	Seed       uint64
	Lease      time.Duration // 0: it needs none
	Recheck    time.Duration // whether the winner is measured in turns
	Edges      string        // a file of the records before and after which it has killed itself already; empty: it does not
	Done       string        // a file that it makes when the search has ended
}

const planned = "TRIAL_TEST_PLAN"

func TestMain(m *testing.M) {
	if text := os.Getenv(planned); text != "" {
		var p plan
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			panic(err)
		}
		if err := p.run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // most of the time they wait; a flag of go test's still counts
		panic(err)
	}
	os.Exit(m.Run())
}

const quick = `
version: 1
mode: auto
target: {namespace: kafka, name: kafka, container: kafka, bootstrap: ["kafka:9092"], jvm_metrics: ["http://kafka:9404/metrics"]}
prometheus: {url: "http://prometheus:9090", scrape_interval: 100ms}
knobs:
- {name: io, env: IO, format: "{v}", unit: threads, min: 1, max: 8, steps: [2, 4], readback: "broker-config:num.io.threads"}
- {name: net, env: NET, format: "{v}", unit: threads, min: 1, max: 8, steps: [1, 2], readback: "broker-config:num.network.threads"}
objective: {slo: 200ms}
windows: {settle: 0s, settle_limit: 30s, warmup: 0s, warmup_limit: 1s, window: 400ms, count: 4, rollout: 3m, max_age: 10m}
`

func quickFile() (config.File, error) { return config.Parse("quick", []byte(quick)) }

func (p plan) run() error {
	f, err := quickFile()
	if err != nil {
		return err
	}
	f.Budgets.Recheck = p.Recheck
	clients, err := apply.Connect(p.Kubeconfig)
	if err != nil {
		return err
	}
	client := clients.Kube
	w, err := apply.New(apply.Config{
		Client: client, Target: apply.Target{Namespace: p.Namespace, Name: "kafka", Container: "kafka"}, Variables: []string{"IO", "NET"},
		Deadline: f.Windows.Rollout, Poll: 50 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx := context.Background()
	if p.Lease == 0 {
		return p.term(ctx, f, w, 0, log)
	}
	e, err := lead.New(lead.Config{
		Client: client, Namespace: p.Namespace, Name: "tuner", Identity: strconv.Itoa(os.Getpid()), Lease: p.Lease, Logger: log, Highest: w.Highest,
	})
	if err != nil {
		return err
	}
	return e.Run(ctx, func(ctx context.Context, term int64) error {
		own := w.Under(term)
		if err := own.Claim(ctx); err != nil {
			log.Warn("claim", "err", err)
			return nil
		}
		err := p.term(ctx, f, own, term, log)
		if errors.Is(err, apply.ErrFenced) || errors.Is(err, ledger.ErrLocked) {
			log.Warn("stops", "err", err)
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		return err
	})
}

func (p plan) term(ctx context.Context, f config.File, w *apply.Workload, term int64, log *slog.Logger) error {
	book, records, err := ledger.Open(p.Ledger)
	if err != nil {
		return err
	}
	defer book.Close()
	s := simulated{Workload: w, seed: p.Seed, knobs: f.Space()}
	c := trial.Config{File: f, Cluster: w, Broker: s, Meter: s, Herald: w, Journal: suicidal{book, p.Edges}, Records: records, Term: term, Logger: log}
	c.Board = status.NewBoard(trial.First(c))
	r, err := trial.New(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for c.Board.Snapshot().State != status.Done && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		if ctx.Err() == nil {
			_ = os.WriteFile(p.Done, nil, 0o600)
		}
	}()
	return r.Run(ctx)
}

// simulated is the broker and the load of the configuration that the workload has.
type simulated struct {
	*apply.Workload
	seed  uint64
	knobs []space.Knob
}

func (s simulated) point(ctx context.Context) (space.Point, error) {
	view, err := s.Look(ctx)
	if err != nil {
		return nil, err
	}
	return space.Parse(s.knobs, view.Env)
}

func (s simulated) Effective(ctx context.Context) (space.Point, error) { return s.point(ctx) }
func (s simulated) Healthy(context.Context) error                      { return nil }
func (s simulated) Live(context.Context) observe.Live {
	return observe.Live{P99: status.Ptr(0.1), Acked: status.Ptr(1000.0)}
}

func (s simulated) Measure(ctx context.Context, span observe.Span) (judge.Window, error) {
	p, err := s.point(ctx)
	if err != nil {
		return judge.Window{}, &observe.Bad{Cause: "unreachable", Figure: "goodput", Why: err.Error()}
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", s.seed, p.Key())
	bias := rand.New(rand.NewPCG(h.Sum64(), 1)).Float64()*0.1 - 0.05
	noise := 1 + 0.002*float64(span.To.UnixMilli()/400%3)
	return judge.Window{Goodput: 1000 * (1 + 0.1*float64(p["io"]) + 0.02*float64(p["net"]) + bias) * noise, P99: 0.1}, nil
}

// suicidal ends the process, the hard way, once before and once after each edge that there is.
type suicidal struct {
	*ledger.Ledger
	done string
}

func (j suicidal) Append(r ledger.Record) (ledger.Record, error) {
	key := fmt.Sprintf("%s %d %s", r.Kind, r.Trial, r.Phase)
	j.dieOnce("before " + key)
	written, err := j.Ledger.Append(r)
	if err == nil {
		j.dieOnce("after " + key)
	}
	return written, err
}

func (j suicidal) dieOnce(key string) {
	if j.done == "" {
		return
	}
	text, err := os.ReadFile(j.done)
	if err != nil {
		panic(err)
	}
	if slices.Contains(strings.Split(string(text), "\n"), key) {
		return
	}
	if err := os.WriteFile(j.done, append(text, key+"\n"...), 0o600); err != nil {
		panic(err)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it arrives
}

// cluster is a namespace with a StatefulSet of one broker, on an API server that others use too, and everything that was done to it.
type cluster struct {
	*kubetest.Server
	t         *testing.T
	client    kubernetes.Interface
	namespace string
	base      int64 // the generation that reset left
}

const workload = `
apiVersion: v1
kind: Namespace
metadata: {name: NS}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: kafka, namespace: NS}
spec:
  replicas: 1
  podManagementPolicy: Parallel
  serviceName: kafka
  selector: {matchLabels: {app: kafka}}
  template:
    metadata: {labels: {app: kafka}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: kafka, image: kafka, env: [{name: IO, value: "2"}, {name: NET, value: "1"}]}]}
`

func TestOnKubernetes(t *testing.T) {
	t.Parallel()
	s := kubetest.Start(t)
	s.Node(t, kubetest.Ready)
	for name, test := range map[string]func(*testing.T, *cluster){
		"killed at every edge":                killedAtEveryEdge,
		"killed at random moments":            killedAtRandomMoments,
		"two tuners":                          twoTuners,
		"an earlier holder that cannot write": anEarlierHolderCannotWrite,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &cluster{Server: s, t: t, client: s.Client(t)})
		})
	}
}

var namespaces atomic.Int32

// reset makes a StatefulSet in a new namespace, and counts its changes from there.
func (c *cluster) reset() {
	c.t.Helper()
	c.namespace = fmt.Sprintf("kafka-%d", namespaces.Add(1))
	c.Create(c.t, strings.ReplaceAll(workload, "NS", c.namespace))
	if err := c.workload().Rollout(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.base = 0
	_, c.base = c.point()
}

func (c *cluster) workload() *apply.Workload {
	c.t.Helper()
	w, err := apply.New(apply.Config{
		Client: c.client, Target: apply.Target{Namespace: c.namespace, Name: "kafka", Container: "kafka"}, Variables: []string{"IO", "NET"},
		Deadline: 3 * time.Minute, Poll: 50 * time.Millisecond,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return w
}

// point is the configuration that the API server holds, and how often the template was changed since reset.
func (c *cluster) point() (p space.Point, changes int64) {
	c.t.Helper()
	set, err := c.client.AppsV1().StatefulSets(c.namespace).Get(c.t.Context(), "kafka", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	env := map[string]string{}
	for _, e := range set.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	f, err := quickFile()
	if err != nil {
		c.t.Fatal(err)
	}
	if p, err = space.Parse(f.Space(), env); err != nil {
		c.t.Fatal(err)
	}
	return p, set.Generation - c.base
}

// process is a tuner of its own.
type process struct {
	*exec.Cmd
	log  *lines
	done chan struct{}
}

type lines struct {
	mu   sync.Mutex
	tail []string
}

func (p plan) start(t *testing.T) *process {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	q := &process{Cmd: exec.Command(os.Args[0]), log: &lines{}, done: make(chan struct{})}
	q.Env = append(os.Environ(), planned+"="+string(text))
	q.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := q.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(q.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			q.log.mu.Lock()
			q.log.tail = append(q.log.tail, s.Text())
			q.log.mu.Unlock()
		}
		_ = q.Wait() // it was killed
	}()
	t.Cleanup(q.kill)
	return q
}

func (q *process) kill() {
	_ = q.Process.Kill() // it may have ended
	<-q.done
}

func (q *process) ended() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

func (q *process) said() string {
	q.log.mu.Lock()
	defer q.log.mu.Unlock()
	return strings.Join(q.log.tail[max(0, len(q.log.tail)-30):], "\n")
}

// outcome of a study: what was tried and how it ended, and what is in force.
type outcome struct {
	story []string
	point string
}

// check reads the ledger at the end of a study and compares it with the API server: the same configuration, and not one change more than the ledger
// tells of.
func (c *cluster) check(path string) outcome {
	c.t.Helper()
	records, torn, err := ledger.Read(path)
	if err != nil || torn > 0 {
		c.t.Fatalf("ledger: %v, %d bytes torn", err, torn)
	}
	if errs := study.Verify(records); len(errs) > 0 {
		c.t.Errorf("the ledger is not in order: %v", errors.Join(errs...))
	}
	s := study.Fold(records)
	got, changes := c.point()
	if s.Running() != nil || s.Desired().Key() != got.Key() {
		c.t.Errorf("the cluster has %s, the ledger says %s (running: %v)", got.Key(), s.Desired().Key(), s.Running())
	}
	want := int64(0)
	for _, t := range s.Trials {
		if t.Applied {
			want += written(t, records)
		}
	}
	if changes != want {
		c.t.Errorf("the template was changed %d times, the ledger tells of %d", changes, want)
	}
	for _, r := range records {
		if r.Kind == ledger.Outside {
			c.t.Errorf("the tuner took its own change for somebody else's: %+v", r)
		}
	}
	return outcome{story(records), got.Key()}
}

// written is how often a trial changes the template.
func written(t study.Trial, records []ledger.Record) (n int64) {
	changes := int64(len(t.Changes))
	if t.Series == nil {
		n = changes
		if t.Outcome != ledger.OutcomeKept {
			n += changes
		}
		return n
	}
	now, block := judge.Candidate, 0 // what was in force before
	for _, r := range records {
		switch {
		case r.Trial != t.Number || r.Phase != ledger.Applying || r.Block == block:
			continue
		case r.Side != now:
			n += changes
		default: // deployed anew
			n++
		}
		now, block = r.Side, r.Block
	}
	if last := t.Outcome == ledger.OutcomeKept; last != (now == judge.Incumbent) {
		n += changes
	}
	return n
}

// uninterrupted is how a study goes that nobody disturbs.
func (c *cluster) uninterrupted(seed uint64, recheck time.Duration) outcome {
	c.t.Helper()
	c.reset()
	p := c.plan(seed)
	p.Recheck = recheck
	began := time.Now()
	q := p.start(c.t)
	c.finish(p, func() *process { return q })
	o := c.check(p.Ledger)
	c.t.Logf("seed %d: %d trials in %s, ends with %s", seed, len(o.story), time.Since(began).Round(time.Second), o.point)
	return o
}

func (c *cluster) plan(seed uint64) plan {
	dir := c.t.TempDir()
	return plan{Kubeconfig: c.Kubeconfig(c.t), Namespace: c.namespace, Ledger: filepath.Join(dir, "ledger.jsonl"), Seed: seed, Done: filepath.Join(dir, "done")}
}

// finish waits for the end of a study and ends its process.
func (c *cluster) finish(p plan, now func() *process) {
	c.t.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for {
		q := now()
		if _, err := os.Stat(p.Done); err == nil {
			q.kill()
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the study did not end; the tuner's last words:\n%s", q.said())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (o outcome) mustBe(t *testing.T, want outcome) {
	t.Helper()
	if !slices.Equal(o.story, want.story) || o.point != want.point {
		t.Errorf("want what happens without a kill\n  %s: %q\ngot\n  %s: %q", want.point, want.story, o.point, o.story)
	}
}

// killedAtEveryEdge: one study, whose tuner is killed once before and once after every record that it writes.
func killedAtEveryEdge(t *testing.T, c *cluster) {
	want := c.uninterrupted(1, 0) // measured in turns too, it would be three times as many edges: TestKilledAnywhere dies at each of them
	c.reset()
	p := c.plan(1)
	p.Edges = filepath.Join(t.TempDir(), "edges")
	if err := os.WriteFile(p.Edges, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	starts := 0
	var q *process
	c.finish(p, func() *process {
		if q == nil || q.ended() {
			q = p.start(t)
			starts++
		}
		return q
	})
	text, err := os.ReadFile(p.Edges)
	if err != nil {
		t.Fatal(err)
	}
	edges := strings.Count(string(text), "\n")
	t.Logf("killed %d times, before and after each edge; started %d times", edges, starts)
	if edges < 2*8*len(want.story) || starts != edges+1 {
		t.Errorf("want it killed at every edge (got %d edges of %d trials, %d starts)", edges, len(want.story), starts)
	}
	c.check(p.Ledger).mustBe(t, want)
}

// kills is how many killedAtRandomMoments makes; another number by KILLS in the environment.
const kills = 10

func killedAtRandomMoments(t *testing.T, c *cluster) {
	wanted := kills
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil {
		wanted = n
	}
	r := rand.New(rand.NewPCG(7, 7))
	done := 0
	for seed := uint64(2); done < wanted; seed++ {
		want := c.uninterrupted(seed, time.Hour)
		c.reset()
		p := c.plan(seed)
		p.Recheck = time.Hour
		q := p.start(t)
		next := time.Now().Add(time.Duration(r.ExpFloat64() * float64(time.Second)))
		before := done
		c.finish(p, func() *process {
			if time.Now().After(next) && done < wanted {
				q.kill()
				done++
				q = p.start(t)
				next = time.Now().Add(100*time.Millisecond + time.Duration(r.ExpFloat64()*1.5*float64(time.Second)))
			}
			return q
		})
		c.check(p.Ledger).mustBe(t, want)
		t.Logf("seed %d: killed %d times", seed, done-before)
	}
	t.Logf("killed %d times in all", done)
}

// twoTuners: two processes, one target, one ledger. Whichever holds the lease is killed, twenty times, and five times stopped for longer than its
// lease and let go on as if nothing had happened. There are never two that write.
func twoTuners(t *testing.T, c *cluster) {
	c.reset()
	p := c.plan(3)
	p.Lease = 2 * time.Second
	writes := c.observe()
	tuners := map[string]*process{}
	start := func() {
		q := p.start(t)
		tuners[strconv.Itoa(q.Process.Pid)] = q
	}
	start()
	start()
	last := ""
	for n := range 25 {
		holder := c.holder(last, tuners)
		last = holder
		pid, _, _ := strings.Cut(holder, "_")
		time.Sleep(time.Duration(n%7) * 300 * time.Millisecond)
		q := tuners[pid]
		if n%5 != 4 {
			q.kill()
			delete(tuners, pid)
			start()
			continue
		}
		if err := q.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		next := c.holder(holder, tuners)
		if err := q.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s was stopped, %s took over", holder, next)
	}
	var any *process
	for _, q := range tuners {
		any = q
	}
	c.finish(p, func() *process { return any })
	for _, q := range tuners {
		q.kill()
	}
	c.check(p.Ledger)
	records, _, err := ledger.Read(p.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	terms := map[int64]bool{}
	highest := int64(0)
	for _, r := range records {
		if r.Term < highest || r.Term == 0 {
			t.Errorf("record %d is of term %d, after one of term %d", r.Seq, r.Term, highest)
		}
		highest = max(highest, r.Term)
		terms[r.Term] = true
	}
	seen := writes()
	for i, w := range seen {
		if i > 0 && w.term < seen[i-1].term {
			t.Errorf("a change of term %d came after one of term %d", w.term, seen[i-1].term)
		}
	}
	t.Logf("%d terms wrote %d records and %d changes of the workload, the last term is %d", len(terms), len(records), len(seen), highest)
	if highest < 20 {
		t.Errorf("want at least 20 terms (got %d)", highest)
	}
}

// holder waits until somebody who is alive, other than the given one, holds the lease.
func (c *cluster) holder(other string, alive map[string]*process) string {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		lease, err := c.client.CoordinationV1().Leases(c.namespace).Get(c.t.Context(), "tuner", metav1.GetOptions{})
		if err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" && *lease.Spec.HolderIdentity != other {
			pid, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
			if alive[pid] != nil {
				return *lease.Spec.HolderIdentity
			}
		}
		if time.Now().After(deadline) {
			for _, q := range alive {
				c.t.Logf("%d: %s", q.Process.Pid, q.said())
			}
			c.t.Fatalf("nobody but %q took the lease: %v", other, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// write is a change of the workload's template.
type write struct {
	generation int64
	term       int64
}

// observe follows every change of the workload's template; calling what it returns ends that.
func (c *cluster) observe() func() []write {
	c.t.Helper()
	set, err := c.client.AppsV1().StatefulSets(c.namespace).Get(c.t.Context(), "kafka", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	w, err := c.client.AppsV1().StatefulSets(c.namespace).Watch(c.t.Context(), metav1.ListOptions{ResourceVersion: set.ResourceVersion})
	if err != nil {
		c.t.Fatal(err)
	}
	var seen []write
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := set.Generation
		for e := range w.ResultChan() {
			o, ok := e.Object.(metav1.Object)
			if !ok || o.GetGeneration() == last {
				continue
			}
			last = o.GetGeneration()
			term, err := strconv.ParseInt(o.GetAnnotations()[apply.TermAnnotation], 10, 64)
			if err != nil {
				term = -1
			}
			seen = append(seen, write{last, term})
		}
	}()
	return func() []write {
		w.Stop()
		<-done
		return seen
	}
}

// anEarlierHolderCannotWrite: neither after the later one has claimed the target, nor with what it read before; and the later one is not disturbed by
// the mark of its own term.
func anEarlierHolderCannotWrite(t *testing.T, c *cluster) {
	c.reset()
	all := c.workload()
	earlier, later := all.Under(4), all.Under(5)
	if err := earlier.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := earlier.Set(t.Context(), "IO", "2", "4"); err != nil {
		t.Errorf("want the only holder to write (got %v)", err)
	}
	before, err := later.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := later.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := earlier.Set(t.Context(), "IO", "4", "8"); !errors.Is(err, apply.ErrFenced) {
		t.Errorf("want it refused (got %v)", err)
	}
	if err := earlier.Claim(t.Context()); !errors.Is(err, apply.ErrFenced) {
		t.Errorf("want no claim of an earlier term (got %v)", err)
	}
	if n, err := all.Highest(t.Context()); n != 5 || err != nil {
		t.Errorf("want term 5 (got %d, %v)", n, err)
	}
	after, err := later.Set(t.Context(), "IO", "4", "8")
	if err != nil || after.Rest != before.Rest {
		t.Errorf("want it written and nothing else changed (got %v, %s and %s)", err, before.Rest, after.Rest)
	}
	if p, _ := c.point(); p["io"] != 8 {
		t.Errorf("want what the later one wrote (got %s)", p.Key())
	}
}
