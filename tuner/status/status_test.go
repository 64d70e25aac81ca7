package status_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kafkalab/kafkalab/tuner/status"
)

func snapshot() status.Snapshot {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := at
	return status.Snapshot{
		Schema: status.Schema, Time: at, Mode: "auto", State: status.Trialing, SLO: 200,
		Live: status.Live{Window: 10, Age: status.Ptr(1.5), P50: status.Ptr(10.0), P99: status.Ptr(123.456), P999: status.Ptr(300.0), Acked: status.Ptr(5000.0),
			Missing: map[string]string{"errors": "no-data: the result is empty"}},
		Knobs: []status.Knob{
			{Name: "heap", Env: "KAFKA_HEAP_OPTS", Unit: "MiB", Scale: 1 << 20, Desired: status.Ptr(int64(512)), Effective: status.Ptr(int64(256)), Best: status.Ptr(int64(512)), Text: "-Xms512m -Xmx512m"},
			{Name: "io_threads", Env: "KAFKA_NUM_IO_THREADS", Unit: "threads", Scale: 1, Desired: status.Ptr(int64(2))},
		},
		Trial: &status.Trial{Number: 2, Phase: "verifying", Since: at, Started: at, Knob: "heap", Old: 256, New: 512, Reason: "next step up of heap"},
		Trials: []status.Trial{
			{Number: 1, Phase: "kept", Ended: &ended, Knob: "heap", Old: 128, New: 256, Outcome: "kept", Effect: status.Ptr(0.25)},
			{Number: 2, Phase: "verifying", Knob: "heap", Old: 256, New: 512},
		},
		Changes: []status.Change{{ID: 7, Time: at, Trial: 1, Author: "kafkalab-tuner", Outcome: "kept", Knob: "heap", Old: "-Xms128m", New: "-Xms256m", Effect: status.Ptr(0.25), Reason: "<goodput>"},
			{ID: 9, Time: at, Author: "kubectl-patch", Outcome: "outside", Knob: "heap", Old: "a", New: "b"}},
		Goal:   status.Goal{Baseline: status.Ptr(1000.0), Best: status.Ptr(1500.0), Ratio: status.Ptr(1.5)},
		Ledger: 12, Limits: status.Limits{CPUs: "4", Memory: "4Gi"},
		Reference: &status.Reference{Measured: at, Goodput: 1234.5, P99: 150},
	}
}

func files(t *testing.T) (*status.Files, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "status")
	f, err := status.NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFiles(t *testing.T) {
	f, dir := files(t)
	text := filepath.Join(dir, status.LatencyText)
	if got := read(t, text); got != "N/A\n" {
		t.Errorf("want N/A before anything is known (got %q)", got)
	}
	for _, c := range []struct {
		p99  *float64
		want string
	}{{status.Ptr(12.344), "12.34\n"}, {nil, "N/A\n"}, {status.Ptr(0.0), "0.00\n"}, {status.Ptr(123456.789), "123456.79\n"}} {
		s := snapshot()
		s.Live.P99 = c.p99
		if err := f.Write(s); err != nil {
			t.Fatal(err)
		}
		if got := read(t, text); got != c.want {
			t.Errorf("want %q (got %q)", c.want, got)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("want the two files and nothing else (got %v, %v)", names, err)
	}
}

func TestJSON(t *testing.T) {
	f, dir := files(t)
	if err := f.Write(snapshot()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, status.LatencyJSON))), &got); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"schema": 1.0, "timestamp": "2026-01-02T03:04:05.000Z", "window_seconds": 10.0, "age_seconds": 1.5, "p50_ms": 10.0, "p99_ms": 123.456, "p999_ms": 300.0,
		"offered_per_second": nil, "acked_per_second": 5000.0, "slo_ms": 200.0, "state": "trialing", "mode": "auto",
	} {
		v, there := got[field]
		if !there || v != want {
			t.Errorf("%s: want %v (got %v, there: %v)", field, want, v, there)
		}
	}
	if d := got["knobs_desired"].(map[string]any); d["heap"] != 512.0 || d["io_threads"] != 2.0 {
		t.Errorf("want the desired knobs (got %v)", d)
	}
	if e := got["knobs_effective"].(map[string]any); e["heap"] != 256.0 || len(e) != 1 {
		t.Errorf("want the known effective knobs only (got %v)", e)
	}
	if m := got["missing"].(map[string]any); m["errors"] != "no-data: the result is empty" {
		t.Errorf("want the reason of what is missing (got %v)", m)
	}
	if l := got["limits"].(map[string]any); l["memory"] != "4Gi" {
		t.Errorf("want the limits (got %v)", l)
	}
	if r, ok := got["reference"].(map[string]any); !ok || r["measured"] != "2026-01-02T03:04:05Z" || r["goodput"] != 1234.5 || r["p99_ms"] != 150.0 {
		t.Errorf("want what a change is compared with (got %v)", got["reference"])
	}
	s := snapshot()
	s.Reference = nil
	if err := f.Write(s); err != nil {
		t.Fatal(err)
	}
	if text := read(t, filepath.Join(dir, status.LatencyJSON)); strings.Contains(text, "reference") {
		t.Errorf("want nothing said of one that is not there:\n%s", text)
	}
}

