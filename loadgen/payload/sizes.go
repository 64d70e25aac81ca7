package payload

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Sizes is a distribution of sizes as it was found, of records or of anything else.
type Sizes struct {
	sizes []int     // ascending
	upTo  []float64 // upTo[i] is the part of the weight that sizes[:i+1] have; the last is 1
	mean  float64
}

// maxProblems is how many lines of a file are complained of before the rest is only counted.
const maxProblems = 20

// ReadSizes reads a file of sizes: one in bytes on each line, then, if it comes more often or less often than others, a weight above 0,
// which is 1 otherwise. Empty lines and what follows a # do not count. Every problem is reported with the file's name and the line.
func ReadSizes(name string, r io.Reader, smallest int) (*Sizes, error) {
	weights := make(map[int]float64)
	var problems []error
	bad := 0
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		size, weight, err := sizeAndWeight(fields, smallest)
		if err != nil {
			if bad++; bad <= maxProblems {
				problems = append(problems, fmt.Errorf("%s:%d: %w", name, n, err))
			}
			continue
		}
		weights[size] += weight
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, fmt.Errorf("read %s: %w", name, err))
	}
	if bad > maxProblems {
		problems = append(problems, fmt.Errorf("%s: %d more lines like these", name, bad-maxProblems))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(weights) == 0 {
		return nil, fmt.Errorf("%s: must hold at least one size in bytes (got none)", name)
	}
	return distribute(weights), nil
}

func sizeAndWeight(fields []string, smallest int) (size int, weight float64, err error) {
	if len(fields) > 2 {
		return 0, 0, fmt.Errorf("must be a size and at most a weight (got %q)", strings.Join(fields, " "))
	}
	size, err = strconv.Atoi(fields[0])
	if err != nil || size < smallest || size > Limit {
		return 0, 0, fmt.Errorf("size: must be a whole number within %d..%d bytes (got %q)", smallest, Limit, fields[0])
	}
	if len(fields) == 1 {
		return size, 1, nil
	}
	weight, err = strconv.ParseFloat(fields[1], 64)
	if err != nil || !(weight > 0 && weight <= maxWeight) {
		return 0, 0, fmt.Errorf("weight: must be a number above 0 and at most %g (got %q)", float64(maxWeight), fields[1])
	}
	return size, weight, nil
}

// maxWeight keeps the sum of all weights finite, and small ones beside large ones from being lost.
const maxWeight = 1e12

func distribute(weights map[int]float64) *Sizes {
	s := &Sizes{sizes: slices.Sorted(maps.Keys(weights))}
	var sum float64
	for _, size := range s.sizes {
		sum += weights[size]
		s.upTo = append(s.upTo, sum)
		s.mean += float64(size) * weights[size]
	}
	s.mean /= sum
	for i := range s.upTo {
		s.upTo[i] /= sum
	}
	return s
}

func (s *Sizes) largest() int { return s.sizes[len(s.sizes)-1] }

// size is the quantile q.
func (s *Sizes) size(q float64) int {
	q = math.Min(q, math.Nextafter(1, 0))
	return s.sizes[sort.Search(len(s.upTo), func(i int) bool { return s.upTo[i] > q })]
}
