// Package payload makes the bodies of records in advance, so that sending costs no generation.
//
// It promises: same Config and same stream, same bytes; sizes drawn from the distribution asked for; a body of which the given part
// compresses away (within a few points for lz4 and zstd from about 1 KB on). It leaves out keys and bodies from files.
package payload

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// Distribution says how sizes vary.
type Distribution string

// The distributions. Lognormal has the mean Mean and the spread Sigma (of the logarithm), cut off at Min and Max.
const (
	Fixed     Distribution = "fixed"
	Uniform   Distribution = "uniform"
	Lognormal Distribution = "lognormal"
)

// Config describes bodies. Sizes are bytes and count the whole value, stamp included, so that a "1 KB record" is one.
type Config struct {
	Distribution Distribution `yaml:"distribution"`
	Bytes        int          `yaml:"bytes"`           // fixed: the size; lognormal: the mean
	Min          int          `yaml:"min"`             // uniform, lognormal
	Max          int          `yaml:"max"`             // uniform, lognormal
	Sigma        float64      `yaml:"sigma"`           // lognormal
	Compressible float64      `yaml:"compressibility"` // 0 nothing compresses away, 1 everything
	Seed         uint64       `yaml:"seed"`
}

// Limit is the largest size allowed: Kafka's default message.max.bytes with room for the batch around it.
const Limit = 1_000_000

// Validate reports every problem; smallest is the least size a value may have.
func (c Config) Validate(smallest int) error {
	var errs []error
	bad := func(field, problem string, got any) {
		errs = append(errs, fmt.Errorf("%s: %s (got %v)", field, problem, got))
	}
	size := func(field string, n int) {
		if n < smallest || n > Limit {
			bad(field, fmt.Sprintf("must be within %d..%d bytes", smallest, Limit), n)
		}
	}
	switch c.Distribution {
	case Fixed:
		size("bytes", c.Bytes)
		if c.Min != 0 {
			bad("min", "has no meaning with distribution fixed", c.Min)
		}
		if c.Max != 0 {
			bad("max", "has no meaning with distribution fixed", c.Max)
		}
	case Uniform, Lognormal:
		size("min", c.Min)
		size("max", c.Max)
		if c.Min > c.Max {
			bad("min", fmt.Sprintf("must not exceed max %d", c.Max), c.Min)
		}
		if c.Distribution == Lognormal && (c.Bytes < c.Min || c.Bytes > c.Max) {
			bad("bytes", fmt.Sprintf("the mean must be within min..max, %d..%d", c.Min, c.Max), c.Bytes)
		}
		if c.Distribution == Uniform && c.Bytes != 0 {
			bad("bytes", "has no meaning with distribution uniform", c.Bytes)
		}
	default:
		bad("distribution", "must be fixed, uniform or lognormal", fmt.Sprintf("%q", c.Distribution))
	}
	if c.Distribution == Lognormal && !(c.Sigma > 0 && c.Sigma <= 4) {
		bad("sigma", "must be above 0 and at most 4", c.Sigma)
	}
	if c.Distribution != Lognormal && c.Sigma != 0 {
		bad("sigma", "has a meaning with distribution lognormal only", c.Sigma)
	}
	if !(c.Compressible >= 0 && c.Compressible <= 1) {
		bad("compressibility", "must be within 0..1", c.Compressible)
	}
	return errors.Join(errs...)
}

// MaxBytes is the largest size the distribution can give.
func (c Config) MaxBytes() int {
	if c.Distribution == Fixed {
		return c.Bytes
	}
	return c.Max
}

// MeanBytes is the expected size, before the cut-off of lognormal.
func (c Config) MeanBytes() int {
	if c.Distribution == Uniform {
		return (c.Min + c.Max) / 2
	}
	return c.Bytes
}

// Source makes values one after the other. One goroutine uses it.
type Source struct {
	c    Config
	rand *rand.Rand
	text [chunk]byte
}

// chunk is the length in which random and repeating bytes alternate: short enough that every compressor's window sees the repeats, long
// enough that the compressor's own cost per match does not spoil the target.
const chunk = 1024

// NewSource gives stream number n of the configuration; different streams give different bytes.
func NewSource(c Config, n uint64) *Source {
	s := &Source{c: c, rand: rand.New(rand.NewPCG(c.Seed, n))}
	for i := range s.text {
		s.text[i] = byte(' ' + i%95) // printable, so that a console consumer stays readable
	}
	return s
}

// Size draws the next size.
func (s *Source) Size() int {
	switch s.c.Distribution {
	case Uniform:
		return s.c.Min + s.rand.IntN(s.c.Max-s.c.Min+1)
	case Lognormal:
		mu := math.Log(float64(s.c.Bytes)) - s.c.Sigma*s.c.Sigma/2 // so that the mean, not the median, is Bytes
		size := math.Exp(mu + s.c.Sigma*s.rand.NormFloat64())
		return int(min(max(size, float64(s.c.Min)), float64(s.c.Max)))
	default:
		return s.c.Bytes
	}
}

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
