package config

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

// String says what the exporter would do about the cluster, in a few lines for people.
func (c Cluster) String() string {
	var b strings.Builder
	label := "no label kafka_cluster"
	if c.Name != "" {
		label = fmt.Sprintf("label kafka_cluster=%q", c.Name)
	}
	fmt.Fprintf(&b, "cluster %s: %s\n", cmp.Or(c.Name, "without a name"), label)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s%s\n", what, fmt.Sprintf(format, args...))
	}
	line("connects", "to %s, by %s, as %s", strings.Join(c.Kafka.Brokers, ", "), c.transport(), c.identity())
	line("topics", "%s; %s; configs %s", chosen(c.Topic.Filter, c.Topic.Exclude), finely(c.Topic.Granularity), cmp.Or(strings.Join(c.Topic.Config, ", "), "none"))
	line("groups", "%s; %s%s", chosen(c.Group.Filter, c.Group.Exclude), finely(c.Group.Granularity), c.Group.empty())
	line("series", "%s", c.Series)
	often := "at every scrape"
	if c.Collect.MinInterval > 0 {
		often = "when scraped, every " + short(c.Collect.MinInterval) + " at most"
	}
	line("is read", "%s, within %s or the scrape's own timeout; topic configs and log directories every %s",
		often, short(c.Collect.Timeout), short(c.Collect.SlowInterval))
	line("is probed", "%s", c.Probe)
	line("when down", "the last reading is shown for %s", short(c.Collect.MaxAge))
	return b.String()
}

func finely(g collector.Granularity) string {
	switch g {
	case collector.PerTopic:
		return "by topic, no single partitions"
	case collector.NoDetail:
		return "no topics, no partitions"
	}
	return "by partition"
}

func (g Group) empty() string {
	if g.EmptyFor == 0 {
		return ""
	}
	return "; those without members for " + short(g.EmptyFor) + " after their last commit"
}

// String says how many there may be.
func (s Series) String() string {
	text := "all"
	if s.Exclude != "" {
		text += " but " + s.Exclude
	}
	if s.Limit > 0 {
		text += fmt.Sprintf("; %d at most, or whole metrics are left out", s.Limit)
	}
	return text
}

// String says what the probe does.
func (p Probe) String() string {
	if !p.Enabled {
		return "no"
	}
	changes := "which is left as it is"
	if p.Manage {
		changes = "which it may make and change"
	}
	return fmt.Sprintf("by a record to each broker every %s on topic %s, %s; what is not read within %s is lost", short(p.Interval), p.Topic, changes, short(p.Deadline))
}

func (c Cluster) transport() string {
	switch t := c.TLS; {
	case !t.Enabled:
		return "plaintext"
	case t.InsecureSkipVerify:
		return "TLS without looking at certificates"
	default:
		return "TLS trusting " + cmp.Or(t.CAFile, "the system's authorities")
	}
}

func (c Cluster) identity() string {
	who := "nobody in particular"
	if c.TLS.CertFile != "" {
		who = "the owner of " + c.TLS.CertFile
	}
	switch s := c.SASL; {
	case s.OAuth.TokenFile != "":
		who = fmt.Sprintf("whoever the token in %s names, by %s", s.OAuth.TokenFile, s.Mechanism)
	case s.OAuth.TokenURL != "":
		who = fmt.Sprintf("%s by %s with tokens from %s for the secret in %s", s.OAuth.ClientID, s.Mechanism, s.OAuth.TokenURL,
			cmp.Or(s.OAuth.ClientSecretFile, "the variable "+s.OAuth.ClientSecretEnv))
	case s.PasswordFile != "":
		who = fmt.Sprintf("%s by %s with the password in %s", s.Username, s.Mechanism, s.PasswordFile)
	case s.PasswordEnv != "":
		who = fmt.Sprintf("%s by %s with the password in the variable %s", s.Username, s.Mechanism, s.PasswordEnv)
	}
	return who
}

func chosen(filter, exclude string) string {
	text := "all"
	if filter != ".*" && filter != "" {
		text = "those that match " + filter
	}
	if exclude != "" {
		text += " but " + exclude
	}
	return text
}

// short is a duration without the units that are zero: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
