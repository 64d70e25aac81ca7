package main

import (
	"os"
	"runtime"
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

// moreThreads is enough for every goroutine that has much to do: senders, connections, consumers, the collector.
const moreThreads = 14

// addThreads lets more goroutines run at once than there are processors, unless the environment says how many, and returns the number of
// processors. A sender that wakes up then has the kernel for a judge, which takes a processor from a consumer after 3 ms at most; the
// runtime would let it wait for 10.
func addThreads() (processors int) {
	processors = runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors + moreThreads)
	}
	return processors
}
