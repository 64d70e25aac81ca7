// Package promtest runs a real Prometheus for tests.
//
// It promises a server on loopback that scrapes the given targets every second, native histograms and classic buckets both; and that nothing
// of it, neither process nor file, is left when the test ends, even when the test program is killed. It leaves out rules, discovery and
// several servers.
//
// It needs Prometheus in .lab/bin of the checkout: "make build" puts it there.
package promtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

const (
	readyWithin   = 60 * time.Second // a quarter of a second on an idle machine; tests share it with compilers
	scrapedWithin = 60 * time.Second
	poll          = 20 * time.Millisecond
)

// Server is a running Prometheus.
type Server struct {
	URL string // http://host:port

	targets int
	api     v1.API
	proc    *process
	log     string
}

// Start runs a server that scrapes the targets, host:port each with the path /metrics, and waits until it is ready. At the end of the test it
// is stopped and its files are removed; if the test failed, the end of its log is shown.
func Start(t testing.TB, targets ...string) *Server {
	t.Helper()
	binary, err := find()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "promtest-") // not t.TempDir: the process removes it by itself
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{targets: len(targets), log: filepath.Join(dir, "log")}
	if err := s.launch(binary, dir, targets); err != nil {
		_ = os.RemoveAll(dir)
		t.Fatalf("start prometheus: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of Prometheus' log:\n%s", s.tail(50))
		}
		if err := s.proc.end(); err != nil {
			t.Errorf("stop prometheus: %v", err)
		}
		_ = os.RemoveAll(dir) // there still if Prometheus ended by itself
	})
	if err := s.ready(t.Context()); err != nil {
		t.Fatalf("start prometheus: %v; its log ends with:\n%s", err, s.tail(20))
	}
	return s
}

func (s *Server) launch(binary, dir string, targets []string) error {
	config := filepath.Join(dir, "prometheus.yml")
	text, err := yaml.Marshal(map[string]any{
		"global": map[string]any{
			"scrape_interval": "1s", "scrape_timeout": "1s", "scrape_native_histograms": true, "always_scrape_classic_histograms": true,
		},
		"scrape_configs": []any{map[string]any{"job_name": "test", "static_configs": []any{map[string]any{"targets": targets}}}},
	})
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	log, err := os.Create(s.log)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	// Port 0: the kernel chooses one that is free, and the log tells it. New targets are taken up at once instead of after five seconds.
	s.proc, err = start(dir, log, binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0",
		"--scrape.discovery-reload-interval=50ms")
	return err
}

var listening = regexp.MustCompile(`msg="Listening on" .*address=(127\.0\.0\.1:\d+)`)

// ready waits until the log tells the address and the server there says that it is ready.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	return until(ctx, func() error {
		select {
		case <-s.proc.done:
			return fmt.Errorf("it ended before it was ready: %w", errEnded)
		default:
		}
		log, err := os.ReadFile(s.log)
		if err != nil {
			return err
		}
		m := listening.FindSubmatch(log)
		if m == nil {
			return errors.New("it does not listen yet")
		}
		s.URL = "http://" + string(m[1])
		if s.api == nil {
			client, err := api.NewClient(api.Config{Address: s.URL})
			if err != nil {
				return err
			}
			s.api = v1.NewAPI(client)
		}
		resp, err := http.Get(s.URL + "/-/ready")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", resp.Status)
		}
		return nil
	})
}

var errEnded = errors.New("the process has ended")

// until polls until cond is met; an end of the process is final.
func until(ctx context.Context, cond func() error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Scraped waits until every target has been scraped once more: what they expose now can be queried then.
func (s *Server) Scraped(t testing.TB) {
	t.Helper()
	now := float64(time.Now().UnixMilli()) / 1000
	ctx, cancel := context.WithTimeout(t.Context(), scrapedWithin)
	defer cancel()
	err := until(ctx, func() error {
		up, err := s.vector(ctx, "timestamp(up) and up == 1", time.Time{})
		if err != nil {
			return err
		}
		fresh := 0
		for _, sample := range up {
			if float64(sample.Value) > now {
				fresh++
			}
		}
		if fresh < s.targets {
			return fmt.Errorf("%d of %d targets have been scraped", fresh, s.targets)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("within %s: %v", scrapedWithin, err)
	}
}

// Query evaluates an expression now.
func (s *Server) Query(t testing.TB, expr string) model.Vector {
	t.Helper()
	return s.QueryAt(t, expr, time.Time{})
}

// QueryAt evaluates an expression at the given time; several expressions then speak of the same samples.
func (s *Server) QueryAt(t testing.TB, expr string, at time.Time) model.Vector {
	t.Helper()
	v, err := s.vector(t.Context(), expr, at)
	if err != nil {
		t.Fatalf("query %q: %v", expr, err)
	}
	return v
}

// Number evaluates an expression now that gives exactly one number.
func (s *Server) Number(t testing.TB, expr string) float64 {
	t.Helper()
	v := s.Query(t, expr)
	if len(v) != 1 || v[0].Histogram != nil {
		t.Fatalf("query %q: want one number (got %v)", expr, v)
	}
	return float64(v[0].Value)
}

func (s *Server) vector(ctx context.Context, expr string, at time.Time) (model.Vector, error) {
	value, warnings, _, err := s.api.Query(ctx, expr, at)
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("prometheus warns: %s", strings.Join(warnings, "; "))
	}
	switch v := value.(type) {
	case model.Vector:
		return v, nil
	case *model.Scalar:
		return model.Vector{{Value: v.Value, Timestamp: v.Timestamp}}, nil
	}
	return nil, fmt.Errorf("the result is a %s: an instant vector is wanted", value.Type())
}

func (s *Server) tail(lines int) string {
	log, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// find looks for .lab/bin/prometheus from the test's folder upwards.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find prometheus: %w", err)
	}
	for {
		binary := filepath.Join(dir, ".lab", "bin", "prometheus")
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			if _, err := exec.LookPath(binary); err == nil {
				return binary, nil
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New(`find prometheus: .lab/bin/prometheus is not in the checkout: run "make build"`)
		}
		dir = up
	}
}
