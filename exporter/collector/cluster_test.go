package collector_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/exporter/exposition"
	"github.com/kafkalab/kafkalab/internal/kafka"
)

// cluster is a fake Kafka: brokers that answer from tables.
type cluster struct {
	t       testing.TB
	brokers []*sarama.MockBroker
	answers []map[string]sarama.MockResponse

	metadata *sarama.MetadataResponse
	listed   []*sarama.ListGroupsResponse
	groups   []*sarama.MockDescribeGroupsResponse
	commits  []*sarama.MockOffsetFetchResponse
	offsets  []*sarama.MockOffsetResponse
	dirs     []*sarama.DescribeLogDirsResponse
	configs  *sarama.DescribeConfigsResponse
	moves    *sarama.ListPartitionReassignmentsResponse
	topics   map[string]*sarama.TopicMetadata
	newest   int16 // version of ApiVersions
	// committed makes the commits of each broker's groups again.
	committed map[int][]func(*sarama.MockOffsetFetchResponse)
}

const (
	someController = 1
	allOperations  = 1<<sarama.AclOperationDescribe | 1<<sarama.AclOperationAlter // and others, where no authorizer is set up
)

// release is what brokers of one version of Kafka can do, as far as the exporter asks.
type release struct {
	apis                                   []sarama.ApiVersionsResponseKey
	metadata, listGroups, configs, logDirs int16 // the versions of the answers that the fake brokers have ready
}

var (
	kafka28 = release{metadata: 10, listGroups: 4, configs: 4, logDirs: 2, apis: []sarama.ApiVersionsResponseKey{
		{ApiKey: 2, MaxVersion: 6}, {ApiKey: 3, MaxVersion: 11}, {ApiKey: 9, MaxVersion: 7}, {ApiKey: 15, MaxVersion: 5}, {ApiKey: 16, MaxVersion: 4},
		{ApiKey: 18, MaxVersion: 3}, {ApiKey: 32, MaxVersion: 4}, {ApiKey: 35, MaxVersion: 2}, {ApiKey: 46},
	}}
	kafka43 = release{metadata: 10, listGroups: 5, configs: 4, logDirs: 4, apis: []sarama.ApiVersionsResponseKey{
		{ApiKey: 2, MinVersion: 1, MaxVersion: 11}, {ApiKey: 3, MaxVersion: 13}, {ApiKey: 9, MinVersion: 1, MaxVersion: 10},
		{ApiKey: 15, MaxVersion: 6}, {ApiKey: 16, MaxVersion: 5}, {ApiKey: 18, MaxVersion: 4}, {ApiKey: 69, MaxVersion: 1},
		{ApiKey: 32, MinVersion: 1, MaxVersion: 4}, {ApiKey: 35, MinVersion: 1, MaxVersion: 4}, {ApiKey: 46},
	}}
)

// newCluster starts n brokers with the ids 1 to n, of Kafka 4.3 but without DescribeQuorum unless kraft is set.
func newCluster(t testing.TB, n int, kraft bool) *cluster {
	t.Helper()
	r := kafka43
	if kraft {
		r.apis = append(slices.Clone(r.apis), sarama.ApiVersionsResponseKey{ApiKey: 55, MaxVersion: 2})
	}
	return newClusterOf(t, n, r)
}

func newClusterOf(t testing.TB, n int, r release) *cluster {
	t.Helper()
	id := "test-cluster"
	c := &cluster{t: t, topics: map[string]*sarama.TopicMetadata{}, committed: map[int][]func(*sarama.MockOffsetFetchResponse){}, configs: &sarama.DescribeConfigsResponse{Version: r.configs}, moves: &sarama.ListPartitionReassignmentsResponse{}, metadata: &sarama.MetadataResponse{Version: r.metadata, ClusterID: &id, ControllerID: someController, ClusterAuthorizedOperations: allOperations}}
	for _, k := range r.apis {
		if k.ApiKey == 18 {
			c.newest = k.MaxVersion
		}
	}
	for i := range n {
		b := sarama.NewMockBroker(t, int32(i+1))
		c.brokers = append(c.brokers, b)
		c.metadata.AddBroker(b.Addr(), b.BrokerID())
		c.listed = append(c.listed, &sarama.ListGroupsResponse{Version: r.listGroups, Groups: map[string]string{}, GroupsData: map[string]sarama.GroupData{}})
		c.groups = append(c.groups, sarama.NewMockDescribeGroupsResponse(t))
		c.commits = append(c.commits, sarama.NewMockOffsetFetchResponse(t))
		c.offsets = append(c.offsets, sarama.NewMockOffsetResponse(t))
		c.dirs = append(c.dirs, &sarama.DescribeLogDirsResponse{Version: r.logDirs, LogDirs: []sarama.DescribeLogDirsResponseDirMetadata{{Path: "/data", TotalBytes: -1, UsableBytes: -1}}})
		c.answers = append(c.answers, map[string]sarama.MockResponse{
			"ApiVersionsRequest":                sarama.NewMockApiVersionsResponse(t).SetApiKeys(r.apis),
			"MetadataRequest":                   sarama.NewMockWrapper(c.metadata),
			"OffsetRequest":                     c.offsets[i],
			"ListGroupsRequest":                 sarama.NewMockWrapper(c.listed[i]),
			"DescribeGroupsRequest":             c.groups[i],
			"OffsetFetchRequest":                c.commits[i],
			"DescribeConfigsRequest":            sarama.NewMockWrapper(c.configs),
			"DescribeLogDirsRequest":            sarama.NewMockWrapper(c.dirs[i]),
			"ListPartitionReassignmentsRequest": sarama.NewMockWrapper(c.moves),
		})
	}
	return c
}

