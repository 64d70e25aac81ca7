package collector_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// reading is the transaction of one that reads and writes, as Kafka Streams does. The offset that it commits counts, and shows, only once the transaction
// is committed; until then the group has what it had before. sarama's producer sends such an offset only at the end, so this is made of its requests.
type reading struct {
	at       tp
	offset   int64
	producer int64
	epoch    int16
}

// readsInTransactions is the group and the transactional id.
const readsInTransactions = "reads-in-transactions"

// request is repeated while a coordinator is being elected, loads, or still ends the transaction before.
func (w *world) request(what string, send func() (sarama.KError, error)) {
	w.t.Helper()
	waitFor(w.t, 30*time.Second, what, func() bool {
		code, err := send()
		for _, soon := range []error{sarama.ErrOffsetsLoadInProgress, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrNotCoordinatorForConsumer, sarama.ErrConcurrentTransactions} {
			if errors.Is(err, soon) || errors.Is(code, soon) {
				return false
			}
		}
		if err != nil || code != sarama.ErrNoError {
			w.t.Fatalf("%s: %v, %v", what, code, err)
		}
		return true
	})
}

func (w *world) beginReading() string {
	if w.reader != nil {
		return ""
	}
	at, l := w.anywhere()
	// Mostly where it has committed before: only there it could hide something.
	if before := w.commits[readsInTransactions]; len(before) > 0 && w.IntN(4) > 0 {
		at = slices.MinFunc(slices.Collect(maps.Keys(before)), func(a, b tp) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		l = w.logs[at]
	}
	r := &reading{at: at, offset: l.start + w.Int64N(l.end-l.start+1)}
	id := readsInTransactions
	w.request("begin a reader's transaction", func() (sarama.KError, error) {
		coordinator, err := w.kafka.TransactionCoordinator(id)
		if err != nil {
			return 0, err
		}
		answer, err := coordinator.InitProducerID(&sarama.InitProducerIDRequest{
			Version: 1, TransactionalID: &id, TransactionTimeout: 5 * time.Minute, ProducerID: -1, ProducerEpoch: -1,
		})
		if err != nil {
			return 0, err
		}
		r.producer, r.epoch = answer.ProducerID, answer.ProducerEpoch
		return answer.Err, nil
	})
	w.request("take a group into a transaction", func() (sarama.KError, error) {
		coordinator, err := w.kafka.TransactionCoordinator(id)
		if err != nil {
			return 0, err
		}
		answer, err := coordinator.AddOffsetsToTxn(&sarama.AddOffsetsToTxnRequest{Version: 1, TransactionalID: id, ProducerID: r.producer, ProducerEpoch: r.epoch, GroupID: id})
		if err != nil {
			return 0, err
		}
		return answer.Err, nil
	})
	w.request("commit an offset in a transaction", func() (sarama.KError, error) {
		coordinator, err := w.kafka.Coordinator(id)
		if err != nil {
			return 0, err
		}
		answer, err := coordinator.TxnOffsetCommit(&sarama.TxnOffsetCommitRequest{
			Version: 2, TransactionalID: id, GroupID: id, ProducerID: r.producer, ProducerEpoch: r.epoch,
			Topics: map[string][]*sarama.PartitionOffsetMetadata{at.topic: {{Partition: at.partition, Offset: r.offset, LeaderEpoch: -1}}},
		})
		if err != nil {
			return 0, err
		}
		return answer.Topics[at.topic][0].Err, nil
	})
	w.reader = r
	return fmt.Sprintf("begin-reading %v to %d", at, r.offset)
}

// finishReading commits or aborts it.
func (w *world) finishReading() string {
	r := w.reader
	if r == nil {
		return ""
	}
	commit := w.IntN(3) > 0
	w.request("end a reader's transaction", func() (sarama.KError, error) {
		coordinator, err := w.kafka.TransactionCoordinator(readsInTransactions)
		if err != nil {
			return 0, err
		}
		answer, err := coordinator.EndTxn(&sarama.EndTxnRequest{
			Version: 1, TransactionalID: readsInTransactions, ProducerID: r.producer, ProducerEpoch: r.epoch, TransactionResult: commit,
		})
		if err != nil {
			return 0, err
		}
		return answer.Err, nil
	})
	w.reader = nil
	if !commit {
		return "abort-reading"
	}
	if w.commits[readsInTransactions] == nil {
		w.commits[readsInTransactions] = map[tp]int64{}
	}
	w.commits[readsInTransactions][r.at] = r.offset
	return "commit-reading"
}
