package judge

import (
	"math"
	"slices"
)

// sums are what a statistic needs of an order, added over blocks: each metric's values, and the blocks' places in their rounds, times +½ for
// the candidate's and −½ for the incumbent's.
type sums struct{ goodput, latency, place float64 }

func (s sums) plus(o sums) sums {
	return sums{s.goodput + o.goodput, s.latency + o.latency, s.place + o.place}
}

// test counts orders. At each look the orders that make the candidate look best are put on the list of those that count as a gain, as many as Alpha allows up
// to there. The order in fact drawn is one of them with a probability of at most Alpha, whatever the values are, as long as they do not depend on it.
type test struct {
	alpha  float64
	rounds int     // planned
	looks  int     // done
	index  int     // of the drawn order among those of the looks done: the last round's order counts singly
	listed []bool  // of each order, whether it is on the list
	p      float64 // share of the orders that were listed before or look as good as the drawn one, when this came on the list, else now
}

// reserve is the part of Alpha that is not spent, for what a caller does less exactly than it should.
const reserve = 0.1

func newTest(alpha float64, rounds int) *test {
	return &test{alpha: alpha * (1 - reserve), rounds: rounds, listed: []bool{false}, p: 1}
}

// spendPower shapes how much of Alpha is spent by a look: so much that after 8 of 20 blocks a gain can be clear.
const spendPower = 1.2

func (t *test) quota(count int) int {
	share := math.Pow(float64(planned(t.looks))/float64(planned(t.rounds)), spendPower)
	return int(t.alpha*share*float64(count) + 1e-9)
}

// MinRounds is how many rounds it takes until there are orders enough for alpha; more than MaxRounds: there never are.
func MinRounds(alpha float64) int {
	count := len(orders(0))
	for rounds := 1; rounds <= MaxRounds; rounds++ {
		if alpha*(1-reserve)*float64(count) >= 1 {
			return rounds
		}
		count *= len(orders(rounds))
	}
	return MaxRounds + 1
}

// look takes a further round, drawn in the order given, and says whether the candidate's gain is clear. values holds the sums of each round so far in each
// order; score says how good the candidate looks by the sums of a whole order, −Inf: never a gain.
func (t *test) look(drawn int, values [][]sums, score func(sums) float64) bool {
	last := len(values[len(values)-1])
	before, index := t.listed, t.index*last+drawn
	t.looks++
	scores := make([]float64, 0, len(before)*last)
	var walk func(round int, s sums)
	walk = func(round int, s sums) {
		if round == len(values) {
			scores = append(scores, score(s))
			return
		}
		for o := range values[round] {
			walk(round+1, s.plus(values[round][o]))
		}
	}
	walk(0, sums{})
	listed := make([]bool, len(scores))
	free := make([]float64, 0, len(scores))
	already, as := 0, 0
	for i, s := range scores {
		if before[i/last] {
			listed[i] = true
			already++
			continue
		}
		free = append(free, s)
		if s >= scores[index] {
			as++
		}
	}
	t.listed, t.index = listed, index
	if listed[index] {
		return true
	}
	t.p = float64(already+as) / float64(len(scores))
	room := t.quota(len(scores)) - already
	if t.looks < t.rounds { // nobody asks for the list after the last look
		if bar, ok := best(free, room); ok {
			for i := range scores {
				listed[i] = listed[i] || scores[i] >= bar
			}
		}
	}
	return as <= room && scores[index] > 0
}

// best is the score that at most n scores reach: all that look the same are in or out together, and what does not look better than the incumbent is out.
func best(scores []float64, n int) (bar float64, ok bool) {
	if n <= 0 {
		return 0, false
	}
	slices.Sort(scores)
	at := len(scores) - n // n scores from here on
	if bar = scores[at]; scores[at-1] == bar {
		bar = math.Nextafter(bar, math.Inf(1))
	}
	bar = max(bar, math.SmallestNonzeroFloat64)
	return bar, bar <= scores[len(scores)-1]
}
