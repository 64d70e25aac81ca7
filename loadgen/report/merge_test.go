package report_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

// copies are three processes of one run, with different latencies; the second began a moment later, the third ended earlier.
func copies(t *testing.T) []*report.Report {
	t.Helper()
	start := time.Unix(1_800_000_000, 250e6).UTC()
	a, _ := made{seed: 1, run: "a", start: start}.make(t)
	b, _ := made{seed: 2, run: "b", start: start.Add(900 * time.Millisecond), rate: 300}.make(t)
	c, _ := made{seed: 3, run: "c", start: start, seconds: 50}.make(t)
	return []*report.Report{a, b, c}
}

func TestMergingAddsEveryBucketAndEverySecond(t *testing.T) {
	parts := copies(t)
	m, err := report.Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	var acked, consumed uint64
	var response, end hist.Packed
	perSecond := map[int64]report.Point{}
	for _, r := range parts {
		acked += r.Measured.Acked
		consumed += r.Total().Consumed
		response = response.Plus(r.Measured.Response)
		end = end.Plus(r.WarmUp.EndToEnd)
		for _, p := range r.Series.Points {
			sum := perSecond[p.At]
			sum.Acked += p.Acked
			sum.Target += p.Target
			sum.InFlight += p.InFlight
			sum.EndToEnd = sum.EndToEnd.Plus(p.EndToEnd)
			perSecond[p.At] = sum
		}
	}
	if m.Measured.Acked != acked || m.Total().Consumed != consumed || m.Measured.Response != response || m.WarmUp.EndToEnd != end {
		t.Errorf("got %d acknowledged and %d consumed, want %d and %d, and the same buckets", m.Measured.Acked, m.Total().Consumed, acked, consumed)
	}
	if len(m.Series.Points) != len(perSecond) {
		t.Fatalf("got %d seconds, want %d", len(m.Series.Points), len(perSecond))
	}
	for _, p := range m.Series.Points {
		want := perSecond[p.At]
		if p.Acked != want.Acked || p.Target != want.Target || p.InFlight != want.InFlight || p.EndToEnd != want.EndToEnd || p.Seconds != 1 {
			t.Errorf("second %d: got %+v, want %+v", p.At, p, want)
		}
	}
	if len(m.Generators) != 3 || m.Start != parts[0].Start || m.Lasted != 60.9 {
		t.Errorf("got %d generators from %v for %v s", len(m.Generators), m.Start, m.Lasted)
	}
	again, err := report.Merge(parts[1], parts[2], parts[0])
	if err != nil {
		t.Fatal(err)
	}
	if again.Measured.Acked != m.Measured.Acked || again.Lasted != m.Lasted || !slices.EqualFunc(again.Series.Points, m.Series.Points, func(a, b report.Point) bool { return a.Acked == b.Acked && a.At == b.At }) {
		t.Error("another order gives another result")
	}
}

func TestMergingChangesNoneOfItsParts(t *testing.T) {
	parts := copies(t)
	spare := append(make([]report.Generator, 0, 4), parts[0].Generators...)
	parts[0].Generators = spare
	for range 2 {
		if _, err := report.Merge(parts...); err != nil {
			t.Fatal(err)
		}
	}
	fresh := copies(t)
	for i, p := range parts {
		if text(t, p) != text(t, fresh[i]) {
			t.Errorf("report %d has changed", i+1)
		}
	}
	if beyond := spare[:2][1]; beyond.Run != "" {
		t.Errorf("run %s was written into the first report's memory", beyond.Run)
	}
}

func TestMergingTellsWhatDiffersWithoutBeingAnotherRun(t *testing.T) {
	parts := copies(t)
	parts[1].Start = parts[1].Start.Add(3 * time.Second)
	parts[1].Settings = map[string]string{"producer.required_acks": "leader", "producer.compression": "none"}
	parts[2].Settings = map[string]string{"net.tls": "true"}
	parts[2].Warnings = []string{"something", "something"}
	parts[1].Program = "loadgen older"
	parts[1].Errors, parts[2].Errors = map[string]uint64{"timed out": 3}, map[string]uint64{"timed out": 4, "refused": 1}
	parts[1].Faults = report.Faults{Lost: 2, Named: slices.Repeat([]string{"x"}, 60)}
	parts[2].Faults = report.Faults{Lost: 3, Skewed: 1, Named: slices.Repeat([]string{"y"}, 60)}
	m, err := report.Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"the copies did not start together: 2027-01-15T08:00:00Z and 2027-01-15T08:00:04Z",
		"client setting producer.required_acks differs between the copies: all and leader",
		"client setting net.tls is true in one copy and not told by another",
		"something",
	}
	if !slices.Equal(m.Warnings, want) {
		t.Errorf("warnings: got %q, want %q", m.Warnings, want)
	}
	if m.Program != "loadgen test, loadgen older" || m.Errors["timed out"] != 7 || m.Errors["refused"] != 1 {
		t.Errorf("got program %q, errors %v", m.Program, m.Errors)
	}
	if f := m.Faults; f.Lost != 5 || f.Skewed != 1 || len(f.Named) != report.MaxNamed || f.Named[0] != "x" {
		t.Errorf("faults: got %d lost, %d skewed, %d named", f.Lost, f.Skewed, len(f.Named))
	}
}

