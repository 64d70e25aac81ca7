package payload

import (
	"math"
	"math/rand/v2"
)

// Source makes values one after the other. One goroutine uses it.
type Source struct {
	c    Config
	rand *rand.Rand
	text [chunk]byte
}

// chunk is the length in which random and repeating bytes alternate: short enough that every compressor's window sees the repeats, long
// enough that the compressor's own cost per match does not spoil the target.
const chunk = 1024

// NewSource gives stream number n of a valid configuration; different streams give different bytes.
func NewSource(c Config, n uint64) *Source {
	s := &Source{c: c, rand: rand.New(rand.NewPCG(c.Seed, n))}
	for i := range s.text {
		s.text[i] = byte(' ' + i%95) // printable, so that a console consumer stays readable
	}
	return s
}

// Values makes the values of n records, side by side in memory, and leaves the first head bytes of each as they are for a stamp. Their
// sizes are not n independent draws but one from each nth part of the distribution, in random order: records that take turns with a few
// values then still have the sizes asked for.
func Values(c Config, stream uint64, n, head int) [][]byte {
	s := NewSource(c, stream)
	sizes := make([]int, n)
	total := 0
	for i := range sizes {
		sizes[i] = c.size((float64(i) + s.rand.Float64()) / float64(n))
		total += sizes[i]
	}
	s.rand.Shuffle(n, func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
	arena := make([]byte, total)
	values := make([][]byte, n)
	for i, size := range sizes {
		values[i], arena = arena[:size:size], arena[size:]
		s.Fill(values[i][min(head, size):])
	}
	return values
}

// Size draws the next size.
func (s *Source) Size() int { return s.c.size(s.rand.Float64()) }

// Fill writes a body.
func (s *Source) Fill(body []byte) {
	for len(body) > 0 {
		part := body[:min(chunk, len(body))]
		random := int(math.Round(float64(len(part)) * (1 - s.c.Compressible)))
		s.noise(part[:random])
		copy(part[random:], s.text[:])
		body = body[len(part):]
	}
}

func (s *Source) noise(b []byte) {
	for len(b) >= 8 {
		v := s.rand.Uint64()
		for i := range 8 {
			b[i] = byte(v >> (8 * i))
		}
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(s.rand.Uint32())
	}
}
