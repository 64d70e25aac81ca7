package surfaces

import "math"

// Named are the surfaces of bench/TUNER.md.
func Named() []*Surface {
	return []*Surface{interactions(), plateaus(), cliffs(), badStart(), noisy(), irrelevant(), choices(), conditional()}
}

func bump(x, at, width float64) float64 { d := (x - at) / width; return math.Exp(-d * d / 2) }

func step(x, at, soft float64) float64 { return 1 / (1 + math.Exp(-(x-at)/soft)) }

// interactions: two pairs of knobs that help only together, on a diagonal.
func interactions() *Surface {
	s := &Surface{Name: "interactions", What: "knobs that help only together", Noise: 0.05, Start: []int{0, 0, 5, 0, 2}}
	s.Knobs = []Knob{
		numbers("io_threads", 1, 32, 6, true), numbers("network_threads", 1, 16, 6, true), numbers("batch_kib", 1, 256, 6, true),
		numbers("linger_ms", 0, 40, 5, false), numbers("fetchers", 1, 5, 5, false),
	}
	s.fill(1, 0.01, func(at []int) (float64, float64) {
		a, b, c, d, e := s.Knobs[0].part(at[0]), s.Knobs[1].part(at[1]), s.Knobs[2].part(at[2]), s.Knobs[3].part(at[3]), s.Knobs[4].part(at[4])
		balance := bump(a-b, 0.1, 0.3) * (0.3 + step((a+b)/2, 0.5, 0.12))
		batching := 0.4 + bump(c, 0.3+0.5*d, 0.22)
		t := 12000 * balance * batching * (0.9 + 0.1*bump(e, 0.6, 0.4))
		return t, 8 * (1 + 3*d*d + 2.5*c*c + 2*math.Abs(a-b) + 0.6*(1-e))
	})
	s.bound(0.55)
	return s
}

// plateaus: large areas without any difference, with a few small better ones.
func plateaus() *Surface {
	s := &Surface{Name: "plateaus", What: "large areas without any difference", Noise: 0.05, Start: []int{0, 0, 0, 0}}
	s.Knobs = []Knob{
		numbers("heap_mib", 256, 8192, 8, true), numbers("io_threads", 1, 64, 7, true), numbers("segment_mib", 16, 1024, 7, true), numbers("queue", 50, 3200, 7, true),
	}
	s.fill(2, 0.004, func(at []int) (float64, float64) {
		level := 0.55
		if at[0] >= 3 {
			level += 0.1
		}
		if at[0] >= 3 && at[1] >= 2 && at[1] <= 5 {
			level += 0.2
		}
		if at[0] >= 4 && at[1] >= 3 && at[1] <= 4 && at[2] >= 3 {
			level += 0.15
		}
		latency := 20.0
		if at[3] >= 4 {
			latency, level = 45, level+0.03
		}
		if at[3] >= 6 {
			latency = 80
		}
		return 50000 * level, latency * (1 + 0.4*s.Knobs[1].part(at[1]))
	})
	s.Limit = 60
	return s
}

// cliffs: throughput grows towards an edge behind which everything breaks down.
func cliffs() *Surface {
	s := &Surface{Name: "cliffs", What: "the best is next to where it breaks down", Noise: 0.05, Start: []int{1, 1, 1, 3}}
	s.Knobs = []Knob{
		numbers("heap_mib", 512, 6144, 9, false), numbers("in_flight", 1, 256, 9, true), numbers("threads", 1, 24, 8, false), numbers("buffer_kib", 32, 2048, 7, true),
	}
	s.fill(3, 0.01, func(at []int) (float64, float64) {
		heap, flight, threads, buffer := s.Knobs[0].amount(at[0]), s.Knobs[1].amount(at[1]), s.Knobs[2].amount(at[2]), s.Knobs[3].amount(at[3])
		need := 300 + flight*buffer/1024*9 + threads*40
		t := 1500 * math.Pow(flight, 0.35) * math.Pow(threads, 0.3) * math.Pow(buffer/32, 0.12)
		latency := 4 + 0.11*flight + 20/threads
		if need > 0.85*heap { // the collector never rests
			t, latency = t*0.15, latency*9
		}
		if heap > 5000 { // nothing is left for the page cache
			t, latency = t*0.35, latency*3
		}
		return t, latency
	})
	s.bound(0.5)
	return s
}

// badStart: hardly a tenth holds the constraint, the start is far outside, and throughput pulls the other way.
func badStart() *Surface {
	s := &Surface{Name: "bad-start", What: "the start breaks the constraint, and so does most", Noise: 0.05}
	s.Knobs = []Knob{
		numbers("partitions", 1, 64, 7, true), numbers("batch_kib", 4, 1024, 6, true), numbers("replica_fetchers", 1, 8, 5, false),
		numbers("linger_ms", 0, 100, 6, false), numbers("io_threads", 2, 32, 5, true),
	}
	s.fill(4, 0.01, func(at []int) (float64, float64) {
		p, b, f, l, io := s.Knobs[0].part(at[0]), s.Knobs[1].part(at[1]), s.Knobs[2].part(at[2]), s.Knobs[3].part(at[3]), s.Knobs[4].part(at[4])
		t := 30000 * (0.25 + 0.9*b + 0.3*l) * (0.5 + bump(p, 0.65, 0.3)) * (0.7 + 0.3*io)
		latency := 10 * math.Exp(1.5*b+1.6*l+1.2*math.Abs(p-0.4)-0.7*f+0.5*math.Abs(io-0.6))
		return t, latency
	})
	s.bound(0.1)
	s.startAt(0.8, false)
	return s
}

