package slo_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/slo"
)

const ms = time.Millisecond

// Times of the simulation are in seconds.

// queue is a line of records in front of workers, first come, first served. How long a record takes is drawn when its turn comes.
type queue struct {
	work     func(at float64) float64
	pause    func(at float64) float64 // when a worker that wants to begin at a time may begin
	patience float64                  // of the sender, 0 for endless
	base     float64                  // on the way to the consumer, for every record
	free     []float64                // when each worker is

	line     []float64 // arrivals that wait, oldest first
	head     int
	under    []finish // begun, not yet done
	consumed uint64
	latency  hist.Recorder
}

type finish struct{ arrived, at float64 }

// advance serves what can be begun by now, and counts what is done by then.
func (q *queue) advance(now float64) {
	for q.head < len(q.line) {
		if q.patience > 0 && q.line[q.head] < now-q.patience { // given up by the sender
			q.head++
			continue
		}
		first := 0
		for i, f := range q.free {
			if f < q.free[first] {
				first = i
			}
		}
		start := q.pause(max(q.line[q.head], q.free[first]))
		if start > now {
			break
		}
		q.free[first] = start + q.work(start)
		q.under = append(q.under, finish{q.line[q.head], q.free[first] + q.base})
		q.head++
	}
	if q.head > 1<<16 {
		q.line = append(q.line[:0], q.line[q.head:]...)
		q.head = 0
	}
	left := q.under[:0]
	for _, f := range q.under {
		if f.at > now {
			left = append(left, f)
			continue
		}
		q.consumed++
		q.latency.Record(time.Duration((f.at - f.arrived) * 1e9))
	}
	q.under = left
}

func (q *queue) outstanding() uint64 { return uint64(len(q.line) - q.head + len(q.under)) }

// shape is a shape of server: of one capacity it makes a server with chance of its own.
type shape struct {
	name       string
	slo        time.Duration
	capacities []float64 // records/s, to try
	make       func(capacity func(at float64) float64, r *rand.Rand) *queue
}

func never(at float64) float64 { return at }

// collections returns pauses of a mean length at random times, and bursts of several, as of a collector whose heap is nearly full.
func collections(r *rand.Rand, every, length, burstEvery float64) func(at float64) float64 {
	next, end := r.ExpFloat64()*every, 0.0
	burst, left := burstEvery*r.Float64(), 0
	return func(at float64) float64 {
		for at >= next {
			end = next + length*(0.5+r.Float64())
			switch {
			case left > 0:
				left--
				next = end + length
			case next > burst:
				burst, left = next+burstEvery, 4
				next = end + length
			default:
				next = end + r.ExpFloat64()*every
			}
		}
		return max(at, end)
	}
}

func shapes() []shape {
	return []shape{
		{"one worker, exponential work", 200 * ms, []float64{1000}, func(c func(float64) float64, r *rand.Rand) *queue {
			return &queue{work: func(at float64) float64 { return r.ExpFloat64() / c(at) }, pause: never, base: 0.005, free: make([]float64, 1)}
		}},
		{"one worker, even work", 100 * ms, []float64{210, 1000}, func(c func(float64) float64, r *rand.Rand) *queue {
			return &queue{work: func(at float64) float64 { return (0.5 + r.Float64()) / c(at) }, pause: never, base: 0.015, free: make([]float64, 1)}
		}},
		{"eight workers, lognormal work", 200 * ms, []float64{1500}, func(c func(float64) float64, r *rand.Rand) *queue {
			return &queue{work: func(at float64) float64 { return 8 / c(at) * math.Exp(0.7*r.NormFloat64()-0.245) }, pause: never, base: 0.025, free: make([]float64, 8)}
		}},
		{"a long way to the consumer", 200 * ms, []float64{2000}, func(c func(float64) float64, r *rand.Rand) *queue {
			return &queue{work: func(at float64) float64 { return 2 * r.ExpFloat64() / c(at) }, pause: never, base: 0.1, free: make([]float64, 2)}
		}},
		{"garbage collection in bursts", 250 * ms, []float64{1000}, func(c func(float64) float64, r *rand.Rand) *queue {
			return &queue{work: func(at float64) float64 { return 4 * r.ExpFloat64() / c(at) }, pause: collections(r, 0.5, 0.015, 10), base: 0.02, free: make([]float64, 4)}
		}},
	}
}

