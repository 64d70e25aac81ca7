//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// shortWindows measure a change within a minute. A window has the four scrapes that it needs: of those that lack one, six may be measured again.
var shortWindows = map[string]any{"settle": "4s", "warmup": "4s", "warmup_limit": "8s", "window": "8s", "count": 4, "extra": 6}

// shortLab is lab.yaml with short windows, a budget of restarts, and an objective whose answer is known: more I/O threads are better and nothing else
// matters. So a trial of I/O threads is kept and one of the heap or of network threads taken back, whatever the machine is doing; all the rest is as in
// the demo.
func shortLab(t *testing.T, l *lab, restarts int, ioSteps ...int) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.checkout, "lab.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	steps := map[string][]int{"io_threads": ioSteps, "heap": {256, 320}, "network_threads": {1, 2}}
	var knobs []any
	for _, name := range []string{"io_threads", "heap", "network_threads"} {
		for _, k := range file["knobs"].([]any) {
			if knob := k.(map[string]any); knob["name"] == name {
				knob["steps"] = steps[name]
				knobs = append(knobs, knob)
			}
		}
	}
	file["knobs"] = knobs
	objective := file["objective"].(map[string]any)
	objective["goodput"] = `sum(avg_over_time(tuner_knob_effective{knob="io_threads"}[$window]))`
	objective["p99"] = "0 * sum(rate(loadgen_records_acked_total[$window])) + 0.1" // the load holds the SLO as in the demo; here it decides nothing
	delete(file, "guards")
	windows := file["windows"].(map[string]any)
	budgets := file["budgets"].(map[string]any)
	budgets["recheck"], budgets["restarts"] = "0s", restarts // ten blocks and more take a quarter of an hour
	maps.Copy(windows, shortWindows)
	if data, err = yaml.Marshal(file); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "lab.yaml")
	if err := os.WriteFile(short, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return short
}

func (l *lab) ledgerFile() string { return l.path("state", "data", "tuner", "ledger.jsonl") }

// records are the ledger's, read while the tuner writes it.
func (l *lab) records(t *testing.T) []ledger.Record {
	t.Helper()
	records, _, err := ledger.Read(l.ledgerFile())
	if err != nil {
		t.Fatalf("ledger: %v", err)
	}
	return records
}

func (l *lab) verifyLedger(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(l.path("bin", "tuner"), "ledger", "verify", l.ledgerFile()).CombinedOutput(); err != nil {
		t.Errorf("ledger verify: %v\n%s", err, out)
	}
}

// tunerStatus asks the tuner's API.
func tunerStatus(ctx context.Context) (status.Snapshot, error) {
	var s status.Snapshot
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tunerAddr+"/api/v1/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// outcomes are the ended trials, by knob.
func outcomes(records []ledger.Record) map[string][]ledger.Outcome {
	knob, found := map[int]string{}, map[string][]ledger.Outcome{}
	for _, r := range records {
		if r.Kind == ledger.Edge && r.Change != nil {
			knob[r.Trial] = r.Change.Knob
		}
		if r.Kind == ledger.Edge && (r.Phase == ledger.Kept || r.Phase == ledger.Reverted) {
			found[knob[r.Trial]] = append(found[knob[r.Trial]], r.Outcome)
		}
	}
	return found
}

// tunerWorks lets the tuner make two trials in peace, and a third while everything is killed.
func tunerWorks(t *testing.T, l *lab) {
	// The change that is kept is one restart, each that is taken back is two: none is left to look a second time.
	up := []string{"TUNER_MODE=auto", "LAB_FILE=" + shortLab(t, l, 5, 2, 4)}
	l.up(t, up...)
	eventually(t, 12*time.Minute, "two trials, and a third under way", func() error {
		records := l.records(t)
		if n := len(ended(records)); n < 2 || !slices.ContainsFunc(records, func(r ledger.Record) bool { return r.Trial == 3 }) {
			return fmt.Errorf("%d trials ended, %s", n, doing())
		}
		return nil
	})
	l.verifyLedger(t)
	peaceful := map[string][]ledger.Outcome{"io_threads": {ledger.OutcomeKept}, "heap": {ledger.OutcomeReverted}}
	if diff := cmp.Diff(peaceful, outcomes(l.records(t))); diff != "" {
		t.Errorf("two trials in peace: -want +got:\n%s", diff)
	}
	t.Run("whatever is killed comes back", func(t *testing.T) { killed(t, l, up) })
	if t.Failed() {
		return // what did not come back is missed below too, for minutes each
	}
	eventually(t, 8*time.Minute, "the tuner goes on where it was, to the end", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if s, err := tunerStatus(ctx); err != nil || s.Trial != nil || s.State != status.Done {
			return errors.New(doing())
		}
		return nil
	})
	l.verifyLedger(t)
	records := l.records(t)
	if diff := cmp.Diff(map[int]int{1: 1, 2: 1, 3: 1}, ended(records)); diff != "" {
		t.Errorf("how often each trial ended: -want +got:\n%s", diff)
	}
	if !slices.ContainsFunc(records, func(r ledger.Record) bool { return r.Trial == 3 && r.Resumed }) {
		t.Error("trial 3 was under way when the tuner was killed, and the ledger has no edge that was resumed")
	}
	t.Logf("the trial in which everything was killed: %v", outcomes(records)["network_threads"])
	t.Run("the cluster is what the ledger says", func(t *testing.T) {
		for env, want := range map[string]string{
			"KAFKA_NUM_IO_THREADS": "4", "KAFKA_NUM_NETWORK_THREADS": "1", "KAFKA_HEAP_OPTS": "-Xms256m -Xmx256m",
		} {
			if got := l.knobInCluster(t, env); got != want {
				t.Errorf("%s: %q, want %q", env, got, want)
			}
		}
		if got, err := brokerConfig("num.io.threads")(t, l); err != nil || got != 4 {
			t.Errorf("the broker's I/O threads: %v %v", got, err)
		}
	})
	t.Run("each change is a sample and an Event, with old and new value, effect and reason", func(t *testing.T) { changesVisible(t, l, records) })
}

