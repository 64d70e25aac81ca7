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
	// It runs more often when a stall has filled the queues, so that the memory of a long run does not depend on its worst moment. A value under way is
	// there up to four times: in its slot, in a batch, in a request, and in an answer to a consumer.
	gcBase   = 88 << 20
	gcCopies = 4
)

// limitMemory says how much the runtime may take with so many bytes of values under way, unless the environment does.
func limitMemory(underWay int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(gcBase + gcCopies*underWay))
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
