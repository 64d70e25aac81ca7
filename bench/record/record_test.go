package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/workload"
	"github.com/kafkalab/kafkalab/tuner/replay"
)

func TestAPassMeasuresEveryConfigurationOnceAndRestartsOnceForEachHeap(t *testing.T) {
	plan := Plan(1, 3)
	seen, restarts := map[Step]int{}, 0
	for i, s := range plan {
		seen[s]++
		if i == 0 || s.Deployment() != plan[i-1].Deployment() {
			restarts++
		}
	}
	configurations := len(heaps) * len(networks) * len(ios)
	if want := 3 * len(loads) * configurations; len(seen) != want || len(plan) != want || configurations < 60 {
		t.Errorf("want each of %d measurements once, of at least 60 configurations (got %d, %d different, of %d)", want, len(plan), len(seen), configurations)
	}
	if want := 3 * len(heaps); restarts != want {
		t.Errorf("want %d restarts (got %d)", want, restarts)
	}
	if !slices.Contains(plan, Step{1, "bulk", 256, 1, 2}) {
		t.Error("the demo's start is not measured")
	}
	if !reflect.DeepEqual(plan, Plan(1, 3)) {
		t.Error("the same seed gives another order")
	}
	first := func(pass int, plan []Step) (out []Step) {
		for _, s := range plan {
			if s.Pass == pass {
				s.Pass = 0
				out = append(out, s)
			}
		}
		return out
	}
	if reflect.DeepEqual(first(1, plan), first(2, plan)) || reflect.DeepEqual(plan, Plan(2, 3)) {
		t.Error("passes or seeds have the same order")
	}
}

// broker is a cluster without a lab. It fails what broken names, and ends the recording after some measurements.
type broker struct {
	broken   func(Step) bool
	end      context.CancelFunc
	after    int
	restarts []int
	measured []Step
}

func (b *broker) Restart(_ context.Context, heap int) error {
	b.restarts = append(b.restarts, heap)
	return nil
}

func (b *broker) Measure(ctx context.Context, s Step) (Figures, error) {
	if b.end != nil && len(b.measured) == b.after {
		b.end()
		return Figures{}, ctx.Err()
	}
	b.measured = append(b.measured, s)
	if b.broken != nil && b.broken(s) {
		return Figures{}, errors.New("the broker is gone")
	}
	return Figures{Rate: float64(s.Heap * s.IO), P99: float64(10 * s.Pass)}, nil
}

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

var quiet = slog.New(slog.DiscardHandler)

func TestARecordingThatWasKilledGoesOnWhereItWas(t *testing.T) {
	dir, plan := t.TempDir(), Plan(1, 1)
	ctx, end := context.WithCancel(t.Context())
	j := open(t, dir)
	if err := record(ctx, plan, &broker{end: end, after: 40}, j, quiet); !errors.Is(err, context.Canceled) {
		t.Fatalf("want the recording ended (got %v)", err)
	}
	j.Close()
	// The kill hit the last line.
	name := filepath.Join(dir, "measurements.jsonl")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text[:len(text)-20], 0o644); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	left := Left(plan, j.Done())
	if !reflect.DeepEqual(left, plan[39:]) {
		t.Fatalf("want the last 40th on again (got %d of %d left, the first %v)", len(left), len(plan), left[0])
	}
	b := &broker{}
	if err := record(t.Context(), left, b, j, quiet); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(b.measured, plan[39:]) || len(b.restarts) != 3 {
		t.Errorf("want only what was left, with the heap that was under way and two more (got %d measurements, restarts with %v)", len(b.measured), b.restarts)
	}
	j.Close()
	if j = open(t, dir); len(j.Done()) != len(plan) || len(Left(plan, j.Done())) != 0 {
		t.Errorf("want all %d on disk (got %d)", len(plan), len(j.Done()))
	}
}

func TestARecordingBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := OpenJournal(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("want the second to be refused (got %v)", err)
	}
}

func TestADamagedRecordingIsNotGoneOnWith(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "measurements.jsonl"), []byte("{\"pass\":1}\nsomething else\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(dir); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("want the line named (got %v)", err)
	}
}

