package main

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
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
		name string
		meet func(t *testing.T) // what happens to the broker just before
	}{
		{"a broker that answers", func(*testing.T) {}},
		{"a broker that stands still", func(t *testing.T) {
			if err := syscall.Kill(broker.PID(), syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(broker.PID(), syscall.SIGCONT) })
		}},
		{"a broker that is gone", func(t *testing.T) { broker.Kill(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			var out bytes.Buffer
			var errs said
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, []string{"run", "--workload=steady", "--rate=500", "--listen=127.0.0.1:0", "--kafka.brokers=" + broker.Addr}, &out, &errs)
			}()
			waitReady(t, &errs, ended)
			c.meet(t)
			began := time.Now()
			end()
			<-ended
			took := time.Since(began)
			t.Logf("ended after %v", took)
			if took > 14*time.Second { // 5 s, and what a busy machine adds, but not the 15 s for which a client waits for an answer
				t.Errorf("ended after %v, want 5 s", took)
			}
			for _, want := range []string{"offered", "acknowledged"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got the report %q, want %q in it\n%s", out.String(), want, errs.String())
				}
			}
		})
	}
}

var address = regexp.MustCompile(`msg=listening addr=(\S+)`)

// waitReady waits until records are acknowledged and consumed.
func waitReady(t *testing.T, errs *said, ended <-chan int) {
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
				return
			}
		}
	}
}
