package apply

import (
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// authors reads the API server's record of who owns which field. What it does not say stays empty; a guess would blame somebody.
func authors(fields []metav1.ManagedFieldsEntry, container string, variables []string) (map[string]Author, Author) {
	owners := map[string]Author{}
	var newest Author
	for _, entry := range fields {
		if entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		a := Author{Manager: entry.Manager}
		if entry.Time != nil {
			a.Time = entry.Time.Time
		}
		var tree map[string]any
		if json.Unmarshal(entry.FieldsV1.Raw, &tree) != nil {
			continue
		}
		if within(tree, "f:spec") != nil && a.Manager != Manager && !a.Time.Before(newest.Time) {
			newest = a
		}
		env := within(tree, "f:spec", "f:template", "f:spec", "f:containers", key("name", container), "f:env")
		for _, v := range variables {
			if within(env, key("name", v), "f:value") != nil && !a.Time.Before(owners[v].Time) {
				owners[v] = a
			}
		}
	}
	return owners, newest
}

// key is how a list item is named in a field set.
func key(field, value string) string {
	text, _ := json.Marshal(map[string]string{field: value}) // a map of strings always encodes
	return "k:" + string(text)
}

func within(tree map[string]any, path ...string) map[string]any {
	for _, p := range path {
		next, ok := tree[p].(map[string]any)
		if !ok {
			return nil
		}
		tree = next
	}
	return tree
}

// ByUs says whether the variable's value was last written by a tuner.
func (v View) ByUs(variable string) bool { return v.Authors[variable].Manager == Manager }

// Author names who wrote one of the variables last other than the tuner, or else the newest other writer of the spec; "unknown" when the
// API server does not say.
func (v View) Author(variables ...string) string {
	candidates := make([]Author, 0, len(variables)+1)
	for _, name := range variables {
		if a := v.Authors[name]; a.Manager != "" && a.Manager != Manager {
			candidates = append(candidates, a)
		}
	}
	if len(candidates) == 0 {
		candidates = append(candidates, v.Newest)
	}
	last := slices.MaxFunc(candidates, func(a, b Author) int { return a.Time.Compare(b.Time) })
	if last.Manager == "" {
		return "unknown"
	}
	return last.Manager
}
