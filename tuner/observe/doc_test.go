package observe_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestEachCauseIsExplained: PROMETHEUS.md has every cause that the sources name, and no other.
func TestEachCauseIsExplained(t *testing.T) {
	text, err := os.ReadFile("../PROMETHEUS.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{"guard:<name>": false}
	for line := range strings.Lines(string(text)) {
		row, ok := strings.CutPrefix(line, "| ")
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(row, " | ")
		for name := range strings.SplitSeq(first, ", ") {
			if cause, ok := strings.CutPrefix(name, "`"); ok && !strings.HasPrefix(cause, "$") {
				told[strings.TrimSuffix(cause, "`")] = false
			}
		}
	}
	for _, cause := range append(constants(t, "../../internal/promql/promql.go", ""), constants(t, "observe.go", "Cause")...) {
		if _, ok := told[cause]; !ok {
			t.Errorf("PROMETHEUS.md does not explain %q", cause)
		}
		told[cause] = true
	}
	for cause, known := range told {
		if !known && cause != "guard:<name>" {
			t.Errorf("PROMETHEUS.md explains %q, which is no cause", cause)
		}
	}
}

// constants are the texts of a file's constants whose names begin so.
func constants(t *testing.T, path, prefix string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, text)
		}
		return true
	})
	if len(out) < 3 {
		t.Fatalf("%s has only %q", path, out)
	}
	return out
}
