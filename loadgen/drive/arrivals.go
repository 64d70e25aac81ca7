package drive

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/stamp"
)

// Arrival is one consumed record. Whoever is told of it may not keep the slices.
type Arrival struct {
	Group     int // index of the consumer group, from 0
	Partition int32
	Offset    int64
	Value     []byte
	Stamp     []byte // value of the header that carries the stamp, nil when there is none
}

// stripes bounds the memory for arrivals, whatever the number of partitions.
const stripes = 16

// arrivals is what came out of some of the partitions.
type arrivals struct {
	mu      sync.Mutex            // one writer at a time; readers need no lock
	own     [phases]hist.Recorder // end to end, records of this run
	others  [phases]hist.Recorder // records of other runs: counted, and no guide for the rate
	bytes   [phases]atomic.Uint64
	skewed  atomic.Uint64 // latencies below zero
	foreign atomic.Uint64 // records without a stamp
}

func (a *arrivals) record(own bool, p phase, latency time.Duration, bytes int) {
	a.mu.Lock()
	if own {
		a.own[p].Record(latency)
	} else {
		a.others[p].Record(latency)
	}
	a.mu.Unlock()
	a.bytes[p].Add(uint64(bytes))
	if latency < 0 {
		a.skewed.Add(1)
	}
}

// Arrived counts a consumed record. Records of one group and partition come one at a time.
func (e *Engine) Arrived(r Arrival) {
	now := e.clock.Now()
	if r.Group >= len(e.verify) {
		return
	}
	a := e.arrived[(r.Group*e.c.Partitions+int(r.Partition))%stripes]
	v := e.verify[r.Group]
	if int(r.Partition) < e.c.Partitions { // one that was added since has nothing of ours, and its records count all the same
		e.reached[r.Group][r.Partition].Store(r.Offset + 1)
	}
	var (
		s   stamp.Stamp
		err error
	)
	if r.Stamp != nil {
		s, err = stamp.DecodeHeader(r.Stamp, r.Value)
	} else {
		s, err = stamp.Decode(r.Value)
	}
	switch {
	case errors.Is(err, stamp.ErrForeign):
		a.foreign.Add(1)
		return
	case errors.Is(err, stamp.ErrHead):
		v.Corrupted(r.Partition, r.Offset, s, false)
		return
	case err != nil:
		v.Corrupted(r.Partition, r.Offset, s, true)
	default:
		v.Consumed(r.Partition, r.Offset, s)
	}
	own := s.Run == e.c.Run
	intended := time.Duration(s.Mono)
	if !own {
		intended = e.clock.Since(s.Wall)
	}
	a.record(own, e.phase(intended), now-intended, len(r.Value))
}

// Assigned says that a consumer of a group takes a partition over at an offset.
func (e *Engine) Assigned(group int, partition int32, offset int64) {
	if group < len(e.verify) && int(partition) < e.c.Partitions {
		e.reached[group][partition].Store(max(offset, 0))
		e.verify[group].Assigned(partition, offset)
	}
}

func (e *Engine) skewed() (n uint64) {
	for _, a := range e.arrived {
		n += a.skewed.Load()
	}
	return n
}

func (e *Engine) foreign() (n uint64) {
	for _, a := range e.arrived {
		n += a.foreign.Load()
	}
	return n
}
