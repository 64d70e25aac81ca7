package hist_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
)

func recorded(latencies ...time.Duration) *hist.Snapshot {
	var r hist.Recorder
	for _, d := range latencies {
		r.Record(d)
	}
	s := &hist.Snapshot{}
	s.Add(&r)
	return s
}

func same(t *testing.T, what string, got, want *hist.Snapshot) {
	t.Helper()
	if got.Count() != want.Count() || got.Min() != want.Min() || got.Max() != want.Max() || got.Sum() != want.Sum() {
		t.Errorf("%s: got %d from %v to %v, sum %v; want %d from %v to %v, sum %v", what,
			got.Count(), got.Min(), got.Max(), got.Sum(), want.Count(), want.Min(), want.Max(), want.Sum())
	}
	buckets := map[int]uint64{}
	for k, n := range want.Buckets() {
		buckets[k] = n
	}
	for k, n := range got.Buckets() {
		if buckets[k] != n {
			t.Errorf("%s: bucket %d: got %d, want %d", what, k, n, buckets[k])
		}
		delete(buckets, k)
	}
	if len(buckets) > 0 {
		t.Errorf("%s: buckets are missing: %v", what, buckets)
	}
}

func TestNothingIsLostByPackingOrInJSON(t *testing.T) {
	cases := map[string]*hist.Snapshot{
		"nothing":                {},
		"only zero":              recorded(0, -time.Second),
		"one":                    recorded(time.Millisecond),
		"a nanosecond and a day": recorded(1, 24*time.Hour),
		"beyond the last bucket": recorded(100 * 24 * time.Hour),
		"ten minutes":            recorded(0, time.Millisecond, 10*time.Minute),
	}
	for name, draw := range shapes {
		r := rand.New(rand.NewPCG(3, 4))
		var all []time.Duration
		for range 10000 {
			all = append(all, time.Duration(draw(r)*1e9))
		}
		cases[name] = recorded(all...)
		// The second half by itself: its extremes are known to the bucket only.
		half := recorded(all...)
		half.Sub(recorded(all[:5000]...))
		cases["half of "+name] = half
	}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			p := s.Pack()
			same(t, "packed", p.Snapshot(), s)
			if p.Count() != s.Count() {
				t.Errorf("count: got %d, want %d", p.Count(), s.Count())
			}
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var back hist.Packed
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			same(t, "JSON", back.Snapshot(), s)
			if back != p {
				t.Errorf("got %+v, want %+v", back, p)
			}
		})
	}
}

func TestADifferenceThatLeavesLessThanNothingCanBeRead(t *testing.T) {
	const step = 100 * time.Millisecond
	s := recorded(step)
	s.Merge(recorded(2*step, 3*step))
	s.Sub(recorded(step, 2*step, 3*step))
	if s.Sum() >= 0 {
		t.Fatalf("got a sum of %v, want floats that do not add up", s.Sum())
	}
	text, err := json.Marshal(s.Pack())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &hist.Packed{}); err != nil {
		t.Error(err)
	}
}

func TestPlusIsBothTogether(t *testing.T) {
	a, b := recorded(0, time.Millisecond, 3*time.Second), recorded(time.Microsecond, 2*time.Second)
	same(t, "plus", a.Pack().Plus(b.Pack()).Snapshot(), recorded(0, time.Millisecond, 3*time.Second, time.Microsecond, 2*time.Second))
	same(t, "plus nothing", a.Pack().Plus(hist.Packed{}).Snapshot(), a)
	same(t, "nothing plus", hist.Packed{}.Plus(a.Pack()).Snapshot(), a)
	r := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		var parts [2][]time.Duration
		for range r.IntN(30) {
			d := time.Duration(r.ExpFloat64()*float64(time.Millisecond)) * time.Duration(r.IntN(3))
			i := r.IntN(2)
			parts[i] = append(parts[i], d)
		}
		one, other := recorded(parts[0]...), recorded(parts[1]...)
		got := one.Pack().Plus(other.Pack())
		one.Merge(other)
		same(t, "plus", got.Snapshot(), one)
	}
}

func TestASecondPackedIsSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var second []time.Duration
	for range 10000 {
		second = append(second, time.Duration(shapes["lognormal"](r)*1e9))
	}
	text, err := json.Marshal(recorded(second...).Pack())
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 2500 {
		t.Errorf("a second of 10,000 records takes %d bytes, want at most 2,500", len(text))
	}
}

