package collector_test

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafka"
)

// original is an exporter whose names there is a mode for.
type original struct {
	mode    collector.Naming
	facts   string // what it shows
	program []string
	absent  map[string]string // what is not shown, and why
	differs map[string]string // what has other values, and why
	lint    []string          // what its names offend against
}

const notAsked = "Kafka's admin requests do not tell; kminion counts it while it reads `__consumer_offsets`, all of it (scrape mode offsetsTopic), which we do not. How fast a group gets on is the rate of `kminion_kafka_consumer_group_topic_offset_sum`."

func probe(name string) string {
	return "Ask for `" + name + "`: the probe measures by broker and from when a record was due, kminion by partition of a topic of its own and from when it was sent."
}

var originals = []original{
	{
		mode: collector.KafkaExporter, facts: "kafka_exporter_v1.9.txt",
		program: []string{"kafka_exporter_build_info"},
		absent: map[string]string{
			"kafka_consumergroupzookeeper_lag_zookeeper": "Offsets in ZooKeeper: no consumer since Kafka 0.8 has put them there.",
		},
		differs: map[string]string{
			"kafka_brokers": "It is the brokers of the metadata of now; kafka_exporter counts those that its client has ever heard of, so a broker that died may stay.",
			"kafka_topic_partition_leader_is_preferred":        "Absent while there is no leader; kafka_exporter then shows 0, as if another broker led. For partitions without a leader, compare with `kafka_topic_partition_replicas`, or add our own names and ask for `kafka_topic_partition_offline`.",
			"kafka_topic_partition_in_sync_replica":            "Absent where the cluster does not name the replicas.",
			"kafka_topic_partition_replicas":                   "Absent where the cluster does not name the replicas.",
			"kafka_topic_partition_under_replicated_partition": "Absent where the cluster does not name the replicas; kafka_exporter then shows 0, that is all is well.",
			"kafka_consumergroup_current_offset":               "Absent where the group has committed nothing; kafka_exporter then shows −1, and a first commit looks like a jump from there to a rate.",
			"kafka_consumergroup_current_offset_sum":           "Absent unless each of the commits is known; kafka_exporter adds −1 for each partition without a commit.",
			"kafka_consumergroup_lag":                          "Absent where it is not known, and where the group has committed nothing; kafka_exporter then shows −1, which takes one off every sum. It is never negative: commits are read before end offsets.",
			"kafka_consumergroup_lag_sum":                      "Absent unless the lag of each partition that the group has committed is known; kafka_exporter leaves the others out, so a partition without a leader looks like progress. For the sum of what is known, ask for `sum by (consumergroup, topic) (kafka_consumergroup_lag)`.",
			"kafka_consumergroup_members":                      "It is right for groups of the new protocol (KIP-848) too; v1.9 shows 0 for them.",
		},
		lint: []string{"kafka_consumergroup_current_offset_sum", "kafka_consumergroup_lag_sum"},
	},
	{
		mode: collector.KMinion, facts: "kminion_v2.3.5.txt",
		absent: map[string]string{
			"kminion_exporter_offset_consumer_records_consumed_total": notAsked,
			"kminion_kafka_consumer_group_offset_commits_total":       notAsked,
			"kminion_end_to_end_messages_produced_in_flight":          probe("kafka_probe_in_flight"),
			"kminion_end_to_end_messages_produced_total":              probe("kafka_probe_sent_total"),
			"kminion_end_to_end_messages_produced_failed_total":       probe("kafka_probe_failed_total{api=\"Produce\"}"),
			"kminion_end_to_end_messages_received_total":              probe("kafka_probe_received_total"),
			"kminion_end_to_end_messages_lost_total":                  probe("kafka_probe_lost_total"),
			"kminion_end_to_end_offset_commits_total":                 probe("kafka_probe_commit_seconds"),
			"kminion_end_to_end_offset_commits_failed_total":          probe("kafka_probe_failed_total{api=\"OffsetCommit\"}"),
			"kminion_end_to_end_produce_latency_seconds":              probe("kafka_probe_produce_seconds"),
			"kminion_end_to_end_roundtrip_latency_seconds":            probe("kafka_probe_end_to_end_seconds"),
			"kminion_end_to_end_offset_commit_latency_seconds":        probe("kafka_probe_commit_seconds"),
			"kminion_log_messages_total":                              "It is about kminion's own log. What fails here is counted by API and error in `kafka_exporter_kafka_request_errors_total`.",
		},
		differs: map[string]string{
			"kminion_exporter_up":                                    "`kafka_exporter_collector_success` tells which part failed. The label is our version.",
			"kminion_kafka_cluster_info":                             "cluster_version is the release that has the metadata.version in force in the cluster; it is empty without KRaft and before Kafka 3.3. Kminion guesses it from the requests that a broker takes. controller_id is empty under KRaft, where brokers name any live broker and kminion shows that one.",
			"kminion_kafka_broker_info":                              "is_controller is empty under KRaft, where brokers name any live broker as controller and kminion shows that one.",
			"kminion_kafka_broker_log_dir_size_total_bytes":          "Absent while one of the broker's directories is out of service; kminion leaves it out of the sum, as if its data were deleted. 0 for a broker without data, which kminion does not show.",
			"kminion_kafka_topic_info":                               "Labels of configs are those of `--topic.config` (kminion: topics.infoMetric.configKeys), empty while not known, where kminion has N/A. replication_factor is empty where kminion has −1.",
			"kminion_kafka_consumer_group_info":                      "Groups of the new protocol (KIP-848) are there too; kminion cannot describe them.",
			"kminion_kafka_consumer_group_members":                   "Groups of the new protocol (KIP-848) are there too.",
			"kminion_kafka_consumer_group_empty_members":             "0 is shown too. Absent while partitions are being assigned anew, and for groups of other protocols than consumers'; kminion shows it only above 0.",
			"kminion_kafka_consumer_group_topic_members":             "Groups of the new protocol (KIP-848) are there too.",
			"kminion_kafka_consumer_group_topic_assigned_partitions": "Groups of the new protocol (KIP-848) are there too.",
			"kminion_kafka_sent_bytes":                               "With what encryption and authentication add. In OpenMetrics its type is unknown: a counter would have to be called _total there, and so be another name.",
			"kminion_kafka_received_bytes":                           "With what encryption and authentication add. In OpenMetrics its type is unknown.",
			"kminion_kafka_consumer_group_topic_offset_sum":          "Absent unless each of the commits is known; kminion leaves the others out of the sum.",
			"kminion_kafka_consumer_group_topic_partition_lag":       "Kminion reads end offsets before commits and shows 0 where that makes lag negative, so it tends to show too little.",
			"kminion_kafka_consumer_group_topic_lag":                 "Absent unless the lag of each partition that the group has committed is known; kminion leaves the others out of the sum.",
			"kminion_kafka_topic_log_dir_size_total_bytes":           "It is read every `--collect.slow-interval`, and so are the topics' configs and the brokers' directories.",
		},
		lint: []string{
			"kminion_kafka_consumer_group_topic_offset_sum", "kminion_kafka_received_bytes", "kminion_kafka_sent_bytes", "kminion_kafka_topic_high_water_mark_sum", "kminion_kafka_topic_low_water_mark_sum",
		},
	},
}

