package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
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

// several is a ledger of three records, and where each of them ends.
func several(t *testing.T, path string) (text []byte, ends []int) {
	t.Helper()
	l, _ := open(t, path)
	for range 3 {
		if _, err := l.Append(full()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(info.Size()))
	}
	closed(t, l)
	return contents(t, path), ends
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCutAnywhere ends the file at each of its bytes, as a crash in the middle of a write would, with and without zeroes behind it, and goes on
// from there.
func TestCutAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	text, ends := several(t, path)
	for cut := 0; cut <= len(text); cut++ {
		whole := 0 // records that are on the disk, if need be without their newline
		for _, end := range ends {
			if cut >= end-1 {
				whole++
			}
		}
		start := 0
		if whole > 0 {
			start = ends[whole-1]
		}
		for name, zeroes := range map[string]int{"": 0, "zeroes": 7} {
			if zeroes > 0 && cut < ends[1] {
				continue
			}
			put(t, path, append(bytes.Clone(text[:cut]), make([]byte, zeroes)...))
			l, got := open(t, path)
			torn := int64(max(cut-start, 0) + zeroes)
			if len(got) != whole || l.Torn() != torn {
				t.Fatalf("cut at %d %s: want %d records and %d bytes removed (got %d and %d)", cut, name, whole, torn, len(got), l.Torn())
			}
			next, err := l.Append(full())
			if err != nil || next.Seq != uint64(whole)+1 {
				t.Fatalf("cut at %d %s: want record %d appended (got %d, %v)", cut, name, whole+1, next.Seq, err)
			}
			closed(t, l)
			if again, torn, err := ledger.Read(path); err != nil || torn != 0 || len(again) != whole+1 {
				t.Fatalf("cut at %d %s: want %d whole records (got %d, %d torn, %v)", cut, name, whole+1, len(again), torn, err)
			}
		}
	}
}

// TestZeroes: a file system may keep the length of a write and lose its sectors.
func TestZeroes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	text, ends := several(t, path)
	const sector = 512
	from := (ends[1] + sector - 1) / sector * sector // the last record has a sector of its own from here
	if from >= ends[2]-2 {
		t.Fatalf("the record has no sector of its own: %v", ends)
	}
	for name, c := range map[string]struct {
		from, to int
		torn     bool
	}{
		"the whole line":          {ends[1], ends[2] - 1, true},
		"the line and newline":    {ends[1], ends[2], true},
		"its first sector":        {ends[1], from, true},
		"its last sector":         {from, ends[2] - 1, true},
		"some bytes in it":        {from + 3, from + 9, false},
		"the newline alone":       {ends[2] - 1, ends[2], false},
		"a sector of an old line": {0, sector, false},
	} {
		t.Run(name, func(t *testing.T) {
			damaged := bytes.Clone(text)
			clear(damaged[c.from:c.to])
			put(t, path, damaged)
			records, torn, err := ledger.Read(path)
			switch {
			case c.torn && (err != nil || len(records) != 2 || torn != int64(ends[2]-ends[1])):
				t.Errorf("want the last record torn (got %d records, %d torn, %v)", len(records), torn, err)
			case !c.torn && err == nil && (len(records) != 3 || torn != 1):
				t.Errorf("want it reported, or nothing lost (got %d records, %d torn)", len(records), torn)
			}
		})
	}
}

// TestAnyByteChanged: no byte of a ledger can change without being found, and a record that may have been acted on is never cut off for it.
func TestAnyByteChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	text, _ := several(t, path)
	v1 := contents(t, "testdata/version1.jsonl")
	for name, text := range map[string][]byte{"this version": text, "version 1": v1} {
		for i := range text {
			for _, mask := range []byte{1, 0x20, 0x80, 0xff, text[i], text[i] ^ '\n'} {
				if mask == 0 {
					continue
				}
				changed := bytes.Clone(text)
				changed[i] ^= mask
				put(t, path, changed)
				records, _, err := ledger.Read(path)
				if err == nil && !(i == len(text)-1 && changed[i] == 0 && len(records) == 3) { // a newline that was not written
					t.Fatalf("%s: byte %d, %q, became %q: want it found (got %d records)", name, i, text[i], changed[i], len(records))
				}
			}
		}
	}
}

