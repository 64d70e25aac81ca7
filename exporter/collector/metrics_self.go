package collector

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

var (
	famUp             = Family{"kafka_up", "gauge", nil, "1 if the last collection reached the cluster, 0 if not. Absent before the first one has ended."}
	famDuration       = Family{"kafka_exporter_collector_duration_seconds", "gauge", []string{"collector"}, "How long this part of the last collection took."}
	famSuccess        = Family{"kafka_exporter_collector_success", "gauge", []string{"collector"}, "1 if this part of the last collection got everything that it asked for, 0 if something is missing."}
	famLastSuccess    = Family{"kafka_exporter_collector_last_success_timestamp_seconds", "gauge", []string{"collector"}, "When this part last got everything that it asked for. Absent if it never did."}
	famBrokerSuccess  = Family{"kafka_exporter_broker_success", "gauge", []string{"broker"}, "1 if the broker answered every request of the collection that is shown, 0 if not."}
	famAge            = Family{"kafka_exporter_snapshot_age_seconds", "gauge", nil, "Age of the collection that is shown. Absent when none is shown."}
	famAuthorized     = Family{"kafka_exporter_authorized", "gauge", []string{"operation", "resource"}, "1 if the exporter has this right that it needs, 0 if the brokers' answers show that it is missing somewhere. Absent while they show neither."}
	famSent           = Family{"kafka_exporter_kafka_sent_bytes_total", "counter", nil, "Bytes sent to Kafka, with encryption and authentication."}
	famReceived       = Family{"kafka_exporter_kafka_received_bytes_total", "counter", nil, "Bytes received from Kafka, with encryption and authentication."}
	famDropped        = Family{"kafka_exporter_dropped_series_total", "counter", []string{"family"}, "Series left out because a collection had more than the limit; each collection adds those that it had to leave out."}
	famRequests       = Family{"kafka_exporter_kafka_requests_total", "counter", []string{"api"}, "Requests sent to Kafka."}
	famRequestErrors  = Family{"kafka_exporter_kafka_request_errors_total", "counter", []string{"api", "code"}, "Requests to Kafka without an answer (timeout, connection, …), and error codes in answers."}
	famRequestSeconds = Family{"kafka_exporter_kafka_request_duration_seconds", "histogram", []string{"api"}, "Time from sending a request to Kafka to its answer or failure. Exemplars hold the address of the broker."}
)

func selfFamilies() []Family {
	return []Family{famUp, famDuration, famSuccess, famLastSuccess, famBrokerSuccess, famAge, famAuthorized}
}

// requestFamilies are those that a registry has.
func requestFamilies() []Family {
	return []Family{famRequests, famRequestErrors, famRequestSeconds, famSent, famReceived, famDropped}
}

// report is what the exporter knows about its own collections.
type report struct {
	ended       bool // at least one collection has
	up          bool
	outcomes    []outcome
	lastSuccess map[string]time.Time
}

func (s sink) self(r report, shown *snapshot, now time.Time) {
	if r.ended {
		s.gauge(famUp, truth(r.up))
	}
	for _, o := range r.outcomes {
		s.gauge(famDuration, o.took.Seconds(), o.part)
		s.gauge(famSuccess, truth(o.ok()), o.part)
	}
	for _, part := range slices.Sorted(maps.Keys(r.lastSuccess)) {
		s.gauge(famLastSuccess, float64(r.lastSuccess[part].UnixMilli())/1e3, part)
	}
	if shown == nil {
		return
	}
	s.gauge(famAge, now.Sub(shown.taken).Seconds())
	for _, g := range shown.rights {
		s.gauge(famAuthorized, truth(g.ok), g.operation, g.resource)
	}
	for _, b := range shown.brokers {
		s.gauge(famBrokerSuccess, truth(b.reached), strconv.Itoa(int(b.id)))
	}
}
