package collector_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// stamped is a topic of one partition whose records are known with the time at which each was written.
type stamped struct {
	name    string
	mu      sync.Mutex
	written []time.Time // by offset
	spent   time.Duration
	appends int // in which that was spent
}

// append writes records that are stamped with the present.
func (s *stamped) append(t *testing.T, p sarama.SyncProducer, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	messages := make([]*sarama.ProducerMessage, n)
	for i := range messages {
		messages[i] = &sarama.ProducerMessage{Topic: s.name, Value: sarama.StringEncoder("x"), Timestamp: now}
	}
	if err := p.SendMessages(messages); err != nil {
		t.Error(err) // not on the test's goroutine
		return
	}
	s.spent += time.Since(now)
	s.appends++
	for range n {
		s.written = append(s.written, now)
	}
}

// younger is the first offset whose record is not older than that.
func (s *stamped) younger(age time.Duration) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := time.Now().Add(-age)
	i, _ := slices.BinarySearchFunc(s.written, from, time.Time.Compare)
	return int64(i)
}

// behind is how old the record at the offset is at a moment: 0 if it was written later or not at all.
func (s *stamped) behind(at time.Time, offset int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset >= int64(len(s.written)) {
		return 0
	}
	return max(0, at.Sub(s.written[offset]))
}

// reader is a group that reads one topic by a rule: the offset to commit, given how long the test has been running.
type reader struct {
	group  string
	topic  *stamped
	next   func(running time.Duration) int64
	offset int64
}

// ages compares what one exporter shows with the truth.
type ages struct {
	name string
	*exporter
	before []time.Time // when the collections began
	gaps   []gap
	known  map[string]int
	off    map[string]*offness
}

// gap lies between two observations that were further apart than an age may be unsure.
type gap struct{ from, to time.Time }

// offness is by how much what is shown of a group differs from the truth, in intervals.
type offness struct {
	sum float64
	n   int // of ages
}

// sampleEvery is an interval between scrapes, short so that the test is; the promise is in intervals.
const sampleEvery = 500 * time.Millisecond

func (a *ages) sample(t *testing.T, readers []*reader) {
	t.Helper()
	began := time.Now()
	got := a.collect(20 * time.Second)
	ended := time.Now()
	a.before = append(a.before, began)
	if n := len(a.before); n > 1 && ended.Sub(a.before[n-2]) > 2*sampleEvery {
		a.gaps = append(a.gaps, gap{a.before[n-2], ended})
	}
	longest := sampleEvery // a machine that is busy samples more seldom
	for i := max(1, len(a.before)-3); i < len(a.before); i++ {
		longest = max(longest, a.before[i].Sub(a.before[i-1]))
	}
	for _, r := range readers {
		v, found := got.value(fmt.Sprintf(`kafka_consumer_group_lag_seconds{group=%q,partition="0",topic=%q}`, r.group, r.topic.name))
		if !found {
			// What was written in a gap is known again once Kafka has been asked.
			written := ended.Add(-r.topic.behind(ended, r.offset))
			inGap := slices.ContainsFunc(a.gaps, func(g gap) bool {
				return written.After(g.from.Add(-2*sampleEvery)) && written.Before(g.to.Add(2*sampleEvery))
			})
			if a.known[r.group] > 0 && !inGap {
				t.Errorf("%s, collection %d, group %s: want its age, which was known before, got none", a.name, len(a.before), r.group)
			}
			continue
		}
		if a.known[r.group] == 0 {
			a.known[r.group] = len(a.before)
		}
		seconds, err := strconv.ParseFloat(v, 64)
		if err != nil {
			t.Fatal(err)
		}
		if a.off[r.group] == nil {
			a.off[r.group] = &offness{}
		}
		least, most := r.topic.behind(began, r.offset).Seconds(), r.topic.behind(ended, r.offset).Seconds()
		a.off[r.group].sum += (seconds - (least+most)/2) / longest.Seconds()
		a.off[r.group].n++
		if off := max(2*longest.Seconds(), 0.05*most); seconds < least-off || seconds > most+off {
			t.Errorf("%s, collection %d, group %s: got %.2f s behind, want %.2f to %.2f s, give or take %.2f s", a.name, len(a.before), r.group, seconds, least, most, off)
		}
	}
}

