package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

const maxLine = 4 << 20 // far above any record; what is longer is not a ledger

// Content is what a ledger holds.
type Content struct {
	Records []Record
	Torn    int64  // bytes of an unfinished record at the end
	Head    string // the sum over all records; empty when there is none

	good    int64 // bytes up to the end of the last whole record
	unended bool  // the last whole record has no newline
}

// Load reads a ledger without changing or locking it.
func Load(path string) (Content, error) {
	f, err := os.Open(path)
	if err != nil {
		return Content{}, fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	c, err := read(f)
	if err != nil {
		return Content{}, fmt.Errorf("read ledger %s: %w", path, err)
	}
	return c, nil
}

// Read is Load for those who need the records alone.
func Read(path string) (records []Record, torn int64, err error) {
	c, err := Load(path)
	return c.Records, c.Torn, err
}

func read(f io.ReadSeeker) (Content, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return Content{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Content{}, err
	}
	var c Content
	in := bufio.NewReaderSize(f, int(min(size+1, maxLine)))
	for number := uint64(1); ; number++ {
		text, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return Content{}, fmt.Errorf("line %d: %w: longer than %d bytes; not a ledger", number, ErrDamaged, maxLine)
		case err != nil && !errors.Is(err, io.EOF):
			return Content{}, err
		case len(text) == 0:
			return c, nil
		}
		body, ended := bytes.CutSuffix(text, []byte("\n"))
		r, head, bad := decode(body, number, c.Head)
		if bad == nil && number > 1 && r.Version < c.Records[number-2].Version {
			bad = fmt.Errorf("line %d: %w: a record of version %d follows one of version %d", number, ErrDamaged, r.Version, c.Records[number-2].Version)
		}
		if bad == nil {
			c.add(r, head, len(text), ended)
			continue
		}
		body = bytes.Clone(body) // it is the reader's
		// Only the last write can be torn; damage further up is not a crash's doing.
		if _, err := in.Peek(1); !errors.Is(err, io.EOF) {
			return Content{}, bad
		}
		return c, c.tail(body, ended, number, bad)
	}
}

func (c *Content) add(r Record, head string, length int, ended bool) {
	c.Records, c.Head = append(c.Records, r), head
	c.good += int64(length)
	c.unended = !ended
}

// tail decides what a last line is that cannot be read. A crash leaves the beginning of a line, or, where the file system had given the file its
// length but not yet its content, zeroes in place of whole sectors. Everything else was written whole, and its act may have been done: cutting it
// off would let the tuner do it twice, so it is reported instead.
func (c *Content) tail(body []byte, ended bool, number uint64, bad error) error {
	length := int64(len(body))
	if ended {
		if errors.Is(bad, ErrVersion) || !zeroed(body, c.good) {
			return bad
		}
		c.Torn = length + 1
		return nil
	}
	trimmed := bytes.TrimRight(body, "\x00")
	if r, head, err := decode(trimmed, number, c.Head); err == nil { // only the newline is missing
		c.Torn = length - int64(len(trimmed))
		c.add(r, head, len(trimmed), false)
		return nil
	}
	if n := len(trimmed); n > 0 {
		if _, _, err := decode(trimmed[:n-1], number, c.Head); err == nil {
			return fmt.Errorf("line %d: %w: want a newline at its end (got %q)", number, ErrDamaged, trimmed[n-1])
		}
	}
	if errors.Is(bad, ErrVersion) || !begins(body, sumBefore) && !begins(body, crcBefore) {
		return bad
	}
	c.Torn = length
	return nil
}

// begins tells whether the bytes up to the first zero are how a line of that kind begins.
func begins(body []byte, kind string) bool {
	start, _, _ := bytes.Cut(body, []byte{0})
	n := min(len(start), len(kind))
	return string(start[:n]) == kind[:n]
}

const sector = 512

// zeroed tells whether bytes that begin at the offset hold zeroes as a file system leaves them: from the end of a sector, or of nothing, to the end of
// a sector, or of everything.
func zeroed(body []byte, offset int64) bool {
	found := false
	for i := 0; i < len(body); i++ {
		if body[i] != 0 {
			continue
		}
		start := i
		for i < len(body) && body[i] == 0 {
			i++
		}
		if start > 0 && (offset+int64(start))%sector != 0 || i < len(body) && (offset+int64(i))%sector != 0 {
			return false
		}
		found = true
	}
	return found
}
