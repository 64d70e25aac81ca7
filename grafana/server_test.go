package grafana_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// server is a real Prometheus that scrapes the contract's targets and itself, and evaluates the rules that are shipped.
type server struct{ url string }

// An alert that always fires, so that what is made from alerts has something to show.
const firing = `groups: [{name: contract, rules: [{alert: KafkaContract, expr: vector(1), labels: {severity: info}}]}]`

func start(t *testing.T, targets map[string]string) server {
	t.Helper()
	const binary = "../.lab/bin/prometheus"
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("find prometheus: %v (run `make build` first)", err)
	}
	rules, err := filepath.Abs("../prometheus/rules/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	dir := t.TempDir()
	always := filepath.Join(dir, "always.yml")
	jobs := []any{}
	for job, target := range targets {
		jobs = append(jobs, scrape(job, target))
	}
	config, err := yaml.Marshal(map[string]any{
		"global": map[string]any{
			"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s", "scrape_native_histograms": true, "always_scrape_classic_histograms": true,
		},
		"rule_files":     []string{rules, always},
		"scrape_configs": append(jobs, scrape("prometheus", address)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{always: firing, filepath.Join(dir, "prometheus.yml"): string(config)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, binary, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	return server{url: "http://" + address}
}

// scrape gives the labels that the shipped configuration gives.
func scrape(job, target string) map[string]any {
	of := map[string]any{
		"job_name":       job,
		"static_configs": []any{map[string]any{"targets": []string{target}, "labels": map[string]string{"namespace": "lab", "pod": job + "-0", "instance": job + "-0:9000"}}},
	}
	if job == "kafka" { // the page of a JVM that has little of a processor takes more than a second
		of["scrape_interval"], of["scrape_timeout"] = "2s", "2s" // two scrapes are in any window of five seconds
	}
	return of
}

// run keeps a program until the test ends; the kernel ends it when the test program is killed, for which the thread that started it is held.
func run(t *testing.T, program string, args ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // an error only repeats that it was asked to end
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s:\n%s", program, log.String())
		}
	})
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

type sample struct {
	Metric    map[string]string
	Value     [2]any
	Histogram [2]any
}

func (s sample) number() (float64, bool) {
	text, _ := s.Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// query returns an error unless there is a result and every value in it is a number or a histogram.
func (s server) query(ctx context.Context, expr string) ([]sample, error) {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := s.get(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	var result []sample
	if err := json.Unmarshal(data.Result, &result); err != nil {
		return nil, fmt.Errorf("result is a %s: %w", data.ResultType, err)
	}
	if len(result) == 0 {
		return nil, fmt.Errorf("no result")
	}
	for _, r := range result {
		if _, ok := r.number(); !ok && r.Histogram[1] == nil {
			return nil, fmt.Errorf("value of %v is %v", r.Metric, r.Value[1])
		}
	}
	return result, nil
}

// selectors parses an expression as Prometheus does and lists what it selects.
func (s server) selectors(ctx context.Context, expr string) ([]string, error) {
	var tree any
	if err := s.get(ctx, "/api/v1/parse_query?query="+url.QueryEscape(expr), &tree); err != nil {
		return nil, err
	}
	var found []string
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, child := range n {
				walk(child)
			}
		case map[string]any:
			if n["type"] == "vectorSelector" || n["type"] == "matrixSelector" {
				var matchers []string
				for _, m := range n["matchers"].([]any) {
					m := m.(map[string]any)
					matchers = append(matchers, fmt.Sprintf("%s%s%q", m["name"], m["type"], m["value"]))
				}
				found = append(found, "{"+strings.Join(matchers, ",")+"}")
			}
			for _, child := range n {
				walk(child)
			}
		}
	}
	walk(tree)
	slices.Sort(found)
	return slices.Compact(found), nil
}

// exists tells whether a selector has found a series in the last minutes.
func (s server) exists(ctx context.Context, selector string) error {
	var series []map[string]string
	from := time.Now().Add(-5 * time.Minute).Unix()
	if err := s.get(ctx, fmt.Sprintf("/api/v1/series?start=%d&limit=1&match[]=%s", from, url.QueryEscape(selector)), &series); err != nil {
		return err
	}
	if len(series) == 0 {
		return fmt.Errorf("no series %s", selector)
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
		case <-time.After(200 * time.Millisecond):
		}
	}
	t.Errorf("%s: not within %v: %v", what, limit, last)
}
