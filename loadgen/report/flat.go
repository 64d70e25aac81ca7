package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// flat is a JSON object by paths of its leaves, as people read settings.
func flat(raw json.RawMessage) map[string]string {
	out := map[string]string{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return out // none: NewWorkload and Read take JSON only
	}
	leaves(tree, "", out)
	return out
}

func leaves(v any, path string, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			leaves(e, join(path, k), out)
		}
	case []any:
		for i, e := range v {
			leaves(e, fmt.Sprintf("%s[%d]", path, i), out)
		}
	case nil:
	default:
		if s := fmt.Sprint(v); s != "" {
			out[path] = s
		}
	}
}

// difference is the first path at which two differ.
func difference(a, b map[string]string) (path, of, and string) {
	both := maps.Clone(a)
	maps.Copy(both, b)
	for _, k := range slices.Sorted(maps.Keys(both)) {
		if a[k] != b[k] {
			return k, or(a[k], "unset"), or(b[k], "unset")
		}
	}
	return "", "", ""
}
