package collector_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

var (
	seed  = flag.Uint64("seed", 0, "seed of the random test against the oracle; 0: another one each time")
	steps = flag.Int("steps", 150, "steps of that test")
)

// oracle knows what the cluster holds from what was done to it, and from nothing that the cluster says.
type oracle struct {
	logs    map[tp]*log
	commits map[string]map[tp]int64 // by group
}

type tp struct {
	topic     string
	partition int32
}

// log is a partition: its records are those from start to end, which is the high water mark. Markers of transactions take offsets too.
type log struct{ start, end int64 }

// series is what has to be shown, and no other of these families.
func (o *oracle) series() map[string]string {
	want := map[string]string{}
	for at, l := range o.logs {
		labels := fmt.Sprintf(`{partition="%d",topic=%q}`, at.partition, at.topic)
		want["kafka_topic_partition_start_offset"+labels] = fmt.Sprint(l.start)
		want["kafka_topic_partition_end_offset"+labels] = fmt.Sprint(l.end)
	}
	for group, commits := range o.commits {
		type sum struct{ lag, unknown int64 }
		sums := map[string]*sum{}
		for at, offset := range commits {
			if sums[at.topic] == nil {
				sums[at.topic] = &sum{}
			}
			labels := fmt.Sprintf(`{group=%q,partition="%d",topic=%q}`, group, at.partition, at.topic)
			want["kafka_consumer_group_committed_offset"+labels] = fmt.Sprint(offset)
			l := o.logs[at]
			if offset > l.end { // of another log
				sums[at.topic].unknown++
				continue
			}
			sums[at.topic].lag += l.end - offset
			want["kafka_consumer_group_lag"+labels] = fmt.Sprint(l.end - offset)
			want["kafka_consumer_group_lost_records"+labels] = fmt.Sprint(max(0, l.start-offset))
		}
		for topic, sum := range sums {
			labels := fmt.Sprintf(`{group=%q,topic=%q}`, group, topic)
			want["kafka_consumer_group_topic_unknown_lag_partitions"+labels] = fmt.Sprint(sum.unknown)
			if sum.unknown == 0 {
				want["kafka_consumer_group_topic_lag"+labels] = fmt.Sprint(sum.lag)
			}
		}
	}
	return want
}

// shownBy picks the families that the oracle knows.
func shownBy(got samples) map[string]string {
	shown := map[string]string{}
	for _, family := range []string{
		"kafka_topic_partition_start_offset", "kafka_topic_partition_end_offset", "kafka_consumer_group_committed_offset", "kafka_consumer_group_lag",
		"kafka_consumer_group_lost_records", "kafka_consumer_group_topic_unknown_lag_partitions", "kafka_consumer_group_topic_lag",
	} {
		for _, line := range got.of(family) {
			if !strings.Contains(line, `topic="__`) {
				i := strings.LastIndexByte(line, ' ')
				shown[line[:i]] = line[i+1:]
			}
		}
	}
	return shown
}

// world does things to a real cluster and tells the oracle.
type world struct {
	*client
	*rand.Rand
	oracle
	open map[string]sarama.AsyncProducer // transactions under way, by topic: one in each at most, so that markers can be counted
	in   map[string]tp                   // the partition that they wrote to

	reader *reading // the transaction of one that reads; nil while there is none
}

var worldTopics = []string{"a", "b", "c"}

const worldPartitions = 2

func TestAgainstAnOracle(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with -seed=%d -steps=%d", s, *steps)
	broker := kafkatest.Start(t, kafkatest.Env(map[string]string{
		"KAFKA_LOG_RETENTION_CHECK_INTERVAL_MS": "100", "KAFKA_LOG_INITIAL_TASK_DELAY_MS": "100", "KAFKA_LOG_SEGMENT_DELETE_DELAY_MS": "100",
	}))
	w := &world{
		client: newClient(t, broker.Addr), Rand: rand.New(rand.NewPCG(s, 0)),
		oracle: oracle{logs: map[tp]*log{}, commits: map[string]map[tp]int64{}},
		open:   map[string]sarama.AsyncProducer{}, in: map[string]tp{},
	}
	t.Cleanup(func() {
		for _, p := range w.open {
			_ = p.Close() // with its transaction open
		}
	})
	for _, topic := range worldTopics {
		w.create(topic)
	}
	e := newExporter(t, []string{broker.Addr}, nil)
	var did []string
	for range *steps {
		did = append(did, w.step())
		// What Kafka does by itself in answer to a step (it forgets the commits of a topic that was deleted) takes a moment.
		var diff string
		waitFor(t, 30*time.Second, "the exporter to show what is there, after "+strings.Join(did[max(0, len(did)-5):], "; "), func() bool {
			before := diff
			diff = cmp.Diff(w.series(), shownBy(e.collect(10*time.Second)))
			if diff != "" && diff != before {
				t.Logf("after %d steps, %s: (-oracle +exporter)\n%s", len(did), did[len(did)-1], diff)
			}
			return diff == ""
		})
	}
	kinds := map[string]int{}
	for _, d := range did {
		kinds[strings.Fields(d)[0]]++
	}
	t.Logf("steps of each kind: %v", kinds)

	// And Kafka's own tool agrees, wherever it can say: it shows a lag below 0 where a commit lies beyond the end.
	shown, said := shownLag(e.collect(10*time.Second)), toolLag(t, broker)
	for at, row := range said {
		if before, _, beyond := strings.Cut(row, ", lag -"); beyond {
			said[at] = before + ", lag -"
		}
	}
	if diff := cmp.Diff(said, shown); diff != "" {
		t.Errorf("at the end (-kafka-consumer-groups +exporter):\n%s", diff)
	}
}

