package drive

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slice is how long the kernel lets a sender run before others get their turn. The shorter it is, the sooner a sender that wakes up gets its
// own: with the kernel's usual 3 ms, one that shares two busy processors with a broker sends that much late every other time.
const slice = 100 * time.Microsecond

// first is the nice value of a sender: what it does for a record is little, and what waits for it meanwhile can wait.
const first = -19

// punctual gives the calling goroutine a thread of its own, with short slices, before others where the process may ask for that. A kernel
// without such slices (before 6.12) makes nothing of them, and where they may not be asked for, all stays as it was.
func punctual(n int) {
	runtime.LockOSThread()
	stay(n)
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return // somebody has chosen another policy
	}
	attr.Runtime = uint64(slice)
	usual := attr.Nice
	attr.Nice = first
	if unix.SchedSetAttr(0, attr, 0) != nil {
		attr.Nice = usual
		_ = unix.SchedSetAttr(0, attr, 0)
	}
}

// stay keeps the thread on one of the processors that the process may use: neighbouring numbers on different ones.
func stay(n int) {
	var all, one unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() < 2 {
		return
	}
	n %= all.Count()
	for cpu := 0; ; cpu++ {
		if !all.IsSet(cpu) {
			continue
		}
		if n == 0 {
			one.Set(cpu)
			_ = unix.SchedSetaffinity(0, &one) // it may have lost that processor just now, and goes where it is put
			return
		}
		n--
	}
}

// sleep waits by the kernel's timer. The runtime's own ends up in epoll_wait, which counts in milliseconds and rounds up.
func sleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // interrupted: the sender looks at the time again
}
