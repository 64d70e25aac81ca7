package loadgen_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// BenchmarkStall stops the broker for 3 s in the middle of a minute at 1,000 records/s. Of the 60,000 records 3,000 are due meanwhile, and
// wait for 3 s to nothing: the P99 is the wait of the 600th of them, 2.4 s, and what it takes to catch up. A generator that waits with
// the broker reports a few milliseconds. It makes no difference how few records may be under way.
//
// The broker has worked hard before, for it catches up quickly only once Java has compiled what it does: with 8 records under way and nothing but the first
// half minute behind it, it answered 2,500 requests/s instead of 9,000, and the P99 was 9 % off because of that.
func BenchmarkStall(b *testing.B) {
	const (
		rate, length, stall = 1000, 60 * time.Second, 3 * time.Second
		want                = 2.43 // seconds
	)
	folder := b.TempDir()
	build(b, filepath.Join(folder, "loadgen"))
	broker := kafkatest.Start(b, kafkatest.Deployed(), kafkatest.Env(map[string]string{"KAFKA_HEAP_OPTS": ""}))
	for name, inFlight := range map[string]int{"4096 in flight": 4096, "8 in flight": 8} {
		b.Run(name, func(b *testing.B) {
			file := filepath.Join(folder, "stall.yaml")
			text := fmt.Sprintf("name: stall\nwarmup: 0s\npayload: {bytes: 1024}\nproducer: {clients: 2, in_flight: %d}\nconsumer: {clients: 1}\n", inFlight)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			hard := exec.Command(filepath.Join(folder, "loadgen"), "run", "--rate=20000", "--duration=20s", "--listen=127.0.0.1:0", "--log.level=error", "--workload.file="+file,
				"--kafka.brokers="+broker.Addr, "--report.json="+filepath.Join(folder, "hard.json"))
			hard.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if out, err := hard.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			for b.Loop() {
				cmd := exec.Command(filepath.Join(folder, "loadgen"), "run", fmt.Sprintf("--rate=%d", rate), "--duration="+length.String(), "--listen=127.0.0.1:0",
					"--log.level=warn", "--workload.file="+file, "--kafka.brokers="+broker.Addr, "--report.json=-")
				cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				time.Sleep(length / 2) // the length of the run is what is asked for
				if err := syscall.Kill(broker.PID(), syscall.SIGSTOP); err != nil {
					b.Fatal(err)
				}
				time.Sleep(stall)
				if err := syscall.Kill(broker.PID(), syscall.SIGCONT); err != nil {
					b.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					b.Fatalf("%v\n%s", err, errs.String())
				}
				var r struct {
					Measured struct {
						Offered, Acked, Consumed uint64
					}
					Summary struct {
						Latency map[string]struct {
							P99 float64 `json:"p99"`
						}
					}
				}
				if err := json.Unmarshal(out.Bytes(), &r); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.Summary.Latency["response"].P99, "s-response-p99")
				atMost(b, "%off-analytic", 100*math.Abs(r.Summary.Latency["response"].P99/want-1), 5)
				b.ReportMetric(r.Summary.Latency["end_to_end"].P99, "s-end-to-end-p99")
				b.ReportMetric(r.Summary.Latency["service"].P99, "s-service-p99")
				if r.Measured.Offered != r.Measured.Acked || r.Measured.Consumed != r.Measured.Acked {
					b.Errorf("got %+v, want all acknowledged and consumed", r.Measured)
				}
			}
		})
	}
}