// step does one thing, chosen at random, and says what.
func (w *world) step() string {
	type kind struct {
		weight int
		do     func() string
	}
	kinds := []kind{
		{24, w.append}, {24, w.commitSomewhere}, {10, w.reset}, {8, w.begin}, {10, w.finish}, {8, w.beginReading}, {8, w.finishReading}, {6, w.deleteRecords}, {4, w.retention}, {5, w.deleteTopic}, {4, w.deleteGroup},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for {
		n := w.IntN(total)
		for _, k := range kinds {
			if n -= k.weight; n < 0 {
				if did := k.do(); did != "" {
					return did
				}
				break // it was not possible just now
			}
		}
	}
}

// anywhere is a partition.
func (w *world) anywhere() (tp, *log) {
	all := slices.SortedFunc(maps.Keys(w.logs), func(a, b tp) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	at := all[w.IntN(len(all))]
	return at, w.logs[at]
}

func (w *world) create(topic string) {
	w.t.Helper()
	w.topic(topic, worldPartitions)
	for id := range int32(worldPartitions) {
		w.logs[tp{topic, id}] = &log{}
	}
}

func (w *world) append() string {
	at, l := w.anywhere()
	n := 1 + w.IntN(20)
	w.produce(at.topic, at.partition, n)
	l.end += int64(n)
	return fmt.Sprintf("append %d to %v", n, at)
}

func (w *world) setCommit(group string, at tp, offset int64) {
	w.commit(group, at.topic, at.partition, offset)
	if w.commits[group] == nil {
		w.commits[group] = map[tp]int64{}
	}
	w.commits[group][at] = offset
}

func (w *world) commitSomewhere() string {
	at, l := w.anywhere()
	group := fmt.Sprintf("g%d", w.IntN(4))
	offset := l.start + w.Int64N(l.end-l.start+1)
	w.setCommit(group, at, offset)
	return fmt.Sprintf("commit %s %v at %d", group, at, offset)
}

// reset sets a group's offset to the beginning of all times, to the oldest record, to the end or beyond it.
func (w *world) reset() string {
	at, l := w.anywhere()
	group := fmt.Sprintf("g%d", w.IntN(4))
	offset := []int64{0, l.start, l.end, l.end + 1 + w.Int64N(10)}[w.IntN(4)]
	w.setCommit(group, at, offset)
	return fmt.Sprintf("reset %s %v to %d", group, at, offset)
}

func (w *world) deleteRecords() string {
	at, l := w.anywhere()
	if w.open[at.topic] != nil {
		return "" // only what is below the last stable offset can be deleted
	}
	to := l.start + w.Int64N(l.end-l.start+1)
	if err := w.admin.DeleteRecords(at.topic, map[int32]int64{at.partition: to}); err != nil {
		w.t.Fatalf("delete records of %v before %d: %v", at, to, err)
	}
	l.start = to
	return fmt.Sprintf("delete-records of %v before %d", at, to)
}

// retention lets Kafka itself delete everything that a topic holds.
func (w *world) retention() string {
	at, _ := w.anywhere()
	if w.open[at.topic] != nil {
		return ""
	}
	set := func(value string) {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}
		if err := w.admin.IncrementalAlterConfig(sarama.TopicResource, at.topic, entries, false); err != nil {
			w.t.Fatal(err)
		}
	}
	set("1")
	for id := range int32(worldPartitions) {
		l := w.logs[tp{at.topic, id}]
		waitFor(w.t, 30*time.Second, fmt.Sprintf("retention of %s/%d", at.topic, id), func() bool {
			start, err := w.kafka.GetOffset(at.topic, id, sarama.OffsetOldest)
			return err == nil && start == l.end
		})
		l.start = l.end
	}
	set("-1")
	waitFor(w.t, 30*time.Second, "retention of "+at.topic+" to be off", func() bool { // or what is appended next is deleted too
		got, err := w.admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: at.topic, ConfigNames: []string{"retention.ms"}}}, sarama.DescribeConfigsOptions{})
		return err == nil && len(got) == 1 && len(got[0].Configs) == 1 && got[0].Configs[0].Value == "-1"
	})
	return "retention of " + at.topic
}

