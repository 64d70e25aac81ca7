package sandbox

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// traces are what the parts of Kubernetes leave outside our own folders, because the path is fixed in their code. Another Kubernetes or
// Docker uses the same folders, and may have come after us. So an entry is removed only if it is known to be ours, and a folder only if it
// was not there before us and nothing is left in it.
type traces struct {
	l    layout.Layout
	root string // stands before the fixed paths; empty but in tests
}

const cniNetwork = "kafkalab" // as in components/config/cni.conflist

// The folders, each before those in it.
func (t traces) dirs() []string {
	var all []string
	for _, d := range []string{
		"/var/lib/kubelet", "/var/lib/kubelet/device-plugins", "/var/lib/cni", "/var/lib/cni/results", "/var/log/containers",
		"/run/containerd", "/run/containerd/s", "/run/containerd/runc", "/run/containerd/runc/k8s.io",
	} {
		all = append(all, t.root+d)
	}
	return append(all, t.l.Status)
}

// absent are those of the folders that are not there.
func (t traces) absent() []string {
	var absent []string
	for _, d := range t.dirs() {
		if _, err := os.Lstat(d); errors.Is(err, os.ErrNotExist) {
			absent = append(absent, d)
		}
	}
	return absent
}

// remove needs what absent said before the start. It names what is left in those folders, which is somebody else's.
func (t traces) remove(absent []string) (left []string, err error) {
	for _, entry := range t.entries(absent) {
		if err := removeEntry(entry); err != nil {
			return nil, err
		}
	}
	dirs := t.dirs()
	for _, d := range slices.Backward(dirs) {
		if !within(absent, d) {
			continue
		}
		// Rmdir, not Remove: it takes away neither a link that somebody has put in the folder's place nor anything that is not empty.
		err := unix.Rmdir(d)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if !slices.Contains([]error{unix.ENOTEMPTY, unix.EEXIST, unix.EBUSY, unix.ENOTDIR}, err) {
			return nil, fmt.Errorf("remove %s: %w", d, err)
		}
		found := names(d)
		for _, name := range found {
			if path := filepath.Join(d, name); !slices.Contains(dirs, path) {
				left = append(left, path)
			}
		}
		if len(found) == 0 {
			left = append(left, d)
		}
	}
	return left, nil
}

// entries are the files, links and folders that are ours.
func (t traces) entries(absent []string) []string {
	containers := t.containers()
	var ours []string
	add := func(dir string, is func(name, path string) bool) {
		for _, name := range names(dir) {
			if path := filepath.Join(dir, name); is(name, path) {
				ours = append(ours, path)
			}
		}
	}
	add(t.root+"/var/lib/kubelet/device-plugins", func(name, path string) bool { return name == "kubelet.sock" && dead(path) })
	add(t.root+"/var/lib/cni/results", func(name, path string) bool {
		network, id, _ := cutResult(name)
		return network == cniNetwork || containers[id] || mentions(path, t.l.Run)
	})
	add(t.root+"/var/log/containers", func(_, path string) bool {
		target, err := os.Readlink(path)
		return err == nil && strings.HasPrefix(target, t.l.Log("pods")+"/")
	})
	add(t.root+"/run/containerd/runc/k8s.io", func(name, path string) bool {
		return containers[name] || mentions(filepath.Join(path, "state.json"), t.l.Run)
	})
	sockets := t.root + "/run/containerd/s"
	shims := t.shims(containers)
	add(sockets, func(name, path string) bool {
		// A container whose folder has gone has left no name; where we were first, a socket that nobody serves is such a one's.
		return (shims[name] || within(absent, sockets)) && dead(path)
	})
	add(t.l.Status, func(name, _ string) bool {
		return slices.Contains([]string{"latency.txt", "latency.json", ".latency.txt.new", ".latency.json.new"}, name)
	})
	return ours
}

// containers are the ids of all that our containerd and CNI know of.
func (t traces) containers() map[string]bool {
	ids := map[string]bool{}
	for _, dir := range []string{
		filepath.Join(t.l.ContainerdState(), "io.containerd.runtime.v2.task", "k8s.io"),
		t.l.State("containerd", "io.containerd.grpc.v1.cri", "sandboxes"),
		t.l.State("containerd", "io.containerd.grpc.v1.cri", "containers"),
	} {
		for _, id := range names(dir) {
			ids[id] = true
		}
	}
	for _, name := range names(t.root + "/var/lib/cni/results") {
		if network, id, ok := cutResult(name); ok && network == cniNetwork {
			ids[id] = true
		}
	}
	return ids
}

// shims are the names of the containers' sockets: containerd takes a hash of its own address, the namespace and the container.
func (t traces) shims(containers map[string]bool) map[string]bool {
	all := map[string]bool{}
	for id := range containers {
		all[fmt.Sprintf("%x", sha256.Sum256([]byte(filepath.Join(t.l.Containerd(), "k8s.io", id))))] = true
	}
	return all
}

// cutResult takes apart the name of a cached result of CNI: network, container, interface.
func cutResult(name string) (network, container string, ok bool) {
	parts := strings.Split(name, "-")
	if len(parts) < 3 {
		return "", "", false
	}
	return strings.Join(parts[:len(parts)-2], "-"), parts[len(parts)-2], true
}

// mentions is true for a file that names something in a folder.
func mentions(file, folder string) bool {
	data, err := os.ReadFile(file)
	return err == nil && bytes.Contains(data, []byte(`"`+folder+"/"))
}

// dead is true for a socket that nobody listens on.
func dead(socket string) bool {
	info, err := os.Lstat(socket)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// removeEntry removes a file, or a folder of files and nothing deeper.
func removeEntry(path string) error {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		for _, name := range names(path) {
			if err := os.Remove(filepath.Join(path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// within is true for a folder that is one of these, or in one of them.
func within(folders []string, dir string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

// names are what a folder holds, nothing if it is not there.
func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
