package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// A line is {"sum":"…","record":{…}}. It is taken apart by its exact bytes and not as JSON, of which there are many spellings: no byte of a
// line can change unnoticed. Lines of version 1 had a CRC-32C of the record alone, under the name crc.
const (
	sumBefore = `{"sum":"`
	crcBefore = `{"crc":"`
	between   = `","record":`
	after     = `}`

	sumLength = 2 * sha256.Size
	crcLength = 8
)

// ErrDamaged marks lines that are not as they were written.
var ErrDamaged = errors.New("damaged")

// ErrVersion marks records of a version that this program does not know.
var ErrVersion = errors.New("another version")

// encode gives the line, and the sum that the next line builds on.
func encode(r Record, head string) (text []byte, next string, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, "", fmt.Errorf("encode record: %w", err)
	}
	if len(body) > maxLine/2 {
		return nil, "", fmt.Errorf("encode record: want at most %d bytes (got %d)", maxLine/2, len(body))
	}
	next = chain(head, body)
	text = fmt.Appendf(nil, "%s%s%s%s%s\n", sumBefore, next, between, body, after)
	return text, next, nil
}

// chain is the sum over everything up to and including the record.
func chain(head string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(head))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// decode reads a line without its newline; head is the sum up to the line before it, number the line's own.
func decode(text []byte, number uint64, head string) (r Record, next string, err error) {
	body, err := unwrap(text, head)
	if err != nil {
		return Record{}, "", fmt.Errorf("line %d: %w", number, err)
	}
	var first struct {
		Version int    `json:"v"`
		Seq     uint64 `json:"seq"`
	}
	if err := json.Unmarshal(body, &first); err != nil {
		return Record{}, "", fmt.Errorf("line %d: %w: its sum is right, but it is not a record: %w", number, ErrVersion, err)
	}
	old := bytes.HasPrefix(text, []byte(crcBefore))
	switch {
	case old && first.Version != 1, !old && first.Version != Version:
		return Record{}, "", fmt.Errorf("line %d: %w: this tuner reads version 1 and %d (got %d)", number, ErrVersion, Version, first.Version)
	case first.Seq != number:
		return Record{}, "", fmt.Errorf("line %d: %w: want record number %d (got %d): lines are missing or doubled", number, ErrDamaged, number, first.Seq)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Record{}, "", fmt.Errorf("line %d: %w: its sum is right, but it is not a record: %w", number, ErrVersion, err)
	}
	return r, chain(head, body), nil
}

// unwrap gives the record's bytes when their sum is right.
func unwrap(text []byte, head string) ([]byte, error) {
	if said, body, ok := cut(text, sumBefore, sumLength); ok {
		if got := chain(head, body); got != said {
			return nil, fmt.Errorf("%w: its checksum does not fit it and the line before: one of them was changed, or lines are missing or doubled", ErrDamaged)
		}
		return body, nil
	}
	said, body, ok := cut(text, crcBefore, crcLength)
	if !ok {
		return nil, fmt.Errorf("%w: not a record", ErrDamaged)
	}
	if got := fmt.Sprintf("%08x", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))); got != said {
		return nil, fmt.Errorf("%w: its checksum is %s, the line says %q: it was changed after it was written", ErrDamaged, got, said)
	}
	return body, nil
}

func cut(text []byte, before string, length int) (sum string, body []byte, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(before))
	if !ok || len(rest) < length {
		return "", nil, false
	}
	sum, rest = string(rest[:length]), rest[length:]
	if rest, ok = bytes.CutPrefix(rest, []byte(between)); !ok {
		return "", nil, false
	}
	body, ok = bytes.CutSuffix(rest, []byte(after))
	return sum, body, ok
}