// doing is what the tuner says of itself.
func doing() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := tunerStatus(ctx)
	return fmt.Sprintf("state %s (%s), %d trials, running %+v, %v", s.State, s.Reason, len(s.Trials), s.Trial, err)
}

func (l *lab) knobInCluster(t *testing.T, env string) string {
	t.Helper()
	return l.admin(t, "get", "statefulset", "kafka", "-n", "kafka", "-o",
		fmt.Sprintf(`jsonpath={.spec.template.spec.containers[?(@.name=="kafka")].env[?(@.name==%q)].value}`, env))
}

func changesVisible(t *testing.T, l *lab, records []ledger.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	events, err := l.kube.CoreV1().Events("kafka").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	told := func(reason string, words ...string) bool {
		for _, e := range events.Items {
			all := e.Reason == reason
			for _, w := range words {
				all = all && strings.Contains(e.Message, w)
			}
			if all {
				return true
			}
		}
		return false
	}
	change := map[int]*ledger.Change{}
	seen := 0
	for _, r := range records {
		if r.Kind != ledger.Edge {
			continue
		}
		if r.Change != nil {
			change[r.Trial] = r.Change
		}
		reason := map[ledger.Phase]string{ledger.Applying: "TuningAttempted", ledger.Kept: "TuningKept", ledger.Reverted: "TuningReverted"}[r.Phase]
		outcome := map[ledger.Phase]string{ledger.Applying: "attempted", ledger.Kept: "kept", ledger.Reverted: string(r.Outcome)}[r.Phase]
		if reason == "" || r.Resumed {
			continue
		}
		if r.Outcome == ledger.OutcomeInconclusive || r.Outcome == ledger.OutcomeDiscarded {
			reason = "TuningInconclusive"
		}
		seen++
		c := change[r.Trial]
		words := []string{fmt.Sprintf("trial %d: ", r.Trial), c.OldText + " → " + c.NewText}
		if outcome != "attempted" {
			words = append(words, ", effect ", "("+r.Reason+")")
		}
		if !told(reason, words...) {
			t.Errorf("trial %d: no Event %s with all of %q", r.Trial, reason, words)
		}
		query := fmt.Sprintf(`count(tuner_change_timestamp_seconds{trial="%d",outcome=%q,old=%q,new=%q})`, r.Trial, outcome, c.OldText, c.NewText)
		eventually(t, time.Minute, query, func() error { // the newest has to be scraped first
			n, err := l.value(ctx, query)
			if err == nil && n != 1 {
				return fmt.Errorf("%v samples", n)
			}
			return err
		})
		if outcome != "attempted" && r.Reason == "" {
			t.Errorf("trial %d: %s without a reason", r.Trial, outcome)
		}
	}
	if seen < 4 {
		t.Errorf("only %d changes seen in the trials that nobody was killed in", seen)
	}
}
