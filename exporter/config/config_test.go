package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/exporter/config"
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

// Each file in testdata/bad is refused with exactly the words in the .txt beside it: the words are what a user has to go by, so a change of
// them is to be looked at.
func TestBadFilesAreRefusedWithPlaceFieldValueAndWhatIsAllowed(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			_, err := config.Load(name)
			if err == nil {
				t.Fatal("it was taken")
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

// The sentence of an error is of use only if it says where, what is wrong and what would be right.
func TestEveryLineOfEveryErrorNamesAPlaceAFieldAndWhatItGot(t *testing.T) {
	goldens, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil || len(goldens) < 30 {
		t.Fatalf("got %d files, %v", len(goldens), err)
	}
	for _, name := range goldens {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "hunter2") {
			t.Errorf("%s shows the password: %s", name, text)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
			place, problem, _ := strings.Cut(line, ": ")
			if strings.HasPrefix(problem, "not YAML: ") || problem == "the file is empty" || strings.HasPrefix(problem, "the file holds more than one YAML document") {
				continue
			}
			if !strings.Contains(place, ".yaml") || !strings.Contains(problem, "must ") && !strings.Contains(problem, "needs ") || !strings.Contains(problem, "(got ") {
				t.Errorf("%s: %q does not say where it is, what is allowed and what it got", name, line)
			}
		}
	}
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
