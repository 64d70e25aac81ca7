package workload

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Validate reports every problem of the workload as `field: problem (got value)`.
func (w Workload) Validate() error {
	var errs []error
	for _, f := range w.problems() {
		errs = append(errs, errors.New(f.Field+": "+f.Text))
	}
	return errors.Join(errs...)
}

// problems collects every finding before any is returned.
type problems []strict.Finding

// need adds a problem unless ok. What else is wrong with a field that has one mostly follows from it and would distract.
func (p *problems) need(ok bool, field, problem string, got any) {
	if ok || slices.ContainsFunc(*p, func(f strict.Finding) bool { return f.Field == field }) {
		return
	}
	if s, text := got.(string); text {
		got = strconv.Quote(s)
	}
	*p = append(*p, strict.Finding{Field: field, Text: fmt.Sprintf("%s (got %v)", problem, got)})
}

func (p *problems) within(field string, got, low, high int) {
	p.need(got >= low && got <= high, field, fmt.Sprintf("must be within %d..%d", low, high), got)
}

func (p *problems) lasting(field string, got, low, high time.Duration) {
	p.need(got >= low && got <= high, field, fmt.Sprintf("must be within %v..%v", low, high), got)
}

func (p *problems) oneOf(field, got string, allowed ...string) {
	p.need(slices.Contains(allowed, got), field, "must be one of "+strings.Join(allowed, ", "), got)
}

// take adds what another package found, one `field: problem (got value)` a line, as part of ours.
func (p *problems) take(part string, err error) {
	if err == nil {
		return
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		field, text, _ := strings.Cut(line, ": ")
		*p = append(*p, strict.Finding{Field: part + "." + field, Text: text})
	}
}

func (w Workload) problems() []strict.Finding {
	var p problems
	p.need(nameForm.MatchString(w.Name), "name", "must be lower-case letters, digits and dashes, beginning with a letter, 63 at most", w.Name)
	w.topic(&p)
	if w.Schedule.Shape != "" {
		p.take("schedule", w.Schedule.Validate())
	}
	p.take("keys", w.Keys.Validate())
	p.take("payload", w.Payload.Validate(stamp.Size))
	w.producer(&p)
	w.consumer(&p)
	p.take("security", w.Security.Validate())
	s := w.SLO
	p.lasting("slo.p99", s.P99, time.Millisecond, 10*time.Minute)
	p.need(s.Min > 0 && s.Min <= 1e8, "slo.min", "must be above 0 and at most 1e+08 records/s", s.Min)
	p.need(s.Start >= s.Min, "slo.start", fmt.Sprintf("must be at least slo.min %v", s.Min), s.Start)
	p.need(s.Max >= s.Start && s.Max <= 1e8, "slo.max", fmt.Sprintf("must be within slo.start %v..1e+08", s.Start), s.Max)
	p.lasting("warmup", w.Warmup, 0, time.Hour)
	return p
}

// overhead is more than Kafka adds to the only record of a batch, key apart.
const overhead = 512

func (w Workload) topic(p *problems) {
	t := w.Topic
	p.within("topic.partitions", t.Partitions, 1, 10000)
	p.within("topic.replication", t.Replication, 1, 100)
	for _, key := range slices.Sorted(maps.Keys(t.Config)) {
		p.need(key != "" && key == strings.TrimSpace(key), "topic.config", "a config's name must not be empty or padded", key)
		p.need(t.Config[key] != "", "topic.config."+key, "must have a value", t.Config[key])
	}
	// What can never work is better said now than by the broker, record by record.
	if text, set := t.Config["max.message.bytes"]; set && w.Payload.Validate(stamp.Size) == nil {
		n, err := strconv.Atoi(text)
		least := w.Payload.MaxBytes() + w.Keys.Length() + overhead
		p.need(err == nil && n >= least, "topic.config.max.message.bytes", fmt.Sprintf("must be at least %d for the largest record", least), text)
	}
	if text, set := t.Config["min.insync.replicas"]; set {
		n, err := strconv.Atoi(text)
		p.need(err == nil && n >= 1 && n <= t.Replication, "topic.config.min.insync.replicas", fmt.Sprintf("must be within 1..%d, topic.replication", t.Replication), text)
	}
}

