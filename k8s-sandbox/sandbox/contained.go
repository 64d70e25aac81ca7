package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/k8s-sandbox/cgroup"
	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/network"
	"github.com/kafkalab/kafkalab/k8s-sandbox/supervise"
)

// accessDir holds, in the container, a volume for each program that talks to the API server: its kubeconfig, and nobody else's.
const accessDir = "/etc/kafkalab"

// inside are the ports that lead from the container into the node: the programs, which share the container's network, listen on theirs
// themselves.
func inside(ports []layout.Port) []layout.Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p layout.Port) bool {
		return p.Name != "kubernetes" && !strings.HasPrefix(p.Name, "kafka")
	})
}

// Serve is the container's process: it brings Kubernetes and Kafka up and stays until ctx ends, then stops them. What a start left behind that
// was killed is taken up again: state is on volumes, and everything else went with the container's processes.
func (s *Sandbox) Serve(ctx context.Context) error {
	if err := cgroup.OpenContainer(); err != nil {
		return err
	}
	// The kubelet insists on reading the kernel's log, for processes that were killed for want of memory. A container has none, and it is not
	// the container's to read.
	if _, err := os.Lstat("/dev/kmsg"); errors.Is(err, os.ErrNotExist) {
		if err := os.Symlink("/dev/null", "/dev/kmsg"); err != nil {
			return fmt.Errorf("make /dev/kmsg: %w", err)
		}
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	err = s.up(ctx)
	if err == nil {
		err = os.WriteFile(s.l.Ready(), nil, 0o644)
	}
	if err == nil {
		fmt.Fprintln(s.conf.Out, "up, until the container is stopped")
		err = s.stay(ctx)
	}
	if ctx.Err() != nil { // asked to stop, which may have made a start fail
		err = nil
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return errors.Join(err, s.leave(end))
}

// stay returns when ctx ends, or with an error when there is no supervisor any more.
func (s *Sandbox) stay(ctx context.Context) error {
	for s.running() {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	return fmt.Errorf("the supervisor has ended (logs: %s)", s.l.Log())
}

// leave stops the pods before those who would start them again have gone for good: a broker that may close its logs starts sooner the next time.
func (s *Sandbox) leave(ctx context.Context) error {
	_ = os.Remove(s.l.Ready())
	if err := supervise.Dial(s.l.Supervisor()).Stop(ctx); err != nil {
		fmt.Fprintf(s.conf.Out, "the supervisor did not stop by itself: %v\n", err)
	}
	pods, err := cgroup.New(layout.CgroupRoot + "/kubepods")
	if err != nil {
		return err
	}
	if err := pods.End(ctx, 20*time.Second); err != nil {
		return err
	}
	all, err := cgroup.New(layout.CgroupRoot)
	if err != nil {
		return err
	}
	return errors.Join(all.Kill(ctx), all.Remove(), s.unmount(), network.Down(ctx, s.l))
}

// Healthy is nil when the start is through, every component is healthy and every workload ready. It is the container's health check.
func (s *Sandbox) Healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	if !exists(s.l.Ready()) {
		return errors.New("still starting")
	}
	components, err := supervise.Dial(s.l.Supervisor()).Status(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range components {
		if !c.Healthy {
			errs = append(errs, fmt.Errorf("%s: %s: %s", c.Name, c.State, c.Reason))
		}
	}
	return errors.Join(append(errs, s.allReady(ctx))...)
}
