package web_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/internal/web"
)

// serve runs a server until the test ends and gives its address and a way to end it and hear how.
func serve(t *testing.T, c web.Config) (addr string, stop func() error) {
	t.Helper()
	c.Name, c.Listen, c.Registry = "prog", []string{"127.0.0.1:0"}, prometheus.NewRegistry()
	s, err := web.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stop = func() error {
		cancel()
		return <-done
	}
	t.Cleanup(cancel)
	return s.Addr(), stop
}

func get(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadyFollowsTheProgramAndSaysWhyNot(t *testing.T) {
	var reason error
	addr, _ := serve(t, web.Config{Ready: func() error { return reason }})
	if code, _ := get(t, addr, "/-/ready"); code != http.StatusOK {
		t.Errorf("ready: got %d", code)
	}
	reason = errors.New("no broker answers")
	if code, body := get(t, addr, "/-/ready"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no broker answers") {
		t.Errorf("not ready: got %d %q", code, body)
	}
	if code, _ := get(t, addr, "/-/healthy"); code != http.StatusOK {
		t.Errorf("a program that is not ready is healthy all the same: got %d", code)
	}
}

func TestABusyAddressIsAnErrorThatNamesIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = web.New(web.Config{Name: "prog", Registry: prometheus.NewRegistry(), Listen: []string{l.Addr().String()}})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestARequestUnderWayIsAnsweredBeforeTheEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "whole")
	})
	addr, stop := serve(t, web.Config{Routes: map[string]http.Handler{"GET /slow": slow}})
	answer := make(chan string, 1)
	go func() {
		_, body := get(t, addr, "/slow")
		answer <- body
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		t.Fatalf("ended with a request under way: %v", err)
	case <-time.After(100 * time.Millisecond): // long enough for an end that does not wait
	}
	close(release)
	if body := <-answer; body != "whole" {
		t.Errorf("got %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheLandingPageEscapesAndLinks(t *testing.T) {
	addr, _ := serve(t, web.Config{Routes: map[string]http.Handler{"GET /api/v1/status": http.NotFoundHandler()}})
	if code, body := get(t, addr, "/"); code != http.StatusOK || !strings.Contains(body, `href="/api/v1/status"`) || !strings.Contains(body, `href="/metrics"`) {
		t.Errorf("got %d %q", code, body)
	}
}
