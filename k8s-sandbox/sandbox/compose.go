package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/progress"
)

// Compose is the lab of compose.yml: the embedded sandbox in a container whose limits bind Kafka, the programs and Grafana beside it.
type Compose struct {
	Checkout string
	Getenv   func(string) string
	Out      io.Writer
}

// minContainer is what Kubernetes and the smallest Kafka need.
const minContainer = 2 << 30

// services are those of compose.yml, k8s-sandbox aside.
func services() []string { return []string{"exporter", "loadgen", "tuner", "prometheus", "grafana"} }

// Check says what would make a build or a start fail, before anything is made.
func (c Compose) Check(ctx context.Context) error {
	docker := c.checkDocker(ctx)
	errs := []error{docker, c.checkSettings(), checkTools()}
	if docker == nil {
		up, err := c.isUp(ctx)
		if errs = append(errs, err); err == nil && !up {
			ports, _ := c.ports()
			errs = append(errs, freePorts(ports, bindable, unreachable))
		}
	}
	return errors.Join(errs...)
}

// Up needs the build's results. What runs already is kept, unless its image or its settings have changed.
func (c Compose) Up(ctx context.Context) error {
	if err := c.Check(ctx); err != nil {
		return err
	}
	if err := checkTunerFile(c.layout(), c.tunerFile()); err != nil {
		return err
	}
	env, said, err := c.settings(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Out, said)
	steps := progress.New(c.Out, 3)
	for _, step := range []struct {
		name string
		do   func(note func(string)) error
	}{
		{"images of containers", func(note func(string)) error { return c.follow(ctx, env, note, "build") }},
		{"containers healthy", func(note func(string)) error {
			err := c.follow(ctx, env, note, "up", "--no-build", "--detach", "--wait", "--remove-orphans")
			if err != nil {
				err = fmt.Errorf("%w\nmake status shows which container is not healthy, make logs of=NAME why", err)
			}
			return err
		}},
		{"kubeconfigs", func(func(string)) error {
			return errors.Join(c.fetch(ctx, env, c.layout().Kubeconfig()), c.fetch(ctx, env, c.layout().AgentKubeconfig()))
		}},
	} {
		if err := steps.Do(step.name, step.do); err != nil {
			return err
		}
	}
	ports, err := c.ports()
	if err != nil {
		return err
	}
	l := c.layout()
	fmt.Fprintf(c.Out, "ready in %s\n\n%s  %-11s %s (administrator), %s (agent)\n  %-11s docker compose exec k8s-sandbox cat /tmp/status/latency.txt\n",
		steps.Elapsed(), addresses(ports), "kubeconfig", l.Kubeconfig(), l.AgentKubeconfig(), "status")
	return nil
}

// Down removes containers, network and volumes. Images are the build's.
func (c Compose) Down(ctx context.Context) error {
	if err := c.checkDocker(ctx); err != nil {
		return err
	}
	if err := c.compose(ctx, nil, "down", "--volumes", "--remove-orphans"); err != nil {
		return err
	}
	l := c.layout()
	return errors.Join(os.RemoveAll(filepath.Dir(c.written())), removeFile(l.Kubeconfig()), removeFile(l.AgentKubeconfig()))
}

// Status shows containers and pods, and what the tuner says.
func (c Compose) Status(ctx context.Context) error {
	up, err := c.isUp(ctx)
	if err == nil && !up {
		err = errors.New("the lab is not up (make up starts it)")
	}
	if err != nil {
		return err
	}
	ports, err := c.ports()
	if err != nil {
		return err
	}
	// A container that is not healthy is no reason not to show the others.
	return errors.Join(
		c.compose(ctx, nil, "ps", "--all", "--format", "table {{.Service}}\t{{.Status}}"),
		c.compose(ctx, nil, "exec", "-T", "k8s-sandbox", inBox("bin", "kube"), "kubectl", "--kubeconfig="+inBox("kubeconfig"), "get", "pods", "-A"),
		tunerStatus(ctx, c.layout(), portOf(ports, "tuner"), c.Out),
	)
}

