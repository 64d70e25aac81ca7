package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Measurement is a line of the recording.
type Measurement struct {
	Step
	Start time.Time `json:"start"`
	Figures
	Failed string `json:"failed,omitempty"` // why there are no figures
}

// Figures of a measurement, its warm-up left out.
type Figures struct {
	Rate    float64  `json:"acked_per_second"`
	P99     float64  `json:"p99_ms"` // from sent to consumed
	Errors  uint64   `json:"errors"` // records that were given up
	Limited float64  `json:"generator_limited_seconds"`
	Series  []Second `json:"series"`
}

// Second is one of a measurement.
type Second struct {
	Acked uint64  `json:"acked"`
	P99   float64 `json:"p99_ms"`
}

// Journal is the recording: a line of JSON for each measurement, only ever appended to. It belongs to one process at a time.
type Journal struct {
	file *os.File
	done []Measurement
}

// OpenJournal reads what the folder has. A last line that was cut off when its writer was killed is removed: that measurement is made again.
func OpenJournal(dir string) (*Journal, error) {
	name := filepath.Join(dir, "measurements.jsonl")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	j := &Journal{file: file}
	if err := errors.Join(j.lock(), j.read(name)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

func (j *Journal) lock() error {
	if err := syscall.Flock(int(j.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("open recording %s: another process has it: %w", j.Name(), err)
	}
	return nil
}

func (j *Journal) read(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read recording: %w", err)
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	for n, line := range slices.Collect(bytes.Lines(text[:whole])) {
		var m Measurement
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("read recording %s: line %d: %w", name, n+1, err)
		}
		j.done = append(j.done, m)
	}
	if whole == len(text) {
		return nil
	}
	if err := j.file.Truncate(int64(whole)); err != nil {
		return fmt.Errorf("remove the cut-off end of %s: %w", name, err)
	}
	return nil
}

// Append adds a measurement; when it returns, the measurement is on disk.
func (j *Journal) Append(m Measurement) error {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	j.done = append(j.done, m)
	return nil
}

// Done is all that was measured.
func (j *Journal) Done() []Measurement { return j.done }

// Name of the file.
func (j *Journal) Name() string { return j.file.Name() }

// Close lets go of the file.
func (j *Journal) Close() error { return j.file.Close() }