// trace is one simulated run: the rate and the state after each tick, and what was done by every tenth second.
type trace struct {
	at    []float64
	rate  []float64
	state []slo.State
	marks map[float64]*hist.Snapshot
	slo   time.Duration
}

// simulate lets a controller drive a server.
func simulate(t testing.TB, c slo.Config, q *queue, length float64) *trace {
	t.Helper()
	ctl, err := slo.New(c)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trace{slo: c.SLO, marks: map[float64]*hist.Snapshot{}}
	rate, next := c.Start, 0.0
	var ring []*hist.Snapshot
	for tick := 0; ; tick++ {
		now := float64(tick) * slo.Tick.Seconds()
		if now > length {
			return tr
		}
		for next <= now {
			q.line = append(q.line, next)
			next += 1 / rate
		}
		q.advance(now)
		snap := &hist.Snapshot{}
		if len(ring) > int(slo.Window/slo.Tick)+1 {
			snap = ring[0]
			snap.Reset()
			ring = ring[1:]
		}
		snap.Add(&q.latency)
		ring = append(ring, snap)
		rate = ctl.Step(slo.Observation{Now: time.Duration(now * 1e9), Outstanding: q.outstanding(), Consumed: q.consumed, P99: func(since time.Duration) (time.Duration, uint64) {
			back := int((time.Duration(now*1e9) - since) / slo.Tick)
			if back < 1 {
				return 0, 0
			}
			var d hist.Snapshot
			d.Merge(ring[len(ring)-1])
			d.Sub(ring[max(0, len(ring)-1-back)])
			p99, _ := d.Quantile(0.99)
			return p99, d.Count()
		}})
		next = min(next, now+1/rate)
		tr.at, tr.rate, tr.state = append(tr.at, now), append(tr.rate, rate), append(tr.state, ctl.State())
		if math.Mod(now, 10) == 0 {
			tr.marks[now] = &hist.Snapshot{}
			tr.marks[now].Add(&q.latency)
		}
	}
}

// held is the mean rate between two times, and (P95 − P5)/median of the rates at the ticks.
func (tr *trace) held(from, to float64) (mean, swing float64) {
	var r []float64
	for i, at := range tr.at {
		if at >= from && at < to {
			r = append(r, tr.rate[i])
			mean += tr.rate[i]
		}
	}
	slices.Sort(r)
	at := func(q float64) float64 { return r[int(q*float64(len(r)-1))] }
	return mean / float64(len(r)), (at(0.95) - at(0.05)) / at(0.5)
}

// knee is the highest constant rate whose P99 over a long run meets the SLO.
func knee(s shape, capacity float64) float64 {
	length := max(30, 100_000/capacity)
	return highest(0.75*capacity, 1.05*capacity, func(rate float64) bool {
		q := s.make(func(float64) float64 { return capacity }, rand.New(rand.NewPCG(3, 4)))
		for next := 0.0; next < length; {
			for end := next + 1; next < end; next += 1 / rate {
				q.line = append(q.line, next)
			}
			q.advance(next)
		}
		var all hist.Snapshot
		all.Add(&q.latency)
		p99, _ := all.Quantile(0.99)
		return p99 <= s.slo && float64(q.outstanding()) <= rate
	})
}

// highest is the highest rate between two that is good enough, to half a per cent.
func highest(low, high float64, enough func(rate float64) bool) float64 {
	for high/low > 1.005 {
		if mid := (low + high) / 2; enough(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}
