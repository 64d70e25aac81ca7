package promtest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const endWithin = 20 * time.Second

// guard runs a program and, when it is told to end, ends it and removes its folder. The kernel tells it when the test program dies, so that
// not even a killed one leaves a file.
const guard = `dir=$1; shift
trap 'kill -KILL $child 2>/dev/null; wait $child; rm -rf "$dir"; exit 0' TERM
"$@" & child=$!
wait $child`

// process is a guarded child.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended and been reaped
}

// start runs the program. The kernel signals when the thread that started it ends, so that thread is held until the child is gone.
func start(dir string, log *os.File, program ...string) (*process, error) {
	cmd := exec.Command("sh", append([]string{"-c", guard, "promtest", dir}, program...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program[0], err)
	}
	return p, nil
}

// end stops the program and waits until its files are gone.
func (p *process) end() error {
	_ = syscall.Kill(p.pid, syscall.SIGTERM) // the only other answer is that it has ended
	select {
	case <-p.done:
		return nil
	case <-time.After(endWithin):
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("process %d was still there %s after SIGTERM", p.pid, endWithin)
	}
}
