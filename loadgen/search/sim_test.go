package search_test

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/search"
)

// server serves records one after the other as they arrive. Times are in seconds.
type server interface {
	// serve returns when a record that arrives at the given time is done. Arrivals do not go back.
	serve(at float64) float64
}

// queue is workers that share one line, first come, first served.
type queue struct {
	work  func() float64 // how long the next record takes
	free  []float64      // when each worker is
	pause *pauses
}

func newQueue(workers int, work func() float64) *queue {
	return &queue{work: work, free: make([]float64, workers)}
}

func (q *queue) serve(at float64) float64 {
	first := 0
	for i, f := range q.free {
		if f < q.free[first] {
			first = i
		}
	}
	start := max(at, q.free[first])
	q.free[first] = q.pause.after(start, start+q.work())
	return q.free[first]
}

// pauses stop all workers, as a garbage collection does.
type pauses struct {
	rand        *rand.Rand
	every, last float64 // mean distance and length
	from, to    float64
	past        [][2]float64 // workers that lag behind may still meet them
}

// after is when work from start to end is done, with the pauses that fall into it.
func (p *pauses) after(start, end float64) float64 {
	if p == nil {
		return end
	}
	for p.to == 0 || p.to <= end {
		if p.to > 0 {
			p.past = append(p.past, [2]float64{p.from, p.to})
			if len(p.past) > 16 {
				p.past = p.past[1:]
			}
		}
		p.from = p.to + p.rand.ExpFloat64()*p.every
		p.to = p.from + p.last*(0.5+p.rand.Float64())
	}
	for _, q := range append(p.past, [2]float64{p.from, p.to}) {
		if q[1] <= start || q[0] >= end {
			continue
		}
		end += q[1] - max(start, q[0])
	}
	return end
}

// batcher gathers records for a time or up to a number, and serves a batch in a time that grows slowly with its size: latency falls with
// load before it rises.
type batcher struct {
	linger, each, per float64
	most              int
	waiting           int
	opened, free      float64
	rand              *rand.Rand
	done              func(n int, at float64)
}

func (b *batcher) add(at float64) {
	for b.waiting > 0 && at > b.closes() {
		b.flush(b.closes())
	}
	if b.waiting == 0 {
		b.opened = at
	}
	b.waiting++
	// While the server is busy, a batch stays open.
	if b.waiting >= b.most && at >= b.free {
		b.flush(at)
	}
}

func (b *batcher) closes() float64 {
	if b.waiting >= b.most {
		return b.free
	}
	return max(b.free, b.opened+b.linger)
}

func (b *batcher) flush(at float64) {
	n := min(b.waiting, b.most)
	b.free = at + (b.each+b.per*float64(n))*(0.7+0.6*b.rand.Float64())
	b.done(n, b.free)
	b.waiting -= n
	if b.waiting > 0 {
		b.opened = at
	}
}

// quota serves at once up to so many records a second, and delays what is above.
type quota struct{ rate, burst, at, used float64 }

func (q *quota) serve(at float64) float64 {
	q.used = max(0, q.used-(at-q.at)*q.rate) + 1
	q.at = at
	return at + 0.004 + max(0, q.used-q.burst)/q.rate
}

// drifting is work whose speed wanders, as on a shared machine: lognormal, with a time constant of a second.
func drifting(r *rand.Rand, mean, sigma float64) func() float64 {
	level := r.NormFloat64()
	return func() float64 {
		keep := math.Exp(-mean)
		level = keep*level + math.Sqrt(1-keep*keep)*r.NormFloat64()
		return mean * math.Exp(sigma*level-sigma*sigma/2) * r.ExpFloat64()
	}
}

// kind is a kind of server, and how records come to it.
type kind struct {
	name    string
	knee    float64 // records/s, the highest rate whose P99 over a long run meets slo
	slo     time.Duration
	poisson bool
	start   func(r *rand.Rand, done func(arrived, finished float64)) func(at float64)
}

// plain makes a kind of a server that answers for each record at once.
func plain(name string, knee float64, slo time.Duration, poisson bool, make func(r *rand.Rand) server) kind {
	return kind{name, knee, slo, poisson, func(r *rand.Rand, done func(arrived, finished float64)) func(float64) {
		s := make(r)
		return func(at float64) { done(at, s.serve(at)) }
	}}
}

// measured is what a simulated run saw of the records that were intended within a time, and how many were done in it.
type measured struct {
	halves             [2]hist.Snapshot // latencies by half of the time
	all                hist.Snapshot
	offered, completed float64 // records/s
}

