package probe

import (
	"bytes"
	"testing"
)

func TestAProbeKnowsItsOwnRecords(t *testing.T) {
	mine, other := runID{1, 2, 3}, runID{1, 2, 4}
	value := stamp(mine, 1<<40+7)
	if n, ok := own(mine, value); !ok || n != 1<<40+7 {
		t.Errorf("want record %d, got %d, %v", 1<<40+7, n, ok)
	}
	for name, v := range map[string][]byte{
		"another probe's":    stamp(other, 7),
		"empty":              nil,
		"too short":          value[:len(value)-1],
		"too long":           append(bytes.Clone(value), 0),
		"of another program": bytes.Repeat([]byte{'x'}, len(value)),
	} {
		if _, ok := own(mine, v); ok {
			t.Errorf("%s: want it ignored", name)
		}
	}
}

func FuzzOwn(f *testing.F) {
	run := runID{9, 8, 7}
	f.Add(stamp(run, 1))
	f.Add([]byte("klprobe1"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if n, ok := own(run, value); ok && !bytes.Equal(value, stamp(run, n)) {
			t.Errorf("taken for record %d: %x", n, value)
		}
	})
}
