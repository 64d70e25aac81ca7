// Package docker_test runs compose.yml and K3d against a real Docker daemon: Debian's, on a socket, a data folder and a bridge of its own, with
// the Compose and the K3d that this module pins. It needs root, and is run by "make test-compose".
package docker_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	checkout = "../.."
	bridge   = "kafkalab-test0"
	forward  = "/proc/sys/net/ipv4/ip_forward"
)

// daemon is a Docker daemon that ends with the test, and the environment in which docker, make and k3d find it.
type daemon struct {
	dir string
	env []string
}

// ports are not the lab's own, so that the test does not meet what is up on the machine.
func ports() []string {
	return []string{"API_PORT=26443", "KAFKA_PORT=29092", "PROMETHEUS_PORT=29090", "EXPORTER_PORT=29308", "LOADGEN_PORT=29400", "TUNER_PORT=29500",
		"GRAFANA_PORT=23000"}
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a Docker daemon of its own needs root")
	}
	install(t)
	dir, err := os.MkdirTemp("/tmp", "lab-docker") // short: a socket's path may hold 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d := &daemon{dir: dir, env: append(os.Environ(), "DOCKER_HOST=unix://"+dir+"/docker.sock", "DOCKER_CONFIG="+dir+"/config", "SANDBOX=")}
	d.env = append(d.env, ports()...)
	keepMachine(t)
	d.start(t)
	plugin := filepath.Join(dir, "config", "cli-plugins", "docker-compose")
	run(t, append(d.env, "CGO_ENABLED=0"), ".", "go", "build", "-trimpath", "-ldflags=-s -w -X github.com/docker/compose/v2/internal.Version=v2.40.0",
		"-o", plugin, "github.com/docker/compose/v2/cmd")
	return d
}

// install gets Debian's Docker, and does not let the package start it.
func install(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("dockerd"); err == nil {
		return
	}
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); os.IsNotExist(err) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(policy)
	}
	run(t, nil, "/", "apt-get", "update", "-qq")
	run(t, append(os.Environ(), "DEBIAN_FRONTEND=noninteractive"), "/", "apt-get", "install", "-qq", "-y", "--no-install-recommends", "docker.io")
}

// keepMachine gives the machine back what the daemon changes of it and leaves: rules, forwarding, its bridge, its control groups.
func keepMachine(t *testing.T) {
	t.Helper()
	rules := run(t, nil, "/", "iptables-save")
	before, err := os.ReadFile(forward)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		restore(t, rules)
		if err := os.WriteFile(forward, before, 0); err != nil {
			t.Error(err)
		}
		run(t, nil, "/", "ip", "link", "del", bridge)
		for _, g := range append(groups("docker/*"), groups("docker")...) {
			if err := os.Remove(g); err != nil {
				t.Error(err)
			}
		}
	})
	_ = exec.Command("ip", "link", "del", bridge).Run() // left by a test that was interrupted
	run(t, nil, "/", "ip", "link", "add", bridge, "type", "bridge")
	run(t, nil, "/", "ip", "addr", "add", "10.213.0.1/24", "dev", bridge)
	run(t, nil, "/", "ip", "link", "set", bridge, "up")
}

// restore puts the tables back that there were, and takes away those that Docker made.
func restore(t *testing.T, rules string) {
	t.Helper()
	cmd := exec.Command("iptables-restore")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("iptables-restore: %v: %s", err, out)
	}
	for line := range strings.Lines(run(t, nil, "/", "iptables-save")) {
		if table, is := strings.CutPrefix(strings.TrimSpace(line), "*"); is && !strings.Contains("\n"+rules, "\n*"+table+"\n") {
			run(t, nil, "/", "nft", "delete", "table", "ip", table)
		}
	}
}

// groups are the control groups of that pattern, in both versions of the hierarchy.
func groups(pattern string) []string {
	var all []string
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, _ := filepath.Glob(filepath.Join(top, pattern))
		for _, g := range found {
			if info, err := os.Lstat(g); err == nil && info.IsDir() {
				all = append(all, g)
			}
		}
	}
	slices.Sort(all)
	return all
}

func (d *daemon) start(t *testing.T) {
	t.Helper()
	logs, err := os.Create(filepath.Join(d.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	cmd := exec.Command("dockerd", "--host=unix://"+d.dir+"/docker.sock", "--data-root="+d.dir+"/data", "--exec-root="+d.dir+"/exec",
		"--pidfile="+d.dir+"/pid", "--bridge="+bridge, "--default-address-pool=base=10.214.0.0/16,size=24", "--ip6tables=false", "--mtu=1400")
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(90 * time.Second):
			_ = cmd.Process.Kill()
			t.Error("the daemon did not end by itself")
		}
	})
	eventually(t, 30*time.Second, "the daemon answers", func() error {
		select {
		case err := <-ended:
			said, _ := os.ReadFile(logs.Name())
			t.Fatalf("dockerd has ended: %v\n%s", err, said)
		default:
		}
		_, err := d.try("docker", "version")
		return err
	})
}

// try runs a command in the checkout and gives all that it said.
func (d *daemon) try(argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = d.env, checkout
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w:\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out), err
}

func (d *daemon) run(t *testing.T, argv ...string) string {
	t.Helper()
	return run(t, d.env, checkout, argv...)
}

// docker gives what docker answers, without the line's end.
func (d *daemon) docker(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(d.run(t, append([]string{"docker"}, args...)...))
}

func run(t *testing.T, env []string, dir string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, dir
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out.String(), complaints.String())
	}
	return out.String() + complaints.String()
}

// eventually asks until the answer is nil or time runs out; the last answer is the failure.
func eventually(t *testing.T, limit time.Duration, what string, ask func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
	}
}

// traces are what containers leave on a machine while they are there, by kind.
func (d *daemon) traces(t *testing.T) map[string][]string {
	t.Helper()
	lines := func(s string) []string {
		all := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' })
		slices.Sort(all)
		return all
	}
	var mounts []string
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, d.dir) {
			mounts = append(mounts, point)
		}
	}
	slices.Sort(mounts)
	return map[string][]string{
		"containers": lines(d.docker(t, "ps", "--all", "--quiet")),
		"networks":   lines(d.docker(t, "network", "ls", "--format", "{{.Name}}")),
		"volumes":    lines(d.docker(t, "volume", "ls", "--quiet")),
		"interfaces": interfaces(t),
		"rules":      lines(run(t, nil, "/", "iptables", "-w", "-S", "-t", "nat")),
		"mounts":     mounts,
		// That of BuildKit stays as long as the daemon.
		"groups":    slices.DeleteFunc(groups("docker/*"), func(g string) bool { return filepath.Base(g) == "buildkit" }),
		"processes": inContainers(),
	}
}

func interfaces(t *testing.T) (names []string) {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Name != "kafkalab0" { // that of an embedded sandbox, which may come and go
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)
	return names
}

// inContainers are the processes that are in a control group of Docker's.
func inContainers() []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, f := range files {
		if groups, err := os.ReadFile(f); err == nil && bytes.Contains(groups, []byte("/docker/")) {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "comm"))
			found = append(found, strings.TrimSpace(string(name)))
		}
	}
	return found
}

func compare(t *testing.T, before, after map[string][]string) {
	t.Helper()
	for kind := range after {
		if !slices.Equal(before[kind], after[kind]) {
			t.Errorf("%s: before %q, after %q", kind, before[kind], after[kind])
		}
	}
}
