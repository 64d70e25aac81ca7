package workload_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/kafkalab/kafkalab/internal/strict/badfiles"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

var update = flag.Bool("update", false, "write the expected files anew")

func TestBadFilesAreRefusedWithFieldValueAndWhatIsAllowed(t *testing.T) {
	badfiles.Check(t, 40, *update, func(name string) error { _, err := workload.File(name); return err })
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
