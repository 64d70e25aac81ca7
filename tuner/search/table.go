package search

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// table knows the configurations there are, and where each is as numbers for the model.
type table struct {
	space  space.Space
	pod    space.Pod
	pool   []space.Point
	keys   []string       // of the pool
	known  map[string]int // of the pool, by key
	coded  [][]float64    // of the pool, encoded
	levels [][]int64      // of each knob, ascending, without special values
	groups []int          // of each column: its knob
	first  []int          // of each knob: its first column
	spare  []bool         // of each knob: has a last column for not being active
}

// few is up to how many steps of a knob are taken for evenly spread: who chose them chose those that differ.
const few = 24

func newTable(c Config) (*table, error) {
	t := &table{space: c.Space, pod: c.Pod, known: map[string]int{}}
	for _, p := range c.Pool {
		p = c.Space.Canonical(p)
		if _, twice := t.known[p.Key()]; !twice {
			t.known[p.Key()] = len(t.pool)
			t.keys = append(t.keys, p.Key())
			t.pool = append(t.pool, p)
		}
	}
	if c.Pool != nil && len(t.pool) == 0 {
		return nil, fmt.Errorf("new search: want a configuration to choose from (got none)")
	}
	for i, k := range c.Space.Knobs {
		t.levels = append(t.levels, t.levelsOf(k))
		t.first = append(t.first, len(t.groups))
		columns := 1
		if k.Named() {
			columns = len(k.Choices)
		}
		columns += len(k.Special)
		t.spare = append(t.spare, k.When != nil)
		if k.When != nil {
			columns++
		}
		for range columns {
			t.groups = append(t.groups, i)
		}
	}
	for _, p := range t.pool {
		t.coded = append(t.coded, t.encode(p))
	}
	return t, nil
}

func (t *table) levelsOf(k space.Knob) []int64 {
	if t.pool == nil {
		all := k.Levels()
		return all[:len(all)-len(k.Special)]
	}
	var out []int64
	for _, p := range t.pool {
		if v := p[k.Name]; !slices.Contains(k.Special, v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// encode is a point's columns: a number's place between its least and its greatest value, a choice and a special value as one of their own.
func (t *table) encode(p space.Point) []float64 {
	const apart = math.Sqrt2 / 2 // two choices are as far apart as the ends of a number
	x := make([]float64, len(t.groups))
	for i, k := range t.space.Knobs {
		at, v := t.first[i], p[k.Name]
		numbers := 1
		if k.Named() {
			numbers = len(k.Choices)
		}
		special := slices.Index(k.Special, v)
		switch {
		case t.spare[i] && !t.space.Active(k, p):
			x[at+numbers+len(k.Special)] = apart
		case special >= 0:
			x[at+numbers+special] = apart
		case k.Named():
			x[at+int(min(max(v, 0), int64(numbers-1)))] = apart
		default:
			x[at] = t.place(i, v)
		}
	}
	return x
}

func (t *table) place(knob int, v int64) float64 {
	levels, k := t.levels[knob], t.space.Knobs[knob]
	if len(levels) < 2 {
		return 0
	}
	low, high := float64(levels[0]), float64(levels[len(levels)-1])
	if len(levels) <= few && (t.pool != nil || len(k.Steps) > 0) {
		i, exact := slices.BinarySearch(levels, v)
		at := float64(i)
		if !exact && i > 0 && i < len(levels) {
			at = float64(i-1) + (float64(v)-float64(levels[i-1]))/(float64(levels[i])-float64(levels[i-1]))
		}
		return min(at/float64(len(levels)-1), 1)
	}
	if k.Log && low > 0 && v > 0 {
		return math.Log(float64(v)/low) / math.Log(high/low)
	}
	return (float64(v) - low) / (high - low)
}

// rng is the same for the same seed, purpose and number of trials.
func rng(seed uint64, purpose string, trials int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", purpose, trials)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// allowed says whether a point may be suggested, and gives it as it is called.
func (t *table) allowed(p space.Point) (space.Point, bool) {
	p = t.space.Canonical(p)
	if t.pool != nil {
		_, there := t.known[p.Key()]
		return p, there
	}
	return p, t.space.Allows(p, t.pod)
}

// randomly draws a point, evenly over each knob's levels.
func (t *table) randomly(r *rand.Rand) (space.Point, bool) {
	if t.pool != nil {
		return t.pool[r.IntN(len(t.pool))], true
	}
	return t.freely(r)
}

// any value of a knob; a special one as often as an ordinary one, up to a fifth of the time.
func (t *table) any(r *rand.Rand, knob int) int64 {
	levels, special := t.levels[knob], t.space.Knobs[knob].Special
	if n := len(special); n > 0 && r.Float64() < min(0.2*float64(n), float64(n)/float64(n+len(levels)), 0.5) {
		return special[r.IntN(n)]
	}
	return levels[r.IntN(len(levels))]
}

// line is p with each other value of one knob, in order.
func (t *table) line(p space.Point, knob int) []space.Point {
	k := t.space.Knobs[knob]
	var out []space.Point
	for _, v := range append(slices.Clone(t.levels[knob]), k.Special...) {
		if q, ok := t.allowed(p.With(k.Name, v)); ok && v != p[k.Name] && q[k.Name] == v {
			out = append(out, q)
		}
	}
	return out
}

// freely draws any combination of levels inside the limits, whether the pool has it or not.
func (t *table) freely(r *rand.Rand) (space.Point, bool) {
	for range 1000 {
		p := space.Point{}
		for i, k := range t.space.Knobs {
			p[k.Name] = t.any(r, i)
		}
		if p = t.space.Canonical(p); t.space.Allows(p, t.pod) {
			return p, true
		}
	}
	return nil, false
}
