package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

// said is what a program says while it runs.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Whoever ends the program gets a report within the time that it has to end in, whatever the broker does.
func TestTheEndIsBoundedAndReported(t *testing.T) {
	broker := kafkatest.Start(t)
	for _, c := range []struct {
		name   string
		drains bool
		meet   func(t *testing.T) // what happens to the broker just before
	}{
		{"a broker that answers", true, func(*testing.T) {}},
		{"a broker that stands still", false, func(t *testing.T) {
			if err := syscall.Kill(broker.PID(), syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(broker.PID(), syscall.SIGCONT) })
		}},
		{"a broker that is gone", false, func(t *testing.T) { broker.Kill(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, broker, "run", "--workload=steady", "--rate=500")
			c.meet(t)
			began := time.Now()
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			code := <-p.ended
			took := time.Since(began)
			t.Logf("ended after %v", took)
			if took > 14*time.Second { // 5 s, and what a busy machine adds, but not the 15 s for which a client waits for an answer
				t.Errorf("ended after %v, want 5 s", took)
			}
			r := p.reported(t)
			offered, acked, consumed := counts(r)
			if offered == 0 || acked == 0 {
				t.Errorf("got a report of %d records offered and %d acknowledged", offered, acked)
			}
			if c.drains && (code != 0 || acked != offered || consumed != acked) {
				t.Errorf("got exit code %d, %d offered, %d acknowledged, %d consumed, want all of them and 0; log:\n%s", code, offered, acked, consumed, p.errs.String())
			}
		})
	}
}

// What a broker loses shortly before the run ends is in the report: nobody waits a minute to see whether it comes after all.
func TestALossJustBeforeTheEndIsReported(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	file := filepath.Join(t.TempDir(), "unsafe.yaml")
	const unsafe = "name: unsafe\nwarmup: 0s\npayload: {bytes: 300}\ntopic: {partitions: 3}\nproducer: {clients: 2, acks: none}\nconsumer: {group: unsafe, max_wait: 20ms}\n"
	if err := os.WriteFile(file, []byte(unsafe), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, broker, "run", "--workload.file="+file, "--rate=100", "--topic=unsafe", "--fail-on-breach")
	// Records are sent to a broker that stands still, and are in no log when it dies.
	if err := syscall.Kill(broker.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.moreThan(t, "loadgen_records_acked_total", p.count(t, "loadgen_records_acked_total")+50)
	broker.Kill(t)
	broker.Restart(t)
	p.moreThan(t, "loadgen_records_consumed_total", p.count(t, "loadgen_records_consumed_total")+300) // of every stream
	p.end()
	code := <-p.ended
	r := p.reported(t)
	_, acked, _ := counts(r)
	there := written(t, broker, "unsafe", 3)
	if code != breached || r.Faults.Lost == 0 || r.Faults.Lost != acked-there {
		t.Errorf("got exit code %d and %d lost of %d acknowledged, with %d in the topic; log:\n%s", code, r.Faults.Lost, acked, there, p.errs.String())
	}
}

// A fault in any trial of a search is in its report, not only those of the trial that the rest of the report is about.
func TestASearchReportsTheFaultsOfAllItsTrials(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	file := filepath.Join(t.TempDir(), "damaged.yaml")
	const damaged = "name: damaged\npayload: {bytes: 300}\ntopic: {partitions: 1}\nconsumer: {group: damaged, max_wait: 20ms}\nslo: {p99: 10s}\n"
	if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
		t.Fatal(err)
	}
	// The rates go up and all of them meet the SLO, so the trial that is best is not the first. There the fault is put, within its warm-up.
	p := start(t, broker, "search", "--workload.file="+file, "--topic=damaged", "--fail-on-breach", "--search.min=60", "--search.start=60", "--search.max=120",
		"--search.trials=3", "--search.warmup=7s", "--search.measure=2s")
	damage(t, broker, "damaged")
	p.moreThan(t, "loadgen_records_corrupted_total", 0)
	code := <-p.ended
	r := p.reported(t)
	if code != breached || r.Faults.Corrupted != 1 || len(r.Faults.Named) == 0 || len(r.Search.Trials) < 2 {
		t.Errorf("got exit code %d and %+v after %d trials; log:\n%s", code, r.Faults, len(r.Search.Trials), p.errs.String())
	}
}

