package workload_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/workload"
)

var update = flag.Bool("update", false, "write the expected files anew")

// Each file in testdata/bad is refused with exactly the words in the .txt beside it: the words are what a user has to go by, so a change of
// them is to be looked at.
func TestBadFilesAreRefusedWithFieldValueAndWhatIsAllowed(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			_, err := workload.File(name)
			if err == nil {
				t.Fatal("it was taken")
			}
			got, golden := err.Error()+"\n", strings.TrimSuffix(name, ".yaml")+".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// The sentence of an error is of use only if it says where, what is wrong and what would be right.
func TestEveryLineOfEveryErrorNamesAFieldAndWhatItGot(t *testing.T) {
	goldens, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil || len(goldens) < 40 {
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
			if !strings.Contains(place, ".yaml") || !strings.Contains(problem, "must ") && !strings.Contains(problem, "needs ") ||
				!strings.Contains(problem, "(got ") && !strings.Contains(problem, "no such file") {
				t.Errorf("%s: %q does not say where it is, what is allowed and what it got", name, line)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	good, err := filepath.Glob("presets/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, good...) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := workload.Parse(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		if err := w.Validate(); err != nil {
			t.Errorf("it was taken and is not sound: %v", err)
		}
		for _, s := range w.Warnings(1) {
			if s == "" {
				t.Error("a warning without words")
			}
		}
	})
}
