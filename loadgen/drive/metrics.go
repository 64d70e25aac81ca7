package drive

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/loadgen/hist"
)

// Totals is everything that has been counted in one phase, or in all.
type Totals struct {
	Offered, Sent, Acked, Failed, Aborted, Retried, Consumed uint64
	AckedBytes, ConsumedBytes                                uint64
	Response, Service, Lag, EndToEnd                         hist.Snapshot
}

// totals counts one phase. Sent, acknowledged and consumed are the counts of their histograms, so that they can never differ.
func (e *Engine) totals(p phase) *Totals {
	t := &Totals{}
	now := e.clock.Now()
	for _, w := range e.workers {
		// What comes later in a record's life is read first: no record is then acknowledged before it was offered.
		t.Response.Add(&w.response[p])
		t.Service.Add(&w.service[p])
		t.AckedBytes += w.ackedBytes[p].Load()
		t.Retried += w.retried[p].Load()
		t.Failed += w.failed[p].Load()
		t.Aborted += w.aborted[p].Load()
		t.Lag.Add(&w.lag[p])
		t.Offered += w.offered(now)[p]
	}
	for _, a := range e.arrived {
		t.EndToEnd.Add(&a.own[p])
		t.EndToEnd.Add(&a.others[p])
		t.ConsumedBytes += a.bytes[p].Load()
	}
	t.Sent, t.Acked, t.Consumed = t.Lag.Count(), t.Response.Count(), t.EndToEnd.Count()
	return t
}

// Totals counts everything since the start.
func (e *Engine) Totals() *Totals {
	sum := &Totals{}
	for p := range phases {
		t := e.totals(p)
		sum.Offered += t.Offered
		sum.Sent += t.Sent
		sum.Acked += t.Acked
		sum.Failed += t.Failed
		sum.Aborted += t.Aborted
		sum.Retried += t.Retried
		sum.Consumed += t.Consumed
		sum.AckedBytes += t.AckedBytes
		sum.ConsumedBytes += t.ConsumedBytes
		sum.Response.Merge(&t.Response)
		sum.Service.Merge(&t.Service)
		sum.Lag.Merge(&t.Lag)
		sum.EndToEnd.Merge(&t.EndToEnd)
	}
	return sum
}

// Collector exposes an engine. SLO is exported when it is above zero.
type Collector struct {
	Engine *Engine
	SLO    time.Duration

	histograms []family[*hist.Snapshot]
	counters   []family[uint64]
	faults     []fault
	target     *prometheus.Desc
	slo        *prometheus.Desc
	limited    *prometheus.Desc
	inflight   *prometheus.Desc
	errors     *prometheus.Desc
	start      *prometheus.Desc
}

type family[T any] struct {
	desc *prometheus.Desc
	of   func(*Totals) T
}

type fault struct {
	desc *prometheus.Desc
	of   func(*Engine) uint64
}

