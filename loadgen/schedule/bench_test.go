package schedule_test

import (
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

// at1M is a config of each open shape at about a million records a second.
func at1M() map[string]schedule.Config {
	return map[string]schedule.Config{
		"constant":         {Shape: schedule.Constant, Rate: 1e6},
		"ramp":             {Shape: schedule.Ramp, Rate: 1e3, To: 2e6, Over: time.Hour},
		"ramp down":        {Shape: schedule.Ramp, Rate: 2e6, To: 0, Over: time.Hour},
		"steps":            {Shape: schedule.Steps, Stages: []schedule.Stage{{Rate: 5e5, Duration: time.Second}, {Rate: 2e6, Duration: time.Second}, {Rate: 1e6}}},
		"steps, repeating": {Shape: schedule.Steps, Stages: []schedule.Stage{{Rate: 5e5, Duration: time.Second}, {Rate: 1.5e6, Duration: time.Second}}},
		"sine":             {Shape: schedule.Sine, Rate: 1e6, Amplitude: 5e5, Period: time.Second},
		"sine to zero":     {Shape: schedule.Sine, Rate: 1e6, Amplitude: 1e6, Period: time.Second},
		"poisson":          {Shape: schedule.Poisson, Rate: 1e6},
		"burst":            {Shape: schedule.Burst, Rate: 5e5, Size: 5e4, Period: 100 * time.Millisecond},
	}
}

func BenchmarkTake(b *testing.B) {
	for name, c := range at1M() {
		b.Run(name, func(b *testing.B) {
			s, err := schedule.New(c, 0, 1, 4, 7)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Take(schedule.Never - 1)
			}
		})
	}
}

// BenchmarkDue asks for what has come due within a millisecond of its own, of a backlog of seconds.
func BenchmarkDue(b *testing.B) {
	for name, c := range at1M() {
		b.Run(name, func(b *testing.B) {
			s, err := schedule.New(c, 0, 1, 4, 7)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			now := 5 * time.Second
			for b.Loop() {
				now += time.Microsecond
				s.Due(now)
			}
		})
	}
}
