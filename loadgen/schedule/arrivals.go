package schedule

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// arrivals is one share of a Poisson process: records whose distances, as a curve counts, are independent and exponentially distributed.
// Where the curve rises faster they come faster, so a change of rate needs no new draw.
type arrivals struct {
	next  walk // at the record to be taken next
	ahead walk // as far as due has looked
}

// newArrivals is the process of one share. The shares' processes are independent; together they are one of the whole rate.
func newArrivals(share, of int, seed uint64) *arrivals {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(share))
	binary.LittleEndian.PutUint64(key[16:], uint64(of))
	a := &arrivals{next: walk{random: *rand.NewChaCha8(key), mean: float64(of)}}
	a.next.step()
	a.ahead = a.next
	return a
}

// due is how many records from the next on are intended up to t. What was counted before is not counted again unless t goes back.
func (a *arrivals) due(c curve, t time.Duration) uint64 {
	if a.ahead.n < a.next.n || c.at(a.ahead.last) > t {
		a.ahead = a.next
	}
	for c.at(a.ahead.at) <= t {
		a.ahead.step()
	}
	return a.ahead.n - a.next.n
}

// walk stands at record n of a process.
type walk struct {
	random   rand.ChaCha8
	mean     float64 // distance
	n        uint64
	last, at pair // where the record before is, and this one
}

func (w *walk) step() {
	w.n, w.last = w.n+1, w.at
	w.at = w.at.plus(pair{hi: w.mean * rand.New(&w.random).ExpFloat64()})
}
