package probe

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/exporter/collector"
	"github.com/kafkalab/kafkalab/internal/kafka"
)

// The names of the APIs, as Kafka's protocol guide has them.
const (
	apiProduce          = "Produce"
	apiFetch            = "Fetch"
	apiCommit           = "OffsetCommit"
	apiFindCoordinator  = "FindCoordinator"
	apiCreateTopics     = "CreateTopics"
	apiCreatePartitions = "CreatePartitions"
	apiReassign         = "AlterPartitionReassignments"
	apiElectLeaders     = "ElectLeaders"
)

var byBroker = []string{"broker"}

var (
	famProduce = collector.Family{Name: "kafka_probe_produce_seconds", Kind: "histogram", Labels: byBroker,
		Help: "Time from when a record was due to be sent to the broker until all in-sync replicas had it (acks=all). Without records that failed."}
	famEndToEnd = collector.Family{Name: "kafka_probe_end_to_end_seconds", Kind: "histogram", Labels: byBroker,
		Help: "Time from when a record was due to be sent to the broker until the probe had read it back. Without records that failed or were lost."}
	famCommit = collector.Family{Name: "kafka_probe_commit_seconds", Kind: "histogram", Labels: byBroker,
		Help: "Time from when a commit of offsets was due until the broker, as the group's coordinator, had confirmed it. Without commits that failed."}
	famSent = collector.Family{Name: "kafka_probe_sent_total", Kind: "counter", Labels: byBroker,
		Help: "Records that the probe set out to send to the broker. Each is received, lost, failed (api Produce) or still in flight."}
	famReceived = collector.Family{Name: "kafka_probe_received_total", Kind: "counter", Labels: byBroker,
		Help: "Records sent to the broker that the probe has read back."}
	famLost = collector.Family{Name: "kafka_probe_lost_total", Kind: "counter", Labels: byBroker,
		Help: "Records that the broker had confirmed and that could not be read back before their deadline."}
	famFailed = collector.Family{Name: "kafka_probe_failed_total", Kind: "counter", Labels: []string{"broker", "api", "code"},
		Help: "Requests of the probe that the broker refused or did not answer, by API and by Kafka's error code (or timeout, connection, …). For Produce: records."}
	famSkipped = collector.Family{Name: "kafka_probe_skipped_total", Kind: "counter", Labels: byBroker,
		Help: "Records and commits that were not sent because the exporter was more than a deadline behind: it was stopped, or slowed down by a quota."}
	famInFlight = collector.Family{Name: "kafka_probe_in_flight", Kind: "gauge", Labels: byBroker,
		Help: "Records sent to the broker whose end is not known yet."}
	famLeader = collector.Family{Name: "kafka_probe_leader_covered", Kind: "gauge", Labels: byBroker,
		Help: "1 if the broker leads a partition of the probe's topic, so that records are sent to it, 0 if it leads none. Absent for brokers that are not live."}
	famCoordinator = collector.Family{Name: "kafka_probe_coordinator_covered", Kind: "gauge", Labels: byBroker,
		Help: "1 if the broker coordinates a group of the probe, so that offsets are committed to it, 0 if not. Absent for brokers that are not live."}
)

// Families lists all metric families that the probe has.
func Families() []collector.Family {
	return []collector.Family{
		famProduce, famEndToEnd, famCommit, famSent, famReceived, famLost, famFailed, famSkipped, famInFlight, famLeader, famCoordinator,
	}
}

// measured is what has been seen since the start.
type measured struct {
	produce, endToEnd, commit                    *prometheus.HistogramVec
	sentN, receivedN, lostN, failedN, skippedN   *prometheus.CounterVec
	inFlight, leaderCovered, coordinatorsCovered *prometheus.Desc
}

