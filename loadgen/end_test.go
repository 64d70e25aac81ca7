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
			ctx, end := context.WithCancel(t.Context())
			defer end()
			var out bytes.Buffer
			var errs said
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, []string{"run", "--workload=steady", "--rate=500", "--listen=127.0.0.1:0", "--kafka.brokers=" + broker.Addr, "--report.json=-"}, &out, &errs)
			}()
			waitReady(t, &errs, ended)
			c.meet(t)
			began := time.Now()
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			code := <-ended
			took := time.Since(began)
			t.Logf("ended after %v", took)
			if took > 14*time.Second { // 5 s, and what a busy machine adds, but not the 15 s for which a client waits for an answer
				t.Errorf("ended after %v, want 5 s", took)
			}
			r := reported(t, &out, &errs)
			offered, acked, consumed := counts(r)
			if offered == 0 || acked == 0 {
				t.Errorf("got a report of %d records offered and %d acknowledged", offered, acked)
			}
			if c.drains && (code != 0 || acked != offered || consumed != acked) {
				t.Errorf("got exit code %d, %d offered, %d acknowledged, %d consumed, want all of them and 0; log:\n%s", code, offered, acked, consumed, errs.String())
			}
		})
	}
}

// What a broker loses shortly before the run ends is in the report: nobody waits a minute to see whether it comes after all.
func TestALossJustBeforeTheEndIsReported(t *testing.T) {
	broker := kafkatest.Start(t)
	file := filepath.Join(t.TempDir(), "unsafe.yaml")
	const unsafe = "name: unsafe\nwarmup: 0s\npayload: {bytes: 300}\ntopic: {partitions: 3}\nproducer: {clients: 2, acks: none}\nconsumer: {group: unsafe, max_wait: 20ms}\n"
	if err := os.WriteFile(file, []byte(unsafe), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var out bytes.Buffer
	var errs said
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"run", "--workload.file=" + file, "--rate=100", "--topic=unsafe", "--listen=127.0.0.1:0", "--kafka.brokers=" + broker.Addr,
			"--report.json=-", "--fail-on-breach"}, &out, &errs)
	}()
	page := waitReady(t, &errs, ended)
	// Records are sent to a broker that stands still, and are in no log when it dies.
	if err := syscall.Kill(broker.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	moreThan(t, page, "loadgen_records_acked_total", count(t, page, "loadgen_records_acked_total")+50)
	broker.Kill(t)
	broker.Restart(t)
	moreThan(t, page, "loadgen_records_consumed_total", count(t, page, "loadgen_records_consumed_total")+300) // of every stream
	end()
	code := <-ended
	r := reported(t, &out, &errs)
	_, acked, _ := counts(r)
	there := written(t, broker, "unsafe", 3)
	if code != breached || r.Faults.Lost == 0 || r.Faults.Lost != acked-there {
		t.Errorf("got exit code %d and %d lost of %d acknowledged, with %d in the topic; log:\n%s", code, r.Faults.Lost, acked, there, errs.String())
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

func reported(t *testing.T, out *bytes.Buffer, errs *said) *report.Report {
	t.Helper()
	r := &report.Report{}
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		t.Fatalf("report: %v\n%s\n%s", err, out, errs)
	}
	return r
}

// counts are those of the warm-up too.
func counts(r *report.Report) (offered, acked, consumed uint64) {
	return r.WarmUp.Offered + r.Measured.Offered, r.WarmUp.Acked + r.Measured.Acked, r.WarmUp.Consumed + r.Measured.Consumed
}

// count sums a counter's series.
func count(t *testing.T, page, name string) (sum float64) {
	t.Helper()
	resp, err := http.Get(page + "/metrics")
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

func moreThan(t *testing.T, page, name string, least float64) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); count(t, page, name) <= least; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not more than %.0f within two minutes", name, least)
		}
	}
}

var address = regexp.MustCompile(`msg=listening addr=(\S+)`)

// waitReady waits until records are acknowledged and consumed, and returns where the metrics are.
func waitReady(t *testing.T, errs *said, ended <-chan int) string {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		select {
		case code := <-ended:
			t.Fatalf("ended with %d by itself:\n%s", code, errs)
		case <-limit:
			t.Fatalf("not ready within a minute:\n%s", errs)
		case <-time.After(50 * time.Millisecond):
		}
		at := address.FindStringSubmatch(errs.String())
		if at == nil {
			continue
		}
		if r, err := http.Get("http://" + at[1] + "/-/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return "http://" + at[1]
			}
		}
	}
}
