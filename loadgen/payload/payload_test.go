package payload_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/kafkalab/kafkalab/loadgen/payload"
)

func TestSameSeedSameBytes(t *testing.T) {
	c := payload.Config{Distribution: payload.Lognormal, Bytes: 500, Min: 100, Max: 5000, Sigma: 0.5, Compressible: 0.4, Seed: 9}
	make100 := func(c payload.Config, stream uint64) []byte {
		s := payload.NewSource(c, stream)
		var out []byte
		for range 100 {
			b := make([]byte, s.Size())
			s.Fill(b)
			out = append(out, b...)
		}
		return out
	}
	first := make100(c, 1)
	if !bytes.Equal(first, make100(c, 1)) {
		t.Error("the same seed and stream gave other bytes")
	}
	if bytes.Equal(first, make100(c, 2)) {
		t.Error("another stream gave the same bytes")
	}
	c.Seed++
	if bytes.Equal(first, make100(c, 1)) {
		t.Error("another seed gave the same bytes")
	}
}

func TestSizesFollowTheDistribution(t *testing.T) {
	for name, tc := range map[string]struct {
		c           payload.Config
		mean, sigma float64 // sigma of the logarithm, where it matters
	}{
		"fixed":     {payload.Config{Distribution: payload.Fixed, Bytes: 1024}, 1024, 0},
		"uniform":   {payload.Config{Distribution: payload.Uniform, Min: 100, Max: 1100}, 600, 0},
		"lognormal": {payload.Config{Distribution: payload.Lognormal, Bytes: 10000, Min: 100, Max: 1000000, Sigma: 0.5}, 10000, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 100000
			s := payload.NewSource(tc.c, 0)
			var sum, logs, squares float64
			for range n {
				size := s.Size()
				if size > tc.c.MaxBytes() || size < min(tc.c.Min, tc.c.MaxBytes()) {
					t.Fatalf("got size %d outside the limits", size)
				}
				sum += float64(size)
				logs += math.Log(float64(size))
				squares += math.Log(float64(size)) * math.Log(float64(size))
			}
			if mean := sum / n; math.Abs(mean/tc.mean-1) > 0.01 {
				t.Errorf("mean: got %.1f, want %.1f", mean, tc.mean)
			}
			if sigma := math.Sqrt(squares/n - logs/n*logs/n); tc.sigma > 0 && math.Abs(sigma-tc.sigma) > 0.01 {
				t.Errorf("sigma: got %.3f, want %.3f", sigma, tc.sigma)
			}
		})
	}
}

func TestTheTargetPartCompressesAway(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []float64{0, 0.25, 0.5, 0.75, 0.9, 1} {
		s := payload.NewSource(payload.Config{Distribution: payload.Fixed, Bytes: 10240, Compressible: target, Seed: 1}, 0)
		batch := make([]byte, 100*1024)
		for part := batch; len(part) > 0; part = part[10240:] {
			s.Fill(part[:10240])
		}
		packed := make([]byte, lz4.CompressBlockBound(len(batch)))
		n, err := lz4.CompressBlock(batch, packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			n = len(batch) // lz4's word for incompressible
		}
		for codec, size := range map[string]int{"zstd": len(z.EncodeAll(batch, nil)), "lz4": n} {
			if got := 1 - float64(size)/float64(len(batch)); math.Abs(got-target) > 0.03 {
				t.Errorf("target %v with %s: got %.3f", target, codec, got)
			}
		}
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	err := payload.Config{Distribution: payload.Lognormal, Bytes: 5, Min: 10, Max: 2_000_000, Sigma: 9, Compressible: 2}.Validate(52)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"min: ", "max: ", "bytes: ", "sigma: ", "compressibility: ", "(got 2)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to mention %q", err, want)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	s := payload.NewSource(payload.Config{Distribution: payload.Fixed, Bytes: 10240, Compressible: 0.5}, 0)
	body := make([]byte, 10240)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s.Fill(body)
	}
}
