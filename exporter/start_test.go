package main

import (
	"context"
	"net"
	"net/http"
	"testing"
)

// BenchmarkStartWithoutKafka is the time until the program answers by HTTP while Kafka accepts connections and never answers.
func BenchmarkStartWithoutKafka(b *testing.B) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer silent.Close()
	for b.Loop() {
		var out output
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{"--web.listen-address=127.0.0.1:0", "--kafka.brokers=" + silent.Addr().String()}, &out, &out)
		}()
		answer, err := http.Get(listening(b, &out) + "/-/healthy")
		if err != nil {
			b.Fatal(err)
		}
		_ = answer.Body.Close()
		b.StopTimer()
		cancel()
		if code := <-ended; code != 0 {
			b.Errorf("want exit code 0, got %d: %s", code, out.String())
		}
		b.StartTimer()
	}
}
