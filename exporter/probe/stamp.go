package probe

import "encoding/binary"

// runID tells one probe's records from those of all others, on the same topic, now and later.
type runID [8]byte

// A record's value: what it is, whose it is, which one. When it was due is known to who sent it, by a clock that nobody sets.
const (
	magic     = "klprobe1"
	stampSize = len(magic) + len(runID{}) + 8
)

func stamp(run runID, sequence uint64) []byte {
	out := make([]byte, 0, stampSize)
	out = append(out, magic...)
	out = append(out, run[:]...)
	return binary.BigEndian.AppendUint64(out, sequence)
}

// own is the record's sequence number; false if it is not a record of that run.
func own(run runID, value []byte) (sequence uint64, ok bool) {
	if len(value) != stampSize || string(value[:len(magic)]) != magic || runID(value[len(magic):]) != run {
		return 0, false
	}
	return binary.BigEndian.Uint64(value[len(magic)+len(run):]), true
}
