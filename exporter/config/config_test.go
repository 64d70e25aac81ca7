package config_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/exporter/config"
	"github.com/kafkalab/kafkalab/internal/strict/badfiles"
)

var update = flag.Bool("update", false, "write the expected files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", name, got, want)
	}
}

func TestBadFilesAreRefusedWithPlaceFieldValueAndWhatIsAllowed(t *testing.T) {
	badfiles.Check(t, 30, *update, func(name string) error { _, err := config.Load(name); return err })
}

func TestAFileSaysEverythingAboutItsClusters(t *testing.T) {
	file, err := config.Load("testdata/good/two.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range file.Clusters {
		got.WriteString(c.String())
	}
	golden(t, "testdata/good/two.txt", got.String())
	first, second := file.Clusters[0], file.Clusters[1]
	if first.Lag.Questions != 0 || first.Collect.MinInterval != 0 {
		t.Errorf("zeros that were asked for: got %+v", first)
	}
	if want := config.Default(); second.Collect != want.Collect || second.Lag != want.Lag || second.Topic.Filter != want.Topic.Filter {
		t.Errorf("what the file does not say: got %+v, want %+v", second, want)
	}
}