// fact is a metric of an original.
type fact struct {
	name, kind string
	labels     []string
	where      string
}

func facts(t *testing.T, file string) []fact {
	var all []fact
	for _, f := range table(t, file, 4) {
		all = append(all, fact{f[0], f[1], labels(f[2]), f[3]})
	}
	return all
}

// table reads a file of words in columns; lines with # are comments.
func table(t *testing.T, file string, columns int) [][]string {
	t.Helper()
	in, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var rows [][]string
	for lines := bufio.NewScanner(in); lines.Scan(); {
		row := strings.Fields(lines.Text())
		switch {
		case len(row) == 0 || row[0] == "#":
		case len(row) != columns:
			t.Fatalf("%s: want %d columns, got %q", file, columns, lines.Text())
		default:
			rows = append(rows, row)
		}
	}
	return rows
}

func labels(list string) []string {
	if list == "-" {
		return nil
	}
	return slices.Sorted(slices.Values(strings.Split(list, ",")))
}

// shownAs is a scrape of the rich cluster by the given names.
func shownAs(t *testing.T, names ...collector.Naming) samples {
	c := richCluster(t)
	e := newExporter(t, c.addrs(), func(conf *collector.Config) { conf.Names, conf.TopicConfigs = names, []string{"cleanup.policy"} })
	e.collect(20 * time.Second)
	return e.collect(20 * time.Second)
}

