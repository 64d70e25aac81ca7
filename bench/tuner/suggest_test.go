package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// BenchmarkSuggest is how long the next suggestion takes with 200 trials of 12 knobs and a bound; p95-ms is what matters, ns/op the mean.
func BenchmarkSuggest(b *testing.B) {
	c := search.Config{Start: space.Point{}, Bounds: []search.Bound{{Name: "latency", Limit: 50}}}
	for i := range 12 {
		name := fmt.Sprint("knob", i)
		c.Space.Knobs = append(c.Space.Knobs, space.Knob{Name: name, Min: 1, Max: 1024, Log: true})
		c.Start[name] = 1
	}
	r := rand.New(rand.NewPCG(1, 1))
	var history []search.Trial
	for range 200 {
		t := search.Trial{Point: space.Point{}, Value: 1000, Bounds: []float64{30}}
		for i, k := range c.Space.Knobs {
			levels := k.Levels()
			t.Point[k.Name] = levels[r.IntN(len(levels))]
			x := k.Float(t.Point[k.Name]) / 1024
			if i < 4 {
				t.Value *= 1 + x*(1-x)
				t.Bounds[0] *= 1 + 0.2*x
			}
		}
		t.Value *= 1 + 0.05*r.NormFloat64()
		t.Bounds[0] *= 1 + 0.05*r.NormFloat64()
		history = append(history, t)
	}
	var took []time.Duration
	for b.Loop() {
		c.Seed++
		a, err := search.New(search.NameGP, c)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, more := a.Suggest(history); !more {
			b.Fatal("nothing was suggested")
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*95/100])/1e6, "p95-ms")
}