// noisy: smooth, but measured with 15 % noise, and every twentieth measurement is disturbed.
func noisy() *Surface {
	s := &Surface{Name: "noisy", What: "15 % noise, and every twentieth measurement is disturbed", Noise: 0.15, Outliers: 0.05, Start: []int{0, 0, 6, 1}}
	s.Knobs = []Knob{
		numbers("heap_mib", 256, 4096, 6, true), numbers("io_threads", 1, 32, 6, true), numbers("network_threads", 1, 16, 7, true), numbers("log_buffers", 1, 9, 5, false),
	}
	s.fill(5, 0, func(at []int) (float64, float64) {
		h, io, n, b := s.Knobs[0].part(at[0]), s.Knobs[1].part(at[1]), s.Knobs[2].part(at[2]), s.Knobs[3].part(at[3])
		t := 20000 * (0.35 + 0.65*step(h, 0.35, 0.1)) * (0.3 + bump(io, 0.7, 0.28)) * (0.5 + bump(n, 0.4, 0.35)) * (0.9 + 0.2*b)
		return t, 30 * (1.2 - 0.6*h + 0.9*n*n + 0.5*(1-io) + 0.3*b)
	})
	s.bound(0.7)
	return s
}

// irrelevant: twelve knobs, of which three matter.
func irrelevant() *Surface {
	s := &Surface{Name: "irrelevant", What: "twelve knobs, of which three matter", Noise: 0.05}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
		s.Knobs = append(s.Knobs, numbers("knob_"+name, 1, 81, 5, true))
	}
	s.Start = make([]int, 12)
	s.fill(6, 0.01, func(at []int) (float64, float64) {
		b, f, k := s.Knobs[1].part(at[1]), s.Knobs[5].part(at[5]), s.Knobs[10].part(at[10])
		t := 8000 * (0.2 + bump(b, 0.75, 0.3)) * (0.3 + bump(f, 0.5, 0.4)) * (0.6 + 0.4*k)
		return t, 15 * (1 + k + 1.2*b*b)
	})
	s.bound(0.6)
	return s
}

// choices: names whose effects have nothing to do with their order, and turn with each other.
func choices() *Surface {
	s := &Surface{Name: "choices", What: "choices that have no order", Noise: 0.05, Start: []int{0, 0, 0, 1}}
	s.Knobs = []Knob{
		names("codec", "none", "gzip", "snappy", "lz4", "zstd"), names("collector", "serial", "parallel", "g1", "shenandoah", "zgc"),
		numbers("batch_kib", 4, 512, 8, true), numbers("io_threads", 1, 32, 6, true),
	}
	codec := []float64{0.5, 0.4, 0.7, 0.85, 1}
	cpu := []float64{0, 0.9, 0.3, 0.25, 0.6}
	collector := []float64{0.6, 1, 0.93, 0.72, 0.8}
	pause := []float64{60, 35, 16, 5, 4}
	s.fill(7, 0.01, func(at []int) (float64, float64) {
		b, io := s.Knobs[2].part(at[2]), s.Knobs[3].part(at[3])
		load := cpu[at[0]] * (1.2 - io)
		t := 40000 * codec[at[0]] * collector[at[1]] * (0.5 + bump(b, 0.3+0.4*codec[at[0]], 0.3)) * (0.6 + 0.4*io - 0.3*load)
		return t, 5 + pause[at[1]]*(0.5+b) + 18*load
	})
	s.Limit = 28
	return s
}

// conditional: knobs that mean something only with one choice of another.
func conditional() *Surface {
	s := &Surface{Name: "conditional", What: "knobs that mean something only with one choice", Noise: 0.05, Start: []int{0, 0, 0, 0, 0}}
	level := numbers("zstd_level", 1, 19, 7, false)
	level.OnlyKnob, level.OnlyValue = "codec", "zstd"
	window := numbers("lz4_block_kib", 4, 256, 7, true)
	window.OnlyKnob, window.OnlyValue = "codec", "lz4"
	s.Knobs = []Knob{names("codec", "none", "lz4", "zstd"), level, window, numbers("batch_kib", 4, 512, 8, true), numbers("threads", 1, 16, 6, true)}
	s.fill(8, 0.01, func(at []int) (float64, float64) {
		b, th := s.Knobs[3].part(at[3]), s.Knobs[4].part(at[4])
		gain, cost := 0.5, 0.0
		switch s.Knobs[0].Values[at[0]] {
		case "zstd":
			l := level.part(at[1])
			gain, cost = 0.75+0.5*bump(l, 0.35, 0.2), 0.2+l
		case "lz4":
			gain, cost = 0.7+0.2*bump(window.part(at[2]), 0.6, 0.25), 0.15
		}
		return 25000 * gain * (0.4 + 0.7*bump(b, 0.7, 0.35)) * (0.5 + 0.5*th), 10 * (1 + 1.5*cost + 1.2*b*b + 0.8*(1-th))
	})
	s.bound(0.6)
	return s
}
