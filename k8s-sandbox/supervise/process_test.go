package supervise

import (
	"os/exec"
	"testing"
	"time"
)

// A component that has ended is in its back-off when everything is stopped. Its number has gone to another process meanwhile.
func TestStopLeavesTheProcessAloneThatGotTheNumberOfOneThatHasEnded(t *testing.T) {
	other := exec.Command("sleep", "300")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- other.Wait() }()
	p := &process{pid: other.Process.Pid, done: make(chan struct{})}
	close(p.done)
	p.stop(time.Second)
	// A signal that was sent before this one would be what it ends by.
	if err := other.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || err.Error() != "signal: killed" {
		t.Errorf("the other process ended by %v, before its time", err)
	}
}
