// Package badfiles tests what a program says to the files that it refuses.
//
// It promises that each file in testdata/bad is refused with exactly the words in the .txt beside it, which are what a user has to go by, so that a change of
// them is looked at; and that each sentence says where, what is wrong, what would be right and what it got, and never a password. It leaves out which
// files are bad.
package badfiles

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// secret is the password in the bad files.
const secret = "hunter2"

// Check reads each file, of which there must be so many at least; with update it writes the expected words anew.
func Check(t *testing.T, least int, update bool, read func(name string) error) {
	t.Helper()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < least {
		t.Fatalf("want at least %d files in testdata/bad (got %d, %v)", least, len(files), err)
	}
	for _, name := range files {
		name = strings.TrimSuffix(name, ".yaml")
		t.Run(filepath.Base(name), func(t *testing.T) {
			err := read(name + ".yaml")
			if err == nil {
				t.Fatal("it was taken")
			}
			got := err.Error() + "\n"
			if update {
				if err := os.WriteFile(name+".txt", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			sentences(t, got)
		})
	}
}

// sentences are of use only if each says where, what is wrong and what would be right.
func sentences(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, secret) {
		t.Errorf("it shows the password: %s", text)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		place, problem, _ := strings.Cut(line, ": ")
		if strings.HasPrefix(problem, "not YAML: ") || problem == "the file is empty" || strings.HasPrefix(problem, "the file holds more than one YAML document") {
			continue
		}
		allowed := strings.Contains(problem, "must ") || strings.Contains(problem, "needs ")
		got := strings.Contains(problem, "(got ") || strings.Contains(problem, "no such file")
		if !strings.Contains(place, ".yaml") || !allowed || !got {
			t.Errorf("%q does not say where it is, what is allowed and what it got", line)
		}
	}
}
