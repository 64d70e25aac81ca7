package probe

import (
	"sync"
	"time"
)

// record is one that has been sent and whose end is not known.
type record struct {
	broker    int32 // that it was sent to
	partition int32
	due       time.Time

	acked, seen bool
}

// ledger holds the records in flight. Each ends in one way: it is read back, it fails, or its deadline passes.
type ledger struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]record
}

func newLedger() *ledger { return &ledger{open: map[uint64]record{}} }

// begin enters a record and gives it its number.
func (l *ledger) begin(broker, partition int32, due time.Time) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	l.open[l.next] = record{broker: broker, partition: partition, due: due}
	return l.next
}

// ack notes that the broker has the record; false if its deadline had passed.
func (l *ledger) ack(number uint64) (record, bool) {
	return l.note(number, func(r *record) (first bool) {
		first, r.acked = !r.acked, true
		return first
	})
}

// see notes that the record was read; false if it was no longer waited for, or read before.
func (l *ledger) see(number uint64) (record, bool) {
	return l.note(number, func(r *record) (first bool) {
		first, r.seen = !r.seen, true
		return first
	})
}

// note changes a record, and closes it once it has been both acknowledged and read: which comes first is open.
func (l *ledger) note(number uint64, change func(*record) bool) (record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.open[number]
	if !ok {
		return r, false
	}
	first := change(&r)
	if r.acked && r.seen {
		delete(l.open, number)
	} else {
		l.open[number] = r
	}
	return r, first
}

// fail closes a record that the broker refused or that never reached it; false if its deadline had passed.
func (l *ledger) fail(number uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.open[number]
	delete(l.open, number)
	return ok
}

// expire closes the records that were due before a time. Lost are those that the broker has acknowledged and nobody has read; unanswered
// those that it has not acknowledged.
func (l *ledger) expire(before time.Time) (lost, unanswered []record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for number, r := range l.open {
		switch {
		case !r.due.Before(before):
			continue
		case r.acked:
			lost = append(lost, r)
		default:
			unanswered = append(unanswered, r)
		}
		delete(l.open, number)
	}
	return lost, unanswered
}

// inFlight counts the records of each broker.
func (l *ledger) inFlight() map[int32]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[int32]int{}
	for _, r := range l.open {
		out[r.broker]++
	}
	return out
}

// waitsFor says whether a record of the partition is still to be read.
func (l *ledger) waitsFor(partition int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.open {
		if r.partition == partition && !r.seen {
			return true
		}
	}
	return false
}
