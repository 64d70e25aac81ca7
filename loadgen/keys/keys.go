// Package keys draws the keys of records.
//
// It promises: same Config and same stream, same bytes on the same kind of processor; keys drawn exactly from the distribution asked for,
// however many there are (no approximation of Zipf, no table of all keys); keys of one fixed length that a person can read; a draw in
// constant time that allocates nothing. It leaves out which partition a key belongs to.
package keys

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
)

// Distribution says how often each key comes.
type Distribution string

// The distributions over the keys 0 to Count−1.
const (
	None       Distribution = "none"       // records without a key
	Uniform    Distribution = "uniform"    // each key as often as any other
	Sequential Distribution = "sequential" // one after the other and again from 0; each stream begins at a place of its own
	Zipf       Distribution = "zipf"       // key k in proportion to 1/(k+1)^Exponent
	Hot        Distribution = "hot"        // the first Hot keys share HotShare of the records evenly, the others the rest
)

// MaxCount bounds the number of keys: with it, a float64 tells each rank of a Zipf distribution from the next.
const MaxCount = 1_000_000_000_000

// MaxBytes bounds the length of a key.
const MaxBytes = 1000

// MaxExponent bounds Exponent: beyond it, all but one in a thousand records have the same key.
const MaxExponent = 10

// Config describes keys. The zero value means none.
type Config struct {
	Distribution Distribution `yaml:"distribution"`
	Count        int          `yaml:"count"`     // different keys; every distribution but none
	Exponent     float64      `yaml:"exponent"`  // zipf: 0.99 is what YCSB takes
	Hot          int          `yaml:"hot"`       // hot: how many keys are hot
	HotShare     float64      `yaml:"hot_share"` // hot: part of the records that they get
	Bytes        int          `yaml:"bytes"`     // length of each key; 0: as short as count allows
	Seed         uint64       `yaml:"seed"`
}

// distributions lists them in the order of their documentation.
func distributions() []Distribution { return []Distribution{None, Uniform, Sequential, Zipf, Hot} }

// Validate reports every problem as `field: problem (got value)`.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, problem string, got any) {
		errs = append(errs, fmt.Errorf("%s: %s (got %v)", field, problem, got))
	}
	d := c.Distribution
	if d == "" {
		d = None
	}
	if !slices.Contains(distributions(), d) {
		var names []string
		for _, n := range distributions() {
			names = append(names, string(n))
		}
		bad("distribution", "must be one of "+strings.Join(names, ", "), fmt.Sprintf("%q", c.Distribution))
		return errors.Join(errs...)
	}
	// What was set without a meaning was set by somebody who expects something else.
	unused := func(field string, set, has bool, where string, got any) {
		if set && !has {
			bad(field, "must be left out with distribution "+string(d)+": it has a meaning with "+where+" only", got)
		}
	}
	unused("count", c.Count != 0, d != None, "uniform, sequential, zipf and hot", c.Count)
	unused("bytes", c.Bytes != 0, d != None, "uniform, sequential, zipf and hot", c.Bytes)
	unused("exponent", c.Exponent != 0, d == Zipf, "zipf", c.Exponent)
	unused("hot", c.Hot != 0, d == Hot, "hot", c.Hot)
	unused("hot_share", c.HotShare != 0, d == Hot, "hot", c.HotShare)
	if d == None {
		return errors.Join(errs...)
	}
	if c.Count < 1 || c.Count > MaxCount {
		bad("count", fmt.Sprintf("must be within 1..%d keys", MaxCount), c.Count)
	} else if c.Bytes != 0 && (c.Bytes < shortest(c.Count) || c.Bytes > MaxBytes) {
		bad("bytes", fmt.Sprintf("must be 0 or within %d..%d for %d keys", shortest(c.Count), MaxBytes, c.Count), c.Bytes)
	}
	if d == Zipf && !(c.Exponent > 0 && c.Exponent <= MaxExponent) {
		bad("exponent", fmt.Sprintf("must be above 0 and at most %d", MaxExponent), c.Exponent)
	}
	if d == Hot && (c.Hot < 1 || c.Hot >= c.Count) {
		bad("hot", fmt.Sprintf("must be at least 1 and below count %d", c.Count), c.Hot)
	}
	if d == Hot && !(c.HotShare > 0 && c.HotShare < 1) {
		bad("hot_share", "must be above 0 and below 1", c.HotShare)
	}
	return errors.Join(errs...)
}

// shortest is the length of the letter in front and the digits of the largest key.
func shortest(count int) int {
	return 1 + len(fmt.Sprint(count-1))
}

// Length is how many bytes each key has, 0 without keys.
func (c Config) Length() int {
	switch {
	case c.Distribution == "" || c.Distribution == None:
		return 0
	case c.Bytes == 0:
		return shortest(c.Count)
	default:
		return c.Bytes
	}
}

// Source draws keys one after the other. One goroutine uses it.
type Source struct {
	c    Config
	rand *rand.PCG
	zipf zipf
	next uint64 // sequential
	hot  uint64 // hot: HotShare of 2^64
	key  []byte // a letter, zeros, the number
	low  int    // where the digits begin that are ever other than zero
}

// salt keeps the draws apart from those of bodies, which have the same seed and stream more often than not.
const salt = 0x6b657973 // "keys"

// New gives stream number n of a valid configuration: streams differ in what they draw, not in the keys they draw from.
func New(c Config, stream uint64) *Source {
	s := &Source{c: c, rand: rand.NewPCG(c.Seed^salt<<32, stream)}
	if c.Length() == 0 {
		return s
	}
	s.key = []byte("k" + strings.Repeat("0", c.Length()-1))
	s.low = len(s.key) - shortest(c.Count) + 1
	switch c.Distribution {
	case Sequential:
		s.next = s.below(uint64(c.Count))
	case Zipf:
		s.zipf = newZipf(c.Count, c.Exponent)
	case Hot:
		s.hot = part(c.HotShare)
	}
	return s
}

// Next is the next key, nil without keys. It is valid until the next call: whoever keeps it copies it.
func (s *Source) Next() []byte {
	if s.key == nil {
		return nil
	}
	n := s.draw()
	i := len(s.key) - 1
	for ; i > s.low; i -= 2 { // two digits a division
		pair := n % 100
		n /= 100
		tens := pair * 103 >> 10
		s.key[i-1], s.key[i] = byte('0'+tens), byte('0'+pair-10*tens)
	}
	if i == s.low {
		s.key[i] = byte('0' + n)
	}
	return s.key
}

func (s *Source) draw() uint64 {
	count, hot := uint64(s.c.Count), uint64(s.c.Hot)
	switch s.c.Distribution {
	case Sequential:
		n := s.next
		if s.next++; s.next == count {
			s.next = 0
		}
		return n
	case Zipf:
		return s.zipf.draw(s.rand) - 1
	case Hot:
		if s.rand.Uint64() < s.hot {
			return s.below(hot)
		}
		return hot + s.below(count-hot)
	default:
		return s.below(count)
	}
}

// below is one of n numbers. That 2^64 is no multiple of n favours some of them by less than one part in ten million.
func (s *Source) below(n uint64) uint64 {
	v, _ := bits.Mul64(s.rand.Uint64(), n)
	return v
}
