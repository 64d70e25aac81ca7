package search_test

import (
	"math"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// plain has four knobs, of which a matters most, b less, and c and d not at all.
func plain() (search.Config, func(space.Point) search.Trial) {
	c := search.Config{Start: space.Point{}, Seed: 1}
	for _, name := range []string{"a", "b", "c", "d"} {
		c.Space.Knobs = append(c.Space.Knobs, space.Knob{Name: name, Min: 0, Max: 8, Steps: []int64{0, 1, 2, 3, 4, 5, 6, 7, 8}})
		c.Start[name] = 0
	}
	return c, func(p space.Point) search.Trial {
		a, b := float64(p["a"]-6), float64(p["b"]-3)
		return search.Trial{Point: p, Value: 100 * math.Exp(-a*a/20-b*b/30)}
	}
}

func TestWhatMattersIsNamedFirst(t *testing.T) {
	c, value := plain()
	search30 := measured(t, c, value, 30)
	got, err := search.Explain(c, search30)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Knob != "a" || got[1].Knob != "b" || got[0].Total < 0.4 || got[2].Total > 0.1 {
		t.Errorf("want a, then b, and little of the others (got %+v)", got)
	}
	for _, i := range got {
		if i.Low > i.High || i.Low < 0 {
			t.Errorf("want an interval (got %+v)", i)
		}
	}
}

func TestTheSmallestDifferenceKeepsTheGain(t *testing.T) {
	c, value := plain()
	history := measured(t, c, value, 30)
	best := space.Point{"a": 6, "b": 3, "c": 7, "d": 2}
	got, err := search.Smallest(c, history, best, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	if got.Key() != "a=6 b=3 c=0 d=0" {
		t.Errorf("want what does nothing back at the start, and the rest kept (got %s)", got.Key())
	}
}

func measured(t *testing.T, c search.Config, value func(space.Point) search.Trial, trials int) []search.Trial {
	t.Helper()
	a, err := search.New(search.NameGP, c)
	if err != nil {
		t.Fatal(err)
	}
	var history []search.Trial
	for range trials {
		next, more := a.Suggest(history)
		if !more {
			break
		}
		history = append(history, value(next.Point))
	}
	return history
}

func TestAnEarlierStudySavesTrials(t *testing.T) {
	c, value := plain()
	earlier := measured(t, c, func(p space.Point) search.Trial { h := value(p); h.Value *= 0.5; return h }, 25)
	reached := func(c search.Config) int {
		for i, h := range measured(t, c, value, 25) {
			if h.Value >= 95 {
				return i + 1
			}
		}
		return 26
	}
	cold := reached(c)
	c.Earlier = earlier
	if warm := reached(c); warm > cold*2/3 {
		t.Errorf("want at most two thirds of %d trials to 95 %% (got %d)", cold, warm)
	}
}

func TestARestartMustBeWorthIt(t *testing.T) {
	c, value := plain()
	for i, k := range c.Space.Knobs {
		if k.Name != "a" {
			c.Space.Knobs[i].Restart = space.Dynamic
		}
	}
	restarts := func(cost float64) (n int) {
		c.RestartCost = cost
		for c.Seed = 1; c.Seed <= 3; c.Seed++ {
			history := measured(t, c, value, 20)
			for i := 6; i < len(history); i++ {
				if history[i].Point["a"] != history[i-1].Point["a"] {
					n++
				}
			}
		}
		return n
	}
	if free, dear := restarts(0), restarts(4); dear >= free {
		t.Errorf("want fewer restarts when they cost something (got %d and %d)", free, dear)
	}
}

func TestTheBestAreMeasuredAgainOnceEverythingWasTried(t *testing.T) {
	c, _ := plain()
	for _, a := range []int64{4, 5, 6, 7} {
		for b := range int64(4) {
			c.Pool = append(c.Pool, space.Point{"a": a, "b": b, "c": 0, "d": 0})
		}
	}
	c.Start = c.Pool[0]
	n := 0
	history := measured(t, c, func(p space.Point) search.Trial { // all are alike, as far as the noise shows
		n++
		return search.Trial{Point: p, Value: 100 + 10*math.Sin(float64(n*n))}
	}, 22)
	if len(history) < 20 {
		t.Fatalf("want it to go on with the best (ended after %d)", len(history))
	}
	count := map[string]int{}
	for i, h := range history {
		if count[h.Point.Key()]++; i < 16 && count[h.Point.Key()] > 1 {
			t.Errorf("want what is new first (got %v again in trial %d)", h.Point, i+1)
		}
	}
}

// The more of a the better, until it does not run: everything that was measured points to where nothing can be.
func TestWhatCannotRunIsLeftAloneThoughItPromisesMost(t *testing.T) {
	c, _ := plain()
	history := measured(t, c, func(p space.Point) search.Trial {
		return search.Trial{Point: p, Value: 100 + 20*float64(p["a"]) - float64(p["b"]), Failed: p["a"] > 5}
	}, 24)
	failed := 0
	for _, h := range history[8:] {
		if h.Failed {
			failed++
		}
	}
	if best, ok := c.Best(history); !ok || best.Point["a"] != 5 || failed > 4 {
		t.Errorf("want the last that runs found, and at most 4 of 16 trials failing (got %v, %d)", best.Point, failed)
	}
}
