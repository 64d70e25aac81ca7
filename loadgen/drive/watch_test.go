package drive_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/slo"
)

// What a controller is told of is records, each of which has to reach every group.
func TestAControllerSeesEachRecordOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small+"producer: {clients: 1}\nconsumer: {groups: 3}\n")
		b := &broker{latency: ms, down: never, groups: 3}
		var last slo.Observation
		e := play(t, drive.Config{Workload: w, Rate: 100, Catchup: time.Second}, b, 10*time.Second, func(o slo.Observation) float64 {
			last = o
			return 100
		})
		if got := last.Consumed + last.Outstanding; math.Abs(float64(got)-float64(e.Totals().Offered)) > 50 {
			t.Errorf("got %d consumed and %d outstanding of %d offered", last.Consumed, last.Outstanding, e.Totals().Offered)
		}
	})
}

// Consumers that have joined before the first record do not prolong the warm-up, nor do those who look on before.
func TestTheWarmUpBeginsWithTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, "name: w\npayload: {bytes: 100}\nwarmup: 1900ms\ntopic: {partitions: 1}\nproducer: {clients: 1}\n")
		e, err := drive.New(drive.Config{Sleep: time.Sleep, Workload: w, Topic: "lab", Partitions: 1, Rate: 1000, Run: 7, Catchup: time.Second, Joining: true, Duration: 4 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		watching, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if err := e.Watch(watching, nil); err != nil {
				t.Error(err)
			}
		})
		e.Joined(0)
		time.Sleep(3 * time.Second)
		b := &broker{latency: ms, down: never, engine: e, start: time.Now()}
		if err := e.Run(t.Context(), b, time.Second); err != nil {
			t.Error(err)
		}
		stop()
		group.Wait()
		r, err := e.Report()
		if err != nil {
			t.Fatal(err)
		}
		if got := r.WarmUp.Offered; math.Abs(float64(got)-1900) > 2 {
			t.Errorf("got %d records in the warm-up, want 1900", got)
		}
	})
}
