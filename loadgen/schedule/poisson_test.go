package schedule_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

func poisson(t *testing.T, rate float64, share, of int, seed uint64) *schedule.Schedule {
	t.Helper()
	s, err := schedule.New(schedule.Config{Shape: schedule.Poisson, Rate: rate}, 0, share, of, seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// distance is the Kolmogorov-Smirnov statistic against an exponential distribution, times √n, of the gaps between times as expected counts:
// above 1.95 with one chance in a thousand.
func distance(times []time.Duration, expected func(time.Duration) float64) float64 {
	var gaps []float64
	last := 0.0
	for _, at := range times {
		gaps = append(gaps, expected(at)-last)
		last = expected(at)
	}
	slices.Sort(gaps)
	var most float64
	n := float64(len(gaps))
	for i, g := range gaps {
		p := 1 - math.Exp(-g)
		most = max(most, p-float64(i)/n, float64(i+1)/n-p)
	}
	return most * math.Sqrt(n)
}

// spread is the variance of the counts in windows over their mean: 1 for Poisson, with a standard deviation of √(2/windows).
func spread(times []time.Duration, window time.Duration, windows int) (mean, ratio float64) {
	counts := make([]float64, windows)
	for _, at := range times {
		if i := int(at / window); i < windows {
			counts[i]++
			mean += 1 / float64(windows)
		}
	}
	for _, c := range counts {
		ratio += (c - mean) * (c - mean) / float64(windows-1) / mean
	}
	return mean, ratio
}

func TestPoissonArrivalsAre(t *testing.T) {
	const rate, length = 1000, 200 * time.Second
	for name, of := range map[string]int{"one share": 1, "eight shares together": 8} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				var times []time.Duration
				for share := range of {
					times = append(times, until(t, poisson(t, rate, share, of, seed), length)...)
				}
				slices.Sort(times)
				if d := distance(times, func(at time.Duration) float64 { return rate * at.Seconds() }); d > 1.95 {
					t.Errorf("seed %d: the gaps are not exponential: Kolmogorov-Smirnov %.2f, want below 1.95", seed, d)
				}
				const windows = 10000
				mean, ratio := spread(times, length/windows, windows)
				if sd := math.Sqrt(mean / windows); math.Abs(mean-20) > 4*sd {
					t.Errorf("seed %d: got %.3f records in a window, want 20 ± %.3f", seed, mean, 4*sd)
				}
				if sd := math.Sqrt(2.0 / windows); math.Abs(ratio-1) > 4*sd {
					t.Errorf("seed %d: got %.4f for variance over mean, want 1 ± %.4f", seed, ratio, 4*sd)
				}
			}
		})
	}
}

func TestPoissonIsRepeatedBySeedAndShare(t *testing.T) {
	first := func(share, of int, seed uint64) []time.Duration {
		return until(t, poisson(t, 1000, share, of, seed), time.Second)
	}
	if !slices.Equal(first(1, 4, 9), first(1, 4, 9)) {
		t.Error("the same seed and share gave other times")
	}
	for name, other := range map[string][]time.Duration{"share": first(2, 4, 9), "seed": first(1, 4, 10), "number of shares": first(1, 5, 9)} {
		if slices.Equal(first(1, 4, 9)[:50], other[:50]) {
			t.Errorf("another %s gave the same times", name)
		}
	}
}

func TestPoissonFollowsTheRateThatIsSet(t *testing.T) {
	s := poisson(t, 100, 0, 1, 3)
	var times []time.Duration
	take := func(until time.Duration) (n float64) {
		for at, ok := s.Take(until); ok; at, ok = s.Take(until) {
			times = append(times, at)
			n++
		}
		return n
	}
	for i, rate := range []float64{10000, 50, 3000, 0, 700} {
		from := time.Duration(i) * 100 * time.Second
		if err := s.SetRate(from, rate); err != nil {
			t.Fatal(err)
		}
		want := rate * 100
		if got := take(from + 100*time.Second - 1); math.Abs(got-want) > 4*math.Sqrt(want) {
			t.Errorf("got %v records in 100 s at rate %v", got, rate)
		}
	}
	if !slices.IsSorted(times) {
		t.Error("times go back")
	}
}

func TestPoissonArrivalsAreSoThroughChangesOfRate(t *testing.T) {
	const every = 300 * time.Microsecond // a change in the middle of most gaps
	rates := []float64{500, 1500, 0, 4000}
	rate := func(now time.Duration) float64 { return rates[now/every%4] }
	s := poisson(t, 500, 0, 1, 4)
	var times []time.Duration
	for now := time.Duration(0); now < 9*time.Second; now += every {
		for at, ok := s.Take(now); ok; at, ok = s.Take(now) {
			times = append(times, at)
		}
		if err := s.SetRate(now, rate(now)); err != nil {
			t.Fatal(err)
		}
	}
	expected := func(at time.Duration) float64 {
		return 1500*(at/(4*every)*4*every).Seconds() + integrate(rate, at/(4*every)*4*every, at, every)
	}
	if d := distance(times, expected); d > 1.95 {
		t.Errorf("the gaps are not exponential: Kolmogorov-Smirnov %.2f, want below 1.95", d)
	}
}

func TestWhatPoissonLookedForwardToIsForgottenWhenTheRateIsSet(t *testing.T) {
	for seed := range uint64(100) {
		s, twin := poisson(t, 1000, 0, 1, seed), poisson(t, 1000, 0, 1, seed)
		s.Due(time.Second)
		for _, p := range []*schedule.Schedule{s, twin} {
			if err := p.SetRate(10*ms, 100); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := s.Due(time.Second), twin.Due(time.Second); got != want {
			t.Fatalf("seed %d: got %d due, want the %d of one that had not been asked before", seed, got, want)
		}
	}
}

// integrate counts what a rate that is constant for each step comes to between two times.
func integrate(rate func(time.Duration) float64, from, to, step time.Duration) (records float64) {
	for from < to {
		next := min(from+step, to)
		records += rate(from) * (next - from).Seconds()
		from = next
	}
	return records
}