func newMeasured() *measured {
	counter := func(f collector.Family) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.Labels)
	}
	desc := func(f collector.Family) *prometheus.Desc { return prometheus.NewDesc(f.Name, f.Help, f.Labels, nil) }
	return &measured{
		produce: newHistogram(famProduce), endToEnd: newHistogram(famEndToEnd), commit: newHistogram(famCommit),
		sentN: counter(famSent), receivedN: counter(famReceived), lostN: counter(famLost), failedN: counter(famFailed), skippedN: counter(famSkipped),
		inFlight: desc(famInFlight), leaderCovered: desc(famLeader), coordinatorsCovered: desc(famCoordinator),
	}
}

func newHistogram(f collector.Family) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: f.Name, Help: f.Help,
		Buckets:                      prometheus.ExponentialBuckets(0.00025, 2, 17), // 0.25 ms to 16 s, for readers without native histograms
		NativeHistogramBucketFactor:  1.1,
		NativeHistogramZeroThreshold: 1e-6,
	}, f.Labels)
}

func (m *measured) vectors() []prometheus.Collector {
	return []prometheus.Collector{m.produce, m.endToEnd, m.commit, m.sentN, m.receivedN, m.lostN, m.failedN, m.skippedN}
}

func name(broker int32) string { return strconv.Itoa(int(broker)) }

func (m *measured) sent(broker int32) {
	m.sentN.WithLabelValues(name(broker)).Inc()
	m.receivedN.WithLabelValues(name(broker)) // there from the first record on, so that the first one more is an increase
	m.lostN.WithLabelValues(name(broker))
}

func (m *measured) lost(broker int32) { m.lostN.WithLabelValues(name(broker)).Inc() }

func (m *measured) skipped(broker int32, n int) {
	m.skippedN.WithLabelValues(name(broker)).Add(float64(n))
}

func (m *measured) failed(broker int32, api string, err error) {
	m.failedN.WithLabelValues(name(broker), api, kafka.Code(err)).Inc()
}

func (m *measured) produced(broker int32, took time.Duration, partition int32, offset int64) {
	observe(m.produce, broker, took, where(partition, offset))
}

func (m *measured) received(broker int32, took time.Duration, partition int32, offset int64) {
	m.receivedN.WithLabelValues(name(broker)).Inc()
	observe(m.endToEnd, broker, took, where(partition, offset))
}

func (m *measured) committed(broker int32, took time.Duration, group string) {
	observe(m.commit, broker, took, prometheus.Labels{"group": group})
}

func where(partition int32, offset int64) prometheus.Labels {
	return prometheus.Labels{"partition": name(partition), "offset": strconv.FormatInt(offset, 10)}
}

// observe adds a latency, with what it was measured on as its exemplar.
func observe(h *prometheus.HistogramVec, broker int32, took time.Duration, exemplar prometheus.Labels) {
	h.WithLabelValues(name(broker)).(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), exemplar)
}

// Describe implements prometheus.Collector.
func (p *Probe) Describe(out chan<- *prometheus.Desc) {
	for _, v := range p.meas.vectors() {
		v.Describe(out)
	}
	out <- p.meas.inFlight
	out <- p.meas.leaderCovered
	out <- p.meas.coordinatorsCovered
}

// Collect implements prometheus.Collector. It asks nobody.
func (p *Probe) Collect(out chan<- prometheus.Metric) {
	for _, v := range p.meas.vectors() {
		v.Collect(out)
	}
	gauge := func(d *prometheus.Desc, v float64, broker int32) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name(broker))
	}
	s, flying, coordinated := p.now(), p.sent.inFlight(), p.coordinated()
	for _, id := range s.ids() {
		_, covered := s.target(id)
		gauge(p.meas.leaderCovered, truth(covered), id)
		gauge(p.meas.coordinatorsCovered, truth(coordinated[id]), id)
		if _, ok := flying[id]; !ok && covered {
			flying[id] = 0
		}
	}
	for id, n := range flying {
		gauge(p.meas.inFlight, float64(n), id)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
