package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// Flags are those of the command line that say where the clusters are.
type Flags struct {
	Check bool // --config.check

	file    string
	cluster Cluster // of the flags
	set     []*flag
}

type flag struct {
	name string
	set  bool
}

// NewFlags adds the flags to the application. They hold something once it has parsed its arguments.
func NewFlags(app *kingpin.Application) *Flags {
	f := &Flags{}
	app.Flag("config.file", "YAML file of the clusters, instead of the flags below: one or more, each with a name that its metrics carry as label kafka_cluster.").
		StringVar(&f.file)
	app.Flag("config.check", "Say what the exporter would do by these flags and files, or what is wrong with them, and exit.").BoolVar(&f.Check)
	d, c := Default(), &f.cluster
	// Not a flag of its own: which flags were given decides whether they contradict a file.
	flag := func(name, help string, defaults ...string) *kingpin.FlagClause {
		given := &flag{name: name}
		f.set = append(f.set, given)
		return app.Flag(name, help).Default(defaults...).IsSetByUser(&given.set)
	}
	flag("kafka.brokers", "Brokers to find the cluster with, host:port; repeat the flag or separate by commas. One that is up is enough.",
		d.Kafka.Brokers...).StringsVar(&c.Kafka.Brokers)
	flag("kafka.timeout", "Longest wait for a connection and for an answer.", d.Kafka.Timeout.String()).DurationVar(&c.Kafka.Timeout)
	f.security(flag)
	flag("topic.filter", "Topics to show.", d.Topic.Filter).StringVar(&c.Topic.Filter)
	flag("topic.exclude", "Topics to leave out, of those that topic.filter takes.", "").StringVar(&c.Topic.Exclude)
	flag("topic.config", "Topic config to show, by Kafka's name; repeat the flag or separate by commas.",
		strings.Join(d.Topic.Config, ",")).StringsVar(&c.Topic.Config)
	levels := "partition, topic (sums over partitions) or none"
	flag("topic.granularity", "How finely topics are shown: "+levels+".", string(d.Topic.Granularity)).StringVar((*string)(&c.Topic.Granularity))
	flag("group.filter", "Consumer groups to show.", d.Group.Filter).StringVar(&c.Group.Filter)
	flag("group.exclude", "Consumer groups to leave out, of those that group.filter takes.", "").StringVar(&c.Group.Exclude)
	flag("group.granularity", "How finely commits and lag of groups are shown: "+levels+", which asks no broker for commits.",
		string(d.Group.Granularity)).StringVar((*string)(&c.Group.Granularity))
	flag("group.empty-for", "How long a consumer group without members is shown after the last commit of it that the exporter has seen; 0: always.",
		d.Group.EmptyFor.String()).DurationVar(&c.Group.EmptyFor)
	flag("series.limit", "Most series that a cluster may have. While it has more, whole metrics are left out, those of single partitions first, and counted in kafka_exporter_dropped_series_total; 0: no limit.",
		strconv.Itoa(d.Series.Limit)).IntVar(&c.Series.Limit)
	flag("series.exclude", "Metrics to leave out, by their names.", "").StringVar(&c.Series.Exclude)
	flag("lag.questions", "About how many partitions per broker Kafka is asked at most, in one reading, when their records were written, where the exporter has not seen it itself; 0: none.",
		strconv.Itoa(d.Lag.Questions)).IntVar(&c.Lag.Questions)
	flag("collect.timeout", "Longest time for reading the cluster, when the scrape does not set a shorter one.",
		d.Collect.Timeout.String()).DurationVar(&c.Collect.Timeout)
	flag("collect.min-interval", "A reading younger than this is shown again instead of asking Kafka.",
		d.Collect.MinInterval.String()).DurationVar(&c.Collect.MinInterval)
	flag("collect.slow-interval", "How old topic configs and log directories may become before they are read again.",
		d.Collect.SlowInterval.String()).DurationVar(&c.Collect.SlowInterval)
	flag("collect.max-age", "How long the last reading is shown while the cluster cannot be reached.",
		d.Collect.MaxAge.String()).DurationVar(&c.Collect.MaxAge)
	f.probe(flag)
	flag("compat", "Whose names the metrics have: native, kafka_exporter, kminion; repeat the flag or separate by commas. COMPAT.md says what they show.",
		d.Compat...).StringsVar(&c.Compat)
	return f
}

