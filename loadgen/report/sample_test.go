package report_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

// made is what a simulated run is made of. Its zero value is a minute of a healthy one.
type made struct {
	seed    uint64
	run     string
	start   time.Time // default: a fixed one
	seconds int       // default 60, the first ten of them the warm-up
	rate    int       // default 200
	latency func(r *rand.Rand, second int) time.Duration
}

// make simulates a run: every record has a latency, and what is counted is counted in all the places where drive counts it. samples are the
// end-to-end latencies of the measured phase.
func (m made) make(t testing.TB) (r *report.Report, samples []time.Duration) {
	t.Helper()
	if m.start.IsZero() {
		m.start = time.Unix(1_800_000_000, 250e6).UTC()
	}
	if m.seconds == 0 {
		m.seconds = 60
	}
	if m.rate == 0 {
		m.rate = 200
	}
	if m.latency == nil {
		m.latency = func(r *rand.Rand, _ int) time.Duration { return time.Duration(2e6 * math.Exp(0.5*r.NormFloat64())) }
	}
	if m.run == "" {
		m.run = "00000000000000a1"
	}
	const warmup = 10
	config := struct {
		Name     string
		Producer struct {
			Acks   string
			Linger time.Duration
		}
	}{Name: "sample"}
	config.Producer.Acks, config.Producer.Linger = "all", 5*time.Millisecond
	w, err := report.NewWorkload("sample", config)
	if err != nil {
		t.Fatal(err)
	}
	r = &report.Report{
		Schema: report.Schema, Program: "loadgen test", Mode: report.ModeRun, Workload: w, Topic: "lab", Partitions: 6, SLO: 0.2,
		Start: m.start, Warmup: warmup, Lasted: float64(m.seconds), Settings: map[string]string{"producer.required_acks": "all", "producer.compression": "none"},
	}
	draw := rand.New(rand.NewPCG(m.seed, 17))
	var phases [2]struct{ response, service, lag, endToEnd hist.Recorder }
	var overslept hist.Recorder
	for s := range m.seconds {
		phase, counted := 0, &r.WarmUp
		if s >= warmup {
			phase, counted = 1, &r.Measured
		}
		var response, endToEnd hist.Recorder
		for range m.rate {
			lag := time.Duration(draw.IntN(1e6))
			service := m.latency(draw, s)
			end := lag + service + time.Duration(draw.IntN(1e6))
			p := &phases[phase]
			p.lag.Record(lag)
			p.service.Record(service)
			p.response.Record(lag + service)
			p.endToEnd.Record(end)
			response.Record(lag + service)
			endToEnd.Record(end)
			overslept.Record(lag)
			if phase == 1 {
				samples = append(samples, end)
			}
		}
		n := uint64(m.rate)
		counted.Offered += n
		counted.Sent += n
		counted.Acked += n
		counted.Consumed += n
		counted.AckedBytes += 1024 * n
		counted.ConsumedBytes += 1024 * n
		r.Series.Add(report.Point{
			At: m.start.Unix() + int64(s), Seconds: 1, Target: float64(m.rate), Offered: n, Sent: n, Acked: n, Consumed: n, InFlight: 3,
			Response: pack(&response), EndToEnd: pack(&endToEnd),
		})
	}
	for i, p := range []*report.Phase{&r.WarmUp, &r.Measured} {
		h := &phases[i]
		p.Response, p.Service, p.Lag, p.EndToEnd = pack(&h.response), pack(&h.service), pack(&h.lag), pack(&h.endToEnd)
	}
	r.Generators = []report.Generator{{
		Run: m.run, Senders: 2, Overslept: pack(&overslept), InFlight: 512, CPU: 0.2 * float64(m.seconds), CPUs: 2, PeakBytes: 60e6,
	}}
	return r, samples
}

func pack(r *hist.Recorder) hist.Packed {
	var s hist.Snapshot
	s.Add(r)
	return s.Pack()
}
