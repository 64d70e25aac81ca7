package payload_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/kafkalab/kafkalab/loadgen/payload"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

// codecs compress as the Kafka client does, with its libraries and settings.
func codecs(t *testing.T) map[string]func([]byte) int {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string]func([]byte) int{
		"gzip": func(b []byte) int {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			_, err := w.Write(b)
			must(err)
			must(w.Close())
			return out.Len()
		},
		"snappy": func(b []byte) int { return len(xerial.Encode(nil, b)) },
		"lz4": func(b []byte) int {
			var out bytes.Buffer
			w := lz4.NewWriter(&out)
			must(w.Apply(lz4.BlockSizeOption(lz4.Block64Kb)))
			_, err := w.Write(b)
			must(err)
			must(w.Close())
			return out.Len()
		},
		"zstd": func(b []byte) int { return len(z.EncodeAll(b, nil)) },
	}
}

// batch is 64 KB of values, stamped one after the other where there is room for it.
func batch(c payload.Config, head int) []byte {
	values := payload.Values(c, 0, max(2, 65536/c.MeanBytes()), head)
	for i, v := range values {
		if head > 0 {
			at := int64(i) * 1_000_003
			stamp.Put(v, stamp.Stamp{Run: 0x1f2e3d4c5b6a7988, Producer: 3, Sequence: uint64(i), Wall: 1_700_000_000_123_456_789 + at, Mono: 98_765_432_101 + at}, stamp.Sum(v[head:]))
		}
	}
	return slices.Concat(values...)
}

func TestTheTargetPartCompressesAway(t *testing.T) {
	type promise struct {
		bytes   []int
		head    int
		targets []float64
	}
	low, all := []float64{0.25, 0.5, 0.75}, []float64{0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95}
	for name, p := range map[string]promise{
		"stamp in the value":               {[]int{4096, 10240, 51200}, stamp.Size, all},
		"stamp in the value, small values": {[]int{1024, 2048}, stamp.Size, low},
		"stamp elsewhere":                  {[]int{1024, 2048, 10240, 51200}, 0, all},
	} {
		for _, size := range p.bytes {
			for _, target := range p.targets {
				t.Run(fmt.Sprintf("%s, %d bytes, %v", name, size, target), func(t *testing.T) {
					b := batch(payload.Config{Distribution: payload.Fixed, Bytes: size, Compressible: target, Seed: 1}, p.head)
					for codec, compress := range codecs(t) {
						if got := 1 - float64(compress(b))/float64(len(b)); math.Abs(got-target) > 0.03 {
							t.Errorf("%s: got %.3f", codec, got)
						}
					}
				})
			}
		}
	}
}

func TestEverythingCompressesAwayAsFarAsTheCodecCan(t *testing.T) {
	b := batch(payload.Config{Distribution: payload.Fixed, Bytes: 10240, Compressible: 1}, 0)
	for codec, compress := range codecs(t) {
		limit := 0.98
		if codec == "snappy" {
			limit = 0.94 // it writes three bytes for each 64 that repeat
		}
		if got := 1 - float64(compress(b))/float64(len(b)); got < limit {
			t.Errorf("%s: got %.3f", codec, got)
		}
	}
}
