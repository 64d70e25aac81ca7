package config_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/kafkalab/kafkalab/exporter/config"
)

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := config.Parse("testdata/fuzz.yaml", text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		for _, c := range file.Clusters {
			if err := c.Validate(); err != nil {
				t.Errorf("it was taken and is not sound: %v", err)
			}
			if c.String() == "" {
				t.Error("nothing is said of a cluster")
			}
			if !c.TLS.Enabled && c.SASL.Mechanism == "" { // no files to be read
				if _, err := c.Collector(log); err != nil {
					t.Errorf("it was taken and cannot be used: %v", err)
				}
			}
		}
	})
}
