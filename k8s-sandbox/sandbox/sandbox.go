// Package sandbox brings the embedded sandbox up and takes it down: a complete single-node Kubernetes on this machine, the lab's images in
// it, and the manifests applied.
//
// Up promises that it can be interrupted anywhere and repeated, and that a second one changes nothing. Down promises that afterwards
// the machine is as it was: it ends only processes in the sandbox's own control group, and removes only paths that package layout names.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/cgroup"
	"github.com/kafkalab/kafkalab/k8s-sandbox/components"
	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/network"
	"github.com/kafkalab/kafkalab/k8s-sandbox/progress"
	"github.com/kafkalab/kafkalab/k8s-sandbox/supervise"
)

// Config says where and with what. Checkout and Out are required.
type Config struct {
	Checkout string
	Getenv   func(string) string
	Out      io.Writer
	Where    Where
}

// Where is a place that the lab's manifests know: the name of its overlay. Without one it is this machine.
type Where string

// The places. In the container of compose.yml only Kubernetes and Kafka run, inside the container's limits; the programs are in others beside it.
const (
	OnMachine   Where = ""
	InContainer Where = "compose"
	InK3d       Where = "k3d"
)

// Sandbox is the embedded sandbox of one checkout.
type Sandbox struct {
	l       layout.Layout
	brokers int
	ports   []layout.Port
	limits  Limits
	agent   agent
	conf    Config
}

// New reads the settings from the environment; the error names each bad one.
func New(c Config) (*Sandbox, error) {
	if c.Checkout == "" || c.Out == nil {
		return nil, errors.New("sandbox: checkout and output are required")
	}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	brokers, err0 := brokersOf(c.Getenv)
	ports, err1 := layout.Ports(c.Getenv, brokers)
	room := Machine()
	if c.Where == InContainer {
		ports, room = inside(ports), thisContainer()
	}
	limits, err2 := LimitsOf(c.Getenv, brokers, room)
	agent, err3 := agentOf(c.Getenv)
	if err := errors.Join(err0, err1, err2, err3, checkSettings(c.Getenv)); err != nil {
		return nil, err
	}
	return &Sandbox{l: layout.New(c.Checkout), brokers: brokers, ports: ports, limits: limits, agent: agent, conf: c}, nil
}

// Layout is where the sandbox's files are.
func (s *Sandbox) Layout() layout.Layout { return s.l }

// Up starts what does not run and applies what has changed.
func (s *Sandbox) Up(ctx context.Context) error {
	if err := s.preflight(); err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.sameBrokers(ctx); err != nil {
		return err
	}
	return s.up(ctx)
}

func (s *Sandbox) up(ctx context.Context) error {
	fmt.Fprintln(s.conf.Out, s.limits.Said)
	steps := progress.New(s.conf.Out, 6)
	do := func(what string, f func(ctx context.Context, note func(string)) error) func() error {
		return func() error { return steps.Do(what, func(note func(string)) error { return f(ctx, note) }) }
	}
	for _, step := range []func() error{
		do("network and certificates", s.prepare),
		do("Kubernetes", s.startKubernetes),
		do("images", s.importImages),
		do("manifests", s.apply),
		do("kubeconfigs", s.access),
		do("pods ready", s.waitReady),
	} {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.conf.Out, "ready in %s\n\n%s", steps.Elapsed(), s.Addresses())
	return nil
}

// Addresses tells people where to look.
func (s *Sandbox) Addresses() string {
	return addresses(s.ports) + fmt.Sprintf("  %-11s %s (administrator), %s (agent)\n  %-11s %s/latency.txt, latency.json\n",
		"kubeconfig", s.l.Kubeconfig(), s.l.AgentKubeconfig(), "status", s.l.Status)
}

func addresses(ports []layout.Port) string {
	var b strings.Builder
	for _, p := range ports {
		scheme := "http://"
		switch p.Name {
		case "kubernetes":
			scheme = "https://"
		case "kafka", "kafka-1", "kafka-2":
			scheme = ""
		}
		fmt.Fprintf(&b, "  %-11s %s127.0.0.1:%d\n", p.Name, scheme, p.Host)
	}
	return b.String()
}

// lock keeps two ups, or an up and a down, from each other's feet. It goes with the process, however that ends.
func (s *Sandbox) lock() (func(), error) {
	if err := os.MkdirAll(s.l.Run, 0o755); err != nil {
		return nil, fmt.Errorf("make %s: %w", s.l.Run, err)
	}
	f, err := os.OpenFile(s.l.Lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errors.New("another make up or make down is at work; wait for it to end")
	}
	if err := os.WriteFile(s.l.Owner(), []byte(s.l.Checkout+"\n"), 0o644); err != nil {
		f.Close()
		return nil, fmt.Errorf("write owner: %w", err)
	}
	return func() { f.Close() }, nil
}

