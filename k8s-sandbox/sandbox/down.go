package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/cgroup"
	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/network"
	"github.com/kafkalab/kafkalab/k8s-sandbox/progress"
	"github.com/kafkalab/kafkalab/k8s-sandbox/supervise"
)

// Down ends and removes everything that Up made, in whatever state it is. What the build made stays.
func (s *Sandbox) Down(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("make down needs root, as make up did: run it with sudo")
	}
	if err := s.checkOwner(); err != nil {
		return err
	}
	if !s.anything() {
		fmt.Fprintln(s.conf.Out, "nothing is up")
		return nil
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	steps := progress.New(s.conf.Out, 3)
	return errors.Join(
		steps.Do("end processes", func(func(string)) error { return s.endProcesses(ctx) }),
		steps.Do("network and mounts", func(func(string)) error {
			return errors.Join(s.unmount(), network.Down(ctx, s.l))
		}),
		steps.Do("files and control groups", func(func(string)) error { return errors.Join(s.removeGroups(), s.removeFiles()) }),
	)
}

// anything is true when there is something that Down would remove.
func (s *Sandbox) anything() bool {
	for _, path := range []string{s.l.Run, s.l.State(), s.l.Log(), s.l.Kustomize(), s.l.Kubeconfig(), "/sys/class/net/" + layout.HostLink} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	group, err := cgroup.New(layout.CgroupRoot)
	return err == nil && group.Exists()
}

// endProcesses asks the supervisor to stop its components in order, then ends whatever is left in the control group: containers, and
// components whose supervisor had been killed.
func (s *Sandbox) endProcesses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if s.running() {
		if err := supervise.Dial(s.l.Supervisor()).Stop(ctx); err != nil {
			fmt.Fprintf(s.conf.Out, "the supervisor did not stop by itself: %v\n", err)
		}
	}
	group, err := cgroup.New(layout.CgroupRoot)
	if err != nil {
		return err
	}
	return group.Kill(ctx)
}

// unmount takes away every mount below our own folders, the deepest first.
func (s *Sandbox) unmount() error {
	mounts, err := mountsBelow(s.l.Run+"/", s.l.State()+"/", s.l.Status+"/")
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		if m == s.l.Netns() {
			continue // the network's own
		}
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

func mountsBelow(prefixes ...string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []string
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		for _, p := range prefixes {
			if strings.HasPrefix(point, p) {
				found = append(found, point)
				break
			}
		}
	}
	sort.Slice(found, func(i, j int) bool { return len(found[i]) > len(found[j]) })
	return found, scanner.Err()
}

func (s *Sandbox) removeGroups() error {
	group, err := cgroup.New(layout.CgroupRoot)
	if err != nil {
		return err
	}
	return group.Remove()
}

// machineDirs are folders outside our own that Kubernetes' parts write to because their path is fixed in their code.
func machineDirs() []string {
	return []string{"/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/var/log/pods", "/etc/cni", "/opt/cni", "/run/containerd", "/run/flannel"}
}

// recordMachine notes, before the first start, which of those folders were there already: only the others are ours to remove.
func (s *Sandbox) recordMachine() error {
	file := s.l.State("machine.json")
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := os.MkdirAll(s.l.State(), 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	var absent []string
	for _, d := range append(machineDirs(), s.l.Status) {
		if _, err := os.Lstat(d); errors.Is(err, os.ErrNotExist) {
			absent = append(absent, d)
		}
	}
	data, err := json.Marshal(absent)
	if err != nil {
		return err
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("note the machine's state: %w", err)
	}
	return os.Rename(tmp, file)
}

func (s *Sandbox) removeFiles() error {
	var ours []string
	if data, err := os.ReadFile(s.l.State("machine.json")); err == nil {
		if err := json.Unmarshal(data, &ours); err != nil {
			return fmt.Errorf("read the machine's state: %w", err)
		}
	}
	// Files of ours in folders that were there before us.
	for _, pattern := range []string{"/var/lib/cni/results/kafkalab-*", filepath.Join(s.l.Status, "latency.*")} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		ours = append(ours, matches...)
	}
	ours = append(ours, danglingLogs(s.l.Log("pods"))...)
	ours = append(ours, s.l.Kustomize(), s.l.Kubeconfig(), s.l.AgentKubeconfig(), s.l.Log(), s.l.Run, s.l.State())
	var errs []error
	for _, path := range ours {
		if err := os.RemoveAll(path); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// danglingLogs are the links that kubelet leaves in /var/log/containers to logs of our pods.
func danglingLogs(pods string) []string {
	links, _ := filepath.Glob("/var/log/containers/*")
	var ours []string
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && strings.HasPrefix(target, pods) {
			ours = append(ours, l)
		}
	}
	return ours
}
