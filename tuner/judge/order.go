package judge

import (
	"math/bits"
	"math/rand/v2"
)

// The first round is long, so that there are orders enough for a clear gain to be clear after it: 70, while two short ones have 36.
const (
	firstRound = 8
	laterRound = 4
)

// bounds are a round's first block and the one after its last.
func bounds(round int) (from, to int) {
	if round == 0 {
		return 0, firstRound
	}
	from = firstRound + (round-1)*laterRound
	return from, from + laterRound
}

// planned is how many blocks the rounds have.
func planned(rounds int) int {
	_, to := bounds(rounds - 1)
	return to
}

// Blocks is how many blocks so many rounds can take. When a gain is clear the candidate is deployed until it has stood often enough.
func Blocks(rounds int) int { return max(planned(rounds), planned(1)/2+stood) }

// complete is how many rounds n blocks fill.
func complete(n int) int {
	if n < firstRound {
		return 0
	}
	return (n-firstRound)/laterRound + 1
}

// orders are those of a round: bit i is set when block i is the candidate's, as half of them are.
func orders(round int) []uint8 {
	from, to := bounds(round)
	var out []uint8
	for o := range 1 << (to - from) {
		if bits.OnesCount(uint(o)) == (to-from)/2 {
			out = append(out, uint8(o))
		}
	}
	return out
}

// draw draws each round's order independently and uniformly, which is what the test counts on, as indexes of orders.
func draw(seed uint64, rounds int) []int {
	r := rand.New(rand.NewPCG(seed, 0x6a75646765))
	out := make([]int, rounds)
	for i := range out {
		out[i] = r.IntN(len(orders(i)))
	}
	return out
}

// place of a block in its round, in steps from the middle.
func place(block int) float64 {
	if block < firstRound {
		return float64(block) - (firstRound-1)/2.
	}
	return float64((block-firstRound)%laterRound) - (laterRound-1)/2.
}
