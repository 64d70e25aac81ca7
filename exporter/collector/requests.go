package collector

import (
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

// The names of the APIs, as Kafka's protocol guide and the broker's own request metrics have them.
const (
	apiVersions          = "ApiVersions"
	apiMetadata          = "Metadata"
	apiListOffsets       = "ListOffsets"
	apiListGroups        = "ListGroups"
	apiDescribe          = "DescribeGroups"
	apiDescribe848       = "ConsumerGroupDescribe"
	apiOffsetFetch       = "OffsetFetch"
	apiDescribeConfigs   = "DescribeConfigs"
	apiDescribeLogDirs   = "DescribeLogDirs"
	apiListReassignments = "ListPartitionReassignments"
	keyOffsetFetch       = 9
	keyDescribe848       = 69
	keyQuorum            = 55 // DescribeQuorum: only brokers of a KRaft cluster have it
	offsetFetchMulti     = 8  // from this version on, one OffsetFetch asks for many groups
)

// requests counts and times what is sent to Kafka.
type requests struct {
	total   *prometheus.CounterVec
	errors  *prometheus.CounterVec
	seconds *prometheus.HistogramVec

	sent, received prometheus.Counter // bytes
	answers        atomic.Int64
	dropped        *prometheus.CounterVec
}

func newRequests() *requests {
	return &requests{
		total:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: famRequests.Name, Help: famRequests.Help}, famRequests.Labels),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: famRequestErrors.Name, Help: famRequestErrors.Help}, famRequestErrors.Labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: famRequestSeconds.Name, Help: famRequestSeconds.Help,
			Buckets:                      prometheus.ExponentialBuckets(0.001, 2, 13), // 1 ms to 4 s, for readers without native histograms
			NativeHistogramBucketFactor:  1.1,
			NativeHistogramZeroThreshold: 1e-6,
		}, famRequestSeconds.Labels),
		dropped:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: famDropped.Name, Help: famDropped.Help}, famDropped.Labels),
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: famSent.Name, Help: famSent.Help}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: famReceived.Name, Help: famReceived.Help}),
	}
}

// timed sends a request to the broker at the address, which is the exemplar of the time that it took.
func (r *requests) timed(api, addr string, send func() error) error {
	began := time.Now()
	err := send()
	r.total.WithLabelValues(api).Inc()
	if err == nil {
		r.answers.Add(1)
	}
	observe(r.seconds.WithLabelValues(api), time.Since(began), addr)
	return err
}

func observe(histogram prometheus.Observer, took time.Duration, addr string) {
	const label = "address" // as in kafka_broker_info
	if with, ok := histogram.(prometheus.ExemplarObserver); ok && utf8.ValidString(addr) && utf8.RuneCountInString(label+addr) <= prometheus.ExemplarMaxRunes {
		with.ObserveWithExemplar(took.Seconds(), prometheus.Labels{label: addr})
		return
	}
	histogram.Observe(took.Seconds())
}

// failed counts a request without an answer, or an error code in an answer.
func (r *requests) failed(api string, err error) {
	r.errors.WithLabelValues(api, errorCode(err)).Inc()
}

func (r *requests) each(do func(prometheus.Collector)) {
	do(r.total)
	do(r.errors)
	do(r.seconds)
	do(r.sent)
	do(r.received)
	do(r.dropped)
}

// errorCode names an error as its label has it.
func errorCode(err error) string {
	if tooLarge(err) {
		return "too_large"
	}
	return kafka.Code(err)
}