// play offers records at a constant rate, or as a Poisson process.
func play(k kind, rate, from, to float64, r *rand.Rand) measured {
	var m measured
	var halves [2]hist.Recorder
	middle := (from + to) / 2
	arrive := k.start(r, func(arrived, finished float64) {
		latency := time.Duration((finished - arrived) * 1e9)
		switch {
		case arrived < from || arrived >= to:
		case arrived < middle:
			halves[0].Record(latency)
		default:
			halves[1].Record(latency)
		}
		if finished >= from && finished < to {
			m.completed++
		}
	})
	for at := r.Float64() / rate; at < to; {
		arrive(at)
		if at >= from {
			m.offered++
		}
		if k.poisson {
			at += r.ExpFloat64() / rate
		} else {
			at += 1 / rate
		}
	}
	for i := range halves {
		m.halves[i].Add(&halves[i])
		m.all.Add(&halves[i])
	}
	m.offered /= to - from
	m.completed /= to - from
	return m
}

func p99(s *hist.Snapshot) time.Duration {
	d, _ := s.Quantile(0.99)
	return d
}

// truth is the highest rate whose P99 over a long run meets the SLO: by bisection, each rate with the same long run of chance.
func truth(k kind, length float64) float64 {
	low, high := 200.0, 3200.0
	for range 12 {
		mid := math.Sqrt(low * high)
		m := play(k, mid, 20, 20+length, rand.New(rand.NewPCG(99, 1)))
		if p99(&m.all) > k.slo || m.completed < 0.97*mid {
			high = mid
		} else {
			low = mid
		}
	}
	return math.Sqrt(low * high)
}

// trial measures a fresh run of a server.
func trial(k kind, c search.Config, r *rand.Rand) search.Measure {
	return func(_ context.Context, rate float64) (search.Outcome, error) {
		from := c.Warmup.Seconds()
		to := from + c.Measure.Seconds()
		m := play(k, rate, from, to, rand.New(rand.NewPCG(r.Uint64(), 0)))
		first, second := p99(&m.halves[0]), p99(&m.halves[1])
		return search.Outcome{
			Offered: m.offered, Acked: m.completed, Consumed: m.completed, Samples: m.all.Count(),
			P99:    p99(&m.all),
			Steady: max(first, second) < 2*min(first, second),
		}, nil
	}
}

// batches makes a kind of a batcher.
func batches(name string, knee float64, slo time.Duration, b batcher) kind {
	return kind{name, knee, slo, false, func(r *rand.Rand, done func(arrived, finished float64)) func(float64) {
		var line []float64
		s := b
		s.rand = r
		s.done = func(n int, at float64) {
			for _, arrived := range line[:n] {
				done(arrived, at)
			}
			line = append(line[:0], line[n:]...)
		}
		return func(at float64) {
			line = append(line, at)
			s.add(at)
		}
	}}
}

func kinds() []kind {
	const ms = time.Millisecond
	exponential := func(r *rand.Rand, mean float64) func() float64 {
		return func() float64 { return mean * r.ExpFloat64() }
	}
	return []kind{
		plain("M/M/1", 951.0, 100*ms, true, func(r *rand.Rand) server { return newQueue(1, exponential(r, 1.0/1000)) }),
		plain("M/D/1", 1951.6, 50*ms, true, func(*rand.Rand) server { return newQueue(1, func() float64 { return 1.0 / 2000 }) }),
		plain("M/M/8", 374.2, 200*ms, true, func(r *rand.Rand) server { return newQueue(8, exponential(r, 0.02)) }),
		plain("D/M/1, slow", 287.0, 200*ms, false, func(r *rand.Rand) server { return newQueue(1, exponential(r, 1.0/300)) }),
		plain("garbage collection", 1220.9, 80*ms, false, func(r *rand.Rand) server {
			q := newQueue(4, exponential(r, 4.0/1500))
			q.pause = &pauses{rand: r, every: 0.4, last: 0.03}
			return q
		}),
		plain("lognormal work", 956.2, 150*ms, true, func(r *rand.Rand) server {
			return newQueue(2, func() float64 { return 2.0 / 1000 * math.Exp(r.NormFloat64()-0.5) })
		}),
		plain("a speed that wanders", 958.8, 200*ms, false, func(r *rand.Rand) server { return newQueue(1, drifting(r, 1.0/1000, 0.05)) }),
		batches("batches", 2588.1, 100*ms, batcher{linger: 0.04, each: 0.008, per: 1.0 / 4000, most: 64}),
		plain("a hard quota", 1200.4, 100*ms, false, func(*rand.Rand) server { return &quota{rate: 1200, burst: 50} }),
	}
}
