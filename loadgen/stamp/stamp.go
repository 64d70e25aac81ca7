// Package stamp is the identity that every record carries, so that whoever consumes it, this program or an independent one, can tell its
// latency and whether it was lost, repeated, reordered or damaged. It stands at the head of the record's value, or, where the value has to
// be opaque or shorter than a stamp, in a record header.
//
// Layout, big-endian, 56 bytes:
//
//	offset size
//	     0    4  magic "KLR2"
//	     4    8  run: random number of the process that sent the record
//	    12    4  producer within the run
//	    16    8  sequence: 0, 1, 2… for each producer and partition
//	    24    8  intended send time, nanoseconds since 1970 (wall clock, signed)
//	    32    8  intended send time, nanoseconds on the run's monotonic clock (signed); comparable inside that process only
//	    40    4  how many records of this producer and partition had been given up when this one was stamped, modulo 2^32
//	    44    4  length of the body
//	    48    4  CRC-32C of the body
//	    52    4  CRC-32C of bytes 0 to 51
//
// The body is what follows the stamp in the value, or the whole value when the stamp is in a header. Its checksum stands apart from the
// head's so that a body made in advance need not be summed again for each record.
//
// The package promises that any single damaged byte is noticed and the record still named: a stamp with one wrong byte is put right by its
// checksum. Decoding never panics, and neither direction allocates.
package stamp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Size is the number of bytes a stamp takes; no value that carries it may be shorter.
const Size = 56

const (
	magic     = 0x4b4c5232 // "KLR2"
	atRun     = 4
	atProd    = 12
	atSeq     = 16
	atWall    = 24
	atMono    = 32
	atFailed  = 40
	atLength  = 44
	atBodySum = 48
	atHeadSum = 52
)

var (
	// ErrForeign means that there is no stamp at all: another program's record.
	ErrForeign = errors.New("no stamp: the record does not carry the magic KLR2")
	// ErrHead means that the stamp itself is damaged, so nothing in it can be believed.
	ErrHead = errors.New("stamp damaged: checksum of the head does not match")
	// ErrRepaired means that one byte of the stamp was damaged. It has been put right, and the body is sound.
	ErrRepaired = errors.New("stamp damaged in one byte: put right by its checksum")
	// ErrBody means that the stamp is sound and the body is not.
	ErrBody = errors.New("body damaged: length or checksum does not match the stamp")
)

// Stamp is what a record says about itself.
type Stamp struct {
	Run      uint64
	Producer uint32
	Sequence uint64
	Wall     int64  // intended send time, nanoseconds since 1970
	Mono     int64  // the same on the run's monotonic clock
	Failed   uint32 // records of this producer and partition given up so far, modulo 2^32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum of a body, for Put and PutHeader.
func Sum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// Put writes the stamp into the first Size bytes of value; sum is Sum(value[Size:]). It panics, as any slice would, when value is shorter.
func Put(value []byte, s Stamp, sum uint32) {
	PutHeader((*[Size]byte)(value), s, len(value)-Size, sum)
}

// PutHeader writes the stamp of a record that carries it in a header; length and sum, made by Sum, are those of the whole value.
func PutHeader(header *[Size]byte, s Stamp, length int, sum uint32) {
	head := header[:]
	binary.BigEndian.PutUint32(head, magic)
	binary.BigEndian.PutUint64(head[atRun:], s.Run)
	binary.BigEndian.PutUint32(head[atProd:], s.Producer)
	binary.BigEndian.PutUint64(head[atSeq:], s.Sequence)
	binary.BigEndian.PutUint64(head[atWall:], uint64(s.Wall))
	binary.BigEndian.PutUint64(head[atMono:], uint64(s.Mono))
	binary.BigEndian.PutUint32(head[atFailed:], s.Failed)
	binary.BigEndian.PutUint32(head[atLength:], uint32(length))
	binary.BigEndian.PutUint32(head[atBodySum:], sum)
	binary.BigEndian.PutUint32(head[atHeadSum:], crc32.Checksum(head[:atHeadSum], castagnoli))
}

// Decode reads the stamp at the head of a value and checks both. With ErrRepaired and ErrBody the stamp is returned whole all the same: it
// names the damaged record.
func Decode(value []byte) (Stamp, error) {
	if len(value) < Size {
		return Stamp{}, unreadable(value)
	}
	return decode((*[Size]byte)(value), value[Size:])
}

// DecodeHeader does the same for a stamp in a header (nil: the record has none) and a value that is all body.
func DecodeHeader(header, value []byte) (Stamp, error) {
	if len(header) != Size {
		return Stamp{}, unreadable(header)
	}
	return decode((*[Size]byte)(header), value)
}

func decode(head *[Size]byte, body []byte) (Stamp, error) {
	if binary.BigEndian.Uint32(head[:]) != magic || crc32.Checksum(head[:atHeadSum], castagnoli) != binary.BigEndian.Uint32(head[atHeadSum:]) {
		whole, ok := repaired(head)
		if !ok || !fits(&whole, body) {
			return Stamp{}, unreadable(head[:])
		}
		return read(&whole), ErrRepaired
	}
	if !fits(head, body) {
		return read(head), ErrBody
	}
	return read(head), nil
}

func read(head *[Size]byte) Stamp {
	return Stamp{
		Run:      binary.BigEndian.Uint64(head[atRun:]),
		Producer: binary.BigEndian.Uint32(head[atProd:]),
		Sequence: binary.BigEndian.Uint64(head[atSeq:]),
		Wall:     int64(binary.BigEndian.Uint64(head[atWall:])),
		Mono:     int64(binary.BigEndian.Uint64(head[atMono:])),
		Failed:   binary.BigEndian.Uint32(head[atFailed:]),
	}
}

func fits(head *[Size]byte, body []byte) bool {
	return uint32(len(body)) == binary.BigEndian.Uint32(head[atLength:]) && Sum(body) == binary.BigEndian.Uint32(head[atBodySum:])
}

func unreadable(head []byte) error {
	if len(head) >= 4 && binary.BigEndian.Uint32(head) == magic {
		return ErrHead
	}
	return ErrForeign
}
