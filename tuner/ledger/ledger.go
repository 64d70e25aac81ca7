// Package ledger is the tuner's memory: an append-only file of one JSON object per line, from which everything else (page, metrics, report,
// resume) is derived.
//
// It promises that Append returns only after the record is on the disk, that a second writer is refused, that a line cut by a crash is removed
// at the next Open and everything before it kept, and that a line changed, lost, doubled or moved is reported with its number instead of being
// read around. Each line carries a SHA-256 over its record and the line before, so that one sum stands for all of them. It leaves out rotation (a
// study is some hundred kilobytes), and whole lines that are missing at the end: only somebody who noted the last sum can tell.
package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Version of the records that this program writes. A reader refuses newer ones; records of version 1 are read, and records of this version may
// follow them in the same file.
const Version = 2

// Ledger is an open file with its lock. It belongs to one goroutine at a time.
type Ledger struct {
	file *os.File
	out  output
	next uint64
	size int64
	head string
	torn int64
	bad  error
	now  func() time.Time
}

// output is how records reach the disk.
type output interface {
	WriteAt(b []byte, at int64) (int, error)
	Sync() error
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
	c, err := read(f)
	if err != nil {
		return nil, nil, err
	}
	l := &Ledger{file: f, out: f, next: uint64(len(c.Records)) + 1, size: c.good, head: c.Head, torn: c.Torn, now: time.Now}
	if err := l.repair(c.unended); err != nil {
		return nil, nil, err
	}
	return l, c.Records, nil
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

// Head is the sum of the newest record, which stands for all of them.
func (l *Ledger) Head() string { return l.head }

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
	text, head, err := encode(r, l.head)
	if err != nil {
		return Record{}, fmt.Errorf("append to ledger: %w", err)
	}
	if err := l.write(text); err != nil {
		l.bad = err
		return Record{}, err
	}
	l.size += int64(len(text))
	l.head = head
	l.next++
	return r, nil
}

func (l *Ledger) write(text []byte) error {
	if err := l.alone(); err != nil {
		return fmt.Errorf("append to ledger: %w", err)
	}
	if _, err := l.out.WriteAt(text, l.size); err != nil {
		return fmt.Errorf("append to ledger: %w", err)
	}
	if err := l.out.Sync(); err != nil {
		return fmt.Errorf("sync ledger: %w", err)
	}
	return nil
}

// alone finds what the lock cannot keep out: a program that writes without asking for it, or a file that was moved away, in whose place a second
// tuner would begin another one.
func (l *Ledger) alone() error {
	own, err := l.file.Stat()
	if err != nil {
		return err
	}
	if own.Size() != l.size {
		return fmt.Errorf("somebody else wrote to %s: want %d bytes in it (got %d)", l.file.Name(), l.size, own.Size())
	}
	there, err := os.Stat(l.file.Name())
	if err != nil || !os.SameFile(own, there) {
		return fmt.Errorf("%s was moved or removed", l.file.Name())
	}
	return nil
}

// Close gives the lock back.
func (l *Ledger) Close() error { return l.file.Close() }

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
