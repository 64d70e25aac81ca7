// Package child runs the programs that a test needs beside it: Kafka, Kubernetes.
//
// It promises that a program dies with the one that started it, however that ends, and takes its own process group along. It leaves out when
// the program is ready.
package child

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a child that dies with this program.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and been reaped
	err  error         // how it ended; read after done
}

// Start runs cmd in a process group of its own. The kernel kills it when the thread that started it ends, so that thread is held until the
// child is gone: otherwise Go could end the thread at any time, and the child with it.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended; it may be asked after Done.
func (p *Process) Err() error { return p.err }

// Signal sends to the whole group.
func (p *Process) Signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.PID(), s); err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID(), err)
	}
	return nil
}

// Stop asks with SIGTERM and waits.
func (p *Process) Stop(within time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("process %d was still there %s after SIGTERM", p.PID(), within)
	}
}

// Kill ends the group, so that a program which a start script was waiting for goes too, and waits until it is reaped.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // the only other answer is that it has ended
	<-p.done
}
