package kafkatest

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a child that dies with this program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and been reaped
	err  error         // how it ended; read after done
}

// start runs cmd in a process group of its own. The kernel kills it when the thread that started it ends, so that thread is held until the
// child is gone: otherwise Go could end the thread at any time, and Kafka with it.
func start(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, done: make(chan struct{})}
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

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.pid(), s); err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid(), err)
	}
	return nil
}

// stop asks with SIGTERM and waits.
func (p *process) stop(within time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		p.kill()
		return fmt.Errorf("process %d was still there %s after SIGTERM", p.pid(), within)
	}
}

// kill ends the group, so that a JVM which the start script was waiting for goes too, and waits until it is reaped.
func (p *process) kill() {
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // the only other answer is that it has ended
	<-p.done
}
