package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Top is where the hierarchy is mounted. In a container with a control group namespace of its own, that is the container's own group, so
// that whatever is made below it counts against the container's limits.
const Top = "/sys/fs/cgroup"

// leaf is where processes go that would otherwise be in the container's own group.
const leaf = "own"

// OpenContainer lets groups be made below that of the container which this process runs in: Docker mounts the hierarchy read-only, and in
// version 2 a group with processes of its own can hand no controller on. It needs CAP_SYS_ADMIN.
func OpenContainer() error {
	if err := writable(Top); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(Top, "cgroup.controllers")); errors.Is(err, os.ErrNotExist) {
		return nil // version 1: every group may have both
	}
	return HandOn(Top)
}

// writable remounts the hierarchy, in version 1 each of its controllers, as it is but for being read-only.
func writable(top string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range hierarchies(string(data), top) {
		const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		if err := unix.Mount("", m, "", flags, ""); err != nil {
			return fmt.Errorf("make %s writable: %w", m, err)
		}
	}
	return nil
}

// hierarchies are the mount points of control groups at top and below it, as in /proc/self/mountinfo.
func hierarchies(mountinfo, top string) []string {
	var found []string
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		kind, _, _ := strings.Cut(after, " ")
		if !ok || len(fields) < 5 || kind != "cgroup" && kind != "cgroup2" {
			continue
		}
		if point := fields[4]; point == top || strings.HasPrefix(point, top+"/") {
			found = append(found, point)
		}
	}
	return found
}

// HandOn moves the processes of a version 2 group into one below it and hands all of its controllers on. A process may be started in the
// group at any moment (a health check is), so it is tried again for a while.
func HandOn(group string) error {
	if err := os.MkdirAll(filepath.Join(group, leaf), 0o755); err != nil {
		return fmt.Errorf("make control group: %w", err)
	}
	controllers, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("list controllers: %w", err)
	}
	var all strings.Builder
	for _, c := range strings.Fields(string(controllers)) {
		all.WriteString("+" + c + " ")
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := moveAll(group, filepath.Join(group, leaf))
		if err == nil && all.Len() > 0 {
			err = os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte(all.String()), 0o644)
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("hand the controllers of %s on: %w", group, err)
		}
	}
}

func moveAll(from, to string) error {
	pids, err := os.ReadFile(filepath.Join(from, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range bytes.Fields(pids) {
		// One that has ended meanwhile is nobody's.
		if err := os.WriteFile(filepath.Join(to, "cgroup.procs"), pid, 0o644); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// Bound is what a container may use: the CPUs and bytes of memory of the group that is mounted at top, 0 where it has no limit.
func Bound(top string) (cpus float64, memory int64) {
	var quota, period float64
	if _, err := fmt.Sscanf(read(top, "cpu.max"), "%f %f", &quota, &period); err != nil {
		fmt.Sscanf(read(top, "cpu/cpu.cfs_quota_us"), "%f", &quota)
		fmt.Sscanf(read(top, "cpu/cpu.cfs_period_us"), "%f", &period)
	}
	if quota > 0 && period > 0 {
		cpus = quota / period
	}
	if _, err := fmt.Sscanf(read(top, "memory.max"), "%d", &memory); err != nil {
		fmt.Sscanf(read(top, "memory/memory.limit_in_bytes"), "%d", &memory)
	}
	if memory >= 1<<60 { // how version 1 says that there is none
		memory = 0
	}
	return cpus, memory
}

func read(parts ...string) string {
	data, _ := os.ReadFile(filepath.Join(parts...))
	return string(data)
}
