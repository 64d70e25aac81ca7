package drive

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/verify"
)

// arrivals is what came out of one partition. One goroutine writes.
type arrivals struct {
	own     [phases]hist.Recorder // end to end, records of this run
	others  [phases]hist.Recorder // records of other runs: counted, and no guide for the rate
	bytes   [phases]atomic.Uint64
	skewed  atomic.Uint64 // latencies below zero
	foreign atomic.Uint64 // records without a stamp
	read    int64         // records so far: their offset, as far as it matters here
}

func (a *arrivals) record(own bool, p phase, latency time.Duration, bytes int) {
	if own {
		a.own[p].Record(latency)
	} else {
		a.others[p].Record(latency)
	}
	a.bytes[p].Add(uint64(bytes))
}

// faultLog names faults and failures in the log, a few per second at most: an outage fails thousands of records with the same words.
type faultLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	since time.Time
	count int
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
	if f.allow() {
		f.log.Warn("fault found", "fault", fault)
	}
}

func (f *faultLog) failed(err error) {
	if f.allow() {
		f.log.Warn("record failed", "err", err)
	}
}
