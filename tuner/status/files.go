package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The files' names and the text for "not known".
const (
	LatencyText = "latency.txt"
	LatencyJSON = "latency.json"
	NotKnown    = "N/A"
)

// Files writes latency.txt and latency.json. One goroutine uses it.
type Files struct{ dir string }

// NewFiles makes the folder when it is missing and tries to write in it, so that a wrong owner is found at the start.
func NewFiles(dir string) (*Files, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make status folder: %w", err)
	}
	f := &Files{dir: dir}
	if err := f.replace(LatencyText, []byte(NotKnown+"\n")); err != nil {
		return nil, err
	}
	return f, nil
}

// latency is the content of latency.json, flat, so that an agent needs no path into it.
type latency struct {
	Schema    int    `json:"schema"`
	Timestamp string `json:"timestamp"`
	Live
	SLO       float64           `json:"slo_ms"`
	State     State             `json:"state"`
	Reason    string            `json:"reason,omitempty"`
	Mode      string            `json:"mode"`
	Trial     *Trial            `json:"trial,omitempty"`
	Reference *Reference        `json:"reference,omitempty"`
	Desired   map[string]int64  `json:"knobs_desired"`
	Effective map[string]int64  `json:"knobs_effective"`
	Units     map[string]string `json:"knobs_unit"`
	Limits    Limits            `json:"limits"`
}

// Write replaces both files.
func (f *Files) Write(s Snapshot) error {
	text := NotKnown
	if s.Live.P99 != nil {
		text = strconv.FormatFloat(*s.Live.P99, 'f', 2, 64)
	}
	l := latency{
		Schema: s.Schema, Timestamp: s.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Live: s.Live, SLO: s.SLO,
		State: s.State, Reason: s.Reason, Mode: s.Mode, Trial: s.Trial, Reference: s.Reference, Limits: s.Limits,
		Desired: map[string]int64{}, Effective: map[string]int64{}, Units: map[string]string{},
	}
	for _, k := range s.Knobs {
		l.Units[k.Name] = k.Unit
		if k.Desired != nil {
			l.Desired[k.Name] = *k.Desired
		}
		if k.Effective != nil {
			l.Effective[k.Name] = *k.Effective
		}
	}
	body, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", LatencyJSON, err)
	}
	return errors.Join(f.replace(LatencyText, []byte(text+"\n")), f.replace(LatencyJSON, append(body, '\n')))
}

// replace renames a finished file over the old one. It is not synced: after a power cut the figures are worthless anyway.
func (f *Files) replace(name string, content []byte) error {
	temporary := filepath.Join(f.dir, "."+name+".new")
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return fmt.Errorf("write status file: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(f.dir, name)); err != nil {
		return fmt.Errorf("replace status file: %w", err)
	}
	return nil
}
