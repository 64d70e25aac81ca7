package search

import (
	"fmt"
	"slices"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// Outcome of an earlier trial, as far as the search cares.
type Outcome int

// The outcomes.
const (
	Better       Outcome = iota // kept
	NotBetter                   // taken back; no clear difference
	Worse                       // taken back; clearly worse, or the broker did not come up
	Inconclusive                // not measured; says nothing about the configuration
)

// Tried is one earlier trial, in order.
type Tried struct {
	Knob    string
	Point   space.Point // the whole configuration of the candidate
	From    int64
	Outcome Outcome
}

// Proposal is one knob's change.
type Proposal struct {
	Knob     string
	From, To int64
	Reason   string
}

// Problem is everything that the choice depends on.
type Problem struct {
	Knobs     []space.Knob // in the order in which they are tried
	Incumbent space.Point
	Tried     []Tried
	Memory    int64 // of the container, bytes; 0: not known
}

const (
	inconclusiveTries = 2 // a configuration whose measurement failed twice is left alone: a third try would cost another restart
	reach             = 2 // steps; past a neighbour that made no clear difference a plateau may end
)

// Next is the next change to try, or false with the reason why there is none.
//
// Knob after knob, the neighbouring step is tried, first upward for all, then downward; a knob whose change was kept is moved on in the same direction
// at once. A step that made no clear difference is no answer yet: what it does may be within the noise, and what a larger one does not. So the second
// step is tried in the same direction before the knob is left.
func Next(p Problem) (Proposal, string, bool) {
	seen := index(p.Tried)
	for turn := range 2 {
		for _, k := range order(p) {
			dir := directions(p, k.Name)[turn]
			for distance := 1; distance <= reach && (distance == 1 || seen.flat(p.Incumbent, k, dir)); distance++ {
				to, ok := step(k, p.Incumbent[k.Name], dir*distance)
				if !ok || k.Check(to, p.Memory) != nil || !seen.open(p.Incumbent.With(k.Name, to)) {
					continue
				}
				return Proposal{Knob: k.Name, From: p.Incumbent[k.Name], To: to, Reason: reason(k, dir, distance)}, "", true
			}
		}
	}
	return Proposal{}, fmt.Sprintf("every step next to %s was tried and none is better", p.Incumbent.Key()), false
}

func reason(k space.Knob, dir, distance int) string {
	way := "up"
	if dir < 0 {
		way = "down"
	}
	if distance == 1 {
		return fmt.Sprintf("next step %s of %s", way, k.Name)
	}
	return fmt.Sprintf("two steps %s of %s, since one made no clear difference", way, k.Name)
}

// order starts with the knob of the last trial, so that a knob is followed to its end before the next one is taken up.
func order(p Problem) []space.Knob {
	if len(p.Tried) == 0 {
		return p.Knobs
	}
	last := p.Tried[len(p.Tried)-1].Knob
	i := slices.IndexFunc(p.Knobs, func(k space.Knob) bool { return k.Name == last })
	if i < 0 {
		return p.Knobs
	}
	return slices.Concat(p.Knobs[i:], p.Knobs[:i])
}

// directions is upward first, unless the last change of this knob that was kept went down.
func directions(p Problem, knob string) [2]int {
	for _, t := range slices.Backward(p.Tried) {
		if t.Knob == knob && t.Outcome == Better {
			if t.Point[knob] < t.From {
				return [2]int{-1, 1}
			}
			break
		}
	}
	return [2]int{1, -1}
}

// step is the value n steps away. A value between two steps (set by somebody else) has the nearest step on either side as its neighbours.
func step(k space.Knob, from int64, n int) (int64, bool) {
	i, exact := slices.BinarySearch(k.Steps, from)
	switch {
	case n > 0 && exact:
		i += n
	case n > 0:
		i += n - 1
	default:
		i += n
	}
	if i < 0 || i >= len(k.Steps) {
		return 0, false
	}
	return k.Steps[i], true
}

type history map[string][]Outcome

func index(tried []Tried) history {
	h := history{}
	for _, t := range tried {
		h[t.Point.Key()] = append(h[t.Point.Key()], t.Outcome)
		if t.Outcome == Better {
			// What was left for something better is known to be worse than the incumbent.
			before := t.Point.With(t.Knob, t.From).Key()
			h[before] = append(h[before], Worse)
		}
	}
	return h
}

// open says whether the configuration may be tried (again).
func (h history) open(p space.Point) bool {
	inconclusive := 0
	for _, o := range h[p.Key()] {
		if o != Inconclusive {
			return false
		}
		inconclusive++
	}
	return inconclusive < inconclusiveTries
}

// flat says whether the neighbour in this direction was tried and made no clear difference.
func (h history) flat(incumbent space.Point, k space.Knob, dir int) bool {
	next, ok := step(k, incumbent[k.Name], dir)
	return ok && slices.Contains(h[incumbent.With(k.Name, next).Key()], NotBetter)
}
