package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	top := t.TempDir()
	for name, text := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func TestAContainersBoundIsReadInBothVersions(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		cpus   float64
		memory int64
	}{
		"version 2":               {map[string]string{"cpu.max": "150000 100000\n", "memory.max": "4294967296\n"}, 1.5, 4 << 30},
		"version 2 without limit": {map[string]string{"cpu.max": "max 100000\n", "memory.max": "max\n"}, 0, 0},
		"version 1": {map[string]string{"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n",
			"memory/memory.limit_in_bytes": "2147483648\n"}, 4, 2 << 30},
		"version 1 without limit": {map[string]string{"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
			"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0, 0},
		"nothing there": {nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if cpus, memory := Bound(tree(t, c.files)); cpus != c.cpus || memory != c.memory {
				t.Errorf("got %v CPUs and %d bytes, want %v and %d", cpus, memory, c.cpus, c.memory)
			}
		})
	}
}

// As Docker mounts them in a container, with much else left out.
const mountinfo = `745 700 0:61 / / rw,relatime - overlay overlay rw,lowerdir=/a
748 745 0:65 / /sys ro,nosuid - sysfs sysfs ro
749 748 0:66 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755
750 749 0:32 / /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu
751 749 0:34 /docker/1 /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:9 - cgroup cgroup rw,memory
760 745 0:40 / /elsewhere/cpu rw - cgroup cgroup rw,cpu
761 745 0:41 / /sys/fs/cgroups ro - cgroup2 cgroup rw
`

func TestHierarchiesAreFoundWhereverTheirVersionPutsThem(t *testing.T) {
	for name, c := range map[string]struct {
		mounts string
		want   []string
	}{
		"version 1": {mountinfo, []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"}},
		"version 2": {"800 748 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n", []string{"/sys/fs/cgroup"}},
		"none":      {"1 0 0:1 / / rw - ext4 /dev/sda rw\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hierarchies(c.mounts, Top); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestControllersAreHandedOn(t *testing.T) {
	top := tree(t, map[string]string{"cgroup.controllers": "cpuset cpu memory pids\n", "cgroup.procs": "7\n", "cgroup.subtree_control": "", "own/cgroup.procs": ""})
	if err := HandOn(top); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(top, "cgroup.subtree_control")); string(got) != "+cpuset +cpu +memory +pids " {
		t.Errorf("handed on: %q", got)
	}
	if got, _ := os.ReadFile(filepath.Join(top, "own/cgroup.procs")); string(got) != "7" {
		t.Errorf("moved: %q", got)
	}
}

// The kernel's own version 2: every machine that has control groups can mount it, whichever version it uses.
func TestProcessesGoBelowTheirGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("control groups need root, as the sandbox does")
	}
	top := t.TempDir()
	if err := unix.Mount("none", top, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(top, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	group := filepath.Join(top, "kafkalab-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, g := range []string{filepath.Join(group, leaf), group} {
			if err := os.Remove(g); err != nil {
				t.Error(err)
			}
		}
	})
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	pid := strconv.Itoa(cmd.Process.Pid)
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(pid), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := HandOn(group); err != nil {
		t.Fatal(err)
	}
	if left := strings.TrimSpace(read(group, "cgroup.procs")); left != "" {
		t.Errorf("still in the group itself: %s", left)
	}
	if got := strings.TrimSpace(read(group, leaf, "cgroup.procs")); got != pid {
		t.Errorf("below it: %q, want %s", got, pid)
	}
	for _, c := range strings.Fields(read(group, "cgroup.controllers")) {
		if !slices.Contains(strings.Fields(read(group, "cgroup.subtree_control")), c) {
			t.Errorf("%s is not handed on", c)
		}
	}
}
