package apply

import (
	"encoding/json"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// authors reads the API server's record of who owns which variable of a container.
func (v *View) authors(fields []metav1.ManagedFieldsEntry, container string, variables []string) {
	v.authorsOf(fields, func(tree map[string]any, variable string) bool {
		return within(tree, "f:spec", "f:template", "f:spec", "f:containers", key("name", container), "f:env", key("name", variable), "f:value") != nil
	}, variables)
}

// authorsOf asks owns of each entry. What the record does not say stays empty; a guess would blame somebody.
func (v *View) authorsOf(fields []metav1.ManagedFieldsEntry, owns func(tree map[string]any, variable string) bool, variables []string) {
	v.Authors, v.writers = map[string]Author{}, map[string]time.Time{}
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
		if within(tree, "f:spec") != nil && a.Manager != Manager {
			v.writers[a.Manager] = a.Time
			if !a.Time.Before(v.Newest.Time) {
				v.Newest = a
			}
		}
		for _, name := range variables {
			if owns(tree, name) && !a.Time.Before(v.Authors[name].Time) {
				v.Authors[name] = a
			}
		}
	}
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
func (v View) Author(variables ...string) string { return v.newest(variables).name() }

func (v View) newest(variables []string) Author {
	candidates := make([]Author, 0, len(variables)+1)
	for _, name := range variables {
		if a := v.Authors[name]; a.Manager != "" && a.Manager != Manager {
			candidates = append(candidates, a)
		}
	}
	if len(candidates) == 0 {
		candidates = append(candidates, v.Newest)
	}
	return slices.MaxFunc(candidates, func(a, b Author) int { return a.Time.Compare(b.Time) })
}

func (a Author) name() string {
	if a.Manager == "" {
		return "unknown"
	}
	return a.Manager
}
