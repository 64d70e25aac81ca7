package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/kafkalab/kafkalab/tuner/replay"
)

// tally adds up over surfaces.
type tally struct {
	order    []string // of the algorithms, as they came
	runs     map[string][]replay.Run
	surfaces map[string]int
}

func newTally() *tally { return &tally{runs: map[string][]replay.Run{}, surfaces: map[string]int{}} }

const header = "%-16s %-10s %4s %6s %6s %6s %6s %6s %6s"

func (t *tally) add(w io.Writer, surface, algorithm string, runs []replay.Run) {
	if len(t.order) == 0 {
		fmt.Fprintf(w, header+"\n", "surface", "algorithm", "n", "mean10", "mean25", "mean40", "p10@25", "p10@40", "to95")
	}
	if !slices.Contains(t.order, algorithm) {
		t.order = append(t.order, algorithm)
	}
	t.runs[algorithm] = append(t.runs[algorithm], runs...)
	t.surfaces[algorithm]++
	line(w, surface, algorithm, runs)
}

// print is each algorithm over all surfaces that it has, and how the first one compares with the best of the others.
func (t *tally) print(w io.Writer) {
	for _, a := range t.order {
		if t.surfaces[a] > 1 {
			line(w, fmt.Sprintf("all %d", t.surfaces[a]), a, t.runs[a])
		}
	}
	best := ""
	for _, a := range t.order[min(1, len(t.order)):] {
		if t.surfaces[a] == t.surfaces[t.order[0]] && (best == "" || to95(t.runs[a]) < to95(t.runs[best])) {
			best = a
		}
	}
	if best != "" {
		fmt.Fprintf(w, "%s takes %.2f × the trials of the best other, %s\n", t.order[0], to95(t.runs[t.order[0]])/to95(t.runs[best]), best)
	}
}

func line(w io.Writer, surface, algorithm string, runs []replay.Run) {
	mean, _ := at(runs, 10)
	mean25, low25 := at(runs, 25)
	mean40, low40 := at(runs, 40)
	fmt.Fprintf(w, "%-16s %-10s %4d %6.3f %6.3f %6.3f %6.3f %6.3f %6.1f\n", surface, algorithm, len(runs), mean, mean25, mean40, low25, low40, to95(runs))
}

// at is the mean and the worst decile after n trials.
func at(runs []replay.Run, n int) (mean, low float64) {
	var values []float64
	for _, r := range runs {
		values = append(values, r.Fraction[min(n, len(r.Fraction))-1])
		mean += values[len(values)-1] / float64(len(runs))
	}
	slices.Sort(values)
	return mean, values[len(values)/10]
}

// to95 is the mean number of trials to 95 % of the optimum; a study that did not get there counts as one trial more than it had.
func to95(runs []replay.Run) float64 {
	sum := 0
	for _, r := range runs {
		n := slices.IndexFunc(r.Fraction, func(f float64) bool { return f >= 0.95 })
		if n < 0 {
			n = len(r.Fraction)
		}
		sum += n + 1
	}
	return float64(sum) / float64(len(runs))
}
