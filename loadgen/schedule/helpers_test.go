package schedule_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

func mustNew(t testing.TB, c schedule.Config, origin time.Duration, share, of int) *schedule.Schedule {
	t.Helper()
	s, err := schedule.New(c, origin, share, of, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func constant(rate float64) schedule.Config {
	return schedule.Config{Shape: schedule.Constant, Rate: rate}
}

func stages(s ...schedule.Stage) schedule.Config {
	return schedule.Config{Shape: schedule.Steps, Stages: s}
}

// record is the intended time of record i of the whole, without going through those before it: it is the first of its share.
func record(t testing.TB, c schedule.Config, i int) time.Duration {
	t.Helper()
	return mustNew(t, c, 0, i, i+1).Next()
}

// until takes every record up to the end, each at its own time.
func until(t testing.TB, s *schedule.Schedule, end time.Duration) (times []time.Duration) {
	t.Helper()
	for s.Next() <= end {
		want := s.Next()
		if at, ok := s.Take(want - 1); ok {
			t.Fatalf("record %d: taken at %v, before it was due at %v", s.Issued(), at, want)
		}
		at, ok := s.Take(want)
		if !ok || at != want {
			t.Fatalf("record %d: got %v, %v when it was due at %v", s.Issued(), at, ok, want)
		}
		times = append(times, at)
	}
	return times
}

func sorted(times []time.Duration) []time.Duration {
	slices.Sort(times)
	return times
}
