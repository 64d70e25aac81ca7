package stamp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

var sample = stamp.Stamp{Run: 0x0123456789abcdef, Producer: 42, Sequence: 1 << 40, Wall: 1_700_000_000_123_456_789, Mono: -5, Failed: 77}

// mode is one of the two places where a record can carry its stamp.
type mode struct {
	put    func(s stamp.Stamp, body []byte) []byte // the stamp's bytes, then the body's
	decode func(record []byte) (stamp.Stamp, error)
}

var modes = map[string]mode{
	"in the value": {
		put: func(s stamp.Stamp, body []byte) []byte {
			value := append(make([]byte, stamp.Size), body...)
			stamp.Put(value, s, stamp.Sum(body))
			return value
		},
		decode: stamp.Decode,
	},
	"in a header": {
		put: func(s stamp.Stamp, body []byte) []byte {
			var header [stamp.Size]byte
			stamp.PutHeader(&header, s, len(body), stamp.Sum(body))
			return append(header[:], body...)
		},
		decode: func(record []byte) (stamp.Stamp, error) {
			n := min(len(record), stamp.Size)
			return stamp.DecodeHeader(record[:n], record[n:])
		},
	},
}

func inBothModes(t *testing.T, test func(*testing.T, mode)) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) { test(t, m) })
	}
}

func TestAStampSurvivesTheRoundTrip(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		for name, body := range map[string][]byte{"no body": nil, "one byte": {7}, "a kilobyte": bytes.Repeat([]byte("ab"), 512)} {
			got, err := m.decode(m.put(sample, body))
			if err != nil || got != sample {
				t.Errorf("%s: got %+v, %v, want %+v", name, got, err, sample)
			}
		}
	})
}

// An independent reader goes by the documented offsets, not by this package.
func TestTheLayoutIsAsDocumented(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		body := []byte("hello")
		v := m.put(sample, body)
		be := binary.BigEndian
		sum := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
		if string(v[:4]) != "KLR2" || be.Uint64(v[4:]) != sample.Run || be.Uint32(v[12:]) != sample.Producer || be.Uint64(v[16:]) != sample.Sequence ||
			int64(be.Uint64(v[24:])) != sample.Wall || int64(be.Uint64(v[32:])) != sample.Mono || be.Uint32(v[40:]) != sample.Failed ||
			be.Uint32(v[44:]) != 5 || be.Uint32(v[48:]) != sum(body) || be.Uint32(v[52:]) != sum(v[:52]) || string(v[56:]) != "hello" {
			t.Errorf("got % x", v)
		}
	})
}

// All 255 ways of damaging each byte: noticed, and the record named all the same.
func TestEveryDamagedByteIsNoticedAndTheRecordNamed(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		whole := m.put(sample, []byte("some body"))
		for i := range whole {
			for flip := 1; flip < 256; flip++ {
				v := bytes.Clone(whole)
				v[i] ^= byte(flip)
				want := stamp.ErrRepaired
				if i >= stamp.Size {
					want = stamp.ErrBody
				}
				if got, err := m.decode(v); !errors.Is(err, want) || got != sample {
					t.Fatalf("byte %d, damage %#x: got %+v, %v, want %v and the stamp", i, flip, got, err, want)
				}
			}
		}
	})
}

func TestDamageBeyondOneByteIsNeverTakenForSound(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		whole := m.put(sample, []byte("some body"))
		for i := range stamp.Size {
			for j := range i {
				v := bytes.Clone(whole)
				v[i], v[j] = ^v[i], v[j]^0x10
				want := stamp.ErrHead
				if j < 4 {
					want = stamp.ErrForeign
				}
				if got, err := m.decode(v); !errors.Is(err, want) || got != (stamp.Stamp{}) {
					t.Fatalf("bytes %d and %d: got %+v, %v, want %v and no stamp", j, i, got, err, want)
				}
			}
			v := bytes.Clone(whole)
			v[i], v[len(v)-1] = ^v[i], ^v[len(v)-1]
			if got, err := m.decode(v); err == nil || got != (stamp.Stamp{}) {
				t.Fatalf("byte %d and the body: got %+v, %v: a stamp that may be anyone's was believed", i, got, err)
			}
		}
		for n := range whole {
			if _, err := m.decode(whole[:n]); err == nil {
				t.Fatalf("cut to %d bytes: not noticed", n)
			}
		}
		if got, err := m.decode(append(bytes.Clone(whole), 0)); !errors.Is(err, stamp.ErrBody) || got != sample {
			t.Errorf("one byte more: got %+v, %v, want %v and the stamp", got, err, stamp.ErrBody)
		}
	})
}