func (s *Sandbox) prepare(ctx context.Context, _ func(string)) error {
	if err := s.recordMachine(); err != nil {
		return err
	}
	dirs := []string{s.l.Data("kafka"), s.l.Data("prometheus"), s.l.Data("tuner")}
	if s.conf.Where == OnMachine { // in a container it is a volume that only the tuner may write to
		dirs = append(dirs, s.l.Status)
	}
	for n := 1; n < s.brokers; n++ {
		dirs = append(dirs, s.l.Data(fmt.Sprintf("kafka-%d", n)))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
		if err := os.Chown(dir, podUser, podUser); err != nil {
			return fmt.Errorf("give %s to the pods' user: %w", dir, err)
		}
	}
	if err := s.mountStatus(); err != nil {
		return err
	}
	if err := components.Prepare(s.l, s.port("kubernetes")); err != nil {
		return err
	}
	for _, group := range []string{layout.CgroupRoot, systemGroup} {
		g, err := cgroup.New(group)
		if err != nil {
			return err
		}
		if err := g.Make(); err != nil {
			return err
		}
	}
	return network.Up(ctx, s.l, s.ports, s.conf.Where == InContainer)
}

const (
	podUser     = 65532
	systemGroup = layout.CgroupRoot + "/system"
)

func (s *Sandbox) port(name string) int { return portOf(s.ports, name) }

func portOf(ports []layout.Port, name string) int {
	for _, p := range ports {
		if p.Name == name {
			return p.Host
		}
	}
	return 0
}

// running is true when a supervisor answers.
func (s *Sandbox) running() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := supervise.Dial(s.l.Supervisor()).Status(ctx)
	return err == nil
}

func (s *Sandbox) startKubernetes(ctx context.Context, note func(string)) error {
	if !s.running() {
		if err := s.startSupervisor(); err != nil {
			return err
		}
	}
	client := supervise.Dial(s.l.Supervisor())
	return wait(ctx, 5*time.Minute, note, func(ctx context.Context) error {
		all, err := client.Status(ctx)
		if err != nil {
			return err
		}
		var waiting []string
		for _, c := range all {
			if !c.Healthy {
				waiting = append(waiting, strings.TrimSpace(c.Name+" "+c.State))
			}
		}
		if len(waiting) > 0 {
			return fmt.Errorf("waiting for %s (logs: %s)", strings.Join(waiting, ", "), s.l.Log())
		}
		return s.nodeReady(ctx)
	})
}

// startSupervisor leaves it running in the node's network, in a session of its own: a Ctrl-C is not for it.
func (s *Sandbox) startSupervisor() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	if err := os.MkdirAll(s.l.Log(), 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	logs, err := os.OpenFile(s.l.Log("supervisor.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer logs.Close()
	argv := network.Enter(s.l, self, "supervise", "--checkout="+s.l.Checkout)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = logs, logs, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	// It joins by itself too, but if this process is killed before that, down has to find it.
	group, err := cgroup.New(systemGroup)
	if err == nil {
		err = group.Add(cmd.Process.Pid)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	return cmd.Process.Release()
}

// Supervise is the supervisor's process: it runs inside the node's network until it is told to stop.
func (s *Sandbox) Supervise(ctx context.Context, log *slog.Logger) error {
	only, err := os.OpenFile(filepath.Join(s.l.Run, "supervisor.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open supervisor's lock: %w", err)
	}
	defer only.Close()
	if err := unix.Flock(int(only.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.New("a supervisor runs already")
	}
	group, err := cgroup.New(systemGroup)
	if err != nil {
		return err
	}
	if err := group.Add(os.Getpid()); err != nil {
		return err
	}
	sup, err := supervise.New(supervise.Config{
		Components: components.All(s.l),
		LogDir:     s.l.Log(),
		PidFile:    s.l.Pids,
		Socket:     s.l.Supervisor(),
		Logger:     log,
	})
	if err != nil {
		return err
	}
	return sup.Run(ctx)
}

// wait asks until the answer is nil. What is still missing is shown as progress, and in the error when time runs out.
func wait(ctx context.Context, limit time.Duration, note func(string), ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
			note(err.Error())
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("not ready within %s: %w", progress.Duration(limit), last)
			}
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}
