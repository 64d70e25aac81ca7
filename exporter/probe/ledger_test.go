package probe

import (
	"testing"
	"time"
)

func TestEachRecordEndsOnce(t *testing.T) {
	began := time.Now()
	for name, tt := range map[string]struct {
		does           func(l *ledger, n uint64) (counted []bool)
		counts         []bool
		open           int
		lost, unanswrd int
	}{
		"acknowledged, then read": {func(l *ledger, n uint64) []bool { return []bool{ack(l, n), see(l, n)} }, []bool{true, true}, 0, 0, 0},
		"read, then acknowledged": {func(l *ledger, n uint64) []bool { return []bool{see(l, n), ack(l, n)} }, []bool{true, true}, 0, 0, 0},
		"read twice":              {func(l *ledger, n uint64) []bool { return []bool{see(l, n), see(l, n), ack(l, n), see(l, n)} }, []bool{true, false, true, false}, 0, 0, 0},
		"refused":                 {func(l *ledger, n uint64) []bool { return []bool{l.fail(n), l.fail(n), see(l, n)} }, []bool{true, false, false}, 0, 0, 0},
		"acknowledged only":       {func(l *ledger, n uint64) []bool { return []bool{ack(l, n)} }, []bool{true}, 1, 1, 0},
		"never answered":          {func(*ledger, uint64) []bool { return nil }, nil, 1, 0, 1},
		"read and never answered": {func(l *ledger, n uint64) []bool { return []bool{see(l, n)} }, []bool{true}, 1, 0, 1},
		"unknown":                 {func(l *ledger, n uint64) []bool { return []bool{ack(l, n+7), see(l, n+7), l.fail(n + 7)} }, []bool{false, false, false}, 1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			n := l.begin(5, 2, began)
			got := tt.does(l, n)
			if len(got) != len(tt.counts) {
				t.Fatalf("want %v, got %v", tt.counts, got)
			}
			for i := range got {
				if got[i] != tt.counts[i] {
					t.Errorf("want %v, got %v", tt.counts, got)
				}
			}
			if open := l.inFlight()[5]; open != tt.open {
				t.Errorf("want %d in flight, got %d", tt.open, open)
			}
			if lost, unanswered := l.expire(began); len(lost)+len(unanswered) != 0 {
				t.Errorf("want nothing given up before its time, got %v and %v", lost, unanswered)
			}
			lost, unanswered := l.expire(began.Add(time.Nanosecond))
			if len(lost) != tt.lost || len(unanswered) != tt.unanswrd {
				t.Errorf("want %d lost and %d unanswered, got %v and %v", tt.lost, tt.unanswrd, lost, unanswered)
			}
			if len(l.inFlight()) != 0 || l.waitsFor(2) {
				t.Errorf("want nothing in flight after the deadline, got %v", l.inFlight())
			}
			if ack(l, n) || see(l, n) || l.fail(n) {
				t.Error("want nothing counted after the deadline")
			}
		})
	}
}

func ack(l *ledger, n uint64) bool { _, ok := l.ack(n); return ok }
func see(l *ledger, n uint64) bool { _, ok := l.see(n); return ok }

func TestAPartitionIsWaitedForUntilItsRecordsHaveBeenRead(t *testing.T) {
	l := newLedger()
	n := l.begin(1, 4, time.Now())
	if !l.waitsFor(4) || l.waitsFor(3) {
		t.Error("want partition 4 waited for, and no other")
	}
	see(l, n)
	if l.waitsFor(4) {
		t.Error("want nothing waited for after the record was read")
	}
}
