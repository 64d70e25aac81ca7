package slo_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/slo"
)

const (
	settled = 120.0 // when the capacity moves
	held    = 60.0  // over which a rate is judged
)

// run is a controller with a server whose capacity is multiplied by moved at the time settled.
func run(t testing.TB, s shape, capacity, moved, length float64, seed uint64) *trace {
	t.Helper()
	q := s.make(func(at float64) float64 {
		if at >= settled {
			return capacity * moved
		}
		return capacity
	}, rand.New(rand.NewPCG(seed, 1)))
	q.patience = max(1, 2*s.slo.Seconds())
	return simulate(t, slo.Config{SLO: s.slo, Start: 100, Min: 10, Max: 1e6}, q, length)
}

// The knee is the highest constant rate whose P99 over a long run of the same server meets the SLO. The swing is (P95 − P5)/median of the
// rate over a minute.
func TestTheRateIsHeldAtTheKneeWhereverItMoves(t *testing.T) {
	const seeds = 3
	for _, s := range shapes() {
		for _, capacity := range s.capacities {
			t.Run(fmt.Sprintf("%s of %.0f per s", s.name, capacity), func(t *testing.T) {
				t.Parallel()
				at := map[float64]float64{}
				for _, m := range []float64{0.5, 1, 1.5, 2} {
					at[m] = knee(s, m*capacity)
				}
				var swings []float64
				for seed := range uint64(seeds) {
					for _, moved := range []float64{0.5, 1.5, 2} {
						tr := run(t, s, capacity, moved, settled+2*held, seed)
						for _, span := range []struct{ from, to, knee float64 }{
							{held - 10, held, at[1]}, {held, settled, at[1]}, {settled + held - 10, settled + held, at[moved]}, {settled + held, settled + 2*held, at[moved]},
						} {
							mean, swing := tr.held(span.from, span.to)
							if math.Abs(mean/span.knee-1) > 0.05 {
								t.Errorf("seed %d, capacity times %v: got a mean rate of %.0f/s from %v s to %v s, want within 5%% of %.0f/s", seed, moved, mean, span.from, span.to, span.knee)
							}
							if span.to-span.from == held {
								swings = append(swings, swing)
							}
						}
						if over := tr.over(held, settled); over > 0.01 {
							t.Errorf("seed %d: got %.2f%% of the records above %v while the rate was held, want at most 1%%", seed, over*100, s.slo)
						}
						// What has queued up by the time that a fall shows takes as long again to drain.
						if late := tr.over(settled, settled+held) * tr.done(settled, settled+held) / at[moved]; late > 5 {
							t.Errorf("seed %d, capacity times %v: got %.1f s worth of records above %v, want at most 5 s", seed, moved, late, s.slo)
						}
					}
				}
				slices.Sort(swings)
				half, most := swings[len(swings)/2], swings[len(swings)*9/10]
				if half > 0.09 || most > 0.12 {
					t.Errorf("got a swing of up to %.1f%% in half of the minutes and %.1f%% in nine of ten, want 9%% and 12%%", half*100, most*100)
				}
				t.Logf("knee %.3f of the capacity, swing up to %.1f%% in half of the minutes, %.1f%% in nine of ten", at[1]/capacity, half*100, most*100)
			})
		}
	}
}

func TestAFastServerIsFilledWithinHalfAMinute(t *testing.T) {
	s := shapes()[1]
	const capacity = 200_000
	tr := run(t, s, capacity, 1, held/2, 1)
	if mean, _ := tr.held(held/2-10, held/2); math.Abs(mean/capacity-1) > 0.05 {
		t.Errorf("got a mean rate of %.0f/s, want within 5%% of %d/s", mean, capacity)
	}
}

// A restart costs the controller little: it is back within 30 s, whatever the server can do afterwards.
func TestAfterAnOutageTheNewCapacityIsFilled(t *testing.T) {
	for _, s := range shapes() {
		for _, moved := range []float64{0.5, 1, 3} {
			t.Run(fmt.Sprintf("%s times %v", s.name, moved), func(t *testing.T) {
				t.Parallel()
				const capacity, down = 2000.0, 10.0
				q := s.make(func(at float64) float64 {
					if at >= settled {
						return capacity * moved
					}
					return capacity
				}, rand.New(rand.NewPCG(1, 1)))
				q.patience = max(1, 2*s.slo.Seconds())
				pause := q.pause
				q.pause = func(at float64) float64 {
					if at = pause(at); at > settled-down && at < settled {
						return settled
					}
					return at
				}
				tr := simulate(t, slo.Config{SLO: s.slo, Start: 100, Min: 10, Max: 1e6}, q, settled+held)
				want := knee(s, moved*capacity)
				mean, _ := tr.held(settled+15, settled+30)
				if math.Abs(mean/want-1) > 0.07 {
					t.Errorf("got a mean rate of %.0f/s from 15 s to 30 s after the outage, want within 7%% of %.0f/s", mean, want)
				}
				if !slices.Contains(tr.state, slo.Outage) {
					t.Error("the outage was not noticed")
				}
				for i, r := range tr.rate {
					if tr.at[i] > settled && r > 0.95*want && moved >= 1 {
						t.Logf("95%% of the new knee after %.2f s", tr.at[i]-settled)
						break
					}
				}
			})
		}
	}
}

// A JVM that has just started is slow, stands still now and then, and gets faster as its code is compiled. A limit met on the way is none.
func TestAColdServerIsFollowedAsItGetsFaster(t *testing.T) {
	const capacity, down, warm, stop, seeds = 1500.0, 10.0, 30.0, 0.15, 8
	for _, s := range shapes()[2:4] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			want := knee(s, capacity)
			for seed := range uint64(seeds) {
				age := func(at float64) float64 {
					if at >= settled {
						return at - settled
					}
					return at
				}
				r := rand.New(rand.NewPCG(seed, 1))
				q := s.make(func(at float64) float64 { return capacity * (1 - 0.65*math.Exp(-age(at)/(warm/3))) }, r)
				q.patience = max(1, 2*s.slo.Seconds())
				next := 1.0
				q.pause = func(at float64) float64 {
					if at > settled-down && at < settled {
						return settled
					}
					for next+stop < at {
						next += stop + r.ExpFloat64()*3
					}
					if at > next && age(at) < warm {
						return next + stop
					}
					return at
				}
				tr := simulate(t, slo.Config{SLO: s.slo, Start: 100, Min: 10, Max: 1e6}, q, settled+held+30)
				for _, from := range []float64{warm + 20, settled + warm + 20} {
					mean, _ := tr.held(from, from+20)
					if math.Abs(mean/want-1) > 0.07 {
						t.Errorf("seed %d: got a mean rate of %.0f/s from %v s on, 10 s after the server was warm, want within 7%% of %.0f/s", seed, mean, from, want)
					}
				}
			}
		})
	}
}

// over is the part of the records done between two times that took longer than the SLO.
func (tr *trace) over(from, to float64) float64 {
	d := tr.between(from, to)
	return d.Over(tr.slo)
}

func (tr *trace) done(from, to float64) float64 {
	d := tr.between(from, to)
	return float64(d.Count())
}

func (tr *trace) between(from, to float64) *hist.Snapshot {
	d := &hist.Snapshot{}
	d.Merge(tr.marks[to])
	d.Sub(tr.marks[from])
	return d
}
