package collector

import (
	"fmt"
	"slices"
)

// Granularity is how finely something is shown.
type Granularity string

const (
	PerPartition Granularity = "partition"
	PerTopic     Granularity = "topic" // sums over partitions, or the worst of them
	NoDetail     Granularity = "none"
)

// Granularities lists them.
func Granularities() []Granularity { return []Granularity{PerPartition, PerTopic, NoDetail} }

// check sets the default.
func (g *Granularity) check(what string) error {
	switch *g {
	case "":
		*g = PerPartition
	case PerPartition, PerTopic, NoDetail:
	default:
		return fmt.Errorf("collector: granularity of %s: want %s, %s or %s (got %q)", what, PerPartition, PerTopic, NoDetail, *g)
	}
	return nil
}

// grain is what the series of a family are about, as its labels tell, by whichever names.
type grain struct{ group, topic, partition bool }

func (f Family) grain() grain {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(f.Labels, name) })
	}
	return grain{group: has("group", "consumergroup", "group_id"), topic: has("topic", "topic_name"), partition: has("partition", "partition_id")}
}

// shows says whether the family is wanted.
func (c *Config) shows(f Family) bool {
	if !c.Families.Takes(f.Name) {
		return false
	}
	g := f.grain()
	of := c.TopicGranularity
	if g.group {
		of = c.GroupGranularity
	}
	switch of {
	case PerTopic:
		return !g.partition
	case NoDetail:
		return !g.topic
	}
	return true
}
