//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is everything that a start could leave behind, by kind.
type machine map[string][]string

func machineNow(t *testing.T, l *lab) machine {
	t.Helper()
	m := machine{
		"mounts":         mountPoints(t),
		"interfaces":     commandLines(t, "ip", "-o", "addr"),
		"routes":         commandLines(t, "ip", "route", "show", "table", "all"),
		"nftables":       commandLines(t, "nft", "list", "ruleset"),
		"iptables":       commandLines(t, "iptables-save"),
		"control groups": topGroups(),
		"files":          l.files(),
	}
	for _, pid := range l.processes(func([]string) bool { return true }) {
		argv, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		m["processes"] = append(m["processes"], strings.ReplaceAll(string(argv), "\x00", " "))
	}
	return m
}

// topGroups are the control groups right below the root of each hierarchy, where the sandbox has its own. Below those of others, groups come and go while
// the test runs: of services, and of whoever logs in.
func topGroups() []string {
	depth := 2 // one folder for each controller
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		depth = 1
	}
	return walk("/sys/fs/cgroup", depth, func(_ string, d fs.DirEntry) bool { return d.IsDir() })
}

func compareMachine(t *testing.T, before, after machine) {
	t.Helper()
	for kind := range after {
		for _, x := range after[kind] {
			if !slices.Contains(before[kind], x) {
				t.Errorf("%s: left behind: %s", kind, x)
			}
		}
		for _, x := range before[kind] {
			if !slices.Contains(after[kind], x) {
				t.Errorf("%s: gone: %s", kind, x)
			}
		}
	}
}

func mountPoints(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		points = append(points, strings.Fields(line)[4])
	}
	return points
}

func commandLines(t *testing.T, argv ...string) []string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatalf("%v: %v", argv, err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") { // iptables-save's dates
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// files are the names that the sandbox could write to: its own state, and the folders of the machine where its parts are known to write.
func (l *lab) files() []string {
	all := walk(l.path(), 2, func(path string, _ fs.DirEntry) bool {
		rel, _ := filepath.Rel(l.path(), path)
		made, _, _ := strings.Cut(rel, "/")
		return !slices.Contains([]string{"bin", "kafka", "images", "build-log"}, made) // the build's, which stay
	})
	for _, dir := range []string{"/etc", "/run", "/var/lib", "/var/log", "/opt", "/usr/libexec"} {
		all = append(all, walk(dir, 3, func(string, fs.DirEntry) bool { return true })...)
	}
	if _, err := os.Stat(statusDir); err == nil {
		all = append(all, statusDir)
	}
	return all
}

func walk(root string, depth int, want func(string, fs.DirEntry) bool) []string {
	var found []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if want(path, d) {
			found = append(found, path)
		}
		if d.IsDir() && strings.Count(strings.TrimPrefix(path, root), "/") >= depth {
			return fs.SkipDir
		}
		return nil
	})
	sort.Strings(found)
	return found
}

// refusals: each thing that is wrong with a machine is one clear message, and nothing is made.
func refusals(t *testing.T, l *lab, before machine) {
	t.Run("told why", func(t *testing.T) { toldWhy(t, l) })
	compareMachine(t, before, machineNow(t, l))
}

func toldWhy(t *testing.T, l *lab) {
	taken, err := net.Listen("tcp", kafkaAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	small := smallDisk(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for name, c := range map[string]struct {
		args []string
		env  []string
		path string
		attr *syscall.SysProcAttr
		want string
	}{
		"a busy port":  {args: []string{"up", "--checkout=" + l.checkout}, want: "port for kafka: 127.0.0.1:9092 is in use"},
		"without root": {args: []string{"up", "--checkout=/tmp"}, attr: nobody, want: "needs root"},
		"without Java": {args: []string{"check", "--checkout=" + l.checkout}, path: onlyOn(t, "go", "mvn", "ss", "sh"), want: "java is missing"},
		"no key":       {args: []string{"up", "--checkout=" + l.checkout}, env: []string{"AGENT=vibectl"}, want: "no key: export ANTHROPIC_API_KEY=… or OPENAI_API_KEY=…"},
		"a full disk":  {args: []string{"up", "--checkout=" + small}, want: "disk: " + small},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(copyFor(t, l.path("bin", "k8s-sandbox")), c.args...)
			cmd.SysProcAttr, cmd.Dir = c.attr, "/"
			cmd.Env = append(os.Environ(), c.env...)
			if c.path != "" {
				cmd.Env = []string{"PATH=" + c.path}
			}
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("want an error with %q, got %v:\n%s", c.want, err, out)
			}
		})
	}
}

