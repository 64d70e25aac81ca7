package apply

import (
	"maps"
	"slices"
	"time"
)

// Outside is what somebody else did to the target.
type Outside struct {
	Author    string // the field manager, or "unknown"
	Time      time.Time
	Variables []string // the knobs' variables that have other values now, in order; none: something else was changed
}

// Since is what somebody else did between the view before and this one, or nil. Before must be newer than anything that this tuner did itself: Set
// returns such a view.
//
// A change that was undone before this look counts too: the brokers were restarted for it. Only the API server's count of changes tells of it.
func (v View) Since(before View) *Outside {
	var other []string
	for _, name := range slices.Sorted(maps.Keys(union(v.Env, before.Env))) {
		now, has := v.Env[name]
		was, had := before.Env[name]
		if now != was || has != had {
			other = append(other, name)
		}
	}
	if other == nil && v.Rest == before.Rest && v.Generation == before.Generation {
		return nil
	}
	a := v.writer(other)
	if other == nil {
		a = v.newcomer(before)
	}
	return &Outside{Author: a.name(), Time: a.Time, Variables: other}
}

// underOurName stands for an author who gave the tuner's name for their own: what the tuner itself wrote is in the view before.
const underOurName = "unknown (under the name of the tuner)"

// writer is who wrote one of the variables last; whoever took one away left no name there, so it is the newest other writer of the spec.
func (v View) writer(variables []string) Author {
	newest := Author{}
	for _, name := range variables {
		a := v.Authors[name]
		if v.ByUs(name) {
			a.Manager = underOurName
		}
		if a.Manager != "" && !a.Time.Before(newest.Time) {
			newest = a
		}
	}
	if newest.Manager == "" {
		return v.Newest
	}
	return newest
}

// newcomer is who wrote the spec since the view before. The API server's times are whole seconds: the newest alone could be another who wrote in the
// same one.
func (v View) newcomer(before View) Author {
	newest := v.Newest
	found := false
	for _, manager := range slices.Sorted(maps.Keys(v.writers)) {
		at := v.writers[manager]
		if was, wrote := before.writers[manager]; wrote && was.Equal(at) || found && at.Before(newest.Time) {
			continue
		}
		newest, found = Author{Manager: manager, Time: at}, true
	}
	return newest
}

func union(a, b map[string]string) map[string]string {
	u := maps.Clone(a)
	if u == nil {
		u = map[string]string{}
	}
	maps.Copy(u, b)
	return u
}
