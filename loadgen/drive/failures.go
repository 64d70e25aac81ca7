package drive

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/verify"
)

// Why a record failed without Kafka's saying so.
const (
	startedLate = "started_late" // it was due before this copy of the generator came
	tooLate     = "too_late"     // it could not be sent within the time allowed
	notDrained  = "not_drained"  // the run had ended before it could be sent, or before it was answered
)

// errNotDrained fails what is under way when a client is closed and there is no more time to wait.
var errNotDrained = errors.New("the run had ended before it was answered")

// failures counts failed records by kind. Each kind is a word of this file or the number of one of Kafka's errors, so there are few.
type failures struct {
	log   faultLog
	mu    sync.Mutex
	count map[string]uint64
}

func (f *failures) add(kind string, n uint64) {
	if n == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil {
		f.count = make(map[string]uint64)
	}
	f.count[kind] += n
}

// failed counts n records that a client gave up with err.
func (f *failures) failed(err error, n uint64) {
	f.log.failed(err)
	f.add(kind(err), n)
}

func (f *failures) counts() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.count)
}

// names are Kafka's own for the errors that a producer meets.
var names = map[sarama.KError]string{
	sarama.ErrUnknown:                            "unknown_server_error",
	sarama.ErrInvalidMessage:                     "corrupt_message",
	sarama.ErrUnknownTopicOrPartition:            "unknown_topic_or_partition",
	sarama.ErrLeaderNotAvailable:                 "leader_not_available",
	sarama.ErrNotLeaderForPartition:              "not_leader_or_follower",
	sarama.ErrRequestTimedOut:                    "request_timed_out",
	sarama.ErrBrokerNotAvailable:                 "broker_not_available",
	sarama.ErrMessageSizeTooLarge:                "message_too_large",
	sarama.ErrNetworkException:                   "network_exception",
	sarama.ErrMessageSetSizeTooLarge:             "record_list_too_large",
	sarama.ErrNotEnoughReplicas:                  "not_enough_replicas",
	sarama.ErrNotEnoughReplicasAfterAppend:       "not_enough_replicas_after_append",
	sarama.ErrTopicAuthorizationFailed:           "topic_authorization_failed",
	sarama.ErrClusterAuthorizationFailed:         "cluster_authorization_failed",
	sarama.ErrTransactionalIDAuthorizationFailed: "transactional_id_authorization_failed",
	sarama.ErrSASLAuthenticationFailed:           "sasl_authentication_failed",
	sarama.ErrOutOfOrderSequenceNumber:           "out_of_order_sequence_number",
	sarama.ErrDuplicateSequenceNumber:            "duplicate_sequence_number",
	sarama.ErrInvalidProducerEpoch:               "invalid_producer_epoch",
	sarama.ErrProducerFenced:                     "producer_fenced",
	sarama.ErrInvalidTxnState:                    "invalid_txn_state",
	sarama.ErrConcurrentTransactions:             "concurrent_transactions",
	sarama.ErrUnknownProducerID:                  "unknown_producer_id",
	sarama.ErrKafkaStorageError:                  "kafka_storage_error",
	sarama.ErrPolicyViolation:                    "policy_violation",
	sarama.ErrInvalidRecord:                      "invalid_record",
	sarama.ErrThrottlingQuotaExceeded:            "throttling_quota_exceeded",
}

// kind is the label of an error.
func kind(err error) string {
	var (
		k       sarama.KError
		network net.Error
	)
	switch {
	case errors.As(err, &k):
		if name, ok := names[k]; ok {
			return name
		}
		return fmt.Sprintf("kafka_error_%d", int16(k))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, sarama.ErrNotConnected),
		errors.Is(err, sarama.ErrOutOfBrokers):
		return "connection"
	case errors.Is(err, errNotDrained), errors.Is(err, sarama.ErrShuttingDown), errors.Is(err, sarama.ErrClosedClient):
		return notDrained
	}
	return "other"
}

// faultLog names faults and failures in the log, a few per second at most: an outage fails thousands of records with the same words.
type faultLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	since time.Time
	count int
	named []string
}

const faultsPerSecond = 5

func (f *faultLog) allow() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.since) >= time.Second {
		if f.count > faultsPerSecond {
			f.log.Warn("further faults not logged", "count", f.count-faultsPerSecond)
		}
		f.since, f.count = now, 0
	}
	f.count++
	return f.count <= faultsPerSecond
}

func (f *faultLog) found(fault verify.Fault) {
	f.mu.Lock()
	if len(f.named) < report.MaxNamed {
		f.named = append(f.named, fault.String())
	}
	f.mu.Unlock()
	if f.allow() {
		f.log.Warn("fault found", "fault", fault)
	}
}

func (f *faultLog) faults() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.named)
}

func (f *faultLog) failed(err error) {
	if f.allow() {
		f.log.Warn("records failed", "err", err)
	}
}
