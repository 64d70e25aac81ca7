//go:build e2e

package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
)

// killed ends each part of the stack the hard way while the tuner is at work, and waits until everything is back.
func killed(t *testing.T, l *lab, up []string) {
	component := func(name string) func([]string) bool {
		return func(argv []string) bool { return filepath.Base(argv[0]) == "kube" && len(argv) > 1 && argv[1] == name }
	}
	program := func(name string) func([]string) bool {
		return func(argv []string) bool { return filepath.Base(argv[0]) == name }
	}
	for _, victim := range []struct {
		name  string
		match func(argv []string) bool
		up    bool // comes back by make up
	}{
		{name: "kubelet", match: component("kubelet")},
		{name: "kube-apiserver", match: component("kube-apiserver")},
		{name: "etcd", match: component("etcd")},
		{name: "containerd", match: program("containerd")},
		{name: "tuner", match: program("tuner")},
		{name: "Prometheus", match: program("prometheus")},
		{name: "loadgen", match: program("loadgen")},
		{name: "Kafka", match: program("java")},
		{name: "supervisor", match: func(argv []string) bool {
			return filepath.Base(argv[0]) == "k8s-sandbox" && slices.Contains(argv, "supervise")
		}, up: true},
	} {
		if !t.Run(victim.name, func(t *testing.T) {
			pids := l.processes(victim.match)
			if len(pids) != 1 {
				t.Fatalf("processes: %v", pids)
			}
			// A trial is under way: two have ended in peace.
			if n := len(ended(l.records(t))); victim.name == "tuner" && n != 2 {
				t.Fatalf("%d trials ended before the tuner is killed, want it killed in the third", n)
			}
			began := time.Now()
			if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if victim.up {
				l.up(t, up...)
			}
			eventually(t, 5*time.Minute, "another process in its place", func() error {
				if now := l.processes(victim.match); len(now) != 1 || now[0] == pids[0] {
					return fmt.Errorf("processes: %v", now)
				}
				return nil
			})
			l.mustBeHealthy(t, 5*time.Minute)
			t.Logf("back after %s", time.Since(began).Round(time.Second))
			l.verifyLedger(t)
		}) {
			t.FailNow() // what did not come back now will be missed by the others, for minutes each
		}
	}
}

// ended counts how often each trial came to an end.
func ended(records []ledger.Record) map[int]int {
	n := map[int]int{}
	for _, r := range records {
		if r.Kind == ledger.Edge && (r.Phase == ledger.Kept || r.Phase == ledger.Reverted) {
			n[r.Trial]++
		}
	}
	return n
}
