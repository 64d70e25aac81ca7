package main

import (
	"os"
	"runtime/debug"
)

const (
	// The collector runs less often than by default: what this process allocates is the client's short-lived buffers, and the processor
	// belongs to the broker. Twice as seldom would cost half as much memory again and save nothing that can be measured.
	gcPercent = 200
	gcLimit   = 512 << 20
)

// limitMemory says how much the runtime may take, unless the environment does.
func limitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(gcLimit)
	}
}
