package grafana_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/grafana"
)

// server is a real Prometheus that scrapes the contract's target and evaluates the rules that are shipped.
type server struct{ url string }

const serverConfig = `
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 500ms, scrape_native_histograms: true, always_scrape_classic_histograms: true}
rule_files: [%q]
scrape_configs:
  - job_name: kafka
    static_configs: [{targets: [%q], labels: {namespace: kafka, pod: kafka-0}}]
`

func start(t *testing.T) server {
	t.Helper()
	const binary = "../.lab/bin/prometheus"
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("find prometheus: %v (run `make build` first)", err)
	}
	rules, err := filepath.Abs("../prometheus/rules/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	scraped := httptest.NewServer(target())
	t.Cleanup(scraped.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(serverConfig, rules, scraped.Listener.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()

	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // an error only repeats that it was asked to end
		if t.Failed() {
			t.Logf("prometheus:\n%s", log.String())
		}
	})
	return server{url: "http://" + address}
}

// get asks the API; an error from it holds Prometheus' own words.
func (s server) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("decode answer (status %d): %w", resp.StatusCode, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("prometheus says: %s", answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// query returns an error unless there is a result and every value in it is a number.
func (s server) query(ctx context.Context, expr string) error {
	var data struct {
		Result []struct {
			Metric    map[string]string
			Value     [2]any
			Histogram [2]any
		}
	}
	if err := s.get(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return err
	}
	if len(data.Result) == 0 {
		return fmt.Errorf("no result")
	}
	for _, r := range data.Result {
		if r.Histogram[1] != nil {
			continue
		}
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("value of %v is %q", r.Metric, text)
		}
	}
	return nil
}

// within polls until check succeeds.
func within(t *testing.T, limit time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		if err := check(ctx); err == nil {
			return
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("%s: not within %v: %v", what, limit, last)
}

func TestEachQueryAndRuleFindsDataInTheContract(t *testing.T) {
	t.Parallel()
	s := start(t)
	within(t, time.Minute, "first quantile by rule", func(ctx context.Context) error {
		return s.query(ctx, "workload:loadgen_response_seconds:p999_30s")
	})
	t.Run("rules", func(t *testing.T) { s.checkRules(t) })

	values := map[string]string{"datasource": "any", "workload": ".*", "broker": ".*", "__rate_interval": "5s"}
	each(t, func(t *testing.T, raw []byte, _ model) {
		queries, err := grafana.Queries(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			expr, err := q.Expand(values)
			if err != nil {
				t.Error(err)
				continue
			}
			if err := s.query(t.Context(), expr); err != nil {
				t.Errorf("%s %s: %v\n%s", q.Title, q.RefID, err, expr)
			}
		}
	})
}

func (s server) checkRules(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Type, Health, LastError string }
		}
	}
	if err := s.get(t.Context(), "/api/v1/rules", &rules); err != nil {
		t.Fatal(err)
	}
	recorded := 0
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if r.Type == "recording" {
				recorded++
				within(t, 10*time.Second, "rule "+r.Name, func(ctx context.Context) error { return s.query(ctx, r.Name) })
			}
			if r.Health == "err" {
				t.Errorf("rule %s: %s", r.Name, r.LastError)
			}
		}
	}
	if recorded == 0 {
		t.Error("no recording rules were loaded")
	}
}

// The P99 by PromQL is the one that was observed, to the promised one per cent: it comes from the native histogram, not from the classic
// buckets beside it, whose nearest bounds are 0.1 and 0.25.
func TestQuantilesComeFromNativeHistograms(t *testing.T) {
	t.Parallel()
	s := start(t)
	const native = `abs(histogram_quantile(0.995, sum(rate(loadgen_end_to_end_seconds[10s]))) / 0.1 - 1) < 0.011`
	within(t, time.Minute, "P99.5 of 0.1 s", func(ctx context.Context) error { return s.query(ctx, native) })
	if err := s.query(t.Context(), `sum(rate(loadgen_end_to_end_seconds_bucket{le="+Inf"}[10s]))`); err != nil {
		t.Errorf("classic buckets: %v", err)
	}
}