// NewCollector describes the engine's metrics.
func NewCollector(e *Engine, slo time.Duration) *Collector {
	workload := prometheus.Labels{"workload": e.c.Workload.Name}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("loadgen_"+name, help, labels, workload)
	}
	c := &Collector{Engine: e, SLO: slo,
		target:   desc("target_rate", "Rate that the schedule asks of this process now, in records per second; 0 in a closed loop, which asks for none."),
		slo:      desc("slo_seconds", "99th percentile of end-to-end latency that is to be met."),
		limited:  desc("generator_limited", "1 when the generator itself could not keep its schedule in the last second, 0 otherwise."),
		inflight: desc("inflight_records", "Records sent and neither acknowledged nor given up."),
		errors:   desc("errors_total", "Records failed, by what Kafka, the client or the generator says of them.", "error"),
		start:    desc("start_timestamp_seconds", "When the schedule began or is going to begin, in seconds since 1970. Absent until that is known."),
	}
	histogram := func(name, help string, of func(*Totals) *hist.Snapshot) {
		c.histograms = append(c.histograms, family[*hist.Snapshot]{desc(name, help, "phase"), of})
	}
	counter := func(name, help string, of func(*Totals) uint64) {
		c.counters = append(c.counters, family[uint64]{desc(name, help, "phase"), of})
	}
	found := func(name, help string, of func(*Engine) uint64) {
		c.faults = append(c.faults, fault{desc(name, help), of})
	}
	histogram("response_seconds", "From the intended send time to the acknowledgement.", func(t *Totals) *hist.Snapshot { return &t.Response })
	histogram("service_seconds", "From the actual send time to the acknowledgement.", func(t *Totals) *hist.Snapshot { return &t.Service })
	histogram("schedule_lag_seconds", "From the intended to the actual send time.", func(t *Totals) *hist.Snapshot { return &t.Lag })
	histogram("end_to_end_seconds", "From the intended send time to consumption.", func(t *Totals) *hist.Snapshot { return &t.EndToEnd })
	counter("records_offered_total", "Records whose intended send time has come.", func(t *Totals) uint64 { return t.Offered })
	counter("records_sent_total", "Records handed to the client.", func(t *Totals) uint64 { return t.Sent })
	counter("records_acked_total", "Records acknowledged.", func(t *Totals) uint64 { return t.Acked })
	counter("records_failed_total", "Records given up, whether they were sent or not.", func(t *Totals) uint64 { return t.Failed })
	counter("records_aborted_total", "Records of transactions that were aborted on purpose: neither acknowledged nor failed.", func(t *Totals) uint64 { return t.Aborted })
	if e.c.Workload.Producer.Transactions.Records == 0 {
		counter("records_retried_total", "Further attempts to send a record. Absent with transactions, whose clients do not tell.", func(t *Totals) uint64 { return t.Retried })
	}
	counter("records_consumed_total", "Records consumed, those of other runs included, once for each consumer group.", func(t *Totals) uint64 { return t.Consumed })
	counter("acked_bytes_total", "Bytes of the values of records acknowledged.", func(t *Totals) uint64 { return t.AckedBytes })
	counter("consumed_bytes_total", "Bytes of the values of records consumed.", func(t *Totals) uint64 { return t.ConsumedBytes })
	found("records_lost_total", "Records acknowledged, or not known to have failed, that never arrived.", func(e *Engine) uint64 { return e.Faults().Lost })
	found("records_duplicated_total", "Records that arrived again.", func(e *Engine) uint64 { return e.Faults().Duplicated })
	found("records_reordered_total", "Records that arrived after a later one of the same producer and partition.", func(e *Engine) uint64 { return e.Faults().Reordered })
	found("records_corrupted_total", "Records that arrived damaged.", func(e *Engine) uint64 { return e.Faults().Corrupted })
	found("records_uncommitted_total", "Records of aborted transactions that reached a reader of committed records.", func(e *Engine) uint64 { return e.Faults().Uncommitted })
	found("records_redelivered_total", "Records consumed again after a rebalance: consumers went back to where they had committed.", func(e *Engine) uint64 { return e.Faults().Redelivered })
	found("records_foreign_total", "Records consumed that carry no stamp: another program's, or damaged beyond recognition. They are in no other count.", (*Engine).foreign)
	found("clock_skew_total", "Records consumed before their intended send time; counted as zero latency.", (*Engine).skewed)
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.histograms {
		ch <- f.desc
	}
	for _, f := range c.counters {
		ch <- f.desc
	}
	for _, f := range c.faults {
		ch <- f.desc
	}
	ch <- c.target
	ch <- c.slo
	ch <- c.limited
	ch <- c.inflight
	ch <- c.errors
	ch <- c.start
}

// Collect implements prometheus.Collector. Each phase is counted once, so the families of one scrape agree with each other.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for p := range phases {
		t := c.Engine.totals(p)
		for _, f := range c.histograms {
			m, err := hist.NewMetric(f.desc, f.of(t), c.Engine.clock.Start(), p.String())
			if err != nil {
				m = prometheus.NewInvalidMetric(f.desc, err)
			}
			ch <- m
		}
		for _, f := range c.counters {
			ch <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(f.of(t)), p.String())
		}
	}
	for _, f := range c.faults {
		ch <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(f.of(c.Engine)))
	}
	limited := 0.0
	if c.Engine.watch.limited.Load() {
		limited = 1
	}
	ch <- prometheus.MustNewConstMetric(c.limited, prometheus.GaugeValue, limited)
	ch <- prometheus.MustNewConstMetric(c.inflight, prometheus.GaugeValue, float64(c.Engine.InFlight()))
	ch <- prometheus.MustNewConstMetric(c.target, prometheus.GaugeValue, c.Engine.Rate())
	for kind, n := range c.Engine.errors.counts() {
		ch <- prometheus.MustNewConstMetric(c.errors, prometheus.CounterValue, float64(n), kind)
	}
	if began := c.Engine.began.Load(); began != never {
		ch <- prometheus.MustNewConstMetric(c.start, prometheus.GaugeValue, float64(c.Engine.clock.Wall(time.Duration(began)))/1e9)
	}
	if c.SLO > 0 {
		ch <- prometheus.MustNewConstMetric(c.slo, prometheus.GaugeValue, c.SLO.Seconds())
	}
}
