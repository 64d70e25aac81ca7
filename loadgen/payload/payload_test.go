package payload_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/payload"
)

func TestSameSeedSameBytes(t *testing.T) {
	c := payload.Config{Distribution: payload.Lognormal, Bytes: 500, Min: 100, Max: 5000, Sigma: 0.5, Compressible: 0.4, Seed: 9}
	all := func(c payload.Config, stream uint64) []byte {
		return slices.Concat(payload.Values(c, stream, 100, 56)...)
	}
	first := all(c, 1)
	if !bytes.Equal(first, all(c, 1)) {
		t.Error("the same seed and stream gave other bytes")
	}
	if bytes.Equal(first, all(c, 2)) {
		t.Error("another stream gave the same bytes")
	}
	c.Seed++
	if bytes.Equal(first, all(c, 1)) {
		t.Error("another seed gave the same bytes")
	}
}

func TestTheHeadIsLeftForTheStamp(t *testing.T) {
	for _, v := range payload.Values(payload.Config{Distribution: payload.Uniform, Min: 56, Max: 300, Seed: 1}, 0, 50, 56) {
		if !bytes.Equal(v[:56], make([]byte, 56)) {
			t.Fatalf("got %q where the stamp goes", v[:56])
		}
		if rest := v[56:]; len(rest) > 8 && bytes.Equal(rest, make([]byte, len(rest))) {
			t.Fatal("nothing follows the stamp")
		}
	}
}

func TestValuesDoNotOverlap(t *testing.T) {
	values := payload.Values(payload.Config{Distribution: payload.Fixed, Bytes: 100, Seed: 1}, 0, 3, 0)
	before := bytes.Clone(values[1])
	_ = append(values[0], "overflow"...)
	if !bytes.Equal(values[1], before) {
		t.Error("what is appended to one value gets into the next")
	}
}

func TestValuesMayBeEmpty(t *testing.T) {
	c := payload.Config{Distribution: payload.Fixed, Stamp: payload.InHeader, Compressible: 0.5}
	if err := c.Validate(56); err != nil {
		t.Fatal(err)
	}
	for _, v := range payload.Values(c, 0, 4, 0) {
		if len(v) != 0 {
			t.Errorf("got %d bytes", len(v))
		}
	}
	if c.MeanBytes() != 1 {
		t.Errorf("got mean %d, want 1, by which memory can be divided", c.MeanBytes())
	}
}

