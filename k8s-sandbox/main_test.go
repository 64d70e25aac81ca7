package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestACheckoutReachedByALinkIsTheSameCheckout(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	checkout, link := filepath.Join(dir, "checkout"), filepath.Join(dir, "link")
	if err := os.Mkdir(checkout, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(checkout, link); err != nil {
		t.Fatal(err)
	}
	if got, err := realPath(link); err != nil || got != checkout {
		t.Errorf("by its name: got %s, %v", got, err)
	}
	t.Chdir(link) // sets PWD, as a shell does
	if got, err := realPath("."); err != nil || got != checkout {
		t.Errorf("from within: got %s, %v", got, err)
	}
}