// security adds the flags of tls and sasl. None of them takes a secret: a command line is open to everybody on the machine.
func (f *Flags) security(flag func(name, help string, defaults ...string) *kingpin.FlagClause) {
	t, s := &f.cluster.TLS, &f.cluster.SASL
	flag("tls.enabled", "Connect to Kafka by TLS.").BoolVar(&t.Enabled)
	flag("tls.ca-file", "PEM file of the authority that signed the brokers' certificates; default: the system's.").StringVar(&t.CAFile)
	flag("tls.cert-file", "PEM file of the client's certificate, where brokers ask for one. It is read again for each connection.").StringVar(&t.CertFile)
	flag("tls.key-file", "PEM file of the key of tls.cert-file.").StringVar(&t.KeyFile)
	flag("tls.server-name", "Name that the brokers' certificates must have; default: each broker's host.").StringVar(&t.ServerName)
	flag("tls.insecure-skip-verify", "Take any certificate: whoever sits in between can read and change everything.").BoolVar(&t.InsecureSkipVerify)
	flag("sasl.mechanism", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; default: none.").StringVar(&s.Mechanism)
	flag("sasl.username", "Name to log in with.").StringVar(&s.Username)
	flag("sasl.password-file", "File that holds the password. It is read again for each connection.").StringVar(&s.PasswordFile)
	flag("sasl.password-env", "Name of the environment variable that holds the password, instead of a file.").StringVar(&s.PasswordEnv)
	o := &s.OAuth
	flag("sasl.oauth.token-url", "Endpoint that gives tokens for OAUTHBEARER, by the client credentials grant.").StringVar(&o.TokenURL)
	flag("sasl.oauth.client-id", "Name of the client at the endpoint.").StringVar(&o.ClientID)
	flag("sasl.oauth.client-secret-file", "File that holds the client's secret. It is read again for each token.").StringVar(&o.ClientSecretFile)
	flag("sasl.oauth.client-secret-env", "Name of the environment variable that holds the client's secret, instead of a file.").StringVar(&o.ClientSecretEnv)
	flag("sasl.oauth.scopes", "Scope to ask for; repeat the flag or separate by commas.").StringsVar(&o.Scopes)
	flag("sasl.oauth.ca-file", "PEM file of the authority that signed the endpoint's certificate; default: the system's.").StringVar(&o.CAFile)
	flag("sasl.oauth.token-file", "File that holds a token, instead of an endpoint. It is read again for each connection.").StringVar(&o.TokenFile)
}

func (f *Flags) probe(flag func(name, help string, defaults ...string) *kingpin.FlagClause) {
	d, p := Default().Probe, &f.cluster.Probe
	flag("probe.enabled", "Send records by every broker and read them back, to measure what clients wait for. PROBE.md says what that needs.").BoolVar(&p.Enabled)
	flag("probe.topic", "Topic for the probe's records; groups for its commits have this name with -0, -1 and so on added.", d.Topic).StringVar(&p.Topic)
	flag("probe.interval", "Time between two records to a broker.", d.Interval.String()).DurationVar(&p.Interval)
	flag("probe.deadline", "A record that has not been read back so long after it was due is lost.", d.Deadline.String()).DurationVar(&p.Deadline)
	flag("probe.manage", "Let the probe make its topic and change it until each broker leads a partition.").BoolVar(&p.Manage)
}

// Clusters are those of the file, or else the one of the flags.
func (f *Flags) Clusters() ([]Cluster, error) {
	if f.file != "" {
		if given := f.given(); len(given) > 0 {
			return nil, fmt.Errorf("--config.file: the file says everything about the clusters, so these flags must be left out: %s (got %q)",
				strings.Join(given, ", "), f.file)
		}
		file, err := Load(f.file)
		return file.Clusters, err
	}
	c := f.cluster
	for _, list := range []*[]string{&c.Kafka.Brokers, &c.Topic.Config, &c.Compat, &c.SASL.OAuth.Scopes} {
		*list = split(*list)
	}
	if err := c.Validate(); err != nil {
		return nil, inFlags(err)
	}
	return []Cluster{c}, nil
}

func (f *Flags) given() []string {
	var names []string
	for _, s := range f.set {
		if s.set {
			names = append(names, "--"+s.name)
		}
	}
	return names
}

func split(values []string) []string {
	var all []string
	for v := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if v = strings.TrimSpace(v); v != "" {
			all = append(all, v)
		}
	}
	return all
}

// inFlags names the settings in an error as the command line does.
func inFlags(err error) error {
	var lines []error
	names := strings.NewReplacer(flagNames()...)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		field, text, _ := strings.Cut(line, ": ")
		field, _, _ = strings.Cut(field, "[") // which of a flag's values it is, the value tells
		lines = append(lines, fmt.Errorf("--%s: %s", strings.ReplaceAll(field, "_", "-"), names.Replace(text)))
	}
	return errors.Join(lines...)
}

// flagNames are pairs of a setting's name in a file and on the command line, the longest first: one can begin with another.
func flagNames() []string {
	names := settings(reflect.TypeFor[Cluster](), "")
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, n := range names {
		if !strings.Contains(n, ".") {
			continue // an ordinary word
		}
		pairs = append(pairs, n, "--"+strings.ReplaceAll(n, "_", "-"))
	}
	return pairs
}

// settings are the full names of what a struct holds.
func settings(t reflect.Type, part string) []string {
	var names []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		if part != "" {
			name = part + "." + name
		}
		if sub := t.Field(i).Type; sub.Kind() == reflect.Struct {
			names = append(names, settings(sub, name)...)
			continue
		}
		names = append(names, name)
	}
	return names
}
