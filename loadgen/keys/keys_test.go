package keys_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/keys"
)

// number is the key's, or -1 if it is none. It is called for millions of keys.
func number(key []byte) (n int) {
	if len(key) < 2 || key[0] != 'k' {
		return -1
	}
	for _, digit := range key[1:] {
		if digit < '0' || digit > '9' {
			return -1
		}
		n = 10*n + int(digit-'0')
	}
	return n
}

// chiSquare is the probability of a deviation from the expected counts as large as the one seen, if they are right. Neighbours that are
// expected less than 20 times are taken together. The distribution of the sum is Wilson and Hilferty's, which is good to a few per cent.
func chiSquare(seen []int, expected func(i int) float64) (p float64, cells int) {
	var sum, count, want float64
	add := func() {
		sum += (count - want) * (count - want) / want
		cells++
		count, want = 0, 0
	}
	for i, n := range seen {
		count += float64(n)
		want += expected(i)
		if want >= 20 {
			add()
		}
	}
	if want > 5 {
		add()
	}
	freedom := float64(cells - 1)
	z := (math.Cbrt(sum/freedom) - (1 - 2/(9*freedom))) / math.Sqrt(2/(9*freedom))
	return math.Erfc(z/math.Sqrt2) / 2, cells
}

func TestDrawsFollowTheDistribution(t *testing.T) {
	const draws = 1_000_000
	zipf := func(count int, s float64) (keys.Config, func(int) float64) {
		var whole float64
		for k := count; k >= 1; k-- {
			whole += math.Pow(float64(k), -s)
		}
		return keys.Config{Distribution: keys.Zipf, Count: count, Exponent: s, Seed: 11}, func(i int) float64 {
			return draws * math.Pow(float64(i+1), -s) / whole
		}
	}
	check := func(name string, c keys.Config, expected func(int) float64) {
		t.Run(name, func(t *testing.T) {
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			seen := make([]int, c.Count)
			s := keys.New(c, 3)
			for range draws {
				seen[number(s.Next())]++
			}
			if p, cells := chiSquare(seen, expected); !(p > 0.01) || cells < 2 {
				t.Errorf("got p %.5f over %d cells, want above 0.01", p, cells)
			}
		})
	}
	for count, exponents := range map[int][]float64{1000: {0.5, 1, 1.5}, 1_000_000: {0.99, 3}} {
		for _, s := range exponents {
			c, expected := zipf(count, s)
			check(fmt.Sprintf("zipf of %d keys with exponent %v", count, s), c, expected)
		}
	}
	check("uniform", keys.Config{Distribution: keys.Uniform, Count: 1000, Seed: 11}, func(int) float64 { return draws / 1000. })
	check("hot", keys.Config{Distribution: keys.Hot, Count: 1000, Hot: 200, HotShare: 0.6, Seed: 11}, func(i int) float64 {
		if i < 200 {
			return draws * 0.6 / 200
		}
		return draws * 0.4 / 800
	})
}

// A test that never fails would not be noticed otherwise.
func TestTheChiSquareTestTellsAnExponentFromAnother(t *testing.T) {
	const draws, count = 1_000_000, 1000
	seen := make([]int, count)
	s := keys.New(keys.Config{Distribution: keys.Zipf, Count: count, Exponent: 0.99, Seed: 11}, 3)
	for range draws {
		seen[number(s.Next())]++
	}
	var whole float64
	for k := 1; k <= count; k++ {
		whole += 1 / float64(k)
	}
	if p, _ := chiSquare(seen, func(i int) float64 { return draws / float64(i+1) / whole }); p > 1e-6 {
		t.Errorf("got p %v for the wrong exponent", p)
	}
}

func TestSequentialKeysComeInOrderAndAgain(t *testing.T) {
	c := keys.Config{Distribution: keys.Sequential, Count: 100, Seed: 1}
	s := keys.New(c, 0)
	first := number(s.Next())
	for i := 1; i < 250; i++ {
		if got, want := number(s.Next()), (first+i)%100; got != want {
			t.Fatalf("draw %d: got %d, want %d", i, got, want)
		}
	}
	if other := number(keys.New(c, 1).Next()); other == first {
		t.Errorf("two streams both begin at %d, so they walk in step", first)
	}
}

func TestSameSeedAndStreamSameBytes(t *testing.T) {
	for _, c := range []keys.Config{
		{Distribution: keys.Uniform, Count: 1000, Bytes: 12},
		{Distribution: keys.Sequential, Count: 1000},
		{Distribution: keys.Zipf, Count: 1000, Exponent: 0.99},
		{Distribution: keys.Hot, Count: 1000, Hot: 5, HotShare: 0.5},
	} {
		draw := func(seed, stream uint64) []byte {
			c.Seed = seed
			s := keys.New(c, stream)
			var out []byte
			for range 100 {
				out = append(out, s.Next()...)
			}
			return out
		}
		first := draw(1, 0)
		if !bytes.Equal(first, draw(1, 0)) {
			t.Errorf("%s: the same seed and stream gave other keys", c.Distribution)
		}
		if bytes.Equal(first, draw(1, 1)) || bytes.Equal(first, draw(2, 0)) {
			t.Errorf("%s: another seed or stream gave the same keys", c.Distribution)
		}
	}
}

