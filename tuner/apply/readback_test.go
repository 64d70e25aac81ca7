package apply_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/space"
)

func knobs() []space.Knob {
	return []space.Knob{
		{Name: "heap", Scale: 1 << 20, Source: space.JVMHeap},
		{Name: "network_threads", Scale: 1, Source: "broker-config:num.network.threads"},
		{Name: "io_threads", Scale: 1, Source: "broker-config:num.io.threads"},
	}
}

// TestReadBackFromARealBroker starts Kafka with the three variables and asks it what it runs with, then changes them and asks again.
func TestReadBackFromARealBroker(t *testing.T) {
	t.Parallel()
	slot(t)
	set := func(heap, network, io string) kafkatest.Option {
		return kafkatest.Env(map[string]string{"KAFKA_HEAP_OPTS": heap, "KAFKA_NUM_NETWORK_THREADS": network, "KAFKA_NUM_IO_THREADS": io})
	}
	broker := kafkatest.Start(t, kafkatest.Deployed(), set("-Xms256m -Xmx256m", "1", "2"))
	b := apply.Brokers{Bootstrap: []string{broker.Addr}, JVM: []string{"http://" + broker.MetricsAddr + "/metrics"}, Knobs: knobs(), Timeout: 30 * time.Second}
	check := func(want space.Point) {
		t.Helper()
		got, err := b.Effective(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if err := b.Healthy(t.Context()); err != nil {
			t.Errorf("want a healthy cluster (got %v)", err)
		}
	}
	check(space.Point{"heap": 256, "network_threads": 1, "io_threads": 2})
	broker.Restart(t, set("-Xms384m -Xmx384m", "3", "5"))
	check(space.Point{"heap": 384, "network_threads": 3, "io_threads": 5})

	broker.Restart(t, set("-Xms256m -Xmx512m", "3", "5"))
	if got, err := b.Effective(t.Context()); err == nil || !strings.Contains(err.Error(), "want them equal") {
		t.Errorf("want two different sizes of the heap refused (got %v, %v)", got, err)
	}
	broker.Kill(t)
	start := time.Now()
	if got, err := b.Effective(t.Context()); err == nil || !strings.Contains(err.Error(), "connect to kafka at "+broker.Addr) {
		t.Errorf("want the address of a broker that is away named (got %v, %v)", got, err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s to say so", took)
	}
}

func TestReadBackGivesUpWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := apply.Brokers{Bootstrap: []string{"127.0.0.1:1"}, Knobs: knobs()}
	if _, err := b.Effective(ctx); err == nil {
		t.Error("want an error")
	}
}

func TestJVMThatSaysSomethingElse(t *testing.T) {
	heap := func(initial, highest string) string {
		return "jvm_memory_init_bytes{area=\"heap\"} " + initial + "\njvm_memory_init_bytes{area=\"nonheap\"} 1\njvm_memory_max_bytes{area=\"heap\"} " + highest + "\n"
	}
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a heap of 512 MiB":                 {200, heap("5.36870912E8", "5.36870912E8"), ""},
		"less a survivor space":             {200, heap("536870912", "520093696"), ""},
		"another maximum":                   {200, heap("268435456", "536870912"), "want them equal"},
		"no heap in the answer":             {200, "jvm_memory_init_bytes{area=\"nonheap\"} 1\n", "jvm_memory_init_bytes{area=\"heap\"} is absent"},
		"an agent that is not there yet":    {404, "not found", "want status 200"},
		"an answer that is not metrics":     {200, "<html>\n", "parse JVM metrics"},
		"a maximum that is not defined, -1": {200, heap("536870912", "-1"), "not positive"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			b := apply.Brokers{JVM: []string{server.URL}, Knobs: knobs()[:1]}
			got, err := b.Effective(t.Context())
			switch {
			case c.want == "" && (err != nil || got["heap"] != 512):
				t.Errorf("want 512 (got %v, %v)", got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("want %q (got %v, %v)", c.want, got, err)
			}
		})
	}
}