// damage writes the newest record of a topic of one partition once more, with its last byte changed.
func damage(t *testing.T, broker *kafkatest.Broker, topic string) {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{broker.Addr}, ID: "test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Producer.Return.Successes = true
	client, err := sarama.NewClient([]string{broker.Addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	newest, err := consumer.ConsumePartition(topic, 0, sarama.OffsetNewest)
	if err != nil {
		t.Fatal(err)
	}
	defer newest.Close()
	m := <-newest.Messages()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	m.Value[len(m.Value)-1] ^= 1
	again := &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(m.Value)}
	for _, h := range m.Headers {
		again.Headers = append(again.Headers, *h)
	}
	if _, _, err := producer.SendMessage(again); err != nil {
		t.Fatal(err)
	}
}

// Two processes send one schedule to one topic, and read it in one group: their merged report is that of the whole.
func TestCopiesOfTheProgramMakeOneReport(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	file := filepath.Join(t.TempDir(), "copies.yaml")
	const copies = "name: copies\nwarmup: 5s\npayload: {bytes: 300}\ntopic: {partitions: 6}\nconsumer: {group: copies, max_wait: 20ms}\nslo: {p99: 10s}\n"
	if err := os.WriteFile(file, []byte(copies), 0o600); err != nil {
		t.Fatal(err)
	}
	const n, rate, duration = 2, 400, 15
	begin := time.Now().Add(10 * time.Second).UTC().Format(time.RFC3339)
	var (
		outs  [n]bytes.Buffer
		errs  [n]said
		codes [n]int
		all   sync.WaitGroup
	)
	for i := range n {
		all.Go(func() {
			codes[i] = run(t.Context(), []string{"run", "--workload.file=" + file, "--rate=" + strconv.Itoa(rate), "--duration=" + strconv.Itoa(duration) + "s", "--topic=copies",
				"--share=" + strconv.Itoa(i) + "/2", "--share.start=" + begin, "--listen=127.0.0.1:0", "--kafka.brokers=" + broker.Addr, "--report.json=-"}, &outs[i], &errs[i])
		})
	}
	all.Wait()
	var reports []*report.Report
	for i := range n {
		if codes[i] != 0 {
			t.Fatalf("copy %d: exit code %d:\n%s", i, codes[i], &errs[i])
		}
		r := &report.Report{}
		if err := json.Unmarshal(outs[i].Bytes(), r); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	m, err := report.Merge(reports...)
	if err != nil {
		t.Fatal(err)
	}
	offered, acked, consumed := counts(m)
	if there := written(t, broker, "copies", 6); offered != rate*duration || acked != offered || consumed != acked+m.Faults.Redelivered || there != acked {
		t.Errorf("got %d offered, %d acknowledged, %d consumed, %d in the topic, %+v, want %d of each", offered, acked, consumed, there, m.Faults, rate*duration)
	}
	if m.Unverified() != 0 || m.Faults.Lost+m.Faults.Duplicated+m.Faults.Reordered != 0 {
		t.Errorf("got %+v, %d not known", m.Faults, m.Unverified())
	}
}

// written is how many records a topic has.
func written(t *testing.T, broker *kafkatest.Broker, topic string, partitions int32) (n uint64) {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{broker.Addr}, ID: "test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	client, err := sarama.NewClient([]string{broker.Addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for p := range partitions {
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		n += uint64(end)
	}
	return n
}

// program is one that runs beside the test.
type program struct {
	page  string // where its metrics are
	out   bytes.Buffer
	errs  said
	end   context.CancelFunc
	ended chan int // its exit code
}

// start runs the program until it is ready: records are acknowledged and consumed.
func start(t *testing.T, broker *kafkatest.Broker, args ...string) *program {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	p := &program{end: end, ended: make(chan int, 1)}
	go func() {
		p.ended <- run(ctx, append(args, "--listen=127.0.0.1:0", "--kafka.brokers="+broker.Addr, "--report.json=-"), &p.out, &p.errs)
	}()
	p.waitReady(t)
	return p
}

// reported is the report of a program that has ended.
func (p *program) reported(t *testing.T) *report.Report {
	t.Helper()
	r := &report.Report{}
	if err := json.Unmarshal(p.out.Bytes(), r); err != nil {
		t.Fatalf("report: %v\n%s\n%s", err, &p.out, &p.errs)
	}
	return r
}

// counts are those of the warm-up too.
func counts(r *report.Report) (offered, acked, consumed uint64) {
	return r.WarmUp.Offered + r.Measured.Offered, r.WarmUp.Acked + r.Measured.Acked, r.WarmUp.Consumed + r.Measured.Consumed
}

// count sums a counter's series.
func (p *program) count(t *testing.T, name string) (sum float64) {
	t.Helper()
	resp, err := http.Get(p.page + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if line := s.Text(); strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

func (p *program) moreThan(t *testing.T, name string, least float64) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); p.count(t, name) <= least; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not more than %.0f within two minutes", name, least)
		}
	}
}

var address = regexp.MustCompile(`msg=listening addr=(\S+)`)

func (p *program) waitReady(t *testing.T) {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		select {
		case code := <-p.ended:
			t.Fatalf("ended with %d by itself:\n%s", code, &p.errs)
		case <-limit:
			t.Fatalf("not ready within a minute:\n%s", &p.errs)
		case <-time.After(50 * time.Millisecond):
		}
		at := address.FindStringSubmatch(p.errs.String())
		if at == nil {
			continue
		}
		p.page = "http://" + at[1]
		if r, err := http.Get(p.page + "/-/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
	}
}