func TestKeysHaveOneLengthAndCanBeRead(t *testing.T) {
	for name, tc := range map[string]struct {
		c    keys.Config
		want string
	}{
		"as short as the count allows":   {keys.Config{Distribution: keys.Uniform, Count: 1}, "k0"},
		"with zeros to the length asked": {keys.Config{Distribution: keys.Uniform, Count: 1, Bytes: 8}, "k0000000"},
		"ten keys have one digit":        {keys.Config{Distribution: keys.Zipf, Count: 10, Exponent: 10}, "k0"},
		"eleven have two":                {keys.Config{Distribution: keys.Zipf, Count: 11, Exponent: 10}, "k00"},
	} {
		t.Run(name, func(t *testing.T) {
			key := keys.New(tc.c, 0).Next()
			if string(key) != tc.want || len(key) != tc.c.Length() {
				t.Errorf("got %q with length %d announced, want %q", key, tc.c.Length(), tc.want)
			}
		})
	}
	s := keys.New(keys.Config{Distribution: keys.Uniform, Count: 123456, Bytes: 16, Seed: 4}, 0)
	for range 1000 {
		if key := s.Next(); len(key) != 16 || number(key) < 0 || number(key) >= 123456 {
			t.Fatalf("got key %q", key)
		}
	}
}

func TestLargestCountsAreDrawnFromWhole(t *testing.T) {
	for _, s := range []float64{0.1, 1, 10} {
		c := keys.Config{Distribution: keys.Zipf, Count: keys.MaxCount, Exponent: s, Seed: 2}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		source := keys.New(c, 0)
		largest := 0
		for range 100_000 {
			n := number(source.Next())
			if n < 0 || n >= c.Count {
				t.Fatalf("exponent %v: got key %d of %d", s, n, c.Count)
			}
			largest = max(largest, n)
		}
		if s == 0.1 && largest < c.Count*9/10 {
			t.Errorf("got no key beyond %d of %d", largest, c.Count)
		}
	}
}

func TestWithoutKeysThereIsNone(t *testing.T) {
	for _, c := range []keys.Config{{}, {Distribution: keys.None, Seed: 5}} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		if got := keys.New(c, 0).Next(); got != nil || c.Length() != 0 {
			t.Errorf("got %q, length %d", got, c.Length())
		}
	}
}

func TestADrawAllocatesNothing(t *testing.T) {
	for _, c := range configs() {
		s := keys.New(c, 0)
		if got := testing.AllocsPerRun(1000, func() { s.Next() }); got != 0 {
			t.Errorf("%s: got %v allocations", c.Distribution, got)
		}
	}
}

func TestBadConfigurationsAreRefusedWithEveryProblem(t *testing.T) {
	for name, tc := range map[string]struct {
		c    keys.Config
		want []string
	}{
		"unknown distribution":        {keys.Config{Distribution: "gauss"}, []string{`distribution: must be one of none, uniform, sequential, zipf, hot (got "gauss")`}},
		"none with fields":            {keys.Config{Count: 5, Bytes: 9, Exponent: 1, Hot: 2, HotShare: 0.5}, []string{"count:", "bytes:", "exponent:", "hot:", "hot_share:"}},
		"no keys to draw from":        {keys.Config{Distribution: keys.Uniform}, []string{"count: must be within 1..1000000000000 keys (got 0)"}},
		"no room for the largest key": {keys.Config{Distribution: keys.Uniform, Count: 1000, Bytes: 3}, []string{"bytes: must be 0 or within 4..1000 for 1000 keys (got 3)"}},
		"zipf of nothing":             {keys.Config{Distribution: keys.Zipf, Exponent: math.NaN()}, []string{"count:", "exponent: must be above 0 and at most 10 (got NaN)"}},
		"all hot":                     {keys.Config{Distribution: keys.Hot, Count: 5, Hot: 5, HotShare: 1}, []string{"hot: must be at least 1 and below count 5 (got 5)", "hot_share: must be above 0 and below 1 (got 1)"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.c.Validate()
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

func configs() []keys.Config {
	return []keys.Config{
		{Distribution: keys.None},
		{Distribution: keys.Uniform, Count: 1_000_000, Bytes: 16},
		{Distribution: keys.Sequential, Count: 1_000_000, Bytes: 16},
		{Distribution: keys.Zipf, Count: 1_000_000, Exponent: 0.5, Bytes: 16},
		{Distribution: keys.Zipf, Count: 1_000_000, Exponent: 0.99, Bytes: 16},
		{Distribution: keys.Zipf, Count: 1_000_000, Exponent: 1, Bytes: 16},
		{Distribution: keys.Zipf, Count: 1_000_000, Exponent: 1.5, Bytes: 16},
		{Distribution: keys.Hot, Count: 1_000_000, Hot: 100, HotShare: 0.9, Bytes: 16},
	}
}

func BenchmarkNext(b *testing.B) {
	for _, c := range configs() {
		name := string(c.Distribution)
		if c.Distribution == keys.Zipf {
			name += fmt.Sprint(c.Exponent)
		}
		b.Run(name, func(b *testing.B) {
			s := keys.New(c, 0)
			b.ReportAllocs()
			for b.Loop() {
				s.Next()
			}
		})
	}
}
