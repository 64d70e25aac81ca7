// Package stamp is the identity that every record carries at the head of its value, so that whoever consumes it, this program or an
// independent one, can tell its latency and whether it was lost, repeated, reordered or damaged.
//
// Layout, big-endian, 52 bytes, followed by the body:
//
//	offset size
//	     0    4  magic "KLR1"
//	     4    8  run: random number of the process that sent the record
//	    12    4  producer within the run
//	    16    8  sequence: 0, 1, 2… for each producer and partition
//	    24    8  intended send time, nanoseconds since 1970 (wall clock, signed)
//	    32    8  intended send time, nanoseconds on the run's monotonic clock (signed); comparable inside that process only
//	    40    4  length of the body
//	    44    4  CRC-32C of the body
//	    48    4  CRC-32C of bytes 0 to 47
//
// The body's checksum stands apart from the head's so that a body made in advance need not be summed again for each record. The package
// promises that any single damaged byte is noticed, that Decode never panics, and that neither direction allocates.
package stamp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Size is the number of bytes a stamp takes; no value may be shorter.
const Size = 52

const (
	magic     = 0x4b4c5231 // "KLR1"
	atRun     = 4
	atProd    = 12
	atSeq     = 16
	atWall    = 24
	atMono    = 32
	atLength  = 40
	atBodySum = 44
	atHeadSum = 48
)

var (
	// ErrForeign means that the value carries no stamp at all: another program's record.
	ErrForeign = errors.New("no stamp: the value does not begin with KLR1")
	// ErrHead means that the stamp itself is damaged, so nothing in it can be believed.
	ErrHead = errors.New("stamp damaged: checksum of the head does not match")
	// ErrBody means that the stamp is sound and the body is not.
	ErrBody = errors.New("body damaged: length or checksum does not match the stamp")
)

// Stamp is what a record says about itself.
type Stamp struct {
	Run      uint64
	Producer uint32
	Sequence uint64
	Wall     int64 // intended send time, nanoseconds since 1970
	Mono     int64 // the same on the run's monotonic clock
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum of a body, for Put.
func Sum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// Put writes the stamp into the first Size bytes of value; sum is Sum(value[Size:]). It panics, as any slice would, when value is shorter.
func Put(value []byte, s Stamp, sum uint32) {
	head := value[:Size:Size]
	binary.BigEndian.PutUint32(head, magic)
	binary.BigEndian.PutUint64(head[atRun:], s.Run)
	binary.BigEndian.PutUint32(head[atProd:], s.Producer)
	binary.BigEndian.PutUint64(head[atSeq:], s.Sequence)
	binary.BigEndian.PutUint64(head[atWall:], uint64(s.Wall))
	binary.BigEndian.PutUint64(head[atMono:], uint64(s.Mono))
	binary.BigEndian.PutUint32(head[atLength:], uint32(len(value)-Size))
	binary.BigEndian.PutUint32(head[atBodySum:], sum)
	binary.BigEndian.PutUint32(head[atHeadSum:], crc32.Checksum(head[:atHeadSum], castagnoli))
}

// Decode reads the stamp and checks head and body. With ErrBody the stamp is still returned whole: it names the damaged record.
func Decode(value []byte) (Stamp, error) {
	if len(value) < 4 || binary.BigEndian.Uint32(value) != magic {
		return Stamp{}, ErrForeign
	}
	if len(value) < Size {
		return Stamp{}, ErrHead
	}
	head := value[:Size]
	if crc32.Checksum(head[:atHeadSum], castagnoli) != binary.BigEndian.Uint32(head[atHeadSum:]) {
		return Stamp{}, ErrHead
	}
	s := Stamp{
		Run:      binary.BigEndian.Uint64(head[atRun:]),
		Producer: binary.BigEndian.Uint32(head[atProd:]),
		Sequence: binary.BigEndian.Uint64(head[atSeq:]),
		Wall:     int64(binary.BigEndian.Uint64(head[atWall:])),
		Mono:     int64(binary.BigEndian.Uint64(head[atMono:])),
	}
	body := value[Size:]
	if uint32(len(body)) != binary.BigEndian.Uint32(head[atLength:]) || Sum(body) != binary.BigEndian.Uint32(head[atBodySum:]) {
		return s, ErrBody
	}
	return s, nil
}
