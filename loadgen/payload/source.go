package payload

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// chunk is the length in which random and repeating bytes alternate: short enough that every compressor's window sees the repeats, long
// enough that the compressor's own cost per match does not spoil the target.
const chunk = 1024

// filler is what repeats. It is readable, and short because a compressor pays for its first occurrence, which tells in a batch of one record.
const filler = "kafkalab loadgen "

// Values makes the values of n records, side by side in memory, and leaves the first head bytes of each for a stamp. The configuration must
// be valid; different streams give different bytes. The sizes are not n independent draws but one from each nth part of the distribution,
// in random order: records that take turns with a few values then still have the sizes asked for.
func Values(c Config, stream uint64, n, head int) [][]byte {
	s := source{repeats: repeats(c.Compressible), rand: rand.New(rand.NewPCG(c.Seed, stream))}
	for i := range s.text {
		s.text[i] = filler[i%len(filler)]
	}
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
		s.fill(values[i], min(head, size))
	}
	return values
}

// source writes values one after the other.
type source struct {
	repeats float64 // part of a value that repeats
	rand    *rand.Rand
	text    [chunk]byte
}

// A stamp's times, counts and checksums do not compress, the rest of it does: this part of it is as good as random.
const headNoise = 0.5

// Snappy writes three bytes for at most 64 that repeat, the others next to nothing. To keep it within tolerance of a high target, a little
// more repeats than the target says.
const (
	snappyCost = 0.053
	tolerance  = 0.022
)

func repeats(target float64) float64 {
	return min(1, target+max(0, target*snappyCost-tolerance))
}

// fill writes value[head:]. Each chunk ends with its part of the random bytes; what is before repeats.
func (s *source) fill(value []byte, head int) {
	body := value[head:]
	random := max(0, float64(len(value))*(1-s.repeats)-float64(head)*headNoise)
	for from, done := 0, 0; from < len(body); from += chunk {
		part := body[from:min(from+chunk, len(body))]
		upTo := int(math.Round(random * float64(from+len(part)) / float64(len(body))))
		noise := min(upTo-done, len(part))
		s.noise(part[copy(part[:len(part)-noise], s.text[:]):])
		done += noise
	}
}

func (s *source) noise(b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, s.rand.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(s.rand.Uint32())
	}
}
