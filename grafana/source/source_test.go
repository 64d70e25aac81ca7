package source_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/grafana/source"
)

var update = flag.Bool("update", false, "write the dashboards' files")

func TestTheFilesAreWhatTheSourceMakes(t *testing.T) {
	made, err := source.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	const dir = "../dashboards"
	there, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		for name, text := range made {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, want := range made {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what the source makes; run go test ./grafana/source -update (-source +file):\n%s", name, diff)
		}
	}
	for _, path := range there {
		if _, ok := made[filepath.Base(path)]; !ok {
			t.Errorf("%s is made by nobody", path)
		}
	}
}
