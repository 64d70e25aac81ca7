package surfaces

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
)

// Kinds are the families' names.
func Kinds() []string { return []string{"smooth", "queue", "tables", "steps", "ridge", "rough"} }

// Family makes one surface of a kind: 3 to 10 knobs, some of them choices, some that do nothing, a start that is bad, in a third of the cases
// outside of the constraint.
func Family(kind string, seed uint64) *Surface {
	r := rand.New(rand.NewPCG(seed, 0))
	s := &Surface{Name: fmt.Sprintf("%s-%d", kind, seed), What: "by seed", Noise: 0.05}
	d := 3 + r.IntN(8)
	for i := range d {
		n := 3 + r.IntN(5)
		if d > 6 {
			n = 2 + r.IntN(3)
		}
		name := "k" + strconv.Itoa(i)
		if r.Float64() < 0.15 {
			k := Knob{Name: name, Names: true}
			for j := range n {
				k.Values = append(k.Values, "v"+strconv.Itoa(j))
			}
			s.Knobs = append(s.Knobs, k)
			continue
		}
		k := Knob{Name: name}
		for j := range n {
			k.Values = append(k.Values, strconv.Itoa(int(math.Round(math.Pow(1.5+2*r.Float64(), float64(j)))+float64(j))))
		}
		s.Knobs = append(s.Knobs, k)
	}
	s.Start = make([]int, d)
	build := map[string]func(*Surface, *rand.Rand) figures{
		"smooth": smoothly, "queue": queueing, "tables": tables, "steps": stepwise, "ridge": ridged, "rough": smoothly,
	}[kind]
	rough := 0.005 + 0.03*r.Float64()
	if kind == "rough" {
		rough = 0.08
	}
	s.fill(seed, rough, build(s, r))
	s.bound([]float64{0.25, 0.5, 0.5, 0.8}[r.IntN(4)])
	s.startAt(0.1+0.3*r.Float64(), r.Float64() > 0.35)
	return s
}

// coordinate turns a knob's places into positions: in order, or shuffled for a choice.
func coordinates(s *Surface, r *rand.Rand) func(at []int) []float64 {
	places := make([][]float64, len(s.Knobs))
	for i, k := range s.Knobs {
		for j := range k.Values {
			places[i] = append(places[i], k.part(j))
		}
		if k.Names {
			r.Shuffle(len(places[i]), func(a, b int) { places[i][a], places[i][b] = places[i][b], places[i][a] })
		}
	}
	return func(at []int) []float64 {
		x := make([]float64, len(at))
		for i := range at {
			x[i] = places[i][at[i]]
		}
		return x
	}
}

// weights are how much each knob matters: a few do.
func weights(d int, r *rand.Rand) []float64 {
	w := make([]float64, d)
	for i := range w {
		w[i] = 0.05 * r.Float64()
	}
	for range min(d, 2+r.IntN(3)) {
		w[r.IntN(d)] = 0.4 + r.Float64()
	}
	return w
}

// waves is a random smooth function with lengths by the weights.
func waves(w []float64, r *rand.Rand) func(x []float64) float64 {
	const n = 40
	type wave struct {
		by    []float64
		phase float64
		size  float64
	}
	all := make([]wave, n)
	for k := range all {
		all[k] = wave{phase: 2 * math.Pi * r.Float64(), size: r.NormFloat64() * math.Sqrt(2.0/n)}
		for _, v := range w {
			all[k].by = append(all[k].by, 2.5*v*r.NormFloat64())
		}
	}
	return func(x []float64) float64 {
		sum := 0.0
		for _, a := range all {
			p := a.phase
			for i, v := range x {
				p += a.by[i] * v
			}
			sum += a.size * math.Cos(p)
		}
		return sum
	}
}

func smoothly(s *Surface, r *rand.Rand) figures {
	where, d := coordinates(s, r), len(s.Knobs)
	w := weights(d, r)
	f, g := waves(w, r), waves(weights(d, r), r)
	size, mix := 0.4+0.6*r.Float64(), r.Float64()
	return func(at []int) (float64, float64) {
		x := where(at)
		a, b := f(x), g(x)
		return 10000 * math.Exp(size*a), 40 * math.Exp(0.7*((1-mix)*b+mix*a))
	}
}

