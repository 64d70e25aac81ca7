package structure_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kafkalab/kafkalab"

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 15 {
		t.Fatalf("only %d packages", len(all))
	}
	return all
}

const top = "../.."

func TestTheThreeProgramsNeverImportEachOther(t *testing.T) {
	programs := []string{"exporter", "loadgen", "tuner"}
	owner := func(path string) string {
		first, _, _ := strings.Cut(strings.TrimPrefix(path, module+"/"), "/")
		if strings.HasPrefix(path, module+"/") && slices.Contains(programs, first) {
			return first
		}
		return ""
	}
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			if from, to := owner(p.ImportPath), owner(i); from != "" && to != "" && from != to {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
			if strings.HasPrefix(p.ImportPath, module+"/internal/") && owner(i) != "" {
				t.Errorf("%s imports a program's package, %s", p.ImportPath, i)
			}
		}
	}
}

func TestClientLibrariesAreUsedOnlyWhereTheWorldIsTouched(t *testing.T) {
	allowed := map[string][]string{
		"github.com/IBM/sarama": {"internal/kafka", "internal/kafkatest", "exporter/collector", "exporter/probe", "loadgen/drive", "tuner/apply"},
		"k8s.io/client-go":      {"internal/kubetest", "tuner/apply", "tuner/lead", "tuner"}, // main makes the client that they are given
	}
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			for library, places := range allowed {
				if (i == library || strings.HasPrefix(i, library+"/")) && !slices.Contains(places, strings.TrimPrefix(p.ImportPath, module+"/")) {
					t.Errorf("%s imports %s; only %v may", p.ImportPath, i, places)
				}
			}
		}
	}
}

// Pure packages are those that can be tested exhaustively, because nothing but their arguments decides what they do.
func TestPurePackagesImportTheStandardLibraryAndEachOther(t *testing.T) {
	pure := []string{
		"loadgen/schedule", "loadgen/keys", "loadgen/payload", "loadgen/stamp", "loadgen/verify", "loadgen/slo", "loadgen/search", "tuner/space", "tuner/search", "tuner/search/gp",
	}
	seen := 0
	for _, p := range packages(t) {
		if !slices.Contains(pure, strings.TrimPrefix(p.ImportPath, module+"/")) {
			continue
		}
		seen++
		for _, i := range p.Imports {
			inside := strings.TrimPrefix(i, module+"/")
			if strings.HasPrefix(i, "gonum.org/v1/gonum/") { // mathematics is pure
				continue
			}
			if strings.Contains(strings.Split(i, "/")[0], ".") && !slices.Contains(pure, inside) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
	if seen != len(pure) {
		t.Errorf("found %d of %d pure packages", seen, len(pure))
	}
}

var entry = regexp.MustCompile("^( *)([a-z0-9._-]+)/")

// STRUCTURE.md has one line per folder, indented by two blanks a level, inside its first code block.
func TestStructureTellsOfTheFoldersThatThereAre(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, "STRUCTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), "```")
	if len(parts) < 3 {
		t.Fatal("STRUCTURE.md has no code block")
	}
	var told, stack []string
	for line := range strings.Lines(parts[1]) {
		m := entry.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		stack = append(stack[:min(len(m[1])/2, len(stack))], m[2])
		told = append(told, strings.Join(stack, "/"))
	}
	out, err := gitFiles()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for file := range strings.Lines(out) {
		for dir := filepath.Dir(strings.TrimSpace(file)); dir != "."; dir = filepath.Dir(dir) {
			there[dir] = true
		}
	}
	for _, dir := range told {
		if !there[dir] {
			t.Errorf("STRUCTURE.md tells of %s, which is not there", dir)
		}
	}
	for dir := range there {
		if strings.Contains(dir, "testdata") || strings.HasPrefix(dir, "k8s-sandbox/manifests/") && strings.Count(dir, "/") > 2 {
			continue
		}
		if !slices.Contains(told, dir) {
			t.Errorf("STRUCTURE.md does not tell of %s", dir)
		}
	}
}

func gitFiles() (string, error) {
	cmd := exec.Command("git", "ls-files", "-co", "--exclude-standard")
	cmd.Dir = top
	out, err := cmd.Output()
	return string(out), err
}

// What the other modules have at the version of this one is compiled once for all of them: Kubernetes' client alone is 250 packages, and it is compiled
// anew where anything that it imports has another version. k8s-sandbox/docker and .ci are left out, for README's two commands compile neither Compose nor more than
// a few packages of the other.
func TestModulesShareWhatTheyCompile(t *testing.T) {
	ours := required(t, ".")
	if ours["k8s.io/client-go"] == "" {
		t.Fatalf("got %d modules and no k8s.io/client-go", len(ours))
	}
	for _, dir := range []string{"k8s-sandbox", "k8s-sandbox/chart", "prometheus"} {
		for path, version := range required(t, dir) {
			if want := ours[path]; want != "" && version != want {
				t.Errorf("%s/go.mod has %s %s, go.mod has %s: raise the older one, or, for k8s.io, exclude the newer one as prometheus/go.mod does", dir, path, version, want)
			}
		}
	}
}

// required are the modules that a go.mod asks for.
func required(t *testing.T, dir string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = filepath.Join(top, dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit in %s: %v", dir, err)
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, r := range mod.Require {
		all[r.Path] = r.Version
	}
	return all
}
