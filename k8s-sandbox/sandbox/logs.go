package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// pods are the containers of the lab's workloads by the name that make logs takes.
func pods() map[string][2]string {
	return map[string][2]string{
		"kafka": {"kafka", "statefulset/kafka"}, "prometheus": {"kafkalab", "statefulset/prometheus"}, "tuner": {"kafkalab", "statefulset/tuner"},
		"loadgen": {"kafkalab", "deployment/loadgen"}, "exporter": {"kafkalab", "deployment/exporter"}, "coredns": {"kube-system", "deployment/coredns"},
		"agent": {"kafkalab", "statefulset/tuner"},
	}
}

// Logs follows a workload's log by kubectl, or a component's from its file, until ctx ends.
func (s *Sandbox) Logs(ctx context.Context, of string) error {
	var cmd *exec.Cmd
	if pod, ok := pods()[of]; ok {
		cmd = exec.CommandContext(ctx, s.l.Bin("kube"), "kubectl", "--kubeconfig="+s.l.Kubeconfig(), "logs", "-n", pod[0], pod[1], "--container="+of, "--tail=100", "--follow")
	} else if file := s.l.Log(of + ".log"); filepath.Base(of) == of && exists(file) {
		cmd = exec.CommandContext(ctx, "tail", "-n", "100", "-F", file)
	} else {
		return fmt.Errorf("of: want one of %s (got %q)", strings.Join(s.logNames(), ", "), of)
	}
	cmd.Stdout, cmd.Stderr = s.conf.Out, os.Stderr
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("follow the log of %s: %w", of, err)
	}
	return nil
}

func (s *Sandbox) logNames() []string {
	var names []string
	for n := range pods() {
		names = append(names, n)
	}
	files, _ := filepath.Glob(s.l.Log("*.log"))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".log"))
	}
	sort.Strings(names)
	return names
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
