package workload

import (
	"fmt"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/payload"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

// busyClient is the rate in records/s beyond which one producing client, which sends from one goroutine, may itself be what limits the run.
// Two cores shared with the broker saw 288,000/s of 1 KB (bench/LOADGEN.md); half of that is for slower machines.
const busyClient = 150_000

// fewValues is how many values per client show the shape of a distribution of sizes; with fewer its tail is one value.
const fewValues = 50

// Warnings says which settings spoil the measurement although they are allowed: a sentence for each, with the field, its value, what it
// does and what to do. The workload must be sound. A rate that the caller gives must be in Schedule for the warnings to consider it. Each of
// several copies sends its part of it with clients of its own.
func (w Workload) Warnings(copies int) []string {
	var out warnings
	peak := w.peak() / float64(copies)
	w.warnProducer(&out, peak)
	w.warnConsumer(&out)
	w.warnTransactions(&out, peak)
	w.warnSchedule(&out, copies)
	w.warnRecords(&out)
	return out
}

type warnings []string

func (o *warnings) add(format string, args ...any) { *o = append(*o, fmt.Sprintf(format, args...)) }

func (o *warnings) when(spoilt bool, format string, args ...any) {
	if spoilt {
		o.add(format, args...)
	}
}

func (w Workload) warnProducer(o *warnings, peak float64) {
	p, p99 := w.Producer, w.SLO.P99
	o.when(p.Linger > p99/2,
		"producer.linger %v is more than half of slo.p99 %v, and records that wait for their batch are late by that much: "+
			"lower it or raise slo.p99.",
		p.Linger, p99)
	o.when(p.Acks == "none",
		"producer.acks none has no acknowledgement to wait for: response time ends when the record is written to the "+
			"socket and says nothing about Kafka, and a record that Kafka refuses is counted as acknowledged. Go by "+
			"end-to-end latency, or take leader or all.")
	o.when(p.GiveUp <= p99,
		"producer.give_up %v is not above slo.p99 %v: a record fails before it can be late, so the latency looks better "+
			"than it is. Raise it.",
		p.GiveUp, p99)
	o.when(p.Transactions.Records > 0 && p.Clients == 1,
		"producer.transactions with producer.clients 1 have one request under way to each broker, so a round trip to the "+
			"broker limits the rate: add clients.")
	o.when(p.Clients == 1 && peak > busyClient,
		"producer.clients 1 at %s: one client may be slower than Kafka is, and then the run measures the generator. Take "+
			"a client for each processor.",
		perSecond(peak))
	o.when(p.Clients > w.Topic.Partitions,
		"producer.clients %d share topic.partitions %d: clients that write to the same partition wait for each other in "+
			"the broker. Take at least as many partitions as clients.",
		p.Clients, w.Topic.Partitions)
	if need, room := peak*p99.Seconds(), w.Slots()*p.Clients; need > float64(room) {
		if room < p.InFlight/p.Clients*p.Clients {
			o.add("payload.bytes %d leaves room for %d records under way (their values take %d MiB together at most), below the %.0f at %s "+
				"when latency is at slo.p99 %v: records will wait in the generator before Kafka is at its limit. Take several copies.",
				w.Payload.MeanBytes(), room, arenaBytes>>20, need, perSecond(peak), p99)
		} else {
			o.add("producer.in_flight %d is below the %.0f records that are under way at %s when latency is at slo.p99 %v: records "+
				"will wait in the generator before Kafka is at its limit. Raise it.",
				p.InFlight, need, perSecond(peak), p99)
		}
	}
}

func (w Workload) warnConsumer(o *warnings) {
	c, p99 := w.Consumer, w.SLO.P99
	if c.Clients == 0 {
		o.add("consumer.clients 0 reads nothing back: there is no end-to-end latency, so slo.p99 is held against the response time, and " +
			"loss is not noticed. Take at least 1 unless only producing is of interest.")
		return
	}
	o.when(c.FetchMin > 1 && c.MaxWait > p99/2,
		"consumer.fetch_min %d lets the broker hold a fetch back for up to consumer.max_wait %v, which is more than half "+
			"of slo.p99 %v and counts as latency: lower max_wait, or set fetch_min to 1.",
		c.FetchMin, c.MaxWait, p99)
	if largest := w.Payload.MaxBytes() + w.Keys.Length(); c.FetchMax < largest {
		o.add("consumer.fetch_max %d is smaller than the largest record, %d bytes: such a record is fetched again with more "+
			"room, and that counts as latency. Raise it.",
			c.FetchMax, largest)
	}
}

func (w Workload) warnTransactions(o *warnings, peak float64) {
	t := w.Producer.Transactions
	if t.Records == 0 {
		o.when(w.Consumer.Clients > 0 && w.Consumer.Isolation == "read_committed",
			"consumer.isolation read_committed has no effect without producer.transactions.")
		return
	}
	o.when(w.Consumer.Clients > 0 && t.AbortRate > 0 && w.Consumer.Isolation != "read_committed",
		"consumer.isolation %s delivers the records of aborted transactions too, and their latency is counted: take "+
			"read_committed.",
		w.Consumer.Isolation)
	o.when(t.AbortRate == 1,
		"producer.transactions.abort_rate 1 aborts everything: no record is ever committed, so no acknowledged or "+
			"end-to-end latency of a committed record is measured. Lower it.")
	if peak > 0 {
		// Drive ends a transaction that does not fill up within a second, which is late enough.
		fill := min(time.Second, time.Duration(float64(t.Records)*float64(w.Producer.Clients)/peak*1e9).Round(time.Millisecond))
		o.when(fill > w.SLO.P99/2,
			"producer.transactions.records %d take %v to come together at %s over producer.clients %d, which is more than half "+
				"of slo.p99 %v, and nothing is committed until then: take fewer records or clients.",
			t.Records, fill, perSecond(peak), w.Producer.Clients, w.SLO.P99)
	}
}

func (w Workload) warnSchedule(o *warnings, copies int) {
	s := w.Schedule
	o.when(w.Warmup == 0,
		"warmup 0s counts the first records, which find cold connections, caches and a JVM that has compiled nothing: "+
			"take 10s or more.")
	o.when(s.Shape == schedule.Closed,
		"schedule.shape closed sends the next record when one has been answered, so a broker that is slow is asked for "+
			"less and its latency looks better than a user would find it: take an open shape, such as constant, to judge "+
			"latency.")
	o.when(s.Shape == schedule.Ramp && s.Over <= w.Warmup,
		"schedule.over %v ends within warmup %v: the ramp itself is not measured. Lengthen it or shorten the warm-up.",
		s.Over, w.Warmup)
	room := w.Slots() * w.Producer.Clients * copies
	o.when(s.Shape == schedule.Burst && s.Size > room,
		"schedule.size %d is above the %d records that may be under way by producer.in_flight %d and %d MiB of values: the rest of each burst "+
			"waits in the generator. Raise in_flight, or take smaller records or more copies.",
		s.Size, room, w.Producer.InFlight, arenaBytes>>20)
}

func (w Workload) warnRecords(o *warnings) {
	c := w.Payload
	broker := w.Topic.Config["compression.type"]
	if broker == "producer" || broker == "uncompressed" {
		broker = ""
	}
	o.when(w.Producer.Codec != "none" && c.Compressible < 0.05,
		"producer.codec %s has nothing to compress with payload.compressibility %v: processor time goes into it and no "+
			"byte is saved. Take codec none, or the compressibility of your data.",
		w.Producer.Codec, c.Compressible)
	o.when(broker != "" && c.Compressible < 0.05,
		"topic.config.compression.type %s has nothing to compress with payload.compressibility %v: the broker's time goes "+
			"into it and no byte is saved. Take the compressibility of your data.",
		broker, c.Compressible)
	o.when((broker != "" || w.Producer.Codec != "none") && c.Compressible > 0.95,
		"payload.compressibility %v leaves next to nothing after compression: disk and network have no work. Take the "+
			"compressibility of your data.",
		c.Compressible)
	if mean := float64(c.MeanBytes()); c.Distribution == payload.Lognormal && (mean > 1.05*float64(c.Bytes) || mean < 0.95*float64(c.Bytes)) {
		o.add("payload.bytes %d is the mean before the cut at payload.min %d and payload.max %d; with it the mean is %.0f. "+
			"Widen the range or lower payload.sigma.",
			c.Bytes, c.Min, c.Max, mean)
	}
	each := w.Slots()
	o.when(c.Distribution != payload.Fixed && each < fewValues,
		"producer.in_flight %d (and %d MiB of values) gives each of producer.clients %d only %d sizes to take turns with, too few for "+
			"payload.distribution %s: take %d or more for each client.",
		w.Producer.InFlight, arenaBytes>>20, w.Producer.Clients, each, c.Distribution, fewValues)
	o.when(w.Topic.Config["retention.ms"] == "" && w.Topic.Config["retention.bytes"] == "",
		"topic.config has neither retention.ms nor retention.bytes, so the broker keeps what it is sent for days and a "+
			"long run fills its disk: set one, and segment.bytes well below it.")
}

// peak is the highest rate of the schedule in records/s; 0 when it is not known. A burst is not a rate.
func (w Workload) peak() float64 {
	switch s := w.Schedule; s.Shape {
	case schedule.Ramp:
		return max(s.Rate, s.To)
	case schedule.Steps:
		var peak float64
		for _, stage := range s.Stages {
			peak = max(peak, stage.Rate)
		}
		return peak
	case schedule.Sine:
		return s.Rate + s.Amplitude
	default:
		return s.Rate
	}
}

func perSecond(rate float64) string { return fmt.Sprintf("%.0f records/s", rate) }
