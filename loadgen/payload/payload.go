// Package payload makes the values of records in advance, so that sending costs no generation.
//
// It promises: same Config and same stream, same bytes on the same kind of processor; sizes that follow the distribution asked for, in
// every set of values as closely as their number allows; values of which the given part compresses away. In batches of 64 KB that is true
// within three points for gzip, snappy, lz4 and zstd alike, from 1 KB on, up to 0.95, beyond which snappy cannot go; with a stamp in the
// value, which compresses to about a half whatever the target, from 4 KB on, and from 1 KB on for targets of 0.25 to 0.75. It leaves out keys
// and stamps.
package payload

import (
	"errors"
	"fmt"
	"math"
)

// Distribution says how sizes vary.
type Distribution string

// The distributions.
const (
	Fixed     Distribution = "fixed"     // Bytes
	Uniform   Distribution = "uniform"   // Min to Max
	Lognormal Distribution = "lognormal" // mean Bytes, Sigma of the logarithm; nothing below Min or above Max
	File      Distribution = "file"      // as in a file of sizes
)

// Placement says where the stamp of a record goes.
type Placement string

// The placements. In the value the stamp counts as part of the size; in the header the value is opaque and may be empty.
const (
	InValue  Placement = "value"
	InHeader Placement = "header"
)

// Config describes values. Sizes are bytes and count the whole value, so that a "1 KB record" is one.
type Config struct {
	Distribution Distribution `yaml:"distribution"`
	Bytes        int          `yaml:"bytes"`           // fixed: the size; lognormal: the mean, before the cut at Min and Max
	Min          int          `yaml:"min"`             // uniform, lognormal
	Max          int          `yaml:"max"`             // uniform, lognormal
	Sigma        float64      `yaml:"sigma"`           // lognormal
	File         string       `yaml:"file"`            // file: its name; ReadSizes says what is in it
	Compressible float64      `yaml:"compressibility"` // 0 nothing compresses away, 1 everything
	Stamp        Placement    `yaml:"stamp"`           // value when empty
	Seed         uint64       `yaml:"seed"`
	Sizes        *Sizes       `yaml:"-"` // file: what was read from it
}

// Limit is the largest size allowed: Kafka's default message.max.bytes with room for the batch around it.
const Limit = 1_000_000

// Smallest is the least size a value may have when a stamp takes the given number of bytes.
func (c Config) Smallest(stamp int) int {
	if c.Stamp == InHeader {
		return 0
	}
	return stamp
}

// Validate reports every problem as `field: problem (got value)`; stamp is how many bytes a stamp takes.
func (c Config) Validate(stamp int) error {
	var p problems
	size := func(field string, n int) {
		if smallest := c.Smallest(stamp); n < smallest || n > Limit {
			p.add(field, fmt.Sprintf("must be within %d..%d bytes", smallest, Limit), n)
		}
	}
	switch c.Distribution {
	case Fixed:
		size("bytes", c.Bytes)
	case Uniform, Lognormal:
		size("min", c.Min)
		size("max", c.Max)
		if c.Min > c.Max {
			p.add("min", fmt.Sprintf("must not exceed max %d", c.Max), c.Min)
		}
	case File:
		if c.File == "" {
			p.add("file", "must name a file of sizes with distribution file", `""`)
		} else if c.Sizes == nil {
			p.add("file", "must have been read", fmt.Sprintf("%q", c.File))
		}
	default:
		p.add("distribution", "must be one of fixed, uniform, lognormal, file", fmt.Sprintf("%q", c.Distribution))
		return errors.Join(p...)
	}
	if c.Distribution == Lognormal {
		if c.Min <= c.Max && (c.Bytes < c.Min || c.Bytes > c.Max || c.Bytes == 0) {
			p.add("bytes", fmt.Sprintf("the mean must be above 0 and within min..max, %d..%d", c.Min, c.Max), c.Bytes)
		}
		if !(c.Sigma > 0 && c.Sigma <= 4) {
			p.add("sigma", "must be above 0 and at most 4", c.Sigma)
		}
	}
	c.unused(&p)
	if !(c.Compressible >= 0 && c.Compressible <= 1) {
		p.add("compressibility", "must be within 0..1", c.Compressible)
	}
	if c.Stamp != "" && c.Stamp != InValue && c.Stamp != InHeader {
		p.add("stamp", "must be one of value, header", fmt.Sprintf("%q", c.Stamp))
	}
	return errors.Join(p...)
}

