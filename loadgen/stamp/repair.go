package stamp

import (
	"encoding/binary"
	"hash/crc32"
)

// steps undoes one byte of the checksum: no two entries of the table have the same top byte, so that byte tells which entry was used.
var steps = func() (at [256]byte) {
	for i, entry := range castagnoli {
		at[entry>>24] = byte(i)
	}
	return at
}()

// repaired puts one damaged byte right. The difference between the checksum a head ought to have and the one it carries depends, since a
// CRC is linear, on the damage alone; it is traced back from the last byte to the first, until it is what one byte there would leave. No
// two such damages leave the same difference, which a test goes through, so there is never a choice. A head damaged in more bytes may come
// out as another: the caller believes it only when the body fits too.
func repaired(damaged *[Size]byte) ([Size]byte, bool) {
	sum := crc32.Checksum(damaged[:atHeadSum], castagnoli)
	head := *damaged
	delta := sum ^ binary.BigEndian.Uint32(head[atHeadSum:])
	if delta == 0 {
		return head, false // a sound stamp of another layout
	}
	for shift := 0; shift < 32; shift += 8 {
		if delta&^(0xff<<shift) == 0 { // in the checksum itself
			binary.BigEndian.PutUint32(head[atHeadSum:], sum)
			return head, binary.BigEndian.Uint32(head[:]) == magic
		}
	}
	for i := atHeadSum - 1; i >= 0; i-- {
		entry := steps[delta>>24]
		before := (delta ^ castagnoli[entry]) << 8
		if before == 0 {
			head[i] ^= entry
			return head, binary.BigEndian.Uint32(head[:]) == magic
		}
		delta = before | uint32(entry)
	}
	return head, false
}
