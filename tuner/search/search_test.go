package search_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// about is a space of every type, with a limit.
func about(t *testing.T) search.Config {
	t.Helper()
	limit, err := space.ParseLimit("heap + 100*io <= pod.memory")
	if err != nil {
		t.Fatal(err)
	}
	return search.Config{
		Space: space.Space{
			Knobs: []space.Knob{
				{Name: "heap", Min: 256, Max: 4096, Log: true},
				{Name: "io", Min: 1, Max: 32, Steps: []int64{1, 2, 4, 8, 16, 32}, Special: []int64{-1}},
				{Name: "codec", Type: space.Categorical, Choices: []string{"none", "lz4", "zstd"}, Steps: []int64{0, 1, 2}, Max: 2},
				{Name: "level", Min: 1, Max: 9, Default: 3, When: &space.Condition{Knob: "codec", In: []int64{2}}},
			},
			Limits: []space.Limit{limit},
		},
		Pod: space.Pod{Memory: 4096 << 20}, Start: space.Point{"heap": 256, "io": 1, "codec": 0, "level": 3}, Seed: 1,
		Bounds: []search.Bound{{Name: "latency", Limit: 50}},
	}
}

// system is smooth, with its best at heap 1024, io 8, codec zstd, level 5.
func system(p space.Point) search.Trial {
	heap, io := math.Log2(float64(p["heap"])/1024), math.Log2(max(float64(p["io"]), 1)/8)
	v := 1000 * math.Exp(-heap*heap/8-io*io/8) * (0.5 + 0.2*float64(p["codec"]))
	if p["codec"] == 2 {
		v *= 1 - 0.02*math.Abs(float64(p["level"]-5))
	}
	return search.Trial{Point: p, Value: v, Bounds: []float64{30 + 5*max(io, 0)}, Failed: p["heap"] > 3500}
}

func play(t *testing.T, name string, c search.Config, trials int) []search.Trial {
	t.Helper()
	a, err := search.New(name, c)
	if err != nil {
		t.Fatal(err)
	}
	var history []search.Trial
	for range trials {
		next, more := a.Suggest(history)
		if !more {
			break
		}
		if err := c.Space.Check(next.Point, c.Pod); err != nil {
			t.Fatalf("%s suggests what may not be: %v", name, err)
		}
		if !reflect.DeepEqual(next.Point, c.Space.Canonical(next.Point)) {
			t.Fatalf("%s suggests a value that means nothing: %v", name, next.Point)
		}
		history = append(history, system(next.Point))
	}
	return history
}

func TestEveryAlgorithmBeginsWithTheStartAndKeepsToTheSpace(t *testing.T) {
	for _, name := range search.Names() {
		t.Run(name, func(t *testing.T) {
			c := about(t)
			history := play(t, name, c, 25)
			if history[0].Point.Key() != c.Start.Key() {
				t.Errorf("want the start first (got %v)", history[0].Point)
			}
			if len(history) < 20 {
				t.Errorf("want something to try (ended after %d)", len(history))
			}
		})
	}
}

func TestASearchThatWasKilledGoesOnAsIfItHadNotBeen(t *testing.T) {
	for _, name := range search.Names() {
		c := about(t)
		history := play(t, name, c, 16)
		for _, n := range []int{1, 3, 9, 15} {
			a, err := search.New(name, c)
			if err != nil {
				t.Fatal(err)
			}
			if next, _ := a.Suggest(history[:n]); next.Point.Key() != history[n].Point.Key() {
				t.Errorf("%s: after %d trials want %s again (got %s)", name, n, history[n].Point.Key(), next.Point.Key())
			}
		}
		c.Seed = 2
		if other := play(t, name, c, 16); name != search.NameGrid && fmt.Sprint(other) == fmt.Sprint(history) {
			t.Errorf("%s: another seed tries the same", name)
		}
	}
}

func TestTheProcessFindsTheBestAndLeavesWhatFails(t *testing.T) {
	c := about(t)
	history := play(t, search.NameGP, c, 30)
	best, feasible := c.Best(history)
	if !feasible || best.Value < 0.93*900 {
		t.Errorf("want at least 93 %% of 900 (got %.0f at %v)", best.Value, best.Point)
	}
	failed := 0
	for _, h := range history {
		if h.Failed {
			failed++
		}
	}
	if failed > 5 {
		t.Errorf("want it to keep away from what fails (got %d failures)", failed)
	}
}

func TestAPoolIsTriedToItsEnd(t *testing.T) {
	for _, name := range search.Names() {
		c := about(t)
		for _, io := range []int64{1, 2, 4, 8} {
			c.Pool = append(c.Pool, c.Start.With("io", io))
		}
		history := play(t, name, c, 10)
		seen := map[string]bool{}
		for _, h := range history {
			seen[h.Point.Key()] = true
		}
		if len(seen) != 4 {
			t.Errorf("%s: want all 4 tried (got %d of %d trials)", name, len(seen), len(history))
		}
	}
}

func TestBadSearches(t *testing.T) {
	c := about(t)
	if _, err := search.New("guess", c); err == nil {
		t.Error("an unknown algorithm was taken")
	}
	delete(c.Start, "io")
	c.RestartCost = -1
	if _, err := search.New(search.NameGP, c); err == nil {
		t.Error("a start without a value and a negative cost were taken")
	}
}