// unused refuses fields that were set and say nothing about the distribution: whoever set them expects something else.
func (c Config) unused(p *problems) {
	for _, f := range []struct {
		name   string
		set    bool
		got    any
		usedBy string
		used   bool
	}{
		{"bytes", c.Bytes != 0, c.Bytes, "fixed and lognormal", c.Distribution == Fixed || c.Distribution == Lognormal},
		{"min", c.Min != 0, c.Min, "uniform and lognormal", c.Distribution == Uniform || c.Distribution == Lognormal},
		{"max", c.Max != 0, c.Max, "uniform and lognormal", c.Distribution == Uniform || c.Distribution == Lognormal},
		{"sigma", c.Sigma != 0, c.Sigma, "lognormal", c.Distribution == Lognormal},
		{"file", c.File != "", fmt.Sprintf("%q", c.File), "file", c.Distribution == File},
	} {
		if f.set && !f.used {
			p.add(f.name, fmt.Sprintf("must be left out with distribution %s: it has a meaning with %s only", c.Distribution, f.usedBy), f.got)
		}
	}
}

// problems collects every finding before any is returned.
type problems []error

func (p *problems) add(field, problem string, got any) {
	*p = append(*p, fmt.Errorf("%s: %s (got %v)", field, problem, got))
}

// MaxBytes is the largest size the distribution can give.
func (c Config) MaxBytes() int {
	switch c.Distribution {
	case Fixed:
		return c.Bytes
	case File:
		return c.Sizes.largest()
	default:
		return c.Max
	}
}

// MeanBytes is the expected size, rounded up and at least 1, so that memory can be divided by it.
func (c Config) MeanBytes() int { return max(1, int(math.Ceil(c.mean()))) }

func (c Config) mean() float64 {
	switch c.Distribution {
	case Uniform:
		return float64(c.Min+c.Max) / 2
	case Lognormal:
		low, high := c.cut()
		part := normal(high) - normal(low)
		if part <= 0 {
			return float64(c.Bytes)
		}
		return float64(c.Bytes) * (normal(high-c.Sigma) - normal(low-c.Sigma)) / part
	case File:
		return c.Sizes.mean
	default:
		return float64(c.Bytes)
	}
}

// size is the distribution's quantile q, 0 ≤ q < 1.
func (c Config) size(q float64) int {
	switch c.Distribution {
	case Uniform:
		return min(c.Min+int(q*float64(c.Max-c.Min+1)), c.Max)
	case Lognormal:
		low, high := c.cut()
		below := normal(low)
		z := math.Sqrt2 * math.Erfinv(2*(below+q*(normal(high)-below))-1)
		return int(min(max(math.Round(math.Exp(c.location()+c.Sigma*z)), float64(c.Min)), float64(c.Max)))
	case File:
		return c.Sizes.size(q)
	default:
		return c.Bytes
	}
}

// location is the mean of the logarithm, such that the mean of the sizes, not their median, is Bytes.
func (c Config) location() float64 { return math.Log(float64(c.Bytes)) - c.Sigma*c.Sigma/2 }

// cut is where Min and Max lie in the standard normal distribution.
func (c Config) cut() (low, high float64) {
	return (math.Log(float64(c.Min)) - c.location()) / c.Sigma, (math.Log(float64(c.Max)) - c.location()) / c.Sigma
}

// normal is the standard normal distribution function.
func normal(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
