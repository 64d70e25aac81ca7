package search_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

func knobs() []space.Knob {
	return []space.Knob{
		{Name: "heap", Format: "{v}", Unit: "MiB", Scale: 1 << 20, Min: 256, Max: 3072, Steps: []int64{256, 512, 1024, 2048, 3072}, MemoryFraction: 0.75},
		{Name: "io", Format: "{v}", Scale: 1, Min: 1, Max: 32, Steps: []int64{1, 2, 4, 8, 16, 32}},
		{Name: "net", Format: "{v}", Scale: 1, Min: 1, Max: 16, Steps: []int64{1, 2, 3, 4, 6, 8, 12, 16}},
	}
}

// study runs a search on a surface: a candidate is kept when its value is higher by 3 %.
func study(t *testing.T, start space.Point, memory int64, value func(space.Point) float64) (space.Point, []string) {
	t.Helper()
	p := search.Problem{Knobs: knobs(), Incumbent: start, Memory: memory}
	var log []string
	for {
		next, why, ok := search.Next(p)
		if !ok {
			if why == "" {
				t.Error("want a reason for the end")
			}
			return p.Incumbent, log
		}
		candidate := p.Incumbent.With(next.Knob, next.To)
		tried := search.Tried{Knob: next.Knob, Point: candidate, From: next.From, Outcome: search.NotBetter}
		switch gain := value(candidate)/value(p.Incumbent) - 1; {
		case gain >= 0.03:
			tried.Outcome = search.Better
		case gain <= -0.03:
			tried.Outcome = search.Worse
		}
		p.Tried = append(p.Tried, tried)
		if tried.Outcome == search.Better {
			p.Incumbent = candidate
		}
		log = append(log, fmt.Sprintf("%s %d", next.Knob, next.To))
		if len(log) > 200 {
			t.Fatalf("no end: %v", log)
		}
	}
}

func TestStudies(t *testing.T) {
	start := space.Point{"heap": 256, "io": 2, "net": 1}
	for name, c := range map[string]struct {
		start  space.Point
		memory int64
		value  func(space.Point) float64
		want   string
		first  string // the beginning of what was tried
		most   int
	}{
		"everything upward helps": {start, 4 << 30, func(p space.Point) float64 { return float64(p["heap"] * p["io"] * p["net"]) },
			"heap=3072 io=32 net=16", "heap 512, heap 1024, heap 2048, heap 3072, io 4, io 8, io 16, io 32, net 2, net 3", 17},
		"memory is the limit": {start, 2 << 30, func(p space.Point) float64 { return float64(p["heap"]) }, "heap=1024 io=2 net=1", "heap 512, heap 1024, io 4, io 8, net 2, net 3", 14},
		"downward helps": {space.Point{"heap": 256, "io": 32, "net": 16}, 4 << 30, func(p space.Point) float64 { return 1 / float64(p["io"]) },
			"heap=256 io=1 net=16", "heap 512, heap 1024, io 16, io 8, io 4, io 2, io 1", 14},
		"nothing helps": {start, 4 << 30, func(space.Point) float64 { return 1 }, "heap=256 io=2 net=1", "heap 512, heap 1024, io 4, io 8, net 2, net 3, io 1", 7},
		"everything hurts": {start, 4 << 30, func(p space.Point) float64 {
			if p.Key() == start.Key() {
				return 1
			}
			return 0.5
		}, "heap=256 io=2 net=1", "heap 512, io 4, net 2, io 1", 4},
		"a gain behind a plateau is found": {start, 4 << 30, func(p space.Point) float64 {
			if p["heap"] >= 1024 {
				return 2
			}
			return 1
		}, "heap=1024 io=2 net=1", "heap 512, heap 1024, heap 2048", 15},
		"a value between the steps": {space.Point{"heap": 300, "io": 5, "net": 1}, 4 << 30, func(p space.Point) float64 { return float64(p["io"]) }, "heap=300 io=32 net=1", "heap 512, heap 1024, io 8, io 16, io 32, net 2", 20},
		"threads that help together": {start, 4 << 30, func(p space.Point) float64 { return min(float64(p["io"]), 8) * min(float64(p["net"]), 3) },
			"heap=256 io=8 net=3", "heap 512, heap 1024, io 4, io 8, io 16, io 32, net 2, net 3", 24},
	} {
		t.Run(name, func(t *testing.T) {
			got, log := study(t, c.start, c.memory, c.value)
			if got.Key() != c.want {
				t.Errorf("want %s (got %s after %v)", c.want, got.Key(), log)
			}
			if !strings.HasPrefix(strings.Join(log, ", "), c.first) {
				t.Errorf("want it to begin with %s (got %v)", c.first, log)
			}
			if len(log) > c.most {
				t.Errorf("want at most %d trials (got %d: %v)", c.most, len(log), log)
			}
		})
	}
}

func TestInconclusiveIsTriedOnceMore(t *testing.T) {
	p := search.Problem{Knobs: knobs(), Incumbent: space.Point{"heap": 256, "io": 2, "net": 1}}
	tries := 0
	for {
		next, _, ok := search.Next(p)
		if !ok {
			break
		}
		if next.Knob == "heap" && next.To == 512 {
			tries++
		}
		p.Tried = append(p.Tried, search.Tried{Knob: next.Knob, Point: p.Incumbent.With(next.Knob, next.To), From: next.From, Outcome: search.Inconclusive})
		if len(p.Tried) > 100 {
			t.Fatal("no end")
		}
	}
	if tries != 2 {
		t.Errorf("want two tries (got %d)", tries)
	}
}
