package main

import (
	"fmt"
	"math/rand/v2"
)

// What is recorded. The start of the demo, 256 MiB, 1 and 2, is one of the configurations.
var (
	heaps    = []int{256, 512, 1024, 2048} // MiB
	networks = []int{1, 2, 4, 8}           // threads of each listener
	ios      = []int{1, 2, 4, 8}           // threads
)

// Load is a workload with how many of its records are under way: so many that good configurations are a little below its SLO and bad ones above.
type Load struct {
	Workload string
	InFlight int
}

var loads = []Load{{"bulk", 128}, {"chatty", 256}}

// Step is one measurement to be made.
type Step struct {
	Pass     int    `json:"pass"`
	Workload string `json:"workload"`
	Heap     int    `json:"heap_mib"`
	Network  int    `json:"network_threads"`
	IO       int    `json:"io_threads"`
}

func (s Step) String() string {
	return fmt.Sprintf("%s, pass %d, %d MiB, %d network and %d I/O threads", s.Workload, s.Pass, s.Heap, s.Network, s.IO)
}

// Deployment tells the restarts apart.
func (s Step) Deployment() [2]int { return [2]int{s.Pass, s.Heap} }

// Plan is every measurement in the order of the seed.
func Plan(seed uint64, passes int) []Step {
	var plan []Step
	for pass := 1; pass <= passes; pass++ {
		r := rand.New(rand.NewPCG(seed, uint64(pass)))
		for _, h := range r.Perm(len(heaps)) {
			first := len(plan)
			for _, l := range loads {
				for _, network := range networks {
					for _, io := range ios {
						plan = append(plan, Step{pass, l.Workload, heaps[h], network, io})
					}
				}
			}
			part := plan[first:]
			r.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
		}
	}
	return plan
}

// Left is the part of a plan that has not been made.
func Left(plan []Step, done []Measurement) []Step {
	made := map[Step]bool{}
	for _, m := range done {
		made[m.Step] = true
	}
	var left []Step
	for _, s := range plan {
		if !made[s] {
			left = append(left, s)
		}
	}
	return left
}