// TestDamage is what no crash does: it is reported with its line, and nothing is removed.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	text, _ := several(t, path)
	otherPath := filepath.Join(t.TempDir(), "other.jsonl")
	l, _ := open(t, otherPath)
	for _, reason := range []string{"a", "b", "c"} {
		if _, err := l.Append(ledger.Record{Kind: ledger.Session, Reason: reason}); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, l)
	other := contents(t, otherPath)
	lines, others := bytes.SplitAfter(text, []byte("\n")), bytes.SplitAfter(other, []byte("\n"))
	v1 := bytes.SplitAfter(contents(t, "testdata/version1.jsonl"), []byte("\n"))
	join := func(lines ...[]byte) []byte { return bytes.Join(lines, nil) }
	for name, c := range map[string]struct {
		text []byte
		want string
		as   error
	}{
		"a figure changed":            {bytes.Replace(text, []byte("1234.5"), []byte("9234.5"), 1), "line 1: damaged: its checksum", ledger.ErrDamaged},
		"the last line changed":       {join(lines[0], lines[1], bytes.Replace(lines[2], []byte("1234.5"), []byte("9234.5"), 1)), "line 3", ledger.ErrDamaged},
		"a line lost":                 {join(lines[0], lines[2]), "line 2", ledger.ErrDamaged},
		"the first line lost":         {join(lines[1], lines[2]), "line 1", ledger.ErrDamaged},
		"a line doubled":              {join(lines[0], lines[0], lines[1]), "line 2", ledger.ErrDamaged},
		"the last line doubled":       {join(lines[0], lines[1], lines[1]), "line 3", ledger.ErrDamaged},
		"a line of another ledger":    {join(lines[0], others[1], lines[2]), "line 2", ledger.ErrDamaged},
		"lines exchanged":             {join(lines[1], lines[0], lines[2]), "line 1", ledger.ErrDamaged},
		"a foreign line in between":   {join(lines[0], []byte("hello\n"), lines[1]), "line 2: damaged: not a record", ledger.ErrDamaged},
		"a foreign last line":         {join(lines[0], lines[1], []byte("hello\n")), "line 3: damaged: not a record", ledger.ErrDamaged},
		"a foreign unfinished line":   {join(lines[0], lines[1], []byte("hello")), "line 3: damaged: not a record", ledger.ErrDamaged},
		"half a line in between":      {join(lines[0], lines[1][:20], []byte("\n"), lines[2]), "line 2: damaged: not a record", ledger.ErrDamaged},
		"a blank more":                {join(lines[0], bytes.Replace(lines[1], []byte(`","record"`), []byte(`", "record"`), 1)), "line 2: damaged: not a record", ledger.ErrDamaged},
		"a newer version's last line": {join(text, newer(lines[2])), "line 4: another version: this tuner reads version 1 and 2 (got 3)", ledger.ErrVersion},
		"the same without newline":    {join(text, bytes.TrimSpace(newer(lines[2]))), "line 4: another version", ledger.ErrVersion},
		"version 1 after version 2":   {join(lines[0], v1[1]), "line 2: damaged: a record of version 1 follows one of version 2", ledger.ErrDamaged},
		"no ledger at all":            {bytes.Repeat([]byte("x"), 5<<20), "line 1: damaged: longer than", ledger.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, path, c.text)
			_, _, err := ledger.Open(path)
			if !errors.Is(err, c.as) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q (got %v)", c.want, err)
			}
			if !bytes.Equal(contents(t, path), c.text) {
				t.Error("the file was changed")
			}
		})
	}
}

// newer is the line after last as a later version would write it: its sum is right.
func newer(last []byte) []byte {
	const body = `{"v":3,"seq":4}`
	head := string(last[len(`{"sum":"`):][:64])
	return fmt.Appendf(nil, `{"sum":"%x","record":%s}`+"\n", sha256.Sum256([]byte(head+body)), body)
}

// TestVersion1: what an earlier tuner wrote is read, goes on in this version, and is sealed by its sums.
func TestVersion1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	old := contents(t, "testdata/version1.jsonl")
	put(t, path, old)
	l, records := open(t, path)
	if len(records) != 3 || records[0].Change == nil || records[0].Change.NewText != full().Change.NewText || records[1].Reason != `<a & "b">` {
		t.Fatalf("want the three records (got %+v)", records)
	}
	if _, err := l.Append(full()); err != nil {
		t.Fatal(err)
	}
	head := l.Head()
	closed(t, l)
	c, err := ledger.Load(path)
	if err != nil || len(c.Records) != 4 || c.Records[3].Version != ledger.Version || c.Head != head || !bytes.HasPrefix(contents(t, path), old) {
		t.Fatalf("want a record of this version behind the others (got %+v, %v)", c, err)
	}
	// A record of version 1 and its checksum, both exchanged, fit each other; the sums that follow do not.
	lines := bytes.SplitAfter(contents(t, path), []byte("\n"))
	put(t, path, bytes.Join([][]byte{lines[0], forged(lines[1]), lines[2], lines[3]}, nil))
	if _, _, err := ledger.Read(path); !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("want the forgery found at line 4 (got %v)", err)
	}
}

func forged(line []byte) []byte {
	_, body, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("}\n")), []byte(`"record":`))
	body = bytes.Replace(body, []byte("auto"), []byte("Auto"), 1)
	return fmt.Appendf(nil, `{"crc":"%08x","record":%s}`+"\n", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), body)
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

