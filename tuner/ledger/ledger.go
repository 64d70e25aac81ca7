// Package ledger is the tuner's memory: an append-only file of one JSON object per line, from which everything else (page, metrics, resume) is
// derived.
//
// It promises that Append returns only after the record is on the disk, that a second writer is refused, that a line cut by a crash is removed
// at the next Open and everything before it kept, and that a line changed or lost in the middle is reported with its number instead of being
// read around. Lines carry a CRC-32C over the record's bytes, the records a version and a number without gaps. It leaves out rotation: a study is some hundred
// kilobytes.
package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Version of the records that this program writes. A reader refuses newer ones.
const Version = 1

const maxLine = 4 << 20 // far above any record; what is longer is not a ledger

type line struct {
	CRC    string          `json:"crc"`
	Record json.RawMessage `json:"record"`
}

// Ledger is an open file with its lock. It belongs to one goroutine at a time.
type Ledger struct {
	file *os.File
	next uint64
	size int64
	torn int64
	bad  error
	now  func() time.Time
}

// ErrLocked says that another process writes this ledger.
var ErrLocked = errors.New("another tuner writes it")

// Open takes the lock, removes a torn tail and returns the records. The folder must exist.
func Open(path string) (*Ledger, []Record, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open ledger: %w", err)
	}
	l, records, err := open(f)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, err), f.Close())
	}
	return l, records, nil
}

func open(f *os.File) (*Ledger, []Record, error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil, ErrLocked
		}
		return nil, nil, fmt.Errorf("lock: %w", err)
	}
	read, err := read(f)
	if err != nil {
		return nil, nil, err
	}
	l := &Ledger{file: f, next: uint64(len(read.records)) + 1, size: read.good, torn: read.torn, now: time.Now}
	if err := l.repair(read.unended); err != nil {
		return nil, nil, err
	}
	return l, read.records, nil
}

// repair cuts what a crash left behind the last whole record. A last record that lacks only its newline is whole: it gets the newline.
func (l *Ledger) repair(unended bool) error {
	if err := l.file.Truncate(l.size); err != nil {
		return fmt.Errorf("remove torn tail: %w", err)
	}
	if unended {
		if _, err := l.file.WriteAt([]byte("\n"), l.size); err != nil {
			return fmt.Errorf("end last line: %w", err)
		}
		l.size++
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return syncDir(filepath.Dir(l.file.Name())) // a new file's name must survive as well
}

// Torn is how many bytes Open removed.
func (l *Ledger) Torn() int64 { return l.torn }

// Append numbers, stamps, writes and syncs the record, and returns it as written. After an error the ledger refuses further records: what is on
// the disk is not known until the next Open.
func (l *Ledger) Append(r Record) (Record, error) {
	if l.bad != nil {
		return Record{}, fmt.Errorf("append to ledger: an earlier write failed: %w", l.bad)
	}
	r.Version, r.Seq = Version, l.next
	if r.Time.IsZero() {
		r.Time = l.now()
	}
	r.Time = r.Time.UTC().Truncate(time.Millisecond)
	text, err := encode(r)
	if err != nil {
		return Record{}, fmt.Errorf("append to ledger: %w", err)
	}
	if _, err := l.file.WriteAt(text, l.size); err != nil {
		l.bad = err
		return Record{}, fmt.Errorf("append to ledger: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		l.bad = err
		return Record{}, fmt.Errorf("sync ledger: %w", err)
	}
	l.size += int64(len(text))
	l.next++
	return r, nil
}

// Close gives the lock back.
func (l *Ledger) Close() error { return l.file.Close() }

// Read returns the records of a ledger without changing or locking it, and how many bytes of a torn tail follow them.
func Read(path string) (records []Record, torn int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	all, err := read(f)
	if err != nil {
		return nil, 0, fmt.Errorf("read ledger %s: %w", path, err)
	}
	return all.records, all.torn, nil
}

type content struct {
	records []Record
	good    int64 // bytes up to the end of the last whole record
	torn    int64 // bytes behind it
	unended bool  // the last whole record has no newline
}

func read(f *os.File) (content, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return content{}, err
	}
	var c content
	in := bufio.NewReaderSize(f, 64<<10)
	for number := uint64(1); ; number++ {
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return content{}, err
		}
		if len(text) == 0 {
			return c, nil
		}
		if len(text) > maxLine {
			return content{}, fmt.Errorf("line %d: longer than %d bytes; not a ledger", number, maxLine)
		}
		r, bad := decode(bytes.TrimSuffix(text, []byte("\n")), number)
		if bad != nil {
			// Only the last write can be torn; damage further up is not a crash's doing.
			if _, err := in.Peek(1); errors.Is(err, io.EOF) && !errors.Is(bad, errForeign) {
				c.torn = int64(len(text))
				return c, nil
			}
			return content{}, bad
		}
		c.records = append(c.records, r)
		c.good += int64(len(text))
		c.unended = !bytes.HasSuffix(text, []byte("\n"))
	}
}

// errForeign marks a line that is whole by its checksum but not ours to read: it must never be cut off as if it were torn.
var errForeign = errors.New("whole, but not readable by this version")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(r Record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	text, err := json.Marshal(line{CRC: sum(body), Record: body})
	if err != nil {
		return nil, fmt.Errorf("encode line: %w", err)
	}
	return append(text, '\n'), nil
}

func decode(text []byte, number uint64) (Record, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Record{}, fmt.Errorf("line %d: not a record: %w", number, err)
	}
	if got := sum(l.Record); got != l.CRC {
		return Record{}, fmt.Errorf("line %d: checksum is %s, the line says %q: it was changed after it was written", number, got, l.CRC)
	}
	var head struct {
		Version int    `json:"v"`
		Seq     uint64 `json:"seq"`
	}
	if err := json.Unmarshal(l.Record, &head); err != nil {
		return Record{}, fmt.Errorf("line %d: %w: %w", number, errForeign, err)
	}
	switch {
	case head.Version != Version:
		return Record{}, fmt.Errorf("line %d: %w: want version %d (got %d)", number, errForeign, Version, head.Version)
	case head.Seq != number:
		return Record{}, fmt.Errorf("line %d: %w: want record number %d (got %d): lines are missing or doubled", number, errForeign, number, head.Seq)
	}
	var r Record
	if err := json.Unmarshal(l.Record, &r); err != nil {
		return Record{}, fmt.Errorf("line %d: %w: %w", number, errForeign, err)
	}
	return r, nil
}

func sum(b []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(b, castagnoli))|1<<32, 16)[1:]
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