func TestRecordsOfOthersAreForeign(t *testing.T) {
	sound := func(magic string) []byte { // another layout that ends in a good checksum as well
		v := append([]byte(magic), make([]byte, stamp.Size-8)...)
		return binary.BigEndian.AppendUint32(v, stamp.Sum(v))
	}
	for name, v := range map[string][]byte{
		"nothing": nil, "empty": {}, "short": []byte("hi"), "text": bytes.Repeat([]byte("text "), 40), "zeros": make([]byte, 200),
		"an earlier layout": sound("KLR1"), "as long as a stamp": bytes.Repeat([]byte{0xff}, stamp.Size),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := stamp.Decode(v); !errors.Is(err, stamp.ErrForeign) || got != (stamp.Stamp{}) {
				t.Errorf("in the value: got %+v, %v", got, err)
			}
			if got, err := stamp.DecodeHeader(v, []byte("value")); !errors.Is(err, stamp.ErrForeign) || got != (stamp.Stamp{}) {
				t.Errorf("in a header: got %+v, %v", got, err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil), []byte(nil))
	f.Add([]byte("KLR2"), []byte("body"))
	whole := modes["in a header"].put(sample, []byte("body"))
	f.Add(whole[:stamp.Size], whole[stamp.Size:])
	f.Fuzz(func(t *testing.T, head, body []byte) {
		s, err := stamp.DecodeHeader(head, body)
		if len(head) == stamp.Size {
			if v, verr := stamp.Decode(append(bytes.Clone(head), body...)); v != s || !errors.Is(verr, err) {
				t.Errorf("got %+v, %v in the value, %+v, %v in a header", v, verr, s, err)
			}
		}
		switch {
		case errors.Is(err, stamp.ErrForeign), errors.Is(err, stamp.ErrHead):
			if s != (stamp.Stamp{}) {
				t.Errorf("%v, and yet a stamp: %+v", err, s)
			}
		case err == nil, errors.Is(err, stamp.ErrRepaired):
			var again [stamp.Size]byte
			stamp.PutHeader(&again, s, len(body), stamp.Sum(body))
			differ := 0
			for i := range again {
				if again[i] != head[i] {
					differ++
				}
			}
			if want := map[bool]int{true: 0, false: 1}[err == nil]; differ != want {
				t.Errorf("%v: encodes to bytes of which %d differ, want %d", err, differ, want)
			}
		}
	})
}

func TestStampingDoesNotAllocate(t *testing.T) {
	value := modes["in the value"].put(sample, make([]byte, 1000))
	body := value[stamp.Size:]
	sum := stamp.Sum(body)
	var header [stamp.Size]byte
	if n := testing.AllocsPerRun(1000, func() {
		stamp.Put(value, sample, sum)
		stamp.PutHeader(&header, sample, len(body), sum)
		_, err := stamp.Decode(value)
		_, herr := stamp.DecodeHeader(header[:], body)
		header[9]++
		_, repaired := stamp.DecodeHeader(header[:], body)
		if err != nil || herr != nil || !errors.Is(repaired, stamp.ErrRepaired) {
			t.Error(err, herr, repaired)
		}
	}); n != 0 {
		t.Errorf("got %v allocations a record, want none", n)
	}
}

func BenchmarkPut(b *testing.B) {
	v := make([]byte, 1024)
	sum := stamp.Sum(v[stamp.Size:])
	b.ReportAllocs()
	for b.Loop() {
		stamp.Put(v, sample, sum)
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, size := range map[string]int{"1KB": 1024, "10KB": 10240} {
		b.Run(name, func(b *testing.B) {
			v := modes["in the value"].put(sample, make([]byte, size-stamp.Size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := stamp.Decode(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
