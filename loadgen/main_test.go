package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

func TestBadCommandLinesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"run without a rate":          {[]string{"run"}, []string{"--rate"}},
		"a rate of zero":              {[]string{"run", "--rate=0"}, []string{"rate: must be above 0", "got 0"}},
		"a rate below zero":           {[]string{"run", "--rate=-5"}, []string{"rate:", "got -5"}},
		"a rate that is no number":    {[]string{"run", "--rate=NaN"}, []string{"rate:", "NaN"}},
		"an unknown workload":         {[]string{"slo", "--workload=heavy"}, []string{"workload: must be one of " + strings.Join(workload.Names(), ", "), `"heavy"`}},
		"a file that is not there":    {[]string{"slo", "--workload.file=/none.yaml"}, []string{"/none.yaml"}},
		"an SLO too short to measure": {[]string{"slo", "--slo.p99=500us"}, []string{"slo.p99: must be within 1ms..10m0s", "500"}},
		"an SLO below zero":           {[]string{"slo", "--slo.p99=-1ms"}, []string{"slo.p99: must be", "-1ms"}},
		"replicas below zero":         {[]string{"slo", "--topic.replication=-1"}, []string{"topic.replication: must be within 1..100", "-1"}},
		"a broker without a port":     {[]string{"slo", "--kafka.brokers=localhost"}, []string{"kafka.brokers[0]: must be host:port", `"localhost"`}},
		"slo without consumers":       {[]string{"slo", "--workload.file=testdata/produce-only.yaml"}, []string{"consumer.clients: must be at least 1 with slo"}},
		"a share that is no share":    {[]string{"run", "--rate=1", "--share=2"}, []string{"share: must be INDEX/COUNT", `"2"`}},
		"a share beyond the count":    {[]string{"run", "--rate=1", "--share=4/4"}, []string{"share: must be INDEX/COUNT", `"4/4"`}},
		"a start that is no time":     {[]string{"run", "--rate=1", "--share=0/2", "--share.start=noon"}, []string{"share.start: must be a time", `"noon"`}},
		"a start that is long over":   {[]string{"run", "--rate=1", "--duration=1s", "--share=0/2", "--share.start=2020-01-01T00:00:00Z"}, []string{"share.start: must be less than the duration"}},
		"a search below zero":         {[]string{"search", "--search.min=-1"}, []string{"search: min: must be", "-1"}},
		"a report that is not there":  {[]string{"report", "/none.json"}, []string{"/none.json"}},
		"a report that is none":       {[]string{"report", "main.go"}, []string{"main.go"}},
		"a duration below zero":       {[]string{"slo", "--duration=-1s"}, []string{"duration: must be 0 or more", "-1s"}},
		"an empty topic":              {[]string{"slo", "--topic="}, []string{"topic: must be set"}},
		"several problems together":   {[]string{"run", "--rate=0", "--topic=", "--duration=-1s"}, []string{"rate:", "topic:", "duration:"}},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), tc.args, &stdout, &stderr); code != 2 {
				t.Errorf("got exit code %d, want 2", code)
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("got %q, want it to mention %q", stderr.String(), want)
				}
			}
		})
	}
}

// A pipeline that merges the copies' reports goes by the exit code.
func TestAMergedReportThatBreachesEndsWithItsOwnExitCode(t *testing.T) {
	r := report.Report{
		Schema: report.Schema, Mode: report.ModeRun, Topic: "lab", Partitions: 1, Lasted: 10, Copies: 1, Groups: 1,
		Measured: report.Phase{Offered: 1, Failed: 1}, Start: time.Now(), Generators: []report.Generator{{Run: "1", Senders: 1, CPUs: 1}},
	}
	var err error
	if r.Workload, err = report.NewWorkload("w", map[string]string{}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "0.json")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.WriteJSON(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[int][]string{0: {"report", name}, breached: {"report", "--fail-on-breach", name}} {
		var out, errs bytes.Buffer
		if got := run(t.Context(), args, &out, &errs); got != want {
			t.Errorf("%q: got exit code %d, want %d\n%s", args, got, want, errs.String())
		}
	}
}

func TestABusyPortIsSaidAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"slo", "--listen=" + l.Addr().String()}, &stdout, &stderr); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	if !strings.Contains(stderr.String(), l.Addr().String()) {
		t.Errorf("got %q, want it to name the address", stderr.String())
	}
}

// A generator that is started before its cluster waits, and can be ended while it does.
func TestWaitingForTheClusterCanBeEnded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout bytes.Buffer
	var stderr said
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"slo", "--listen=127.0.0.1:0", "--kafka.brokers=" + nobody}, &stdout, &stderr)
	}()
	for !strings.Contains(stderr.String(), "waiting for the cluster") {
		select {
		case code := <-ended:
			t.Fatalf("ended with %d by itself, after %q, want it to say what it waits for", code, stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	began := time.Now()
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v to end", took)
	}
}
