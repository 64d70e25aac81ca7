package collector_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

func TestTopicsAndLagAreShownAsFinelyAsIsWanted(t *testing.T) {
	for name, tt := range map[string]struct {
		topics, groups collector.Granularity
		want           map[string]string
		commitsAsked   bool
	}{
		"by partition": {"", "", map[string]string{
			`kafka_topic_partition_end_offset{partition="0",topic="a"}`:                  "10",
			`kafka_topic_end_offset{topic="a"}`:                                          "30",
			`kafka_consumer_group_lag{group="one",partition="0",topic="a"}`:              "3",
			`kafka_consumer_group_topic_lag{group="one",topic="a"}`:                      "8",
			`kafka_consumer_group_topic_committed_offset{group="one",topic="a"}`:         "22",
			`kafka_consumer_group_topic_lost_records{group="one",topic="a"}`:             "0",
			`kafka_consumer_group_topic_retention_ratio{group="one",topic="a"}`:          "0.3",
			`kafka_consumer_group_topic_assigned_partitions{group="three",topic="a"}`:    "2",
			`kafka_topic_offline_partitions{topic="a"}`:                                  "0",
			`kafka_topic_under_replicated_partitions{topic="a"}`:                         "0",
			`kafka_consumer_group_members{group="one"}`:                                  "1",
			`kafka_consumer_group_committed_offset{group="one",partition="0",topic="a"}`: "7",
		}, true},
		"topics by topic": {"topic", "partition", map[string]string{
			`kafka_topic_partition_end_offset{partition="0",topic="a"}`:     "",
			`kafka_topic_partition_offline{partition="0",topic="a"}`:        "",
			`kafka_topic_end_offset{topic="a"}`:                             "30",
			`kafka_topic_partitions{topic="a"}`:                             "2",
			`kafka_consumer_group_lag{group="one",partition="0",topic="a"}`: "3",
		}, true},
		"lag by topic": {"partition", "topic", map[string]string{
			`kafka_topic_partition_end_offset{partition="0",topic="a"}`:     "10",
			`kafka_consumer_group_lag{group="one",partition="0",topic="a"}`: "",
			`kafka_consumer_group_topic_lag{group="one",topic="a"}`:         "8",
		}, true},
		"groups without lag": {"partition", "none", map[string]string{
			`kafka_topic_partition_end_offset{partition="0",topic="a"}`:               "10",
			`kafka_consumer_group_topic_lag{group="one",topic="a"}`:                   "",
			`kafka_consumer_group_topic_assigned_partitions{group="three",topic="a"}`: "",
			`kafka_consumer_group_members{group="one"}`:                               "1",
			`kafka_exporter_collector_success{collector="groups"}`:                    "1",
		}, false},
		"lag without topics": {"none", "topic", map[string]string{
			`kafka_topic_partitions{topic="a"}`:                     "",
			`kafka_topic_end_offset{topic="a"}`:                     "",
			`kafka_consumer_group_topic_lag{group="one",topic="a"}`: "8",
			`kafka_brokers`: "2",
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := twoBrokers(t)
			c.group("three", 1, "Stable", 0, "", nil)
			d := describedGroup("three", map[string][]byte{"m": assignment("a", 0, 1)})
			c.groups[0].AddGroupDescription("three", d)
			c.start()
			e := newExporter(t, c.addrs(), func(conf *collector.Config) {
				conf.TopicGranularity, conf.GroupGranularity = tt.topics, tt.groups
			})
			e.collect(10*time.Second).want(t, tt.want)
			if asked := c.requests(nil)["OffsetFetch"] > 0; asked != tt.commitsAsked {
				t.Errorf("want commits asked for: %v, got %v", tt.commitsAsked, asked)
			}
		})
	}
}

