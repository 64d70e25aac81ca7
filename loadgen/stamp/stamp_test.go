package stamp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

var sample = stamp.Stamp{Run: 0x0123456789abcdef, Producer: 42, Sequence: 1 << 40, Wall: 1_700_000_000_123_456_789, Mono: -5}

func stamped(body []byte) []byte {
	value := append(make([]byte, stamp.Size), body...)
	stamp.Put(value, sample, stamp.Sum(body))
	return value
}

func TestAStampSurvivesTheRoundTrip(t *testing.T) {
	for name, body := range map[string][]byte{"no body": nil, "one byte": {7}, "a kilobyte": bytes.Repeat([]byte("ab"), 512)} {
		t.Run(name, func(t *testing.T) {
			got, err := stamp.Decode(stamped(body))
			if err != nil || got != sample {
				t.Errorf("got %+v, %v, want %+v", got, err, sample)
			}
		})
	}
}

// An independent reader goes by the documented offsets, not by this package.
func TestTheLayoutIsAsDocumented(t *testing.T) {
	body := []byte("hello")
	v := stamped(body)
	be := binary.BigEndian
	sum := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	if string(v[:4]) != "KLR1" || be.Uint64(v[4:]) != sample.Run || be.Uint32(v[12:]) != sample.Producer || be.Uint64(v[16:]) != sample.Sequence ||
		int64(be.Uint64(v[24:])) != sample.Wall || int64(be.Uint64(v[32:])) != sample.Mono || be.Uint32(v[40:]) != 5 ||
		be.Uint32(v[44:]) != sum(body) || be.Uint32(v[48:]) != sum(v[:48]) {
		t.Errorf("got % x", v)
	}
}

func TestEveryDamagedByteIsNoticed(t *testing.T) {
	whole := stamped([]byte("some body that is long enough"))
	for i := range whole {
		for bit := range 8 {
			v := bytes.Clone(whole)
			v[i] ^= 1 << bit
			got, err := stamp.Decode(v)
			want := stamp.ErrBody
			switch {
			case i < 4:
				want = stamp.ErrForeign
			case i < stamp.Size:
				want = stamp.ErrHead
			}
			if !errors.Is(err, want) {
				t.Fatalf("byte %d, bit %d: got %v, want %v", i, bit, err, want)
			}
			if i >= stamp.Size && got != sample {
				t.Fatalf("byte %d: the stamp is sound and was not returned", i)
			}
		}
	}
	for n := range whole {
		if _, err := stamp.Decode(whole[:n]); err == nil {
			t.Fatalf("cut to %d bytes: not noticed", n)
		}
	}
	if _, err := stamp.Decode(append(bytes.Clone(whole), 0)); !errors.Is(err, stamp.ErrBody) {
		t.Errorf("one byte more: got %v, want %v", err, stamp.ErrBody)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("KLR1"))
	f.Add(stamped([]byte("body")))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := stamp.Decode(value)
		if err != nil {
			return
		}
		again := bytes.Clone(value)
		stamp.Put(again, s, stamp.Sum(value[stamp.Size:]))
		if !bytes.Equal(again, value) {
			t.Errorf("decoded without an error, and encodes to other bytes: %x", value)
		}
	})
}

func TestStampingDoesNotAllocate(t *testing.T) {
	v := stamped(make([]byte, 1000))
	sum := stamp.Sum(v[stamp.Size:])
	if n := testing.AllocsPerRun(1000, func() {
		stamp.Put(v, sample, sum)
		if _, err := stamp.Decode(v); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations a record, want none", n)
	}
}

func BenchmarkPut(b *testing.B) {
	v := stamped(make([]byte, 972))
	sum := stamp.Sum(v[stamp.Size:])
	b.ReportAllocs()
	for b.Loop() {
		stamp.Put(v, sample, sum)
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, size := range map[string]int{"1KB": 1024, "10KB": 10240} {
		b.Run(name, func(b *testing.B) {
			v := stamped(make([]byte, size-stamp.Size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := stamp.Decode(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