// TestNeverSeenHalf reads 10⁵ times against a writer: each read is one whole file.
func TestNeverSeenHalf(t *testing.T) {
	f, dir := files(t)
	s := snapshot()
	if err := f.Write(s); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s.Live.P99 = nil
			if i%3 > 0 {
				s.Live.P99 = status.Ptr(float64(i%1000000) / 7)
			}
			if err := f.Write(s); err != nil {
				t.Error(err)
				return
			}
		}
	})
	line := regexp.MustCompile(`^(N/A|\d+\.\d\d)\n$`)
	text, body := filepath.Join(dir, status.LatencyText), filepath.Join(dir, status.LatencyJSON)
	seen := map[string]bool{}
	for i := range 100_000 {
		got, err := os.ReadFile(text)
		if err != nil || !line.Match(got) {
			t.Fatalf("read %d: %q, %v", i, got, err)
		}
		seen[string(got)] = true
		if i%10 == 0 {
			if got, err := os.ReadFile(body); err != nil || !json.Valid(got) {
				t.Fatalf("read %d: %s, %v", i, got, err)
			}
		}
	}
	close(stop)
	writer.Wait()
	if len(seen) < 100 {
		t.Errorf("want the writer at work meanwhile (got %d different contents)", len(seen))
	}
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := status.NewFiles(filepath.Join(file, "status")); err == nil || !strings.Contains(err.Error(), "status folder") {
		t.Errorf("want the folder named (got %v)", err)
	}
}

func TestMetrics(t *testing.T) {
	collector := status.NewCollector(status.NewBoard(snapshot()))
	if problems, err := testutil.CollectAndLint(collector); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	want := `
# HELP tuner_change_timestamp_seconds When the target was changed, one series per change.
# TYPE tuner_change_timestamp_seconds gauge
tuner_change_timestamp_seconds{author="kafkalab-tuner",change="7-heap",knob="heap",new="-Xms256m",old="-Xms128m",outcome="kept",trial="1"} 1.767323045e+09
tuner_change_timestamp_seconds{author="kubectl-patch",change="9-heap",knob="heap",new="b",old="a",outcome="outside",trial=""} 1.767323045e+09
# HELP tuner_goodput Acknowledged records per second now.
# TYPE tuner_goodput gauge
tuner_goodput 5000
# HELP tuner_knob_desired Value the target is meant to have, in bytes or threads.
# TYPE tuner_knob_desired gauge
tuner_knob_desired{knob="heap"} 5.36870912e+08
tuner_knob_desired{knob="io_threads"} 2
# HELP tuner_knob_effective Value read back from the broker or the JVM, in bytes or threads.
# TYPE tuner_knob_effective gauge
tuner_knob_effective{knob="heap"} 2.68435456e+08
# HELP tuner_objective Median goodput in records per second.
# TYPE tuner_objective gauge
tuner_objective{which="baseline"} 1000
tuner_objective{which="best"} 1500
# HELP tuner_objective_ratio Best goodput divided by the baseline's.
# TYPE tuner_objective_ratio gauge
tuner_objective_ratio 1.5
# HELP tuner_p99_seconds Consumer P99 latency now.
# TYPE tuner_p99_seconds gauge
tuner_p99_seconds 0.123456
# HELP tuner_slo_seconds P99 that the objective demands.
# TYPE tuner_slo_seconds gauge
tuner_slo_seconds 0.2
# HELP tuner_trial_number Number of the newest trial.
# TYPE tuner_trial_number gauge
tuner_trial_number 2
# HELP tuner_trials_total Trials that ended, by outcome.
# TYPE tuner_trials_total counter
tuner_trials_total{outcome="better"} 0
tuner_trials_total{outcome="discarded"} 0
tuner_trials_total{outcome="inconclusive"} 0
tuner_trials_total{outcome="kept"} 1
tuner_trials_total{outcome="not-better"} 0
tuner_trials_total{outcome="reverted"} 0
tuner_trials_total{outcome="worse"} 0
`
	err := testutil.CollectAndCompare(collector, strings.NewReader(want), "tuner_change_timestamp_seconds", "tuner_goodput", "tuner_knob_desired", "tuner_knob_effective",
		"tuner_objective", "tuner_objective_ratio", "tuner_p99_seconds", "tuner_slo_seconds", "tuner_trial_number", "tuner_trials_total")
	if err != nil {
		t.Error(err)
	}
	if got := testutil.CollectAndCount(collector, "tuner_state"); got != len(status.States()) {
		t.Errorf("want a sample for each state (got %d)", got)
	}
}

func TestUnknownHasNoSample(t *testing.T) {
	s := snapshot()
	s.Live, s.Goal = status.Live{}, status.Goal{}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(status.NewCollector(status.NewBoard(s)))
	n, err := testutil.GatherAndCount(registry, "tuner_p99_seconds", "tuner_goodput", "tuner_objective", "tuner_objective_ratio")
	if err != nil || n != 0 {
		t.Errorf("want no sample for what is not known (got %d, %v)", n, err)
	}
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	if err := snapshot().Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"trialing, mode auto", "heap 256 → 512, verifying", "123.46 ms, SLO 200 ms", "start 1000, best 1500 records/s (1.50 ×)", "desired 512, effective 256, best 512 MiB", "kept by kafkalab-tuner: heap -Xms128m → -Xms256m, +25.0 %", "offered N/A"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, &out)
		}
	}
}

func TestBoardIsSafe(t *testing.T) {
	b := status.NewBoard(snapshot())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 500 {
				b.Update(func(s *status.Snapshot) { s.Knobs[0].Desired = status.Ptr(int64(i)) })
				s := b.Snapshot()
				s.Knobs[0].Desired = nil // a reader's copy is its own
				if b.Snapshot().Knobs[0].Desired == nil {
					t.Error("a reader changed the board")
				}
			}
		})
	}
	group.Wait()
}
