package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	if !s.anything(ctx) {
		fmt.Fprintln(s.conf.Out, "nothing is up")
		return nil
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	steps := progress.New(s.conf.Out, 3)
	if err := steps.Do("end processes", func(func(string)) error { return s.endProcesses(ctx) }); err != nil {
		return err // what still runs keeps its network and files; the next down goes on from here
	}
	// The rest takes a moment: an interrupt would save nobody's time and leave half of it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := steps.Do("network and mounts", func(func(string)) error {
		return errors.Join(s.unmount(), network.Down(ctx, s.l))
	}); err != nil {
		return err
	}
	return steps.Do("files and control groups", func(func(string)) error {
		if err := s.removeGroups(); err != nil {
			return err
		}
		return s.removeFiles()
	})
}

// anything is true when there is something that Down would remove.
func (s *Sandbox) anything(ctx context.Context) bool {
	for _, path := range []string{s.l.Run, s.l.State(), s.l.Log(), s.l.Kustomize(), s.l.Kubeconfig()} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	group, err := cgroup.New(layout.CgroupRoot)
	return err == nil && group.Exists() || network.Exists(ctx)
}

// endProcesses asks the supervisor to stop its components in order, then ends whatever is left in the control group: containers, and
// components whose supervisor had been killed.
func (s *Sandbox) endProcesses(ctx context.Context) error {
	if s.running() {
		asked, cancel := context.WithTimeout(ctx, 90*time.Second)
		defer cancel()
		err := supervise.Dial(s.l.Supervisor()).Stop(asked)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted while components stop: %w", ctx.Err())
		}
		if err != nil {
			fmt.Fprintf(s.conf.Out, "the supervisor did not stop by itself: %v\n", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	group, err := cgroup.New(layout.CgroupRoot)
	if err != nil {
		return err
	}
	return group.Kill(ctx)
}

func (s *Sandbox) removeGroups() error {
	group, err := cgroup.New(layout.CgroupRoot)
	if err != nil {
		return err
	}
	return group.Remove()
}

// recordMachine notes, before the first start, which of the folders that others use too are not there: only those may go with us.
func (s *Sandbox) recordMachine() error {
	file := s.l.State("machine.json")
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := os.MkdirAll(s.l.State(), 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	data, err := json.Marshal(traces{l: s.l}.absent())
	if err != nil {
		return err
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("note the machine's state: %w", err)
	}
	return os.Rename(tmp, file)
}

// removeFiles goes from the outside in: what it knows of the machine is in our state, and the lock, which keeps a new up away, is last.
func (s *Sandbox) removeFiles() error {
	var absent []string
	if data, err := os.ReadFile(s.l.State("machine.json")); err == nil {
		if err := json.Unmarshal(data, &absent); err != nil {
			return fmt.Errorf("read the machine's state: %w", err)
		}
	}
	left, err := traces{l: s.l}.remove(absent)
	if err != nil {
		return err
	}
	for _, l := range left {
		fmt.Fprintf(s.conf.Out, "left, because it is not the lab's: %s\n", l)
	}
	for _, path := range []string{s.l.Kustomize(), s.l.Kubeconfig(), s.l.AgentKubeconfig(), s.l.Log(), s.l.State()} {
		if err := removeTree(path); err != nil {
			return err
		}
	}
	for _, name := range names(s.l.Run) {
		if path := filepath.Join(s.l.Run, name); path != s.l.Lock() {
			if err := removeTree(path); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(s.l.Lock()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove lock: %w", err)
	}
	// From here on somebody may start anew, and then the folder is theirs.
	if err := unix.Rmdir(s.l.Run); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", s.l.Run, err)
	}
	return nil
}

// removeTree removes one of our own folders or files, unless something is mounted in it: that is somebody's, or a mount of ours that
// could not be taken away, and what is in it is not to be deleted.
func removeTree(path string) error {
	mounts, err := mountsBelow(path + "/")
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("remove %s: %s is mounted in it: unmount it and run make down again", path, mounts[0])
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
