package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running program that may or may not be our child: one that outlived its supervisor is taken over.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended
	how  string        // set before done is closed
}

// start runs argv in a process group of its own, with its output appended to the log file.
func start(c Component, logFile string) (*process, error) {
	logs, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer logs.Close()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &process{pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		p.how = "exited"
		if err != nil {
			p.how = err.Error()
		}
		close(p.done)
	}()
	return p, nil
}

// adopt takes over the process that a pid file names, if it is still that process.
func adopt(pidFile string) (*process, bool) {
	pid, ok := alive(pidFile)
	if !ok {
		return nil, false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, false
	}
	// The process may have ended between the look and the open, and its number gone to another.
	if again, ok := alive(pidFile); !ok || again != pid {
		unix.Close(fd)
		return nil, false
	}
	p := &process{pid: pid, done: make(chan struct{})}
	go func() {
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		p.how = "ended (not a child of this supervisor)"
		close(p.done)
	}()
	return p, true
}

// stop asks the process to end and ends it after the grace period. One that has ended is left alone: its number may be somebody else's.
func (p *process) stop(grace time.Duration) {
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(p.pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		<-p.done
	}
}

// writePid records the process together with its start time: a number alone may come to name somebody else's process.
func writePid(file string, pid int) error {
	began, err := startTime(pid)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("make pid directory: %w", err)
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, []byte(fmt.Sprintf("%d %d\n", pid, began)), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return os.Rename(tmp, file)
}

// alive reads a pid file and says whether that very process still runs.
func alive(file string) (pid int, ok bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	var began uint64
	if _, err := fmt.Sscan(string(data), &pid, &began); err != nil {
		return 0, false
	}
	now, err := startTime(pid)
	return pid, err == nil && now == began
}

// startTime is field 22 of /proc/PID/stat, in clock ticks since boot. A zombie counts as ended.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	// The name, in brackets, may itself hold blanks and brackets: count from the last one.
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
