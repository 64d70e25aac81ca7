package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/k8s-sandbox/supervise"
)

// lab is a supervisor of shell commands in a folder of its own.
type lab struct {
	t      *testing.T
	dir    string
	cancel context.CancelFunc
	done   chan error
	client *supervise.Client
}

func (l *lab) start(components ...supervise.Component) {
	l.t.Helper()
	s, err := supervise.New(supervise.Config{
		Components: components,
		LogDir:     l.dir,
		PidFile:    func(name string) string { return filepath.Join(l.dir, "pids", name) },
		Socket:     filepath.Join(l.dir, "s"),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.done = cancel, make(chan error, 1)
	go func() { l.done <- s.Run(ctx) }()
	l.client = supervise.Dial(filepath.Join(l.dir, "s"))
	l.t.Cleanup(func() {
		cancel()
		<-l.done
	})
}

func newLab(t *testing.T) *lab {
	dir, err := os.MkdirTemp("", "sup") // short: a socket's path may hold 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &lab{t: t, dir: dir}
}

// until asks for a component's status until it is as wanted.
func (l *lab) until(name, what string, want func(supervise.Status) bool) supervise.Status {
	l.t.Helper()
	var last supervise.Status
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		all, err := l.client.Status(context.Background())
		if err != nil {
			continue
		}
		for _, s := range all {
			if s.Name == name {
				last = s
				if want(s) {
					return s
				}
			}
		}
	}
	l.t.Fatalf("%s: never %s; last seen %+v", name, what, last)
	return last
}

func running(s supervise.Status) bool { return s.State == "running" && s.Healthy }

func sleeper(name string) supervise.Component {
	return supervise.Component{Name: name, Args: []string{"sh", "-c", "exec sleep 300"}, Grace: time.Second}
}

func TestAComponentThatIsKilledComesBack(t *testing.T) {
	l := newLab(t)
	l.start(sleeper("a"))
	first := l.until("a", "running", running)
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := l.until("a", "running again", func(s supervise.Status) bool { return running(s) && s.PID != first.PID })
	if second.Restarts != 1 {
		t.Errorf("restarts: got %d, want 1", second.Restarts)
	}
}

func TestAComponentStartsOnlyAfterThoseItNeedsAreHealthy(t *testing.T) {
	l := newLab(t)
	flag := filepath.Join(l.dir, "flag")
	needed := sleeper("needed")
	needed.Probe = func(context.Context) error {
		_, err := os.Stat(flag)
		return err
	}
	later := sleeper("later")
	later.After = []string{"needed"}
	l.start(needed, later)
	l.until("needed", "running but unhealthy", func(s supervise.Status) bool {
		return s.State == "running" && !s.Healthy && strings.Contains(s.Reason, "no such file")
	})
	if s := l.until("later", "waiting", func(s supervise.Status) bool { return s.State == "waiting" }); s.PID != 0 {
		t.Errorf("started before what it needs was healthy: %+v", s)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.until("later", "running", running)
}

func TestAProgramThatCannotStartSaysWhyAndIsTriedAgain(t *testing.T) {
	l := newLab(t)
	prog := filepath.Join(l.dir, "prog")
	l.start(supervise.Component{Name: "a", Args: []string{prog}})
	l.until("a", "backing off with a reason", func(s supervise.Status) bool {
		return s.State == "backing off" && strings.Contains(s.Reason, "no such file")
	})
	if err := os.WriteFile(prog, []byte("#!/bin/sh\nexec sleep 300\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.until("a", "running", running)
}

func TestStopEndsEveryComponentLastFirst(t *testing.T) {
	l := newLab(t)
	trace := filepath.Join(l.dir, "trace")
	say := func(name string) supervise.Component {
		script := fmt.Sprintf(`trap 'echo %s >> %s; exit 0' TERM; touch %s.up; while :; do sleep 0.05; done`, name, trace, trace+name)
		return supervise.Component{Name: name, Args: []string{"sh", "-c", script}, Grace: 10 * time.Second, Probe: func(context.Context) error {
			_, err := os.Stat(trace + name + ".up")
			return err
		}}
	}
	l.start(say("a"), say("b"), say("c"))
	for _, n := range []string{"a", "b", "c"} {
		l.until(n, "running", running)
	}
	if err := l.client.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "c\nb\na\n" {
		t.Errorf("order of stopping: got %q, want c b a", got)
	}
}

// The test runs itself as a supervisor that it can kill: only another process can be killed like that.
func TestAKilledSupervisorsComponentsAreTakenOverByTheNext(t *testing.T) {
	l := newLab(t)
	if dir := os.Getenv("SUPERVISE_IN"); dir != "" {
		l.dir = dir
		l.start(sleeper("a"))
		select {}
	}
	child := exec.Command(os.Args[0], "-test.run", t.Name())
	child.Env = append(os.Environ(), "SUPERVISE_IN="+l.dir)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	l.client = supervise.Dial(filepath.Join(l.dir, "s"))
	first := l.until("a", "running", running)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the first supervisor: %v", err)
	}
	if err := syscall.Kill(first.PID, 0); err != nil {
		t.Fatalf("the component went with its supervisor: %v", err)
	}
	l.start(sleeper("a"))
	second := l.until("a", "taken over", running)
	if second.PID != first.PID || !second.Adopted {
		t.Fatalf("want process %d taken over, got %+v", first.PID, second)
	}
	// And it is watched: when it ends it comes back.
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.until("a", "running again", func(s supervise.Status) bool { return running(s) && s.PID != first.PID && !s.Adopted })
}

func TestAPidFileOfSomebodyElsesProcessIsNotTrusted(t *testing.T) {
	l := newLab(t)
	pids := filepath.Join(l.dir, "pids")
	if err := os.MkdirAll(pids, 0o755); err != nil {
		t.Fatal(err)
	}
	// This test's own process, with a start time that is not its own.
	if err := os.WriteFile(filepath.Join(pids, "a"), []byte(fmt.Sprintf("%d 1\n", os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	l.start(sleeper("a"))
	if s := l.until("a", "running", running); s.PID == os.Getpid() || s.Adopted {
		t.Errorf("took over a process that is not its own: %+v", s)
	}
}

func TestNewRefusesWhatCannotRun(t *testing.T) {
	for name, components := range map[string][]supervise.Component{
		"a name twice":            {sleeper("a"), sleeper("a")},
		"no arguments":            {{Name: "a"}},
		"needs one that is later": {{Name: "a", Args: []string{"true"}, After: []string{"b"}}, sleeper("b")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := supervise.New(supervise.Config{Components: components, LogDir: "x", Socket: "y", PidFile: func(string) string { return "z" }})
			if err == nil {
				t.Error("no error")
			}
		})
	}
}
