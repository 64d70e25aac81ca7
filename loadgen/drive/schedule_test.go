package drive_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/drive"
)

// Nothing is meant for an earlier time than the one at which a slot was free, so nothing can be late.
func TestInAClosedLoopResponseIsService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small+"schedule: {shape: closed, in_flight: 10}\nproducer: {clients: 2}\n")
		e := play(t, drive.Config{Workload: w, Catchup: time.Second}, &broker{latency: 10 * ms, down: never}, 10*time.Second, nil)
		total := e.Totals()
		if want := 10 * 10 / 0.01; math.Abs(float64(total.Acked)/want-1) > 0.02 || total.Offered != total.Acked {
			t.Errorf("got %d offered and %d acknowledged, want %.0f: 10 in flight for 10 ms each", total.Offered, total.Acked, want)
		}
		response, _ := total.Response.Quantile(0.99)
		service, _ := total.Service.Quantile(0.99)
		if response != service || total.Response.Sum() != total.Service.Sum() {
			t.Errorf("got a response of %v and a service of %v, want the same", response, service)
		}
		if mean := total.Response.Sum() / float64(total.Acked); math.Abs(mean/0.01-1) > 0.02 {
			t.Errorf("got a mean response of %.4f s, want 10 ms", mean)
		}
	})
}

func TestCopiesSendOneScheduleTogether(t *testing.T) {
	for name, shape := range map[string]string{
		"constant": "{shape: constant, rate: 1000}", "a ramp": "{shape: ramp, rate: 500, to: 1500, over: 10s}", "closed": "{shape: closed, in_flight: 9}",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := mustWorkload(t, small+"schedule: "+shape+"\nproducer: {clients: 2}\n")
				start := time.Now().Add(3 * time.Second)
				var offered uint64
				for copy := range 3 {
					b := &broker{latency: 9 * ms, down: never}
					share := drive.Share{Index: copy, Count: 3, Start: start}
					e := play(t, drive.Config{Workload: w, Catchup: time.Minute, Duration: 10 * time.Second, Share: share}, b, 20*time.Second, nil)
					total := e.Totals()
					if total.Offered != total.Acked+total.Failed {
						t.Errorf("copy %d: got %d offered, %d acknowledged, %d failed", copy, total.Offered, total.Acked, total.Failed)
					}
					if late := copy > 0; late != (total.Failed > 0) && name != "closed" {
						t.Errorf("copy %d: got %d failed; those that come late fail what was due before", copy, total.Failed)
					}
					offered += total.Offered
				}
				if name != "closed" && math.Abs(float64(offered)-10000) > 1 {
					t.Errorf("got %d offered by all copies, want 10000", offered)
				}
			})
		})
	}
}

// A thread may get no processor for long, while another one has what it needs: at any time one of the sleepers here wakes up 100 ms late.
func TestOneLateSenderMakesNoRecordLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustWorkload(t, small+"schedule: {shape: constant, rate: 1000}\nproducer: {clients: 1}\n")
		late := make(chan struct{}, 1)
		sleep := func(d time.Duration) {
			select {
			case late <- struct{}{}:
				time.Sleep(100 * ms)
				<-late
			default:
				time.Sleep(d)
			}
		}
		e := play(t, drive.Config{Workload: w, Catchup: time.Second, Duration: 10 * time.Second, Sleep: sleep}, &broker{latency: 9 * ms, down: never}, 20*time.Second, nil)
		total := e.Totals()
		if most := total.Lag.Max(); most > 2*ms || total.Acked != 10_000 {
			t.Errorf("got %d records, the latest sent %v late, want 10000 and 2 ms at most", total.Acked, most)
		}
	})
}
