package cgroup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/k8s-sandbox/cgroup"
)

func TestKillEndsEveryProcessOfTheGroupAndOfThoseBelow(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("control groups need root, as the sandbox does")
	}
	name := fmt.Sprintf("/kafkalab-test-%d", os.Getpid())
	group, inner := must(t, name), must(t, name+"/a/b")
	t.Cleanup(func() {
		if err := group.Remove(); err != nil {
			t.Error(err)
		}
	})
	var all []*exec.Cmd
	for _, g := range []*cgroup.Group{group, inner} {
		if g == group && unified() {
			continue // version 2 allows processes in leaves only
		}
		cmd := exec.Command("sleep", "300")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		if err := g.Add(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(group.Pids(), cmd.Process.Pid) {
			t.Errorf("process %d is not among %v", cmd.Process.Pid, group.Pids())
		}
		all = append(all, cmd)
	}
	for _, cmd := range all {
		go cmd.Wait() // a zombie stays in its group until its parent looks
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := group.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if pids := group.Pids(); len(pids) > 0 {
		t.Errorf("still there: %v", pids)
	}
}

func TestAGroupThatIsNotThereIsEmptyAndCanBeRemoved(t *testing.T) {
	g := must(t, "/kafkalab-test-absent")
	if err := g.Kill(context.Background()); err != nil {
		t.Error(err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, name string) *cgroup.Group {
	t.Helper()
	g, err := cgroup.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func unified() bool {
	data, err := os.ReadFile("/proc/self/cgroup")
	return err == nil && strings.HasPrefix(string(data), "0::") && strings.Count(string(data), "\n") == 1
}
