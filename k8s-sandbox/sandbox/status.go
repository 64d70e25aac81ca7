package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"text/tabwriter"
	"time"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/progress"
	"github.com/kafkalab/kafkalab/k8s-sandbox/supervise"
)

// Status prints each component and each pod. It is an error when the sandbox is not up.
func (s *Sandbox) Status(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	all, err := supervise.Dial(s.l.Supervisor()).Status(ctx)
	if err != nil {
		return notUp(err)
	}
	w := tabwriter.NewWriter(s.conf.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tSTATE\tHEALTH\tFOR\tRESTARTS\t")
	for _, c := range all {
		health := "healthy"
		if !c.Healthy {
			health = "not healthy: " + c.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t\n", c.Name, c.State, health, progress.Duration(time.Since(c.Since)), c.Restarts)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	pods, err := s.kubectl(ctx, "get", "pods", "-A")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.conf.Out, "\n%s\n", pods)
	return tunerStatus(ctx, s.l, s.port("tuner"), s.conf.Out)
}

// tunerStatus shows rates, P99, knobs and changes, which are the tuner's to tell.
func tunerStatus(ctx context.Context, l layout.Layout, port int, out io.Writer) error {
	tuner := exec.CommandContext(ctx, l.Bin("tuner"), "status", fmt.Sprintf("--address=http://127.0.0.1:%d", port))
	tuner.Stdout, tuner.Stderr = out, out
	if err := tuner.Run(); err != nil {
		return fmt.Errorf("ask the tuner: %w", err)
	}
	return nil
}

// notUp says why the supervisor did not answer. Only root may ask it.
func notUp(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return errors.New("make status needs root, as make up did: run it with sudo")
	}
	return errors.New("the sandbox is not up (make up starts it)")
}