// deleteTopic deletes a topic and makes another one of the same name, right away or never.
func (w *world) deleteTopic() string {
	topic := worldTopics[w.IntN(len(worldTopics))]
	if _, there := w.logs[tp{topic, 0}]; !there {
		w.create(topic)
		return "create-again " + topic
	}
	if w.open[topic] != nil || len(w.logs) == worldPartitions || w.reader != nil && w.reader.at.topic == topic {
		return ""
	}
	if err := w.admin.DeleteTopic(topic); err != nil {
		w.t.Fatalf("delete topic %s: %v", topic, err)
	}
	for id := range int32(worldPartitions) {
		at := tp{topic, id}
		delete(w.logs, at)
		for _, commits := range w.commits {
			delete(commits, at) // Kafka forgets what was committed for a topic that is gone
		}
	}
	if w.IntN(2) == 0 {
		return "delete-topic " + topic
	}
	waitFor(w.t, 30*time.Second, "the name "+topic+" to be free", func() bool {
		return w.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: worldPartitions, ReplicationFactor: 1}, true) == nil
	})
	w.create(topic)
	return "replace-topic " + topic
}

func (w *world) deleteGroup() string {
	group := fmt.Sprintf("g%d", w.IntN(4))
	if len(w.commits[group]) == 0 {
		return ""
	}
	if err := w.admin.DeleteConsumerGroup(group); err != nil {
		w.t.Fatalf("delete group %s: %v", group, err)
	}
	delete(w.commits, group)
	return "delete-group " + group
}

// begin opens a transaction and leaves it open. Its records are below the high water mark, so they are lag; a consumer that reads only what
// was committed is not given them.
func (w *world) begin() string {
	at, l := w.anywhere()
	if w.open[at.topic] != nil {
		return ""
	}
	addrs := []string{w.kafka.Brokers()[0].Addr()}
	conf, err := kafka.Client{Brokers: addrs, ID: "test"}.Config()
	if err != nil {
		w.t.Fatal(err)
	}
	conf.Producer.Idempotent, conf.Net.MaxOpenRequests, conf.Producer.RequiredAcks = true, 1, sarama.WaitForAll
	conf.Producer.Transaction.ID = "tx-" + at.topic
	conf.Producer.Transaction.Timeout = 5 * time.Minute
	conf.Producer.Partitioner, conf.Producer.Return.Successes = sarama.NewManualPartitioner, true
	p, err := sarama.NewAsyncProducer(addrs, conf)
	if err != nil {
		w.t.Fatalf("begin transaction: %v", err)
	}
	w.open[at.topic], w.in[at.topic] = p, at
	if err := p.BeginTxn(); err != nil {
		w.t.Fatalf("begin transaction: %v", err)
	}
	n := 1 + w.IntN(10)
	for range n {
		p.Input() <- &sarama.ProducerMessage{Topic: at.topic, Partition: at.partition, Value: sarama.StringEncoder("x")}
		select {
		case <-p.Successes():
		case problem := <-p.Errors():
			w.t.Fatalf("produce in a transaction: %v", problem)
		}
	}
	l.end += int64(n)
	return fmt.Sprintf("begin a transaction of %d in %v", n, at)
}

// finish commits or aborts a transaction: its marker takes an offset.
func (w *world) finish() string {
	topics := slices.Sorted(maps.Keys(w.open))
	if len(topics) == 0 {
		return ""
	}
	topic := topics[w.IntN(len(topics))]
	p, end, name := w.open[topic], w.open[topic].CommitTxn, "commit-transaction"
	if w.IntN(2) == 0 {
		end, name = p.AbortTxn, "abort-transaction"
	}
	if err := end(); err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	if err := p.Close(); err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.logs[w.in[topic]].end++
	delete(w.open, topic)
	return fmt.Sprintf("%s in %v", name, w.in[topic])
}