func TestSeriesOfDifferentStepsAreMergedByTheLongerOne(t *testing.T) {
	parts := copies(t)[:2]
	long, _ := made{seed: 5, run: "long", start: parts[0].Start, seconds: report.MaxPoints + 100, rate: 1}.make(t)
	before := text(t, parts[0])
	m, err := report.Merge(parts[0], long)
	if err != nil {
		t.Fatal(err)
	}
	if text(t, parts[0]) != before {
		t.Error("the report of the shorter step has changed")
	}
	var acked uint64
	for _, p := range m.Series.Points {
		acked += p.Acked
	}
	parts[0].WarmUp.Acked += parts[0].Measured.Acked
	if want := long.Total().Acked + parts[0].WarmUp.Acked; m.Series.Step != 2 || acked != want {
		t.Errorf("got a step of %d with %d acknowledged, want 2 with %d", m.Series.Step, acked, want)
	}
}

func TestOtherRunsAreRefused(t *testing.T) {
	other, err := report.NewWorkload("sample", map[string]any{"producer": map[string]any{"acks": "leader", "linger": "5ms"}, "name": "sample"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*report.Report)
		want   string
	}{
		"another schema":            {func(r *report.Report) { r.Schema = 1 }, "report 2: schema: must be that of the first report, 3 (got 1)"},
		"another mode":              {func(r *report.Report) { r.Mode = report.ModeSLO }, "report 2: mode: must be that of the first report, run (got slo)"},
		"another workload":          {func(r *report.Report) { r.Workload.Name = "bulk" }, "report 2: workload.name: must be that of the first report, sample (got bulk)"},
		"the workload changed":      {func(r *report.Report) { r.Workload = other }, "report 2: workload.config.producer.acks: must be that of the first report, all (got leader)"},
		"another topic":             {func(r *report.Report) { r.Topic = "x" }, "report 2: topic: must be that of the first report, lab (got x)"},
		"other partitions":          {func(r *report.Report) { r.Partitions = 7 }, "report 2: partitions: must be that of the first report, 6 (got 7)"},
		"another SLO":               {func(r *report.Report) { r.SLO = 1 }, "report 2: slo_p99_seconds: must be that of the first report, 0.2 (got 1)"},
		"another warm-up":           {func(r *report.Report) { r.Warmup = 1 }, "report 2: warmup_seconds: must be that of the first report, 10 (got 1)"},
		"one that does not consume": {func(r *report.Report) { r.ProduceOnly = true }, "report 2: produce_only: must be"},
		"a closed loop":             {func(r *report.Report) { r.Closed = true }, "report 2: closed_loop: must be"},
		"another time":              {func(r *report.Report) { r.Start = r.Start.Add(time.Hour) }, "report 2: start: must be within the time of the first report, 2027-01-15T08:00:00Z to 2027-01-15T08:00:12Z"},
		"the same report again":     {func(r *report.Report) { r.Generators[0].Run = "a" }, "report 2: generators.run: must differ from that of every other report, or a record would count twice (got a)"},
		"two things":                {func(r *report.Report) { r.Topic, r.Partitions = "x", 7 }, "\nreport 2: partitions:"},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := made{seed: 1, run: "a", seconds: 12}.make(t)
			b, _ := made{seed: 2, run: "b", seconds: 12}.make(t)
			c.change(b)
			_, err := report.Merge(a, b)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := report.Merge(); err == nil || !strings.Contains(err.Error(), "at least one") {
		t.Errorf("nothing to merge: got %v", err)
	}
	a, b := copies(t)[0], copies(t)[1]
	a.Mode, b.Mode = report.ModeSearch, report.ModeSearch
	if _, err := report.Merge(a, b); err == nil || !strings.Contains(err.Error(), "searches cannot be merged") {
		t.Errorf("two searches: got %v", err)
	}
}

// What one copy sent others consume: only all of them together can say that something has not arrived.
func TestCopiesKnowTogetherWhatHasNotArrived(t *testing.T) {
	a, _ := made{run: "a"}.make(t)
	b, _ := made{run: "b"}.make(t)
	for _, r := range []*report.Report{a, b} {
		r.Copies, r.Groups = 2, 1
	}
	a.Measured.Consumed += 300
	b.Measured.Consumed -= 320
	if n := a.Unverified() + b.Unverified(); n != 0 {
		t.Errorf("got %d of single copies, want nothing said", n)
	}
	if got := strings.Join(a.Summary().Warnings, "; "); !strings.Contains(got, "one copy of 2") {
		t.Errorf("got %q, want a warning that one copy does not know", got)
	}
	m, err := report.Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if n := m.Unverified(); n != 20 {
		t.Errorf("got %d, want the 20 that were acknowledged and not consumed", n)
	}
	m.Faults.Lost = 20
	if n := m.Unverified(); n != 0 {
		t.Errorf("got %d, want none: they are known to be lost", n)
	}
}