// start makes the brokers answer; the tables must not change afterwards.
func (c *cluster) start() *cluster {
	for i, b := range c.brokers {
		c.setAnswers(i, nil)
		c.t.Cleanup(b.Close)
	}
	return c
}

// setAnswers replaces answers of a broker by request type; nil means that the request gets none.
func (c *cluster) setAnswers(i int, other map[string]sarama.MockResponse) {
	answers := maps.Clone(c.answers[i])
	for k, v := range other {
		if v == nil {
			delete(answers, k)
			continue
		}
		answers[k] = v
	}
	c.brokers[i].SetHandlerByMap(answers)
}

// partition adds one with a leader (0: none) and offsets from start to end.
func (c *cluster) partition(topic string, id, leader int32, replicas, inSync []int32, start, end int64) {
	code := sarama.ErrNoError
	if leader == 0 {
		leader, code = -1, sarama.ErrLeaderNotAvailable
	} else {
		c.offsets[leader-1].SetOffset(topic, id, sarama.OffsetOldest, start).SetOffset(topic, id, sarama.OffsetNewest, end)
	}
	t := c.topics[topic]
	if t == nil { // sarama's own AddTopicPartition looks through all topics each time
		t = &sarama.TopicMetadata{Name: topic}
		c.topics[topic] = t
		c.metadata.Topics = append(c.metadata.Topics, t)
	}
	t.Partitions = append(t.Partitions, &sarama.PartitionMetadata{ID: id, Leader: leader, Replicas: append([]int32{}, replicas...), Isr: append([]int32{}, inSync...), OfflineReplicas: []int32{}, Err: code})
}

// group adds a classic group that a broker coordinates, with its commits by partition of one topic.
func (c *cluster) group(id string, coordinator int, state string, members int, topic string, commits map[int32]int64) {
	i := coordinator - 1
	c.listed[i].Groups[id] = "consumer"
	c.listed[i].GroupsData[id] = sarama.GroupData{GroupState: state, GroupType: "classic"}
	d := &sarama.GroupDescription{GroupId: id, State: state, ProtocolType: "consumer", Protocol: "range", Members: map[string]*sarama.GroupMemberDescription{}}
	for m := range members {
		name := fmt.Sprintf("%s-%d", id, m)
		d.Members[name] = &sarama.GroupMemberDescription{MemberId: name}
	}
	c.groups[i].AddGroupDescription(id, d)
	for p, offset := range commits {
		set := func(to *sarama.MockOffsetFetchResponse) { to.SetOffset(id, topic, p, offset, "", sarama.ErrNoError) }
		set(c.commits[i])
		c.committed[i] = append(c.committed[i], set)
	}
}

// with are the answers of a broker with one commit more, or another one.
func (c *cluster) with(i int, group, topic string, partition int32, offset int64) map[string]sarama.MockResponse {
	commits := sarama.NewMockOffsetFetchResponse(c.t)
	for _, set := range c.committed[i] {
		set(commits)
	}
	commits.SetOffset(group, topic, partition, offset, "", sarama.ErrNoError)
	answers := maps.Clone(c.answers[i])
	answers["OffsetFetchRequest"] = commits
	return answers
}

func describedGroup(id string, assignments map[string][]byte) *sarama.GroupDescription {
	d := &sarama.GroupDescription{GroupId: id, State: "Stable", ProtocolType: "consumer", Protocol: "range", Members: map[string]*sarama.GroupMemberDescription{}}
	for m, a := range assignments {
		d.Members[m] = &sarama.GroupMemberDescription{MemberId: m, MemberAssignment: a}
	}
	return d
}

// assignment is what a consumer of a classic group got, in the form that consumers have for it: version, topics with their partitions, no
// user data.
func assignment(topic string, partitions ...int32) []byte {
	b := []byte{0, 0, 0, 0, 0, 1}
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(partitions)))
	for _, p := range partitions {
		b = binary.BigEndian.AppendUint32(b, uint32(p))
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}

func (c *cluster) addrs() []string {
	var all []string
	for _, b := range c.brokers {
		all = append(all, b.Addr())
	}
	return all
}

