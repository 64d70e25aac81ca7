package hist_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/kafkalab/kafkalab/loadgen/hist"
)

// shapes are latencies in seconds.
var shapes = map[string]func(*rand.Rand) float64{
	"uniform":     func(r *rand.Rand) float64 { return r.Float64() },
	"exponential": func(r *rand.Rand) float64 { return 0.01 * r.ExpFloat64() },
	"lognormal":   func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64() - 6) },
	"pareto":      func(r *rand.Rand) float64 { return 0.001 * math.Pow(1-r.Float64(), -1/1.5) },
	"normal":      func(r *rand.Rand) float64 { return math.Abs(0.2 + 0.02*r.NormFloat64()) },
	"narrow":      func(r *rand.Rand) float64 { return 0.005 + 0.0001*r.Float64() },
	"bimodal": func(r *rand.Rand) float64 {
		if r.Float64() < 0.02 {
			return 2 + r.Float64()
		}
		return 0.002 + 0.001*r.Float64()
	},
	"stall": func(r *rand.Rand) float64 {
		if r.Float64() < 0.05 {
			return 3 * r.Float64()
		}
		return 0.002
	},
}

func TestQuantilesAreWithinOneBucketOfTheSortedSamples(t *testing.T) {
	// A prime: where q*n is whole, every value between two samples is a quantile, and which of them is meant would be a question of taste.
	const n = 200003
	for name, draw := range shapes {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			recorders := make([]hist.Recorder, 4)
			samples := make([]time.Duration, n)
			for i := range samples {
				samples[i] = time.Duration(draw(r) * 1e9)
				recorders[i%len(recorders)].Record(samples[i])
			}
			slices.Sort(samples)
			var s hist.Snapshot
			for i := range recorders {
				s.Add(&recorders[i])
			}
			if s.Count() != n {
				t.Fatalf("got %d samples, want %d", s.Count(), n)
			}
			for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999} {
				got, ok := s.Quantile(q)
				want := samples[int(math.Ceil(q*n))-1]
				if off := math.Abs(float64(got)/float64(want) - 1); !ok || off > 0.011 {
					t.Errorf("quantile %v: got %v, want %v within 1.1%% (off by %.2f%%)", q, got, want, off*100)
				}
			}
		})
	}
}

func TestEveryValueFallsIntoTheBucketThatClientGolangTakes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	values := []time.Duration{0, 1, 2, 3, 999, time.Microsecond, time.Millisecond, time.Second, 1<<30 - 1, 1 << 30, time.Minute, 10 * time.Minute, 24 * time.Hour}
	for range 20000 {
		values = append(values, time.Duration(math.Exp(r.Float64()*32)))
	}
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "h", Help: "h", NativeHistogramBucketFactor: 1.011, NativeHistogramZeroThreshold: hist.ZeroThreshold,
	})
	var ours hist.Recorder
	for _, v := range values {
		ours.Record(v)
		theirs.Observe(float64(v) / 1e9)
	}
	var s hist.Snapshot
	s.Add(&ours)
	m, err := hist.NewMetric(prometheus.NewDesc("h", "h", nil, nil), &s, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	got, want := write(t, m), write(t, theirs)
	if got.GetSchema() != want.GetSchema() || got.GetZeroCount() != want.GetZeroCount() || got.GetSampleCount() != want.GetSampleCount() {
		t.Fatalf("got schema %d, %d zero of %d, want %d, %d of %d", got.GetSchema(), got.GetZeroCount(), got.GetSampleCount(),
			want.GetSchema(), want.GetZeroCount(), want.GetSampleCount())
	}
	if g, w := flatten(got), flatten(want); !mapsEqual(g, w) {
		t.Errorf("buckets differ from client_golang's: %d and %d of them", len(g), len(w))
	}
	if off := math.Abs(got.GetSampleSum()/want.GetSampleSum() - 1); off > 1e-9 {
		t.Errorf("sum: got %v, want %v", got.GetSampleSum(), want.GetSampleSum())
	}
}