// copyFor makes a program runnable by any user, wherever the checkout is.
func copyFor(t *testing.T, program string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, filepath.Base(program))
	if err := os.WriteFile(file, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// onlyOn is a PATH with these programs and no others.
func onlyOn(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		file, err := exec.LookPath(n)
		if err != nil {
			continue
		}
		if err := os.Symlink(file, filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// smallDisk is a file system with far too little room.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("e2e", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		os.Remove(dir)
	})
	return dir
}

// interruptedUp presses Ctrl-C (and once pulls the plug) in each phase in turn; each next start goes on from what the last one left.
func interruptedUp(t *testing.T, l *lab) {
	for _, at := range []struct {
		after  string // a line of up's output
		signal syscall.Signal
		wait   time.Duration
	}{
		{"Kafka gets", syscall.SIGINT, 20 * time.Millisecond},
		{"[1/6]", syscall.SIGINT, 300 * time.Millisecond},
		{"[1/6]", syscall.SIGKILL, time.Second},
		{"[2/6]", syscall.SIGINT, 500 * time.Millisecond},
		{"[2/6]", syscall.SIGKILL, 100 * time.Millisecond},
		{"[3/6]", syscall.SIGINT, 200 * time.Millisecond},
		{"[4/6]", syscall.SIGINT, 50 * time.Millisecond},
		{"[5/6]", syscall.SIGINT, time.Second},
	} {
		name := fmt.Sprintf("%s after %q", at.signal, at.after)
		cmd := exec.Command(l.path("bin", "k8s-sandbox"), "up", "--checkout="+l.checkout)
		cmd.Env = append(os.Environ(), "TUNER_MODE=observe")
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sent := false
		var said strings.Builder
		for buf := make([]byte, 4096); ; {
			n, err := pipe.Read(buf)
			said.Write(buf[:n])
			if !sent && strings.Contains(said.String(), at.after) {
				sent = true
				time.Sleep(at.wait) // somewhere inside the phase: where exactly is not the point
				if err := cmd.Process.Signal(at.signal); err != nil {
					t.Fatal(err)
				}
			}
			if err != nil {
				if err != io.EOF {
					t.Fatal(err)
				}
				break
			}
		}
		err = cmd.Wait()
		if !sent {
			t.Fatalf("%s: up ended before: %v\n%s%s", name, err, said.String(), complaints.String())
		}
		t.Logf("%s: %v", name, err)
	}
	l.up(t, "TUNER_MODE=observe")
	l.mustBeHealthy(t, 2*time.Minute)
}

// interruptedDown presses Ctrl-C while components stop; what it leaves is for the next down to find.
func interruptedDown(t *testing.T, l *lab) {
	cmd := exec.Command(l.path("bin", "k8s-sandbox"), "down", "--checkout="+l.checkout)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // somewhere inside: where exactly is not the point
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v\n%s", cmd.Wait(), said.String())
}

// upTwice compares what the cluster holds before and after.
func upTwice(t *testing.T, l *lab) {
	state := func() string {
		return l.admin(t, "get", "pods,statefulsets,deployments,services,configmaps,persistentvolumes,roles,rolebindings", "-A", "-o",
			`jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {.metadata.uid} {.metadata.generation} {.status.containerStatuses[*].restartCount}{"\n"}{end}`)
	}
	before, began := state(), time.Now()
	l.up(t, "TUNER_MODE=observe")
	t.Logf("second up took %s", time.Since(began).Round(100*time.Millisecond))
	if after := state(); after != before {
		t.Errorf("changed:\nbefore\n%s\nafter\n%s", before, after)
	}
}