func TestWhatFailsTwiceIsNotedAndABrokenLabEndsTheRecording(t *testing.T) {
	plan, j := Plan(1, 1)[:6], open(t, t.TempDir())
	b := &broker{broken: func(s Step) bool { return s == plan[1] }}
	if err := record(t.Context(), plan, b, j, quiet); err != nil {
		t.Fatal(err)
	}
	if done := j.Done(); len(done) != 6 || done[1].Failed != "the broker is gone" || done[2].Failed != "" || len(b.measured) != 7 {
		t.Errorf("want one failure noted after a second try (got %d measurements for %+v)", len(b.measured), done)
	}
	j = open(t, t.TempDir())
	if err := record(t.Context(), plan, &broker{broken: func(Step) bool { return true }}, j, quiet); err == nil || len(j.Done()) != 2 {
		t.Errorf("want an end at the third failure in a row, which is not noted (got %v, %d noted)", err, len(j.Done()))
	}
}

func TestTheExportIsWhatReplayReads(t *testing.T) {
	dir := t.TempDir()
	var all []Measurement
	for _, s := range Plan(1, 2) {
		m := Measurement{Step: s, Figures: Figures{Rate: float64(s.Heap * s.IO), P99: float64(10 * s.Pass), Series: []Second{{Acked: 7, P99: 250}}}}
		if s.Heap == 512 && s.IO == 8 && (s.Network == 8 || s.Network == 1 && s.Pass == 2) {
			m = Measurement{Step: s, Failed: "the broker is gone"}
		}
		all = append(all, m)
	}
	if err := Export(dir, all); err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		name := filepath.Join(dir, "kafka-"+l.Workload)
		s, err := replay.Load(name+".csv", name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Pool) != len(heaps)*len(networks)*len(ios) || s.Optimum != 2048*8 || s.Start["heap_mib"] != 256 || s.Start["io_threads"] != 2 {
			t.Errorf("%s: want all configurations, the best with the largest heap, from 256 and 2 (got %d, %g, %v)", l.Workload, len(s.Pool), s.Optimum, s.Start)
		}
		text, err := os.ReadFile(name + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"1024,2,4,4096,15,2\n", "512,8,8,,,0\n", "512,1,8,4096,10,1\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: want the row %q in\n%s", l.Workload, want, text)
			}
		}
		if text, err = os.ReadFile(filepath.Join(dir, "windows-"+l.Workload+".csv")); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "config,deployment,goodput,p99\n") || !strings.Contains(string(text), "\n1024:2:4,2,7,0.25\n") {
			t.Errorf("%s: want every second, with its P99 in seconds, in\n%s", l.Workload, text)
		}
	}
}

func TestTheLoadIsThePresetAsAClosedLoop(t *testing.T) {
	for _, l := range loads {
		text, err := document(l, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		w, err := workload.Parse(text)
		if err != nil {
			t.Fatalf("loadgen refuses it: %v", err)
		}
		preset, err := workload.Preset(l.Workload)
		if err != nil {
			t.Fatal(err)
		}
		if w.Schedule.Shape != schedule.Closed || w.Schedule.InFlight != l.InFlight || w.Warmup != 3*time.Second || w.Payload.Bytes != preset.Payload.Bytes {
			t.Errorf("want %s with %d records under way (got %+v)", l.Workload, l.InFlight, w)
		}
	}
}

func TestTheWarmUpIsLeftOut(t *testing.T) {
	begun := time.Unix(1000, 500_000_000)
	r := &report.Report{Start: begun, Warmup: 2, Lasted: 6, Generators: []report.Generator{{Limited: 0.5}}}
	r.Measured.Acked, r.Measured.Failed, r.Measured.EndToEnd = 400, 3, latency(40*time.Millisecond)
	for i := range 7 {
		p := report.Point{At: int64(1000 + i), Seconds: 1, Acked: uint64(100 + i), EndToEnd: latency(time.Duration(10+i) * time.Millisecond)}
		if i == 0 || i == 6 {
			p.Seconds = 0.5
		}
		r.Series.Add(p)
	}
	f, err := figures(r)
	if err != nil {
		t.Fatal(err)
	}
	if f.Rate != 100 || f.Errors != 3 || f.Limited != 0.5 || f.P99 < 36 || f.P99 > 44 {
		t.Errorf("want 100 a second, about 40 ms, 3 errors and half a second (got %+v)", f)
	}
	var acked []uint64
	for _, s := range f.Series {
		acked = append(acked, s.Acked)
	}
	if fmt.Sprint(acked) != "[103 104 105]" {
		t.Errorf("want the whole seconds after the warm-up (got %v)", acked)
	}
	r.Measured.EndToEnd = hist.Packed{}
	if _, err := figures(r); err == nil {
		t.Error("a measurement without a latency was taken")
	}
}

func latency(d time.Duration) hist.Packed {
	var r hist.Recorder
	r.Record(d)
	var s hist.Snapshot
	s.Add(&r)
	return s.Pack()
}
