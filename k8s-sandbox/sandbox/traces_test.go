package sandbox

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

const ourID, theirID = "1d0f54796029", "99887766aabb"

// aMachine has the sandbox's own folders and, below root, those that it shares with others.
func aMachine(t *testing.T) traces {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tr") // short: a socket's path may hold 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tr := traces{l: layout.Layout{Lab: dir + "/.lab", Run: dir + "/r", Status: dir + "/status"}, root: dir}
	for _, d := range []string{"/var/lib", "/var/log", "/run"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func (t traces) put(test *testing.T, file, content string) string {
	test.Helper()
	path := t.root + file
	os.Remove(path) // another may be there
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		test.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		test.Fatal(err)
	}
	return path
}

func (t traces) link(test *testing.T, file, target string) string {
	test.Helper()
	t.put(test, file, "")
	if err := os.Remove(t.root + file); err != nil {
		test.Fatal(err)
	}
	if err := os.Symlink(target, t.root+file); err != nil {
		test.Fatal(err)
	}
	return t.root + file
}

// socket listens, and stops listening without taking its file away, as a process does that is killed.
func (t traces) socket(test *testing.T, file string, alive bool) string {
	test.Helper()
	t.put(test, file, "")
	if err := os.Remove(t.root + file); err != nil {
		test.Fatal(err)
	}
	l, err := net.Listen("unix", t.root+file)
	if err != nil {
		test.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if alive {
		test.Cleanup(func() { l.Close() })
	} else {
		l.Close()
	}
	return t.root + file
}

// used is what a run of ours was seen to leave.
func (t traces) used(test *testing.T) {
	shim := func(id string) string {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(t.l.Run+"/containerd.sock/k8s.io/"+id)))
	}
	t.put(test, "/r/containerd/io.containerd.runtime.v2.task/k8s.io/"+ourID+"/address", "")
	t.socket(test, "/var/lib/kubelet/device-plugins/kubelet.sock", false)
	t.put(test, "/var/lib/cni/results/kafkalab-"+ourID+"-eth0", "{}")
	t.put(test, "/var/lib/cni/results/cni-loopback-"+ourID+"-lo", "{}")
	t.put(test, "/var/lib/cni/results/cni-loopback-0123-lo", `{"sandbox":"`+t.l.Run+`/containerd/netns/cni-1"}`)
	t.link(test, "/var/log/containers/kafka-0.log", t.l.Log("pods", "kafka-0", "0.log"))
	t.put(test, "/run/containerd/runc/k8s.io/"+ourID+"/exec.fifo", "")
	t.put(test, "/run/containerd/runc/k8s.io/0123/state.json", `{"rootfs":"`+t.l.Run+`/containerd/0123/rootfs"}`)
	t.socket(test, "/run/containerd/s/"+shim(ourID), false)
	t.put(test, "/status/latency.txt", "1")
	t.put(test, "/status/.latency.json.new", "{")
}

func (t traces) everything(test *testing.T) []string {
	test.Helper()
	var all []string
	for _, d := range []string{t.root + "/var", t.root + "/run", t.l.Status} {
		_ = filepath.WalkDir(d, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				all = append(all, path)
			}
			return nil
		})
	}
	return all
}

func TestARunOfOursLeavesNothing(t *testing.T) {
	m := aMachine(t)
	before, absent := m.everything(t), m.absent()
	m.used(t)
	m.socket(t, "/run/containerd/s/of-a-container-that-has-gone", false)
	left, err := m.remove(absent)
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v; want nothing", left, err)
	}
	if after := m.everything(t); !slices.Equal(before, after) {
		t.Errorf("want\n%v, got\n%v", before, after)
	}
}

// Somebody installs another Kubernetes, or Docker, while the lab is up: its data are in folders that were not there before us.
func TestWhatOthersPutIntoTheSameFoldersStays(t *testing.T) {
	m := aMachine(t)
	absent := m.absent()
	m.used(t)
	theirs := []string{
		m.socket(t, "/var/lib/kubelet/device-plugins/kubelet.sock", true),
		m.put(t, "/var/lib/kubelet/pods/data", "theirs"),
		m.put(t, "/var/lib/cni/results/cbr0-"+theirID+"-eth0", "{}"),
		m.put(t, "/var/lib/cni/results/cni-loopback-"+theirID+"-lo", `{"sandbox":"/run/netns/cni-2"}`),
		m.link(t, "/var/log/containers/theirs.log", "/var/log/pods/theirs/0.log"),
		m.put(t, "/run/containerd/runc/k8s.io/"+theirID+"/state.json", `{"rootfs":"/run/containerd/rootfs"}`),
		m.socket(t, "/run/containerd/s/"+theirID, true),
		m.put(t, "/run/containerd/containerd.sock", ""),
		m.put(t, "/status/notes.txt", "theirs"),
	}
	left, err := m.remove(absent)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range m.everything(t) {
		if info, err := os.Lstat(path); err == nil && !info.IsDir() {
			found = append(found, path)
		}
	}
	slices.Sort(theirs)
	slices.Sort(found)
	if !slices.Equal(found, theirs) {
		t.Errorf("want\n%s\ngot\n%s", strings.Join(theirs, "\n"), strings.Join(found, "\n"))
	}
	for _, want := range []string{"/var/lib/kubelet/pods", "/run/containerd/containerd.sock", "/run/containerd/s/" + theirID} {
		if !slices.Contains(left, m.root+want) {
			t.Errorf("%s is not said to be left: %v", want, left)
		}
	}
}

func TestFoldersThatWereThereStayEvenEmpty(t *testing.T) {
	m := aMachine(t)
	for _, d := range m.dirs() {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	stranger := m.socket(t, "/run/containerd/s/not-known", false)
	before, absent := m.everything(t), m.absent()
	m.used(t)
	if left, err := m.remove(absent); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v; want nothing", left, err)
	}
	if after := m.everything(t); !slices.Equal(before, after) || !slices.Contains(after, stranger) {
		t.Errorf("want\n%v, got\n%v", before, after)
	}
}

// In mounts of its own, which go with it.
func TestATreeWithAMountInItIsNotRemoved(t *testing.T) {
	if os.Getenv("OWN_MOUNTS") == "" {
		cmd := exec.Command("unshare", "--mount", os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "OWN_MOUNTS=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "state", "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("test", data, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "theirs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(filepath.Join(dir, "state")); err == nil || !strings.Contains(err.Error(), data+" is mounted in it") || !exists(data+"/theirs") {
		t.Errorf("got %v; want the mount named and left alone", err)
	}
	if err := unix.Unmount(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(filepath.Join(dir, "state")); err != nil || exists(filepath.Join(dir, "state")) {
		t.Errorf("without it: %v", err)
	}
}