// Logs follows a container's log, or one in the sandbox: of a pod or of a component of Kubernetes.
func (c Compose) Logs(ctx context.Context, of string) error {
	args := []string{"exec", "-T", "k8s-sandbox", inBox("bin", "k8s-sandbox"), "logs", of}
	if of == "k8s-sandbox" || slices.Contains(services(), of) {
		args = []string{"logs", "--follow", "--no-log-prefix", "--tail=100", of}
	}
	if err := c.compose(ctx, nil, args...); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (c Compose) layout() layout.Layout { return layout.New(c.Checkout) }

// inBox is a path below .lab in the container.
func inBox(parts ...string) string {
	return filepath.Join(append([]string{"/kafkalab/.lab"}, parts...)...)
}

func (c Compose) tunerFile() string {
	if f := c.Getenv("LAB_FILE"); f != "" {
		return f
	}
	return filepath.Join(c.Checkout, "lab.yaml")
}

// written is the tuner's file as its container gets it.
func (c Compose) written() string { return filepath.Join(c.Checkout, ".lab", "compose", "tuner.yaml") }

func (c Compose) ports() ([]layout.Port, error) {
	ports, err := layout.Ports(c.Getenv, 1)
	if err != nil {
		return nil, err
	}
	// In the sandbox's network Kafka and the API server have the ports that they have on the machine, and the programs always their own.
	if _, err := layout.Ports(func(v string) string {
		if v == "KAFKA_PORT" || v == "API_PORT" {
			return c.Getenv(v)
		}
		return ""
	}, 1); err != nil {
		return nil, err
	}
	grafana := layout.Port{Name: "grafana", Env: "GRAFANA_PORT", Host: 3000}
	if v := c.Getenv(grafana.Env); v != "" {
		if grafana.Host, err = strconv.Atoi(v); err != nil || grafana.Host < 1 || grafana.Host > 65535 {
			return nil, fmt.Errorf("%s: want a port from 1 to 65535 (got %q)", grafana.Env, v)
		}
	}
	return append(ports, grafana), nil
}

func (c Compose) checkSettings() error {
	_, ports := c.ports()
	return errors.Join(ports, checkContainer(c.Getenv), checkSettings(c.Getenv))
}

// checkContainer looks at what has other bounds where Kubernetes is in a container.
func checkContainer(getenv func(string) string) error {
	_, memory, limits := Asked(getenv)
	if limits == nil && memory < minContainer {
		limits = fmt.Errorf("SANDBOX_MEMORY: want at least %s, as Kubernetes needs its share of it (got %s)", quantityMemory(minContainer), quantityMemory(memory))
	}
	var brokers error
	if b := getenv("BROKERS"); b != "" && b != "1" {
		brokers = fmt.Errorf("BROKERS: want 1 in Docker; SANDBOX=embedded has three too (got %q)", b)
	}
	return errors.Join(limits, brokers)
}

func (c Compose) checkDocker(ctx context.Context) error {
	if err := daemon(ctx); err != nil {
		return err
	}
	if _, err := docker(ctx, "compose", "version"); err != nil {
		return fmt.Errorf("docker has no compose (install its plugin docker-compose-plugin, version 2): %w", err)
	}
	return nil
}

// isUp is true when a container of the lab runs.
func (c Compose) isUp(ctx context.Context) (bool, error) {
	out, err := docker(ctx, "ps", "--quiet", "--filter", "label=com.docker.compose.project=kafkalab")
	return len(bytes.TrimSpace(out)) > 0, err
}

// settings are the variables of compose.yml. It also writes the tuner's file.
func (c Compose) settings(ctx context.Context) (env []string, said string, err error) {
	cpus, memory, err := dockerRoom(ctx)
	if err != nil {
		return nil, "", err
	}
	size, said, err := containerLimits(c.Getenv, cpus, memory)
	if err != nil {
		return nil, "", err
	}
	tuner, err := os.ReadFile(c.tunerFile())
	if err != nil {
		return nil, "", fmt.Errorf("read the tuner's file: %w", err)
	}
	slo, err := sloOf(tuner)
	if err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(filepath.Dir(c.written()), 0o755); err != nil {
		return nil, "", fmt.Errorf("make %s: %w", filepath.Dir(c.written()), err)
	}
	if err := os.WriteFile(c.written(), withMode(tuner, c.Getenv("TUNER_MODE")), 0o644); err != nil {
		return nil, "", fmt.Errorf("write the tuner's file: %w", err)
	}
	return []string{
		fmt.Sprintf("SANDBOX_CPUS=%g", size.cpus), fmt.Sprintf("SANDBOX_MEMORY=%dm", size.memory>>20),
		"KAFKA_CPUS=" + size.kafka.CPUs, "KAFKA_MEMORY=" + size.kafka.Memory,
		"TUNER_FILE=" + c.written(), "SLO_P99=" + slo,
	}, said, nil
}

// containerSize is what the container that Kubernetes runs in may use, and Kafka of it.
type containerSize struct {
	cpus   float64
	memory int64
	kafka  Limits
}

// containerLimits are what was asked for, cut to what Docker's machine has: Docker refuses more CPUs than there are.
func containerLimits(getenv func(string) string, machineCPUs float64, machineMemory int64) (size containerSize, said string, err error) {
	askedCPUs, askedMemory, err := Asked(getenv)
	if err != nil {
		return size, "", err
	}
	size.cpus, size.memory = min(askedCPUs, machineCPUs), min(askedMemory, machineMemory)>>20<<20
	said = fmt.Sprintf("the sandbox's container gets %g CPUs and %s of memory", size.cpus, quantityMemory(size.memory))
	if size.cpus != askedCPUs || size.memory != askedMemory {
		said += fmt.Sprintf(" (asked for %g and %s; Docker's machine has %g CPUs and %s)", askedCPUs, quantityMemory(askedMemory), machineCPUs, quantityMemory(machineMemory))
	}
	size.kafka, err = LimitsOf(getenv, 1, Container(size.cpus, size.memory))
	return size, said + "\n" + size.kafka.Said, err
}

// fetch copies one of the sandbox's kubeconfigs, whose addresses are the machine's too.
func (c Compose) fetch(ctx context.Context, env []string, file string) error {
	name := filepath.Base(file)
	cmd := c.command(ctx, env, "exec", "-T", "k8s-sandbox", "cat", inBox(name))
	data, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("fetch %s from the sandbox: %w", name, err)
	}
	return writeSecret(file, data)
}