func TestTheLimitOfSeriesDropsWholeFamiliesTheLeastImportantFirst(t *testing.T) {
	c := richCluster(t)
	families := func(e *exporter) map[string]int {
		n := map[string]int{}
		for _, f := range e.gather() {
			if !strings.HasPrefix(f.GetName(), "kafka_exporter_") && f.GetName() != "kafka_up" {
				n[f.GetName()] = len(f.GetMetric())
			}
		}
		return n
	}
	total := func(n map[string]int) int { return sum(n) }
	whole := newExporter(t, c.addrs(), nil)
	whole.refresh()
	whole.refresh()
	all := families(whole)
	before := all
	for _, limit := range []int{total(all), total(all) - 1, total(all) / 2, total(all) / 4, 1} {
		t.Run(fmt.Sprintf("%d of %d series", limit, total(all)), func(t *testing.T) {
			var log bytes.Buffer
			e := newExporter(t, c.addrs(), func(conf *collector.Config) {
				conf.MaxSeries = limit
				conf.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			e.refresh()
			e.refresh()
			e.refresh()
			got := families(e)
			if n := total(got); n > limit && limit > 1 {
				t.Errorf("want at most %d series, got %d", limit, n)
			}
			dropped := map[string]int{}
			for name, n := range all {
				switch {
				case got[name] == 0:
					dropped[name] = n
				case got[name] != n:
					t.Errorf("want %s whole or not at all, got %d of %d series", name, got[name], n)
				}
				if got[name] > 0 && before[name] == 0 {
					t.Errorf("%s is shown with a lower limit and not with a higher one", name)
				}
			}
			before = got
			counted := map[string]int{}
			for _, line := range e.samples().of("kafka_exporter_dropped_series_total") {
				var name string
				var n int
				if _, err := fmt.Sscanf(strings.NewReplacer(`{family="`, " ", `"}`, "").Replace(line), "kafka_exporter_dropped_series_total %s %d", &name, &n); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				if n > 0 {
					counted[name] = n
				}
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(dropped)), slices.Sorted(maps.Keys(counted))); diff != "" {
				t.Errorf("families that are missing, and families that are counted as dropped (-missing +counted):\n%s", diff)
			}
			want := 0
			if len(dropped) > 0 {
				want = 1
			}
			if n := strings.Count(log.String(), "too many series"); n < want || n > 2 { // the second part that is read seldom may add another
				t.Errorf("want the limit told of, got it %d times:\n%s", n, log.String())
			}
			if limit == 1 && (got["kafka_brokers"] != 1 || got["kafka_topic_partitions"] != 0) {
				t.Errorf("want what tells of the cluster to stay, and nothing of topics, got %v", got)
			}
			if limit == total(all)-1 && got["kafka_consumer_group_lag"] == 0 {
				t.Error("want lag to stay longer than commits")
			}
		})
	}
}

func TestGroupsThatAreEmptyAndSilentAreLeftOut(t *testing.T) {
	c := twoBrokers(t)
	c.group("gone", 1, "Empty", 0, "a", map[int32]int64{0: 5})
	c.group("loner", 2, "Empty", 0, "a", map[int32]int64{0: 1}) // takes partitions by itself, and commits
	c.start()
	e := newExporter(t, c.addrs(), func(conf *collector.Config) { conf.EmptyGroups = 300 * time.Millisecond })
	shown := map[string]string{
		`kafka_consumer_group_lag{group="gone",partition="0",topic="a"}`: "5", `kafka_consumer_group_topic_lag{group="one",topic="a"}`: "8",
	}
	e.collect(10*time.Second).want(t, shown)
	offset := int64(1)
	waitFor(t, 10*time.Second, "the empty group to be left out", func() bool {
		offset = offset%9 + 1
		c.brokers[1].SetHandlerByMap(c.with(1, "loner", "a", 0, offset))
		got := e.collect(10 * time.Second)
		got.want(t, map[string]string{
			`kafka_consumer_group_committed_offset{group="loner",partition="0",topic="a"}`: fmt.Sprint(offset),
			`kafka_consumer_group_topic_lag{group="one",topic="a"}`:                        "8",
		})
		return len(got.of("kafka_consumer_group_info")) == 3
	})
	e.samples().want(t, map[string]string{`kafka_consumer_group_lag{group="gone",partition="0",topic="a"}`: ""})
	// It comes back as soon as it commits.
	c.brokers[0].SetHandlerByMap(c.with(0, "gone", "a", 0, 6))
	e.collect(10*time.Second).want(t, map[string]string{`kafka_consumer_group_lag{group="gone",partition="0",topic="a"}`: "4"})
}
