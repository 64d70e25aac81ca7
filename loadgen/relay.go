package main

import (
	"sync"
	"sync/atomic"

	"github.com/kafkalab/kafkalab/loadgen/drive"
)

// relay passes on what consumers see to the engine that sends now, and tells a new one what it has missed.
type relay struct {
	engine atomic.Pointer[drive.Engine]

	mu       sync.Mutex
	joined   map[int]bool
	assigned map[claim]int64
}

type claim struct {
	group     int
	partition int32
}

// to makes e the receiver from now on.
func (r *relay) to(e *drive.Engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, offset := range r.assigned {
		e.Assigned(c.group, c.partition, offset)
	}
	for n := range r.joined {
		e.Joined(n)
	}
	r.engine.Store(e)
}

// Arrived passes a record on. Before the first engine there is nobody to whom it could matter.
func (r *relay) Arrived(a drive.Arrival) {
	if e := r.engine.Load(); e != nil {
		e.Arrived(a)
	}
}

// Assigned is kept for later engines too.
func (r *relay) Assigned(group int, partition int32, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.assigned == nil {
		r.assigned = make(map[claim]int64)
	}
	r.assigned[claim{group, partition}] = offset
	if e := r.engine.Load(); e != nil {
		e.Assigned(group, partition, offset)
	}
}

// Joined likewise.
func (r *relay) Joined(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.joined == nil {
		r.joined = make(map[int]bool)
	}
	r.joined[n] = true
	if e := r.engine.Load(); e != nil {
		e.Joined(n)
	}
}
