//go:build e2e

package e2e_test

import (
	"testing"
	"time"
)

// TestLab is one life of the lab, in order: a later part needs what an earlier one has left.
func TestLab(t *testing.T) {
	l := newLab(t)
	l.mustBox(t, nil, "down")
	before := machineNow(t, l)
	t.Cleanup(func() {
		if out, err := l.box(nil, "down"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})

	t.Run("a machine that will not do is told why, and nothing is made", func(t *testing.T) { refusals(t, l, before) })
	t.Run("up, interrupted in each phase, works when repeated", func(t *testing.T) { interruptedUp(t, l) })
	l.up(t, "TUNER_MODE=observe")
	l.mustBeHealthy(t, 2*time.Minute)
	for _, part := range []struct {
		name string
		test func(*testing.T, *lab)
	}{
		{"a second up changes nothing", upTwice},
		{"it is a Kubernetes like any other", kubernetesWorks},
		{"nothing listens on an outside address", listensInside},
		{"each of the three variables takes effect and no data are lost", knobsTakeEffect},
		{"an agent may do what it is for and nothing else", agentRights},
		{"latency.txt says N/A when the load has stopped, and follows when it is back", stopsAndFollows},
		{"the tuner changes, measures and keeps a record, whatever is killed", tunerWorks},
		{"every query of the dashboards and of README returns data", dashboardQueries},
		{"vibectl has the wheel, with models of all kinds", agentDrives},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, l) }) {
			l.mustBox(t, []string{"TUNER_MODE=observe"}, "up") // the next part is to fail for reasons of its own only
		}
	}
	t.Run("down leaves the machine as it was, interrupted or not", func(t *testing.T) {
		interruptedDown(t, l)
		l.mustBox(t, nil, "down")
		compareMachine(t, before, machineNow(t, l))
		if out := l.mustBox(t, nil, "down"); out != "nothing is up\n" {
			t.Errorf("a second down says %q", out)
		}
	})
}
