// Package cgroup puts every process of the sandbox below one control group, so that their limits add up in one place and all of them can
// be found and ended, whoever their parent was.
//
// It works on both versions of the interface, through the library that kubelet and runc use.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
)

// Group is a control group by its absolute path in the hierarchy.
type Group struct{ m cgroups.Manager }

// New names a group. It need not exist.
func New(path string) (*Group, error) {
	m, err := manager.New(&cgroups.Cgroup{Path: path, Resources: &cgroups.Resources{SkipDevices: true}})
	if err != nil {
		return nil, fmt.Errorf("control group %s: %w", path, err)
	}
	return &Group{m}, nil
}

// Make creates the group where it is missing.
func (g *Group) Make() error { return g.Add(-1) }

// Add moves a process into the group, making it first.
func (g *Group) Add(pid int) error {
	if err := g.m.Apply(pid); err != nil {
		return fmt.Errorf("join control group: %w", err)
	}
	return nil
}

// Pids are the processes in the group and below it. In version 1 each controller has a tree of its own and a process may be in some only,
// so all of them are read.
func (g *Group) Pids() []int {
	seen := map[int]bool{}
	for _, path := range g.m.GetPaths() {
		pids, err := cgroups.GetAllPids(path)
		if err != nil {
			continue // it does not exist: nobody is in it
		}
		for _, p := range pids {
			seen[p] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// End asks every process in the group and below it to end, and kills what has not within the grace period.
func (g *Group) End(ctx context.Context, grace time.Duration) error {
	for _, p := range g.Pids() {
		_ = syscall.Kill(p, syscall.SIGTERM)
	}
	patient, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for len(g.Pids()) > 0 && patient.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	return g.Kill(ctx)
}

// Kill ends every process in the group and below it, again and again until none is left: one that is being killed can still fork.
func (g *Group) Kill(ctx context.Context) error {
	for {
		pids := g.Pids()
		if len(pids) == 0 {
			return nil
		}
		for _, p := range pids {
			if p != os.Getpid() {
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end processes %v: %w", g.Pids(), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Exists is true when the group is there, in part at least.
func (g *Group) Exists() bool {
	for _, path := range g.m.GetPaths() {
		if cgroups.PathExists(path) {
			return true
		}
	}
	return false
}

// Remove deletes the group and all below it. It must be empty.
func (g *Group) Remove() error {
	if err := g.m.Destroy(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove control group: %w", err)
	}
	return nil
}
