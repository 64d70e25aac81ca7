package collector

import (
	"maps"
	"slices"
)

// guard counts the series that a snapshot makes, and drops families until they are no more than the limit: whole ones, because a sum over half
// of the partitions would look like a value and an absent family looks like none. The least important go first, always in the same order.
func (e *Exporter) guard(snap *snapshot) {
	if e.conf.MaxSeries == 0 {
		return
	}
	s := sink{counts: map[string]int{}, hidden: e.hidden}
	s.show(snap, e.names, e.conf.TopicConfigs)
	total := 0
	for _, n := range s.counts {
		total += n
	}
	snap.dropped = map[string]int{}
	for _, f := range e.expendable {
		if total <= e.conf.MaxSeries {
			break
		}
		if n := s.counts[f]; n > 0 {
			snap.dropped[f] = n
			total -= n
			e.meas.dropped.WithLabelValues(f).Add(float64(n))
		}
	}
	before := map[string]int{}
	if e.last != nil {
		before = e.last.dropped
	}
	names := slices.Sorted(maps.Keys(snap.dropped))
	switch {
	case slices.Equal(names, slices.Sorted(maps.Keys(before))):
	case len(names) == 0:
		e.log.Info("no series are dropped any more", "limit", e.conf.MaxSeries)
	default:
		e.log.Warn("too many series: families are left out", "limit", e.conf.MaxSeries, "families", names)
	}
}

// worth is how long a family is kept: what tells of the cluster longest, then groups, then topics, then single partitions.
func (f Family) worth() int {
	switch f.Name {
	case famOffline.Name, famUnderReplicated.Name, famUnderMin.Name: // what people are woken up for
		return 60
	case famLag.Name, famLagSeconds.Name:
		return 50
	case famEnd.Name:
		return 40
	case famConfig.Name, famConfigInfo.Name:
		return 15
	}
	switch g := f.grain(); {
	case g.partition && g.group:
		return 20
	case g.partition:
		return 30
	case g.topic && !g.group:
		return 70
	case g.topic:
		return 80
	case g.group:
		return 90
	}
	return 100
}

// expendable are the names of the families that may be dropped, those of least worth first.
func expendable(families []Family) []string {
	var all []Family
	own := selfFamilies()
	for _, f := range families {
		if !slices.ContainsFunc(own, func(o Family) bool { return o.Name == f.Name }) && f.worth() < 100 {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b Family) int { return a.worth() - b.worth() })
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Name
	}
	return names
}
