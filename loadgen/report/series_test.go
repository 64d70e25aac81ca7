package report_test

import (
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

func point(at int64, latency time.Duration) report.Point {
	h := spread(1, latency, latency)
	return report.Point{At: at, Seconds: 1, Target: 5, Offered: 5, Sent: 4, Acked: 3, Failed: 1, Consumed: 2, InFlight: uint64(at % 7), Limited: 0.5, Response: h, EndToEnd: h}
}

func bucket(p hist.Packed, index int) uint64 {
	for k, n := range p.Buckets() {
		if k == index {
			return n
		}
	}
	return 0
}

func TestASeriesIsBoundedAndLosesNothing(t *testing.T) {
	var s report.Series
	const n, from = 3*report.MaxPoints + 1, 1_800_000_001
	var all hist.Snapshot
	var some []report.Point
	for i := range 50 {
		some = append(some, point(0, time.Duration(i*i+1)*time.Microsecond))
	}
	for i := range int64(n) {
		p := some[i%50]
		p.At, p.InFlight = from+i, uint64((from+i)%7)
		all.MergePacked(p.EndToEnd)
		s.Add(p)
		if len(s.Points) > report.MaxPoints {
			t.Fatalf("after %d seconds there are %d points, want at most %d", i+1, len(s.Points), report.MaxPoints)
		}
	}
	if s.Step != 4 {
		t.Errorf("got a step of %d s after %d seconds, want 4", s.Step, n)
	}
	var acked, inFlight uint64
	var noted, target, limited float64
	var end hist.Snapshot
	for i, p := range s.Points {
		acked += p.Acked
		noted += p.Seconds
		target += p.Target
		limited += p.Limited
		inFlight = max(inFlight, p.InFlight)
		end.MergePacked(p.EndToEnd)
		if p.At%4 != 0 || i > 0 && p.At != s.Points[i-1].At+4 {
			t.Fatalf("point %d is at %d, after %d", i, p.At, s.Points[max(i-1, 0)].At)
		}
	}
	if acked != 3*n || noted != n || target != 5*n || limited != n/2.0 || inFlight != 6 {
		t.Errorf("got %d acknowledged in %v s, target %v, limited %v, in flight %d", acked, noted, target, limited, inFlight)
	}
	for k, n := range all.Buckets() {
		if got := bucket(end.Pack(), k); got != n {
			t.Errorf("bucket %d: got %d, want %d", k, got, n)
		}
	}
	if end.Count() != n || end.Min() != all.Min() || end.Max() != all.Max() {
		t.Errorf("got %d from %v to %v", end.Count(), end.Min(), end.Max())
	}
}

func TestWhatIsNotedTwiceInASecondIsAddedUp(t *testing.T) {
	var s report.Series
	a, b := point(100, time.Millisecond), point(100, time.Second)
	a.Seconds, b.Seconds = 0.25, 0.75
	s.Add(a)
	s.Add(b)
	s.Add(point(103, time.Second))
	if len(s.Points) != 2 || s.Points[1].At != 103 {
		t.Fatalf("got %+v", s.Points)
	}
	if p := s.Points[0]; p.Acked != 6 || p.Seconds != 1 || p.EndToEnd.Count() != 2 || p.InFlight != a.InFlight {
		t.Errorf("got %+v", p)
	}
}
