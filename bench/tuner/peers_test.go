package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/bench/surfaces"
)

func TestARecordedStudyIsTheBestSoFarAfterEachTrial(t *testing.T) {
	all, err := readPeers([]byte(`{"surface":"s","csv":"ab","peer":"tpe","trials":6,"improvements":[[2,0.5],[5,0.75]]}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := all["ab"]["tpe"][0].Fraction, []float64{0, 0.5, 0.5, 0.5, 0.75, 0.75}; !slices.Equal(got, want) {
		t.Errorf("want %v (got %v)", want, got)
	}
}

func TestDamagedStudiesAreRefusedWithTheirLine(t *testing.T) {
	good := `{"surface":"s","csv":"ab","peer":"tpe","trials":6,"improvements":[]}` + "\n"
	for name, line := range map[string]string{
		"no JSON":                 "{\n",
		"a trial that is not one": `{"trials":6,"improvements":[[7,0.5]]}` + "\n",
	} {
		if _, err := readPeers([]byte(good + line)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: want line 2 named (got %v)", name, err)
		}
	}
}

// A surface that is changed is another one, for which nothing is recorded.
func TestStudiesAreRecordedOfTheSurfacesAsTheyAre(t *testing.T) {
	all, err := readPeers(traces)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range surfaces.Named() {
		if len(all[digest(s.CSV())]["tpe"]) == 0 {
			t.Errorf("nothing is recorded of %s: run peers/record.py", s.Name)
		}
	}
}