func TestLagInSecondsAgainstStampedRecords(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	c := newClient(t, broker.Addr)
	topics := map[string]*stamped{}
	for _, name := range []string{"steady", "bursts", "idle"} {
		c.topic(name, 1)
		topics[name] = &stamped{name: name}
	}
	p, err := sarama.NewSyncProducerFromClient(c.kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	const length, half = 24 * time.Second, 12 * time.Second
	began := time.Now()
	ended := make(chan struct{})
	var producers sync.WaitGroup
	every := func(pause time.Duration, write func(running time.Duration)) {
		producers.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				select {
				case <-ended:
					return
				case <-tick.C:
					write(time.Since(began))
				}
			}
		})
	}
	every(20*time.Millisecond, func(time.Duration) { topics["steady"].append(t, p, 2) })
	every(3*time.Second, func(time.Duration) { topics["bursts"].append(t, p, 200) })
	every(100*time.Millisecond, func(running time.Duration) {
		if running < 6*time.Second {
			topics["idle"].append(t, p, 5)
		}
	})
	stopsAt := func(topic string, when, behind time.Duration) func(time.Duration) int64 {
		var last int64
		return func(running time.Duration) int64 {
			if running < when {
				last = topics[topic].younger(behind)
			}
			return last
		}
	}
	follows := func(topic string, behind time.Duration) func(time.Duration) int64 {
		return stopsAt(topic, length, behind)
	}
	readers := []*reader{
		{group: "steady", topic: topics["steady"], next: follows("steady", 2500*time.Millisecond)},
		{group: "at-the-end", topic: topics["steady"], next: follows("steady", 0)},
		{group: "stopped", topic: topics["steady"], next: stopsAt("steady", 5*time.Second, time.Second)},
		{group: "never-began", topic: topics["steady"], next: func(time.Duration) int64 { return 1 }},
		{group: "bursts", topic: topics["bursts"], next: follows("bursts", 4*time.Second)},
		{group: "stopped-in-a-burst", topic: topics["bursts"], next: func(time.Duration) int64 { return min(250, topics["bursts"].younger(0)) }},
		{group: "idle", topic: topics["idle"], next: stopsAt("idle", 5*time.Second, time.Second)},
		{group: "idle-at-the-end", topic: topics["idle"], next: follows("idle", 0)},
	}
	first := &ages{name: "from the start", exporter: newExporter(t, []string{broker.Addr}, asking), known: map[string]int{}, off: map[string]*offness{}}
	var again *ages
	enough := func() bool { return again != nil && len(again.before) >= 20 } // a busy machine samples more seldom
	for tick := time.NewTicker(sampleEvery); time.Since(began) < length || !enough(); <-tick.C {
		for _, r := range readers {
			r.offset = r.next(time.Since(began))
			c.commit(r.group, r.topic.name, 0, r.offset)
		}
		first.sample(t, readers)
		if again == nil && time.Since(began) > half {
			again = &ages{name: "started anew", exporter: newExporter(t, []string{broker.Addr}, asking), known: map[string]int{}, off: map[string]*offness{}}
		}
		if again != nil {
			again.sample(t, readers)
		}
	}
	close(ended)
	producers.Wait()
	steady := topics["steady"]
	for _, a := range []*ages{first, again} {
		for _, r := range readers {
			if a.known[r.group] == 0 {
				t.Errorf("%s: the age of %s was never known", a.name, r.group)
			}
		}
		// A single age may be off by two intervals. Where records come evenly, one that errs does so to either side. A record is stamped before it is sent,
		// and seen when it has been written: by so much all ages are less than the stamps say.
		late := steady.spent.Seconds() / float64(steady.appends) / sampleEvery.Seconds()
		if o := a.off["steady"]; o == nil || o.sum/float64(o.n) > 0.5 || o.sum/float64(o.n) < -0.5-late {
			t.Errorf("%s: want the ages of steady within half an interval on average (and %.2f that writing takes), got %+v", a.name, late, o)
		}
		t.Logf("%s: %d collections; known from collection %v", a.name, len(a.before), a.known)
	}
}

func asking(conf *collector.Config) { conf.Questions = 500 }
