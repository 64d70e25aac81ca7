package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
)

func open(t *testing.T, path string) (*ledger.Ledger, []ledger.Record) {
	t.Helper()
	l, records, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return l, records
}

func closed(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func full() ledger.Record {
	return ledger.Record{
		Kind: ledger.Edge, Phase: ledger.Judged, Trial: 3, Point: space.Point{"heap": 512, "io": 2}, Outcome: ledger.OutcomeReverted,
		Change:  &ledger.Change{Knob: "heap", Env: "KAFKA_HEAP_OPTS", Old: 256, New: 512, OldText: "-Xms256m", NewText: "<\"ümlaut\n&>"},
		Windows: []judge.Window{{Goodput: 1234.5, P99: 0.0123}}, Verdict: &judge.Verdict{Decision: judge.NotBetter, Effect: -0.01, P: 0.3},
		Reason: "within the noise",
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, records := open(t, path)
	if len(records) != 0 {
		t.Fatalf("a new ledger holds %d records", len(records))
	}
	var want []ledger.Record
	for range 3 {
		r, err := l.Append(full())
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, r)
	}
	closed(t, l)
	l, got := open(t, path)
	defer closed(t, l)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		if !json.Valid(line) {
			t.Errorf("line %d is not JSON: %s", i+1, line)
		}
	}
}

// TestTornTail cuts the file at every byte of the last record, as a crash in the middle of its write would, and goes on from there.
func TestTornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, _ := open(t, path)
	var ends []int64
	for range 3 {
		if _, err := l.Append(full()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, info.Size())
	}
	closed(t, l)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := ends[1]; cut <= ends[2]; cut++ {
		for tail, extra := range map[string][]byte{"": nil, "zeroes": make([]byte, 7), "line of zeroes": append(make([]byte, 7), '\n')} {
			whole := cut >= ends[2]-1 // only the newline is missing, or nothing
			if tail != "" && whole {
				continue
			}
			name := fmt.Sprintf("cut at %d of %d %s", cut-ends[1], ends[2]-ends[1], tail)
			if err := os.WriteFile(path, append(bytes.Clone(text[:cut]), extra...), 0o644); err != nil {
				t.Fatal(err)
			}
			l, got := open(t, path)
			want := 2
			if whole {
				want = 3
			}
			if len(got) != want {
				t.Fatalf("%s: want %d records (got %d)", name, want, len(got))
			}
			if wantTorn := cut - ends[1] + int64(len(extra)); !whole && l.Torn() != wantTorn {
				t.Errorf("%s: want %d bytes removed (got %d)", name, wantTorn, l.Torn())
			}
			next, err := l.Append(full())
			if err != nil || next.Seq != uint64(want)+1 {
				t.Fatalf("%s: want record %d appended (got %d, %v)", name, want+1, next.Seq, err)
			}
			closed(t, l)
			if again, torn, err := ledger.Read(path); err != nil || torn != 0 || len(again) != want+1 {
				t.Fatalf("%s: want %d whole records (got %d, %d torn, %v)", name, want+1, len(again), torn, err)
			}
		}
	}
}

// TestDamage is what no crash does: it is reported with its line, and nothing is removed.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, _ := open(t, path)
	for range 3 {
		if _, err := l.Append(full()); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, l)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"a figure changed":            {bytes.Replace(text, []byte("1234.5"), []byte("9234.5"), 1), "line 1: checksum"},
		"a line lost":                 {bytes.Join([][]byte{lines[0], lines[2]}, nil), "line 2: whole, but not readable by this version: want record number 2 (got 3)"},
		"a line doubled":              {bytes.Join([][]byte{lines[0], lines[0], lines[1]}, nil), "line 2: whole"},
		"the last line doubled":       {bytes.Join([][]byte{lines[0], lines[1], lines[1]}, nil), "line 3: whole"},
		"a foreign line in between":   {bytes.Join([][]byte{lines[0], []byte("hello\n"), lines[1]}, nil), "line 2: not a record"},
		"half a line in between":      {bytes.Join([][]byte{lines[0], lines[1][:20], []byte("\n"), lines[2]}, nil), "line 2: not a record"},
		"a newer version's last line": {append(bytes.Clone(text), newer(t)...), "want version 1 (got 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, c.text, 0o644); err != nil {
				t.Fatal(err)
			}
			_, _, err := ledger.Open(path)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q (got %v)", c.want, err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, c.text) {
				t.Error("the file was changed")
			}
		})
	}
}

// newer is a record as a later version would write it: its checksum is right.
func newer(t *testing.T) []byte {
	t.Helper()
	const body = `{"v":2,"seq":4}`
	return []byte(`{"crc":"` + checksum(body) + `","record":` + body + "}\n")
}

func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, _ := open(t, path)
	if _, _, err := ledger.Open(path); !errors.Is(err, ledger.ErrLocked) {
		t.Errorf("want the second writer refused (got %v)", err)
	}
	closed(t, l)
	l, _ = open(t, path)
	closed(t, l)
}

func TestAFullDiskStopsTheLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, _ := open(t, path)
	closed(t, l) // every further write fails, like on a disk that is gone
	for range 2 {
		if _, err := l.Append(full()); err == nil {
			t.Error("a record was taken that cannot be on the disk")
		}
	}
}

func TestTimesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l, _ := open(t, path)
	defer closed(t, l)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_912_345, time.FixedZone("", 3600))
	r, err := l.Append(ledger.Record{Kind: ledger.Session, Time: at})
	if err != nil || !r.Time.Equal(at.Truncate(time.Millisecond)) || r.Time.Location() != time.UTC {
		t.Errorf("want the given time in UTC, to the millisecond (got %v, %v)", r.Time, err)
	}
}

func BenchmarkAppend(b *testing.B) {
	l, _, err := ledger.Open(filepath.Join(b.TempDir(), "ledger.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		if _, err := l.Append(full()); err != nil {
			b.Fatal(err)
		}
	}
}