func (s samples) families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(s)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// labelsOf are the labels that each sample of the family has.
func labelsOf(t *testing.T, f *dto.MetricFamily) []string {
	t.Helper()
	var all []string
	for i, m := range f.Metric {
		var have []string
		for _, l := range m.Label {
			have = append(have, l.GetName())
		}
		slices.Sort(have)
		if i > 0 && !slices.Equal(have, all) {
			t.Errorf("%s: samples with the labels %v and %v", f.GetName(), all, have)
		}
		all = have
	}
	return all
}

// own tells what the exporter says of itself in each mode.
func own(name string) bool { return name == "kafka_up" || strings.HasPrefix(name, "kafka_exporter_") }

// foreign is what a scrape shows by other names, without what differs from run to run.
func foreign(s samples) string {
	ports, bytes := regexp.MustCompile(`port="\d+"`), regexp.MustCompile(`^(kminion_kafka_(?:sent|received)_bytes) .*`)
	var lines []string
	for line := range strings.Lines(stable(s)) {
		if !own(family(line)) {
			line = bytes.ReplaceAllString(line, "$1 VARIES")
			lines = append(lines, ports.ReplaceAllString(line, `port="9092"`))
		}
	}
	return strings.Join(lines, "")
}

func TestCompatModesShowWhatTheOriginalsShow(t *testing.T) {
	for _, o := range originals {
		t.Run(string(o.mode), func(t *testing.T) {
			shown := shownAs(t, o.mode)
			golden(t, filepath.Join("testdata", string(o.mode)+".prom"), foreign(shown))
			families := shown.families(t)
			known := map[string]bool{}
			for _, f := range facts(t, o.facts) {
				known[f.name] = true
				got := families[f.name]
				why, absent := o.absent[f.name]
				switch {
				case slices.Contains(o.program, f.name):
				case absent && got != nil:
					t.Errorf("%s is listed as not shown (%s), but it is", f.name, why)
				case absent && why == "":
					t.Errorf("%s is not shown, and no reason is given", f.name)
				case absent:
				case got == nil:
					t.Errorf("%s (%s) is not shown", f.name, f.where)
				default:
					if kind := strings.ToLower(got.GetType().String()); kind != f.kind {
						t.Errorf("%s: want a %s, got a %s", f.name, f.kind, kind)
					}
					if have := labelsOf(t, got); !slices.Equal(have, f.labels) {
						t.Errorf("%s: want the labels %v, got %v", f.name, f.labels, have)
					}
				}
			}
			for name := range families {
				if !known[name] && !own(name) {
					t.Errorf("%s is shown, which the original does not have", name)
				}
			}
			for _, name := range slices.Concat(slices.Collect(maps.Keys(o.absent)), slices.Collect(maps.Keys(o.differs))) {
				if !known[name] {
					t.Errorf("%s is explained, but the original does not have it", name)
				}
			}
		})
	}
}

func TestWellKnownDashboardsFindWhatTheyAskFor(t *testing.T) {
	shown := map[string]*dto.MetricFamily{}
	for _, o := range originals {
		maps.Copy(shown, shownAs(t, o.mode).families(t))
	}
	for _, row := range table(t, "dashboards.txt", 3) {
		source, name, asked := row[0], row[1], labels(row[2])
		i := slices.IndexFunc(originals, func(o original) bool { return o.absent[name] != "" || slices.Contains(o.program, name) })
		switch f := shown[name]; {
		case f == nil && i < 0:
			t.Errorf("%s asks for %s, which is not shown and not listed as such", source, name)
		case f == nil:
		default:
			have := labelsOf(t, f)
			for _, l := range asked {
				if !slices.Contains(have, l) {
					t.Errorf("%s asks for %s by %s, which has only %v", source, name, l, have)
				}
			}
		}
	}
}