func mustSizes(t *testing.T, text string) *payload.Sizes {
	t.Helper()
	s, err := payload.ReadSizes("sizes.txt", strings.NewReader(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The nth value in order of size must lie where the distribution function says, however few values there are.
func TestSizesFollowTheDistribution(t *testing.T) {
	normal := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
	lognormal := func(mean, sigma, low, high float64) func(x float64) float64 {
		f := func(x float64) float64 { return normal((math.Log(x) - math.Log(mean) + sigma*sigma/2) / sigma) }
		return func(x float64) float64 {
			return min(max((f(x)-f(low))/(f(high)-f(low)), 0), 1)
		}
	}
	for name, tc := range map[string]struct {
		c         payload.Config
		mean      float64
		low, high int
		below     func(x float64) float64 // part of the sizes up to x
	}{
		"uniform": {payload.Config{Distribution: payload.Uniform, Min: 100, Max: 1099}, 599.5, 100, 1099,
			func(x float64) float64 { return min(max((x-100)/1000, 0), 1) }},
		"lognormal, hardly cut": {payload.Config{Distribution: payload.Lognormal, Bytes: 10000, Min: 100, Max: 1000000, Sigma: 0.5}, 10000, 100, 1000000,
			lognormal(10000, 0.5, 100, 1000000)},
		"lognormal, cut on both sides": {payload.Config{Distribution: payload.Lognormal, Bytes: 1000, Min: 500, Max: 1500, Sigma: 1}, 878.1, 500, 1500,
			lognormal(1000, 1, 500, 1500)},
	} {
		for _, n := range []int{1, 7, 128, 2000} {
			t.Run(fmt.Sprintf("%s, %d values", name, n), func(t *testing.T) {
				tc.c.Seed = 5
				var sizes []int
				sum := 0
				for _, v := range payload.Values(tc.c, 0, n, 0) {
					sizes = append(sizes, len(v))
					sum += len(v)
				}
				if n > 1 && slices.IsSorted(sizes) {
					t.Error("the sizes come in order")
				}
				slices.Sort(sizes)
				if sizes[0] < tc.low || sizes[n-1] > tc.high {
					t.Errorf("got %d..%d, want within %d..%d", sizes[0], sizes[n-1], tc.low, tc.high)
				}
				const rounding = 1.0
				for i, size := range sizes {
					from, to := tc.below(float64(size)-rounding), tc.below(float64(size)+rounding)
					if to < float64(i)/float64(n) || from > float64(i+1)/float64(n) {
						t.Fatalf("value %d of %d has %d bytes, which is at %.4f..%.4f of the distribution", i, n, size, from, to)
					}
				}
				if mean := float64(sum) / float64(n); n >= 128 && math.Abs(mean/tc.mean-1) > 0.01 {
					t.Errorf("mean: got %.1f, want %.1f", mean, tc.mean)
				}
				if got := float64(tc.c.MeanBytes()); math.Abs(got-tc.mean) > max(1, tc.mean/1000) {
					t.Errorf("announced mean: got %.1f, want %.1f", got, tc.mean)
				}
			})
		}
	}
}

func TestSizesFromAFileComeAsOftenAsItSays(t *testing.T) {
	c := payload.Config{Distribution: payload.File, File: "sizes.txt", Seed: 1, Sizes: mustSizes(t, "# made up\n300\n\n100 5 # often\n 300\t1\n2000 2.5\n")}
	if err := c.Validate(56); err != nil {
		t.Fatal(err)
	}
	const n = 9500
	seen := map[int]int{}
	for _, v := range payload.Values(c, 0, n, 0) {
		seen[len(v)]++
	}
	for size, want := range map[int]float64{100: n * 5 / 9.5, 300: n * 2 / 9.5, 2000: n * 2.5 / 9.5} {
		if got := float64(seen[size]); math.Abs(got-want) > 1 {
			t.Errorf("%d bytes: got %v of %d, want %v", size, got, n, want)
		}
	}
	if len(seen) != 3 {
		t.Errorf("got sizes %v", seen)
	}
	if got, want := c.MeanBytes(), 643; got != want { // (5·100 + 2·300 + 2.5·2000) / 9.5 = 642.1
		t.Errorf("mean: got %d, want %d", got, want)
	}
	if c.MaxBytes() != 2000 {
		t.Errorf("largest: got %d", c.MaxBytes())
	}
}

func TestBadFilesOfSizesAreRefusedLineByLine(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":                {"", []string{"sizes.txt: must hold at least one size in bytes (got none)"}},
		"not a number":         {"100\nbig\n", []string{`sizes.txt:2: size: must be a whole number within 56..1000000 bytes (got "big")`}},
		"too small, too big":   {"55\n1000001\n", []string{`sizes.txt:1: size:`, `sizes.txt:2: size:`}},
		"weight of nothing":    {"100 0\n", []string{`sizes.txt:1: weight: must be a number above 0 and at most 1e+12 (got "0")`}},
		"weight without end":   {"100 inf\n100 NaN\n", []string{`sizes.txt:1: weight:`, `sizes.txt:2: weight:`}},
		"too many columns":     {"100 1 1\n", []string{`sizes.txt:1: must be a size and at most a weight (got "100 1 1")`}},
		"a line without end":   {strings.Repeat("1", 100_000), []string{"sizes.txt:", "too long"}},
		"another kind of file": {strings.Repeat("x\n", 30), []string{"sizes.txt:20:", "sizes.txt: 10 more lines like these"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := payload.ReadSizes("sizes.txt", strings.NewReader(tc.text), 56)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	err := payload.Config{Distribution: payload.Lognormal, Bytes: 5, Min: 10, Max: 2_000_000, Sigma: 9, File: "x", Compressible: 2, Stamp: "footer"}.Validate(56)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"min: ", "max: ", "bytes: ", "sigma: ", "file: ", "compressibility: ", "stamp: ", "(got 2)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to mention %q", err, want)
		}
	}
}

func FuzzReadSizes(f *testing.F) {
	f.Add("100\n200 3 # x\n")
	f.Add("1e3 1\n-1\n\xff")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := payload.ReadSizes("sizes.txt", strings.NewReader(text), 0)
		if err != nil {
			return
		}
		c := payload.Config{Distribution: payload.File, File: "sizes.txt", Stamp: payload.InHeader, Sizes: s}
		if c.MaxBytes() < 0 || c.MaxBytes() > payload.Limit || c.MeanBytes() > max(1, c.MaxBytes()) {
			t.Errorf("got mean %d, largest %d", c.MeanBytes(), c.MaxBytes())
		}
		if c.MaxBytes() < 1000 {
			payload.Values(c, 0, 10, 0)
		}
	})
}

func BenchmarkValues(b *testing.B) {
	c := payload.Config{Distribution: payload.Lognormal, Bytes: 10240, Min: 1024, Max: 100_000, Sigma: 0.5, Compressible: 0.5}
	const n = 1000
	b.SetBytes(n * 10240)
	for b.Loop() {
		payload.Values(c, 0, n, 56)
	}
}
