package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/kafkalab/kafkalab/tuner/replay"
)

// traces are the studies that peers/record.py ran.
//
//go:embed peers/traces.jsonl
var traces []byte

// study is one of them.
type study struct {
	Surface      string       `json:"surface"`
	CSV          string       `json:"csv"` // digest of the surface's rows
	Peer         string       `json:"peer"`
	Trials       int          `json:"trials"`
	Improvements [][2]float64 `json:"improvements"` // in which trial the best so far became which part of the optimum
}

// peers are the recorded studies as runs: of each surface, by its rows' digest, of each peer.
type peers map[string]map[string][]replay.Run

func readPeers(text []byte) (peers, error) {
	out := peers{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		var s study
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("read recorded studies: line %d: %w", n, err)
		}
		fraction := make([]float64, s.Trials)
		for _, i := range s.Improvements {
			from := int(i[0]) - 1
			if from < 0 || from >= s.Trials {
				return nil, fmt.Errorf("read recorded studies: line %d: want a trial of 1..%d (got %g)", n, s.Trials, i[0])
			}
			for at := from; at < s.Trials; at++ {
				fraction[at] = i[1]
			}
		}
		if out[s.CSV] == nil {
			out[s.CSV] = map[string][]replay.Run{}
		}
		out[s.CSV][s.Peer] = append(out[s.CSV][s.Peer], replay.Run{Fraction: fraction})
	}
	return out, nil
}

// digest tells rows from others of the same name: what was recorded on those says nothing about these.
func digest(csv []byte) string {
	sum := sha256.Sum256(csv)
	return hex.EncodeToString(sum[:8])
}