func TestNamesCanBeShownTogether(t *testing.T) {
	together := shownAs(t, collector.Native, collector.KafkaExporter, collector.KMinion)
	families := together.families(t)
	for _, mode := range []collector.Naming{collector.Native, collector.KafkaExporter, collector.KMinion} {
		for name, f := range shownAs(t, mode).families(t) {
			got := families[name]
			switch {
			case got == nil:
				t.Errorf("%s is shown as %s, but not together with the others", name, mode)
			case len(got.Metric) != len(f.Metric):
				t.Errorf("%s: want %d samples as with %s alone, got %d", name, len(f.Metric), mode, len(got.Metric))
			}
		}
	}
	want := []string{
		`kafka_broker_info{address="host:9092",broker="1",id="1",rack=""} 1`,
		`kafka_broker_info{address="host:9092",broker="2",id="2",rack=""} 1`,
		`kafka_broker_info{address="host:9092",broker="3",id="3",rack=""} 1`,
	}
	if got := samples(stable(together)).of("kafka_broker_info"); !slices.Equal(got, want) {
		t.Errorf("want the labels of both, got %q", got)
	}
}

func TestCompatModesInventNothing(t *testing.T) {
	together := shownAs(t, collector.KafkaExporter, collector.KMinion)
	for _, f := range together.families(t) {
		for _, m := range f.Metric {
			if m.GetGauge().GetValue() < 0 {
				t.Errorf("%s: want no number that stands for another thing, got %v", f.GetName(), m)
			}
		}
	}
	together.want(t, map[string]string{
		// orders/2 has no leader, and so no known end.
		`kafka_topic_partition_leader_is_preferred{partition="2",topic="orders"}`:                "",
		`kafka_topic_partition_current_offset{partition="2",topic="orders"}`:                     "",
		`kafka_consumergroup_current_offset{consumergroup="audit",partition="2",topic="orders"}`: "5",
		`kafka_consumergroup_lag{consumergroup="audit",partition="0",topic="orders"}`:            "0",
		`kafka_consumergroup_lag{consumergroup="audit",partition="2",topic="orders"}`:            "",
		`kafka_consumergroup_lag_sum{consumergroup="audit",topic="orders"}`:                      "",
		`kminion_kafka_consumer_group_topic_lag{group_id="audit",topic_name="orders"}`:           "",
		`kminion_kafka_topic_high_water_mark_sum{topic_name="orders"}`:                           "",
		`kafka_consumergroup_current_offset_sum{consumergroup="audit",topic="orders"}`:           "255",
		`kminion_kafka_consumer_group_topic_offset_sum{group_id="audit",topic_name="orders"}`:    "255",
		// billing has committed nothing there.
		`kafka_consumergroup_current_offset{consumergroup="billing",partition="2",topic="orders"}`: "",
		`kafka_consumergroup_lag{consumergroup="billing",partition="2",topic="orders"}`:            "",
		`kafka_consumergroup_current_offset_sum{consumergroup="billing",topic="orders"}`:           "280",
		`kafka_consumergroup_lag_sum{consumergroup="billing",topic="orders"}`:                      "50",
		// A group of the new protocol.
		`kafka_consumergroup_members{consumergroup="new"}`: "2",
		`kminion_kafka_consumer_group_info{coordinator_id="3",group_id="new",protocol="uniform",protocol_type="consumer",state="Reconciling"}`: "0",
	})
}