// follow runs docker compose with its last line as progress, and shows the last of them when it fails.
func (c Compose) follow(ctx context.Context, env []string, note func(string), args ...string) error {
	cmd := c.command(ctx, env, append([]string{"--progress=plain"}, args...)...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start docker: %w", err)
	}
	var tail []string
	for s := bufio.NewScanner(pipe); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" {
			continue
		}
		note(line)
		if tail = append(tail, line); len(tail) > 15 {
			tail = tail[1:]
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("docker compose %s: %w:\n  %s", args[0], err, strings.Join(tail, "\n  "))
	}
	return nil
}

// compose runs docker compose, whose output is the answer.
func (c Compose) compose(ctx context.Context, env []string, args ...string) error {
	cmd := c.command(ctx, env, args...)
	cmd.Stdout, cmd.Stderr = c.Out, c.Out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("docker compose %s: %w", args[0], err)
	}
	return nil
}

func (c Compose) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"compose", "--project-directory", c.Checkout, "--file", filepath.Join(c.Checkout, "compose.yml")}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	// It gets the Ctrl-C of a terminal too; from elsewhere it is asked as kindly.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd
}

func docker(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(complaints.String()))
	}
	return out, nil
}

// daemon is an error where no Docker daemon answers.
func daemon(ctx context.Context) error {
	if _, err := docker(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("no Docker daemon answers: %w", err)
	}
	return nil
}

// dockerRoom is what Docker's machine has.
func dockerRoom(ctx context.Context) (cpus float64, memory int64, err error) {
	out, err := docker(ctx, "info", "--format", "{{.NCPU}} {{.MemTotal}}")
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(string(out), &cpus, &memory); err != nil {
		return 0, 0, fmt.Errorf("docker info: want CPUs and memory (got %q)", out)
	}
	return cpus, memory, nil
}

func removeFile(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
