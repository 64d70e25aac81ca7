package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

func TestTheProbeIsShownBesideTheCluster(t *testing.T) {
	broker := kafkatest.Start(t)
	start := func(args ...string) (addr string, stop func()) {
		t.Helper()
		var out output
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		args = append([]string{"--web.listen-address=127.0.0.1:0", "--kafka.brokers=" + broker.Addr, "--collect.min-interval=0s", "--probe.enabled", "--probe.interval=50ms"}, args...)
		go func() { ended <- run(ctx, args, &out, &out) }()
		return listening(t, &out), func() {
			cancel()
			if code := <-ended; code != 0 {
				t.Errorf("want exit code 0, got %d; log:\n%s", code, out.String())
			}
		}
	}
	shows := func(addr, accept, pattern string) string {
		t.Helper()
		line := regexp.MustCompile(pattern)
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			page := scrape(t, addr, accept)
			if line.MatchString(page) {
				return page
			}
			if time.Now().After(deadline) {
				t.Fatalf("within a minute no %s in\n%s", pattern, page)
			}
		}
	}

	// A probe that has no topic leaves the exporter as it is without one.
	addr, stop := start()
	page := shows(addr, "", `(?m)^kafka_probe_leader_covered\{broker="0"\} 0$`)
	if !strings.Contains(page, "\nkafka_up 1\n") || strings.Contains(page, "kafkalab-probe") {
		t.Errorf("want the cluster shown, without a topic for the probe, got\n%s", page)
	}
	if code, _ := get(t, addr+"/-/ready", ""); code != http.StatusOK {
		t.Errorf("want an exporter that is ready, got status %d", code)
	}
	stop()

	addr, stop = start("--probe.manage")
	defer stop()
	page = shows(addr, "", `(?m)^kafka_probe_commit_seconds_count\{broker="0"\} [1-9]`)
	for _, want := range []string{
		`kafka_probe_leader_covered{broker="0"} 1`, `kafka_probe_coordinator_covered{broker="0"} 1`, `kafka_topic_partitions{topic="kafkalab-probe"} 1`,
		`kafka_probe_produce_seconds_count{broker="0"} `, `kafka_probe_end_to_end_seconds_bucket{broker="0",le="0.001"} `,
	} {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("want %s in\n%s", want, page)
		}
	}
	shows(addr, "application/openmetrics-text;version=1.0.0", `(?m)^kafka_probe_end_to_end_seconds_bucket\{broker="0",le="[0-9.]+"\} \d+ # \{.*offset="\d+".*\} 0`)
}

func scrape(t *testing.T, addr, accept string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("want status 200, got %d, %v:\n%s", answer.StatusCode, err, body)
	}
	return string(body)
}
