package config

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

// problems collects every finding before any is returned.
type problems []error

func (p *problems) need(ok bool, field, problem, got string) {
	if !ok {
		*p = append(*p, fmt.Errorf("%s: %s (got %q)", field, problem, got))
	}
}

func (p *problems) lasting(field string, got, low, high time.Duration) {
	if got < low || got > high {
		*p = append(*p, fmt.Errorf("%s: must be within %s..%s (got %s)", field, low, high, got))
	}
}

func (p *problems) expression(field, expr string) {
	_, err := collector.NewFilter(expr, "")
	if cause := (*syntax.Error)(nil); errors.As(err, &cause) {
		*p = append(*p, fmt.Errorf("%s: must be a regular expression: %s at %q (got %q)", field, cause.Code, cause.Expr, expr))
	}
}

func (p *problems) whole(field string, got, most int) {
	if got < 0 || got > most {
		*p = append(*p, fmt.Errorf("%s: must be within 0..%d (got %d)", field, most, got))
	}
}

// shown finds what is wrong with the settings that choose what is shown.
func (p *problems) shown(c Cluster) {
	p.expression("topic.filter", c.Topic.Filter)
	p.expression("topic.exclude", c.Topic.Exclude)
	p.expression("group.filter", c.Group.Filter)
	p.expression("group.exclude", c.Group.Exclude)
	for i, key := range c.Topic.Config {
		field := fmt.Sprintf("topic.config[%d]", i)
		p.need(configForm.MatchString(key), field, "must be the name of a topic config, as retention.ms", key)
		p.need(!slices.Contains(c.Topic.Config[:i], key), field, "must be there once only", key)
	}
	levels := collector.Granularities()
	p.need(slices.Contains(levels, c.Topic.Granularity), "topic.granularity", "must be partition, topic or none", string(c.Topic.Granularity))
	p.need(slices.Contains(levels, c.Group.Granularity), "group.granularity", "must be partition, topic or none", string(c.Group.Granularity))
	if e := c.Group.EmptyFor; e != 0 && (e < time.Second || e > 365*day) {
		*p = append(*p, fmt.Errorf("group.empty_for: must be 0, for always, or within 1s..%s (got %s)", short(365*day), e))
	}
	p.whole("series.limit", c.Series.Limit, 100_000_000)
	p.excluded("series.exclude", c)
}

// excluded takes an expression that leaves out nothing for a misspelt one.
func (p *problems) excluded(field string, c Cluster) {
	before := len(*p)
	if p.expression(field, c.Series.Exclude); c.Series.Exclude == "" || len(*p) > before {
		return
	}
	names, err := collector.FamilyNames(c.names(), c.Topic.Config)
	if err != nil {
		return // which is a problem of compat
	}
	exclude, _ := collector.NewFilter("", c.Series.Exclude) // it is sound, as was just seen
	some := slices.ContainsFunc(names, func(name string) bool { return !exclude.Takes(name) })
	p.need(some, field, "must match the name of a metric that there is, as kafka_topic_partition_leader_epoch", c.Series.Exclude)
}