// TestWhatTheLockCannotKeepOut: a writer that does not ask, and a file that is no longer the one that people see.
func TestWhatTheLockCannotKeepOut(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(path string) error
		want string
	}{
		"somebody writes behind our back": {func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("x")
			return errors.Join(err, f.Close())
		}, "somebody else wrote"},
		"somebody cuts it": {func(path string) error { return os.Truncate(path, 10) }, "somebody else wrote"},
		"it is removed":    {os.Remove, "was moved or removed"},
		"another is put in its way": {func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		}, "was moved or removed"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.jsonl")
			l, _ := open(t, path)
			defer closed(t, l)
			if _, err := l.Append(full()); err != nil {
				t.Fatal(err)
			}
			if err := c.act(path); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := l.Append(full()); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("want %q (got %v)", c.want, err)
				}
			}
		})
	}
}

// fullDisk takes some bytes and then no more, or takes all and cannot sync them.
type fullDisk struct {
	ledger.Output
	room int
	sync error
}

func (d *fullDisk) WriteAt(b []byte, at int64) (int, error) {
	n, err := d.Output.WriteAt(b[:min(d.room, len(b))], at)
	if err == nil && n < len(b) {
		err = &os.PathError{Op: "write", Path: "ledger.jsonl", Err: syscall.ENOSPC}
	}
	d.room -= n
	return n, err
}

func (d *fullDisk) Sync() error { return errors.Join(d.sync, d.Output.Sync()) }

// TestAFullDisk: a record that is not on the disk is never taken for written, whatever part of it fits, and the next start goes on from what is.
func TestAFullDisk(t *testing.T) {
	for name, c := range map[string]struct {
		disk  fullDisk
		want  error
		after int // records after the next start
	}{
		"not a byte fits":          {fullDisk{}, syscall.ENOSPC, 1},
		"half a record fits":       {fullDisk{room: 200}, syscall.ENOSPC, 1},
		"a record fits, not a 2nd": {fullDisk{room: 900}, syscall.ENOSPC, 2},
		"it cannot be synced":      {fullDisk{room: 1 << 20, sync: syscall.EIO}, syscall.EIO, 2},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.jsonl")
			l, _ := open(t, path)
			if _, err := l.Append(full()); err != nil {
				t.Fatal(err)
			}
			l.Through(func(o ledger.Output) ledger.Output { c.disk.Output = o; return &c.disk })
			var err error
			for range 3 {
				if _, err = l.Append(full()); err != nil {
					break
				}
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("want %v (got %v)", c.want, err)
			}
			c.disk.room, c.disk.sync = 1<<20, nil // there is room again, but nobody knows what is on the disk
			if _, err := l.Append(full()); !errors.Is(err, c.want) {
				t.Errorf("want further records refused (got %v)", err)
			}
			closed(t, l)
			l, records := open(t, path)
			defer closed(t, l)
			if len(records) != c.after {
				t.Errorf("want %d records after the next start (got %d)", c.after, len(records))
			}
			if _, err := l.Append(full()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAReadOnlyLedgerIsReadAndNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	several(t, path)
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Getuid() == 0 { // who may do everything must ask as somebody who may not
			runtime.LockOSThread() // and never unlock: the thread ends with this function
			if err := syscall.Setfsuid(65534); err != nil {
				t.Errorf("become somebody else: %v", err)
			}
		}
		if _, _, err := ledger.Open(path); !errors.Is(err, os.ErrPermission) || !strings.HasPrefix(err.Error(), "open ledger") {
			t.Errorf("want it refused (got %v)", err)
		}
		if records, _, err := ledger.Read(path); err != nil || len(records) != 3 {
			t.Errorf("want it read (got %d records, %v)", len(records), err)
		}
	}()
	<-done
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

// FuzzRead: whatever a file holds, what is read from it and written again is the same, and Open changes only what Read called torn.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed.jsonl")
	l, _, err := ledger.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	for range 2 {
		if _, err := l.Append(full()); err != nil {
			f.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range [][]byte{seed, seed[:len(seed)-1], seed[:len(seed)-40], append(bytes.Clone(seed), 0, 0), nil, []byte("\n"), {0}} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "ledger.jsonl")
		put(t, path, text)
		records, torn, err := ledger.Read(path)
		l, opened, errOpen := ledger.Open(path)
		if (err == nil) != (errOpen == nil) {
			t.Fatalf("read says %v, open says %v", err, errOpen)
		}
		if err != nil {
			if !bytes.Equal(contents(t, path), text) {
				t.Fatal("a file that was refused was changed")
			}
			return
		}
		defer closed(t, l)
		if diff := cmp.Diff(records, opened); diff != "" || l.Torn() != torn {
			t.Fatalf("read %d torn, opened %d torn; -read +opened:\n%s", torn, l.Torn(), diff)
		}
		if kept := bytes.TrimSuffix(contents(t, path), []byte("\n")); int64(len(text))-torn < int64(len(kept)) || !bytes.HasPrefix(text, kept) {
			t.Fatalf("of %d bytes, %d torn, %d were kept", len(text), torn, len(kept))
		}
		if _, err := l.Append(full()); err != nil {
			t.Fatal(err)
		}
		if again, torn, err := ledger.Read(path); err != nil || torn != 0 || len(again) != len(records)+1 {
			t.Fatalf("want one record more (got %d after %d, %d torn, %v)", len(again), len(records), torn, err)
		}
	})
}