func mapsEqual(a, b map[int32]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// flatten is the count by bucket index, empty ones left out.
func flatten(h *dto.Histogram) map[int32]int64 {
	out := make(map[int32]int64)
	var index int32
	var count int64
	d := 0
	for _, s := range h.GetPositiveSpan() {
		index += s.GetOffset()
		for range s.GetLength() {
			count += h.GetPositiveDelta()[d]
			d++
			if count != 0 {
				out[index] = count
			}
			index++
		}
	}
	return out
}

func write(t *testing.T, m prometheus.Metric) *dto.Histogram {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetHistogram()
}

func TestMergeIsTheSameAsOneRecorder(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var one hist.Recorder
	parts := make([]hist.Recorder, 5)
	for range 50000 {
		d := time.Duration(r.ExpFloat64() * 1e7)
		one.Record(d)
		parts[r.IntN(len(parts))].Record(d)
	}
	var whole, merged hist.Snapshot
	whole.Add(&one)
	for i := range parts {
		var p hist.Snapshot
		p.Add(&parts[i])
		merged.Merge(&p)
	}
	desc := prometheus.NewDesc("h", "h", nil, nil)
	a, err := hist.NewMetric(desc, &whole, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hist.NewMetric(desc, &merged, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if x, y := flatten(write(t, a)), flatten(write(t, b)); !mapsEqual(x, y) {
		t.Error("merging parts gives other buckets than one recorder of all")
	}
	merged.Sub(&whole)
	if n := merged.Count(); n != 0 {
		t.Errorf("what was merged, less the whole, leaves %d samples", n)
	}
}

type collector struct {
	desc *prometheus.Desc
	s    *hist.Snapshot
}

func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }
func (c collector) Collect(ch chan<- prometheus.Metric) {
	m, err := hist.NewMetric(c.desc, c.s, time.Unix(1, 0), "measure")
	if err != nil {
		m = prometheus.NewInvalidMetric(c.desc, err)
	}
	ch <- m
}

func TestAScrapeCarriesNativeAndClassicBucketsInOneSeries(t *testing.T) {
	var r hist.Recorder
	for ms := range 1000 {
		r.Record(time.Duration(ms+1) * time.Millisecond)
	}
	var s hist.Snapshot
	s.Add(&r)
	c := collector{prometheus.NewDesc("latency_seconds", "Latency.", []string{"phase"}, nil), &s}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatalf("got %d families", len(families))
	}
	h := families[0].GetMetric()[0].GetHistogram()
	var native int64
	for _, n := range flatten(h) {
		native += n
	}
	if h.GetSchema() != hist.Schema || native != 1000 || h.GetSampleCount() != 1000 {
		t.Errorf("native: got schema %d with %d of %d samples", h.GetSchema(), native, h.GetSampleCount())
	}
	if len(h.GetBucket()) < 10 {
		t.Fatalf("classic: got %d buckets", len(h.GetBucket()))
	}
	for _, b := range h.GetBucket() {
		want := min(uint64(b.GetUpperBound()*1000), 1000)
		if b.GetCumulativeCount() != want {
			t.Errorf("classic bucket up to %v s: got %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), want)
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestEmptySnapshotTellsNothing(t *testing.T) {
	var s hist.Snapshot
	if _, ok := s.Quantile(0.99); ok {
		t.Error("a quantile of nothing")
	}
	var r hist.Recorder
	r.Record(time.Second)
	s.Add(&r)
	for _, q := range []float64{-0.1, 1.1, math.NaN()} {
		if _, ok := s.Quantile(q); ok {
			t.Errorf("quantile %v was answered", q)
		}
	}
}

func TestOverCountsTheSlowOnes(t *testing.T) {
	var r hist.Recorder
	for ms := range 100 {
		r.Record(time.Duration(ms+1) * time.Millisecond)
	}
	var s hist.Snapshot
	s.Add(&r)
	if got := s.Over(90 * time.Millisecond); math.Abs(got-0.1) > 0.0101 {
		t.Errorf("got %v over 90 ms, want 0.1 to a bucket", got)
	}
	if got := s.Over(0); got != 1 {
		t.Errorf("got %v over 0, want 1", got)
	}
}

func TestRecordingDoesNotAllocate(t *testing.T) {
	var r hist.Recorder
	if n := testing.AllocsPerRun(1000, func() { r.Record(time.Millisecond) }); n != 0 {
		t.Errorf("got %v allocations a record, want none", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	var r hist.Recorder
	b.ReportAllocs()
	d := time.Duration(1)
	for b.Loop() {
		r.Record(d)
		d = (d*3 + 7) & (1<<34 - 1)
	}
}