// requests counts what the brokers got, by request type, since the counts in before.
func (c *cluster) requests(before map[string]int) map[string]int {
	counts := map[string]int{}
	for _, b := range c.brokers {
		for _, h := range b.History() {
			counts[strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", h.Request), "*sarama."), "Request")]++
		}
	}
	for k, n := range before {
		if counts[k] -= n; counts[k] == 0 {
			delete(counts, k)
		}
	}
	return counts
}

// MustFilter compiles a filter.
func MustFilter(t *testing.T, include, exclude string) collector.Filter {
	t.Helper()
	f, err := collector.NewFilter(include, exclude)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// exporter under test: it always collects when asked, and its end is awaited by the test's cleanup.
type exporter struct {
	*collector.Exporter
	t       testing.TB
	reg     *prometheus.Registry
	timeout time.Duration
	stop    func()
}

func newExporter(t testing.TB, brokers []string, change func(*collector.Config)) *exporter {
	t.Helper()
	client := kafka.Client{Brokers: brokers, ID: "test"}
	settings, err := client.Config()
	if err != nil {
		t.Fatal(err)
	}
	// The fake brokers know the offsets of now only.
	conf := collector.Config{Kafka: settings, Brokers: brokers, MinInterval: -1, Questions: -1, TopicConfigs: []string{"min.insync.replicas", "cleanup.policy"}}
	if change != nil {
		change(&conf)
	}
	e, err := collector.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(e)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	x := &exporter{Exporter: e, t: t, reg: reg, timeout: cmp.Or(conf.Timeout, 10*time.Second)}
	x.stop = func() {
		cancel()
		select {
		case err := <-ended:
			ended <- err
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the exporter did not end within a minute")
		}
	}
	// Run would look for the cluster by itself and disturb the counts: it starts when it is time to stop.
	x.t.Cleanup(func() {
		cancel()
		go func() { ended <- e.Run(ctx) }()
		x.stop()
	})
	return x
}

// collect makes one collection within the given time and returns all samples.
func (e *exporter) collect(within time.Duration) samples {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), within)
	defer cancel()
	e.Refresh(ctx)
	return e.samples()
}

func (e *exporter) samples() samples { return samples(text(e.t, e.gather())) }

// gather is all that a scrape shows now, checked by a pedantic registry against what Shows says.
func (e *exporter) gather() []*dto.MetricFamily {
	e.t.Helper()
	page, err := exposition.New(e.Shows())
	if err != nil {
		e.t.Fatal(err)
	}
	page.Begin(expfmt.FmtText)
	e.Show(page)
	var text bytes.Buffer
	if _, err := page.WriteTo(&text); err != nil {
		e.t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	shown, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		e.t.Fatalf("parse page: %v", err)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(e, checked{e, shown})
	families, err := reg.Gather()
	if err != nil {
		e.t.Fatalf("gather: %v", err)
	}
	return families
}

// checked gives parsed samples to a registry, as metrics of the families that the exporter says it shows.
type checked struct {
	by    *exporter
	shown map[string]*dto.MetricFamily
}

func (c checked) Describe(chan<- *prometheus.Desc) {}

func (c checked) Collect(out chan<- prometheus.Metric) {
	said := map[string]exposition.Family{}
	for _, f := range c.by.Shows() {
		said[f.Name] = f
	}
	for name, shown := range c.shown {
		f, ok := said[name]
		if !ok || strings.ToUpper(f.Kind) != shown.GetType().String() || f.Help != shown.GetHelp() {
			out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(errors.New(name)), fmt.Errorf("family %s is not as Shows says: %s", name, shown))
			continue
		}
		desc := prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
		for _, m := range shown.Metric {
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			values := make([]string, len(f.Labels))
			for i, l := range f.Labels {
				values[i] = labels[l]
				delete(labels, l)
			}
			if len(labels) > 0 {
				out <- prometheus.NewInvalidMetric(desc, fmt.Errorf("labels that Shows does not say: %v", labels))
				continue
			}
			kind, v := prometheus.GaugeValue, m.GetGauge().GetValue()
			if m.Counter != nil {
				kind, v = prometheus.CounterValue, m.GetCounter().GetValue()
			}
			out <- prometheus.MustNewConstMetric(desc, kind, v, values...)
		}
	}
}

func text(t testing.TB, families []*dto.MetricFamily) string {
	t.Helper()
	var out bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(io.Writer(&out), f); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// samples is a scrape in the text format.
type samples string

// of returns the samples of one family, sorted, without comments.
func (s samples) of(family string) []string {
	var found []string
	for line := range strings.Lines(string(s)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, family+"{") || strings.HasPrefix(line, family+" ") {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return found
}

// value returns the value of the one sample that begins with series; found is false when there is none.
func (s samples) value(series string) (v string, found bool) {
	for line := range strings.Lines(string(s)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return rest, true
		}
	}
	return "", false
}

// want checks samples: series to value, "" for absent.
func (s samples) want(t testing.TB, want map[string]string) {
	t.Helper()
	for _, series := range slices.Sorted(maps.Keys(want)) {
		got, found := s.value(series)
		switch {
		case want[series] == "" && found:
			t.Errorf("%s: want no sample, got %s", series, got)
		case want[series] != "" && !found:
			t.Errorf("%s: want %s, got no sample", series, want[series])
		case got != want[series]:
			t.Errorf("%s: want %s, got %s", series, want[series], got)
		}
	}
}
