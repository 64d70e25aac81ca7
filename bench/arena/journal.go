package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// result is what a run came to.
type result struct {
	turn
	Start     figures          `json:"start"`
	End       figures          `json:"end"`
	Violation float64          `json:"violation_seconds"` // while it tuned, P99 of the ten seconds before was above what the SLO tolerates, or there was none
	Restarts  float64          `json:"restarts"`          // of brokers
	Changes   int64            `json:"changes"`           // of the workload's template
	Lost      float64          `json:"lost_records"`
	Knobs     map[string]int64 `json:"knobs"` // what it left
	Breach    bool             `json:"breach_left"`
}

// figures are of one window.
type figures struct {
	Goodput float64 `json:"goodput"` // records/s acknowledged at the SLO
	P99     float64 `json:"p99_seconds"`
}

// gain is how many times the start's goodput the end's is.
func (r result) gain() float64 { return r.End.Goodput / r.Start.Goodput }

// journal holds the results, one on a line, in a folder with the plan that they are of.
type journal struct {
	file    *os.File
	results []result
}

func openJournal(dir string, p plan) (*journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	want, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "plan.json")
	switch got, err := os.ReadFile(name); {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.WriteFile(name, want, 0o644); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !bytes.Equal(got, want):
		return nil, fmt.Errorf("out: %s holds results of another plan, want the same flags or another folder:\n%s", dir, got)
	}
	j := &journal{}
	name = filepath.Join(dir, "results.jsonl")
	if j.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, err
	}
	whole := int64(0)
	dec := json.NewDecoder(j.file)
	for dec.More() {
		var r result
		if err := dec.Decode(&r); err != nil {
			break // torn by whatever ended the last arena; the run is made again
		}
		j.results, whole = append(j.results, r), dec.InputOffset()+1
	}
	if err := errors.Join(j.file.Truncate(whole), seek(j.file, whole)); err != nil {
		return nil, errors.Join(err, j.file.Close())
	}
	return j, nil
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, 0)
	return err
}

func (j *journal) add(r result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	j.results = append(j.results, r)
	return j.file.Sync()
}

func (j *journal) close() error { return j.file.Close() }
