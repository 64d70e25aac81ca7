package main

import (
	"testing"

	"github.com/kafkalab/kafkalab/bench/surfaces"
	"github.com/kafkalab/kafkalab/tuner/replay"
)

// TestTheSearchHoldsItsLevel is bench/TUNER.md's study with few seeds: somewhat below what is told there, so that luck does not decide.
func TestTheSearchHoldsItsLevel(t *testing.T) {
	var all []replay.Run
	for _, s := range surfaces.Named() {
		surface, space, err := s.Write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := replay.Load(surface, space)
		if err != nil {
			t.Fatal(err)
		}
		result, err := replay.Do(t.Context(), replay.Config{Surface: loaded, Algorithm: "gp", Trials: 40, Seeds: 2, Noise: s.Noise, Outliers: s.Outliers})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, result.Runs...)
	}
	mean25, _ := at(all, 25)
	mean40, _ := at(all, 40)
	if mean25 < 0.9 || mean40 < 0.95 {
		t.Errorf("want at least 0.9 of the optimum after 25 trials and 0.95 after 40 (got %.3f and %.3f)", mean25, mean40)
	}
}
