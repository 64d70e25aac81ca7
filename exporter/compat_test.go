package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNamesThatDoNotExistAreRefused(t *testing.T) {
	var out output
	want := `--compat: must be native, kafka_exporter or kminion (got "burrow")`
	if code := run(t.Context(), []string{"--compat=kminion,burrow"}, &out, &out); code != 2 || !strings.Contains(out.String(), want) {
		t.Errorf("want exit code 2 and %q, got %d and:\n%s", want, code, out.String())
	}
}

func TestTheProgramShowsTheNamesThatItIsToldTo(t *testing.T) {
	var out output
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--web.listen-address=127.0.0.1:0", "--kafka.brokers=127.0.0.1:1", "--compat=kminion"}, &out, &out)
	}()
	code, body := get(t, listening(t, &out)+"/metrics", "1")
	for _, want := range []string{"\nkminion_exporter_up{version=", "\nkminion_kafka_requests_sent_total 0\n", "\nkafka_up 0\n", "\nkafka_exporter_build_info{"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("want status 200 and %q, got %d:\n%s", want, code, body)
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Errorf("not ended within 10 s; log:\n%s", out.String())
	}
}