func TestADamagedHistogramIsRefused(t *testing.T) {
	const good = `{"schema":6,"count":7,"zero":1,"sum_seconds":0.006,"min_seconds":0.001,"max_seconds":0.00107,"runs":[[-637,2,2],[-632,1,1]]}`
	if err := json.Unmarshal([]byte(good), &hist.Packed{}); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"another schema":            {`"schema":6`, `"schema":3`, "schema: must be 6 (got 3)"},
		"a count that is off":       {`"count":7`, `"count":8`, "count: must be what zero and runs add up to, 7 (got 8)"},
		"an unknown field":          {`"zero"`, `"null"`, `unknown field "null"`},
		"text for a number":         {`"zero":1`, `"zero":"1"`, "zero"},
		"a run without counts":      {`[-637,2,2]`, `[-637]`, "runs[0]: must hold an index and at least one count (got [-637])"},
		"runs in the wrong order":   {`[-637,2,2]`, `[-630,2,2]`, "runs[1]: buckets must ascend within -628..1152 (got 2 of them from -632 on)"},
		"runs that overlap":         {`[-632,1,1]`, `[-636,1,1]`, "runs[1]: buckets must ascend within -635..1152"},
		"a bucket below all others": {`[-637,2,2]`, `[-9999,2,2]`, "runs[0]: buckets must ascend within -1919..1152"},
		"a bucket above all others": {`[-632,1,1]`, `[1152,1,1]`, "runs[1]: buckets must ascend"},
		"an empty bucket in a run":  {`[-637,2,2]`, `[-637,4,0]`, "runs[0]: every count must be above 0 (got 0 for bucket -636)"},
		"a negative count":          {`[-637,2,2]`, `[-637,5,-1]`, "runs[0]: every count must be above 0 (got -1 for bucket -636)"},
		"a maximum above":           {`"max_seconds":0.00107`, `"max_seconds":0.0011`, "max_seconds: must be within the highest bucket"},
		"a minimum below":           {`"min_seconds":0.001`, `"min_seconds":0.0009`, "min_seconds: must be within"},
		"extremes the wrong way":    {`"max_seconds":0.00107`, `"max_seconds":0.0005`, "min_seconds: must be within"},
		"a negative sum":            {`"sum_seconds":0.006`, `"sum_seconds":-1`, "sum_seconds: must be 0 or more (got -1)"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			err := json.Unmarshal([]byte(text), &hist.Packed{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheExtremesAreExact(t *testing.T) {
	a, b := recorded(7*time.Millisecond, 123456789, 5*time.Millisecond), recorded(3, 9*time.Minute+1)
	a.Merge(b)
	if a.Min() != 3 || a.Max() != 9*time.Minute+1 {
		t.Errorf("got %v to %v, want 3ns to 9m0.000000001s", a.Min(), a.Max())
	}
	a.Merge(recorded(0))
	if a.Min() != 0 {
		t.Errorf("with a zero: got a minimum of %v", a.Min())
	}
	a.Reset()
	if a.Min() != 0 || a.Max() != 0 {
		t.Errorf("of nothing: got %v to %v", a.Min(), a.Max())
	}
	whole := recorded(time.Minute, time.Second, time.Millisecond)
	whole.Sub(recorded(time.Minute, time.Millisecond))
	if low, high := whole.Min(), whole.Max(); low > time.Second || high < time.Second || float64(high)/float64(low) > 1.011 {
		t.Errorf("what is left of a difference, one second: got %v to %v, want the bounds of its bucket", low, high)
	}
}

func TestASnapshotTakenMeanwhileIsSound(t *testing.T) {
	var r hist.Recorder
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		draw := rand.New(rand.NewPCG(9, 9))
		for {
			select {
			case <-stop:
				return
			default:
				r.Record(time.Duration(draw.ExpFloat64() * 1e7))
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	earlier := &hist.Snapshot{}
	for range 50 {
		now := &hist.Snapshot{}
		now.Add(&r)
		since := &hist.Snapshot{}
		since.Merge(now)
		since.Sub(earlier)
		earlier = now
		for _, s := range []*hist.Snapshot{now, since} {
			text, err := json.Marshal(s.Pack())
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &hist.Packed{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkPlus(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func() hist.Packed {
		var second []time.Duration
		for range 10000 {
			second = append(second, time.Duration(shapes["lognormal"](r)*1e9))
		}
		return recorded(second...).Pack()
	}
	one, other := draw(), draw()
	b.ReportAllocs()
	for b.Loop() {
		one.Plus(other)
	}
}