func TestCompatModesShowNothingOfWhatTheClusterDoesNotTell(t *testing.T) {
	c := newCluster(t, 1, true)
	c.partition("dim", 0, 1, nil, nil, 3, 9) // its replicas are not named
	c.listed[0].Groups["secret"] = "consumer"
	c.answers[0]["DescribeGroupsRequest"] = sarama.NewMockWrapper(&sarama.DescribeGroupsResponse{
		Version: 5, Groups: []*sarama.GroupDescription{{GroupId: "secret", ErrorCode: int16(sarama.ErrGroupAuthorizationFailed)}},
	})
	c.dirs[0].LogDirs = append(c.dirs[0].LogDirs, sarama.DescribeLogDirsResponseDirMetadata{Path: "/broken", ErrorCode: sarama.ErrKafkaStorageError})
	c.start()
	e := newExporter(t, c.addrs(), func(conf *collector.Config) {
		conf.Names, conf.TopicConfigs = []collector.Naming{collector.KafkaExporter, collector.KMinion}, []string{"cleanup.policy"}
	})
	e.collect(20 * time.Second)
	got := e.collect(20 * time.Second)
	for _, family := range []string{
		"kafka_topic_partition_replicas", "kafka_topic_partition_in_sync_replica", "kafka_topic_partition_leader_is_preferred",
		"kafka_topic_partition_under_replicated_partition", "kafka_consumergroup_members", "kminion_kafka_consumer_group_members",
		"kminion_kafka_consumer_group_info", "kminion_kafka_broker_log_dir_size_total_bytes",
	} {
		if found := got.of(family); len(found) > 0 {
			t.Errorf("want no sample of what is not known, got %v", found)
		}
	}
	got.want(t, map[string]string{
		`kafka_topic_partition_current_offset{partition="0",topic="dim"}`:                                        "9",
		`kminion_kafka_topic_info{cleanup_policy="",partition_count="1",replication_factor="",topic_name="dim"}`: "1",
		`kminion_exporter_up{version=""}`:                                                                        "0",
	})
}

func TestTheClusterByKminionsNames(t *testing.T) {
	for name, tt := range map[string]struct {
		level int16
		want  string
	}{
		"the last level of a release":    {30, `cluster_version="v4.3",controller_id=""`},
		"a level within a release":       {23, `cluster_version="v4.0",controller_id=""`},
		"the first release that tells":   {7, `cluster_version="v3.3",controller_id=""`},
		"a release that is not out yet":  {99, `cluster_version="",controller_id=""`},
		"a broker that does not tell it": {0, `cluster_version="",controller_id=""`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1, true)
			versions := c.answers[0]["ApiVersionsRequest"].For(&sarama.ApiVersionsRequest{Version: 3}).(*sarama.ApiVersionsResponse)
			if tt.level > 0 {
				versions.FinalizedFeatures = []sarama.FinalizedFeatureKey{{Name: "group.version", MaxVersionLevel: 1}, {Name: "metadata.version", MaxVersionLevel: tt.level}}
			}
			c.answers[0]["ApiVersionsRequest"] = sarama.NewMockWrapper(versions)
			c.start()
			e := newExporter(t, c.addrs(), func(conf *collector.Config) { conf.Names = []collector.Naming{collector.KMinion} })
			shown := samples(foreign(e.collect(20 * time.Second)))
			shown.want(t, map[string]string{
				`kminion_kafka_cluster_info{broker_count="1",cluster_id="test-cluster",` + tt.want + `}`:               "1",
				`kminion_kafka_broker_info{address="127.0.0.1",broker_id="1",is_controller="",port="9092",rack_id=""}`: "1",
			})
		})
	}
}

func TestCompatNamesOffendOnlyWhereTheOriginalsDo(t *testing.T) {
	for _, o := range originals {
		problems, err := promlint.New(strings.NewReader(string(shownAs(t, o.mode)))).Lint()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range problems {
			got = append(got, p.Metric)
		}
		slices.Sort(got)
		if !slices.Equal(got, o.lint) {
			t.Errorf("%s: want problems with %v, got %v", o.mode, o.lint, problems)
		}
	}
}

func TestNamesThatDoNotExist(t *testing.T) {
	client := kafka.Client{Brokers: []string{"host:9092"}, ID: "test"}
	settings, err := client.Config()
	if err != nil {
		t.Fatal(err)
	}
	_, err = collector.New(collector.Config{Kafka: settings, Brokers: client.Brokers, Names: []collector.Naming{"burrow"}})
	if err == nil || !strings.Contains(err.Error(), `native, kafka_exporter or kminion (got "burrow")`) {
		t.Errorf("want an error that says which names there are, got %v", err)
	}
}
