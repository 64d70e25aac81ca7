package main

import (
	"os"
	"runtime/debug"

	"github.com/kafkalab/kafkalab/loadgen/workload"
)

const (
	// The collector runs less often than by default: what this process allocates is the client's short-lived buffers, and the processor
	// belongs to the broker.
	gcPercent = 400
	gcLimit   = 512 << 20
)

// limitMemory says how much the runtime may take, unless the environment does.
func limitMemory(workload.Workload) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(gcLimit)
	}
}
