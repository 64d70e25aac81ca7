package drive

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

// Report is what the run has measured so far, from the same buckets that Prometheus reads. The caller adds what the engine does not know:
// program, mode, settings and warnings.
func (e *Engine) Report() (*report.Report, error) {
	config := e.c.Workload
	config.Schedule = e.plan
	workload, err := report.NewWorkload(config.Name, config)
	if err != nil {
		return nil, fmt.Errorf("report workload: %w", err)
	}
	faults := e.Faults()
	r := &report.Report{
		Schema: report.Schema, Workload: workload, Topic: e.c.Topic, Partitions: e.c.Partitions, SLO: config.SLO.P99.Seconds(),
		ProduceOnly: len(e.verify) == 0, Groups: len(e.verify), Copies: e.c.Share.Count, Closed: e.plan.Shape == schedule.Closed,
		Lasted: e.Lasted().Seconds(), WarmUp: phaseOf(e.totals(warmup)), Measured: phaseOf(e.totals(measure)),
		Faults: report.Faults{
			Lost: faults.Lost, Duplicated: faults.Duplicated, Reordered: faults.Reordered, Corrupted: faults.Corrupted, Uncommitted: faults.Uncommitted,
			Unverified: e.unverified(), Redelivered: faults.Redelivered, Foreign: e.foreign(), Skewed: e.skewed(), Named: e.errors.log.faults(),
		},
		Errors: e.errors.counts(), Generators: []report.Generator{e.generator()}, Series: e.series(),
	}
	if began := time.Duration(e.began.Load()); began != schedule.Never {
		r.Start = e.clock.Start().Add(began)
		r.Warmup = min(e.warmEnd()-began, e.Lasted()).Seconds()
	}
	return r, nil
}

func phaseOf(t *Totals) report.Phase {
	return report.Phase{
		Offered: t.Offered, Sent: t.Sent, Acked: t.Acked, Failed: t.Failed, Retried: t.Retried, Aborted: t.Aborted, Consumed: t.Consumed,
		AckedBytes: t.AckedBytes, ConsumedBytes: t.ConsumedBytes,
		Response: t.Response.Pack(), Service: t.Service.Pack(), Lag: t.Lag.Pack(), EndToEnd: t.EndToEnd.Pack(),
	}
}

// generator is what this process says of itself.
func (e *Engine) generator() report.Generator {
	var (
		overslept hist.Snapshot
		waited    int64
		inFlight  int
	)
	for _, w := range e.workers {
		overslept.Add(&w.overslept)
		waited += w.waited.Load()
		inFlight += w.free.size
	}
	g := report.Generator{
		Run: fmt.Sprintf("%016x", e.c.Run), Senders: len(e.workers), Overslept: overslept.Pack(), Blocked: float64(waited) / 1e9,
		Limited: float64(e.watch.seconds.Load()) / 1e9, InFlight: inFlight, CPUs: float64(e.c.Processors),
	}
	now := usage()
	g.CPU = float64(now.Utime.Nano()+now.Stime.Nano()-e.usage.Utime.Nano()-e.usage.Stime.Nano()) / 1e9
	g.PeakBytes = uint64(now.Maxrss) << 10
	return g
}

// usage is what the process has used so far.
func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it fails for bad arguments only
	return u
}

func (e *Engine) series() report.Series {
	e.watch.mu.Lock()
	defer e.watch.mu.Unlock()
	s := e.watch.series
	s.Points = slices.Clone(s.Points)
	return s
}