func (w Workload) producer(p *problems) {
	c, t := w.Producer, w.Producer.Transactions
	p.within("producer.clients", c.Clients, 1, 1024)
	p.oneOf("producer.acks", c.Acks, "none", "leader", "all")
	p.need(!c.Idempotent || c.Acks == "all", "producer.idempotent", "needs producer.acks all", c.Acks)
	p.oneOf("producer.codec", c.Codec, "none", "gzip", "snappy", "lz4", "zstd")
	p.lasting("producer.linger", c.Linger, 0, 10*time.Second)
	p.within("producer.batch", c.Batch, 0, 1_000_000)
	p.need(c.Batch == 0 || c.Linger > 0, "producer.batch", "needs producer.linger, or the last records would wait for ever", c.Batch)
	p.within("producer.sticky", c.Sticky, 1, 1_000_000)
	p.need(c.Sticky == 1 || w.Keys.Length() == 0, "producer.sticky", "must be 1 with keys: the key decides the partition", c.Sticky)
	p.within("producer.max_batch", c.MaxBatch, 0, 1_000_000)
	p.need(c.MaxBatch == 0 || c.MaxBatch >= c.Batch, "producer.max_batch", fmt.Sprintf("must be 0 or at least producer.batch %d", c.Batch), c.MaxBatch)
	p.within("producer.in_flight", c.InFlight, 1, 1_000_000)
	p.need(c.InFlight >= c.Clients, "producer.in_flight", fmt.Sprintf("must be at least one per client, %d", c.Clients), c.InFlight)
	p.need(w.Schedule.Shape != schedule.Closed || w.Schedule.InFlight <= c.InFlight, "schedule.in_flight",
		fmt.Sprintf("must not exceed producer.in_flight %d", c.InFlight), w.Schedule.InFlight)
	p.lasting("producer.give_up", c.GiveUp, time.Second, 10*time.Minute)
	p.within("producer.transactions.records", t.Records, 0, 1_000_000)
	p.need(t.Records == 0 || c.Acks == "all" && c.Idempotent, "producer.transactions.records", "needs producer.acks all and producer.idempotent true", t.Records)
	share := c.InFlight / max(c.Clients, 1)
	p.need(t.Records <= max(share, 0), "producer.transactions.records",
		fmt.Sprintf("must not exceed producer.in_flight per client, %d: a transaction's records are under way until it ends", share), t.Records)
	p.need(t.AbortRate >= 0 && t.AbortRate <= 1, "producer.transactions.abort_rate", "must be within 0..1", t.AbortRate)
	p.need(t.AbortRate == 0 || t.Records > 0, "producer.transactions.abort_rate", "needs producer.transactions.records above 0", t.AbortRate)
}

func (w Workload) consumer(p *problems) {
	c := w.Consumer
	p.within("consumer.groups", c.Groups, 1, 64)
	p.within("consumer.clients", c.Clients, 0, 64)
	p.need(c.Clients <= max(w.Topic.Partitions, 1), "consumer.clients", "must not exceed topic.partitions: the others would stay idle", c.Clients)
	p.need(c.Group != "" && len(c.Group) <= 200, "consumer.group", "must be a name of at most 200 letters", c.Group)
	p.oneOf("consumer.isolation", c.Isolation, "read_uncommitted", "read_committed")
	p.within("consumer.fetch_min", c.FetchMin, 1, 50<<20)
	p.within("consumer.fetch_max", c.FetchMax, 1024, 50<<20)
	p.lasting("consumer.max_wait", c.MaxWait, time.Millisecond, 10*time.Second)
}