// queueing: stages in a row, each with a number of workers that help and get in each other's way; latency by how near the load is to the limit.
func queueing(s *Surface, r *rand.Rand) figures {
	where, d := coordinates(s, r), len(s.Knobs)
	type stage struct{ speed, contention, crosstalk, base float64 }
	stages := make([]stage, d)
	for i := range stages {
		stages[i] = stage{1 + r.Float64()*3, 0.02 + 0.2*r.Float64(), 0.01 * r.Float64(), 0.4 + r.Float64()}
	}
	buffer, memory := r.IntN(d), 0.5+0.5*r.Float64()
	return func(at []int) (float64, float64) {
		x := where(at)
		least, used, spent := math.Inf(1), 0.0, 0.0
		for i, st := range stages {
			n := 1 + 15*x[i]
			capacity := st.base * st.speed * n / (1 + st.contention*(n-1) + st.crosstalk*n*(n-1))
			if i%2 == 0 {
				least = min(least, capacity)
			}
			used += x[i] * memory
			spent += 1 / capacity
		}
		t := 1 / (1/least + 0.05*spent)
		latency := 5 * (spent + 3*x[buffer])
		if over := used/float64(d) - 0.55; over > 0 {
			t, latency = t*math.Exp(-6*over), latency*math.Exp(7*over)
		}
		return 3000 * t, latency
	}
}

// tables: each choice has an effect of its own, and so has each pair of some knobs.
func tables(s *Surface, r *rand.Rand) figures {
	d := len(s.Knobs)
	w := weights(d, r)
	effect := func(scale float64) func(at []int) float64 {
		single := make([][]float64, d)
		for i, k := range s.Knobs {
			v := 0.0
			for range k.Values {
				v += r.NormFloat64() * w[i] * scale
				single[i] = append(single[i], v)
			}
		}
		type pair struct {
			a, b int
			v    [][]float64
		}
		var pairs []pair
		for range d {
			p := pair{a: r.IntN(d), b: r.IntN(d)}
			for range s.Knobs[p.a].Values {
				var line []float64
				for range s.Knobs[p.b].Values {
					line = append(line, r.NormFloat64()*0.5*scale*math.Sqrt(w[p.a]*w[p.b]))
				}
				p.v = append(p.v, line)
			}
			pairs = append(pairs, p)
		}
		return func(at []int) float64 {
			sum := 0.0
			for i, j := range at {
				sum += single[i][j]
			}
			for _, p := range pairs {
				sum += p.v[at[p.a]][at[p.b]]
			}
			return sum
		}
	}
	f, g := effect(0.35), effect(0.4)
	return func(at []int) (float64, float64) { return 6000 * math.Exp(f(at)), 25 * math.Exp(g(at)+0.3*f(at)) }
}

// stepwise: areas with one value each, as a tree divides a space.
func stepwise(s *Surface, r *rand.Rand) figures {
	where, d := coordinates(s, r), len(s.Knobs)
	w := weights(d, r)
	draw := func() int {
		for {
			if i := r.IntN(d); r.Float64() < w[i] {
				return i
			}
		}
	}
	type cut struct {
		knob     int
		at       float64
		low, top float64
	}
	trees := func(n int) func(x []float64) float64 {
		all := make([][]cut, n)
		for k := range all {
			for range 3 {
				all[k] = append(all[k], cut{draw(), 0.1 + 0.8*r.Float64(), r.NormFloat64(), r.NormFloat64()})
			}
		}
		return func(x []float64) float64 {
			sum := 0.0
			for _, cuts := range all {
				v := 1.0
				for _, c := range cuts {
					if x[c.knob] > c.at {
						v *= c.top
					} else {
						v *= c.low
					}
				}
				sum += math.Tanh(v)
			}
			return sum / math.Sqrt(float64(n))
		}
	}
	f, g := trees(8), trees(6)
	return func(at []int) (float64, float64) {
		x := where(at)
		return 9000 * math.Exp(0.5*f(x)), 30 * math.Exp(0.6*g(x))
	}
}

// ridged: the best is on a narrow curved line, with false peaks beside it.
func ridged(s *Surface, r *rand.Rand) figures {
	where, d := coordinates(s, r), len(s.Knobs)
	a, b, c := r.IntN(d), r.IntN(d), r.IntN(d)
	bend, width, rest := 0.3+r.Float64(), 0.15+0.2*r.Float64(), waves(weights(d, r), r)
	return func(at []int) (float64, float64) {
		x := where(at)
		off := x[a] - bend*x[b]*x[b]
		t := 15000 * (0.25 + math.Exp(-off*off/(2*width*width))*(0.4+0.6*x[b]) + 0.3*math.Exp(-8*(x[a]-0.9)*(x[a]-0.9)-8*x[c]*x[c])) * math.Exp(0.15*rest(x))
		return t, 20 * math.Exp(0.8*x[b]*x[c]+0.6*math.Abs(off)+0.3*rest(x))
	}
}
