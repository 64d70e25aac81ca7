// Package build makes everything that the lab runs: the programs, the Kubernetes binary, Prometheus, Kafka's distribution and the images.
//
// It promises that what is up to date is not made again, that an interrupted build goes on where it was (each part is replaced whole), and
// that the two long parts, compiling and fetching, go on side by side. Each part's own complaints are in .lab/log/build.
package build

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/k8s-sandbox/progress"
)

// Version is what --version and the build_info metrics say. It is no git description: an image must change only when its content does.
const Version = "0.1.0"

// program is one Go build.
type program struct {
	name    string
	module  string // folder of the module, relative to the checkout
	pkg     string
	tags    string
	ldflags string
}

func programs() []program {
	const (
		ours = "-X github.com/prometheus/common/version.Version=" + Version
		kube = "-X k8s.io/component-base/version.gitVersion=v1.35.4 -X k8s.io/component-base/version.gitMajor=1 " +
			"-X k8s.io/component-base/version.gitMinor=35 -X k8s.io/component-base/version.gitTreeState=clean"
		server  = "-X github.com/prometheus/common/version.Version=3.16.0"
		promTag = "remove_all_sd,enable_kubernetes_sd,netgo"
	)
	return []program{
		{"exporter", ".", "./exporter", "", ours},
		{"loadgen", ".", "./loadgen", "", ours},
		{"tuner", ".", "./tuner", "", ours},
		{"pause", "k8s-sandbox", "./pause", "", ""},
		{"coredns", "k8s-sandbox", "./dns", "", ""},
		{"kube", "k8s-sandbox", "./kube", "netgo,osusergo,providerless", kube},
		{"prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", promTag, server},
		{"promtool", "prometheus", "github.com/prometheus/prometheus/cmd/promtool", promTag, server},
	}
}

// withAgent is built only when somebody asks for an agent: vibectl brings 60 Python packages along.
func withAgent() program { return program{"agent", "k8s-sandbox", "./agent", "", ""} }

// Builder builds one checkout.
type Builder struct {
	Checkout string
	Agent    bool // the agent's program and image too
	Out      io.Writer
	// For is the sandbox that it is for. With Docker there, it is Docker that makes the images of pods; those of containers are left to Compose.
	For string
}

// parts are the programs, and what makes images: the step's name in build.sh, and the images besides Kafka's.
func (b Builder) parts() (all []program, step string, images []string) {
	all = programs()
	switch b.For {
	case "compose":
		return all, "docker-images", []string{"coredns", "pause"}
	case "k3d":
		k3d := program{"k3d", "k8s-sandbox/docker", "github.com/k3d-io/k3d/v5", "", "-X github.com/k3d-io/k3d/v5/version.Version=v5.8.3"}
		return append(all, k3d), "docker-images", []string{"exporter", "loadgen", "prometheus", "tuner"}
	default:
		return all, "images", nil
	}
}

// All makes every part.
func (b Builder) All(ctx context.Context) error {
	if err := os.MkdirAll(b.log(""), 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	all, step, images := b.parts()
	more := 3
	if b.Agent {
		all, more = append(all, withAgent()), 4
	}
	steps := progress.New(b.Out, len(all)+more)
	both, half := errgroup.WithContext(ctx)
	both.Go(func() error {
		for _, p := range all {
			if err := steps.Do("build "+p.name, func(note func(string)) error { return b.compile(half, p, note) }); err != nil {
				return err
			}
		}
		return nil
	})
	both.Go(func() error {
		if err := steps.Do("fetch Kafka's distribution", func(note func(string)) error { return b.script(half, note, "kafka-dist") }); err != nil {
			return err
		}
		return steps.Do("image of Kafka (Debian, a Java runtime, Kafka)", func(note func(string)) error { return b.script(half, note, step, "kafka") })
	})
	if err := both.Wait(); err != nil {
		return err
	}
	err := steps.Do("other images", func(note func(string)) error { return b.script(ctx, note, append([]string{step}, images...)...) })
	if err != nil || !b.Agent {
		return err
	}
	return steps.Do("image of the agent (Debian, Python, vibectl)", func(note func(string)) error { return b.script(ctx, note, "images", "agent") })
}

func (b Builder) log(name string) string { return filepath.Join(b.Checkout, ".lab", "build-log", name) }

// compile leaves the binary untouched when it is up to date: go build sees that by itself.
func (b Builder) compile(ctx context.Context, p program, note func(string)) error {
	dir := filepath.Join(b.Checkout, p.module)
	out := filepath.Join(b.Checkout, ".lab", "bin", p.name)
	args := []string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", strings.TrimSpace("-s -w " + p.ldflags), "-o", out}
	if p.tags != "" {
		args = append(args, "-tags", p.tags)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, p.pkg)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	total := 0
	if list, err := b.list(ctx, dir, p); err == nil {
		total = list
	}
	n := 0
	return b.follow(cmd, p.name, func(line string) {
		if strings.HasPrefix(line, "go: downloading") {
			note(strings.TrimPrefix(line, "go: "))
			return
		}
		n++
		note(fmt.Sprintf("%d of at most %d packages compiled, now %s", n, total, line))
	})
}

func (b Builder) list(ctx context.Context, dir string, p program) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-tags", p.tags, p.pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	return bytes.Count(out, []byte("\n")), err
}

// script runs the image build, whose own lines become the progress.
func (b Builder) script(ctx context.Context, note func(string), args ...string) error {
	cmd := exec.CommandContext(ctx, "bash", append([]string{filepath.Join(b.Checkout, "k8s-sandbox", "image", "build.sh")}, args...)...)
	cmd.Dir = b.Checkout
	return b.follow(cmd, strings.Join(args, "-"), note)
}

// follow runs a command, hands on its lines, keeps them in a log, and shows the last of them when it fails.
func (b Builder) follow(cmd *exec.Cmd, name string, each func(string)) error {
	logs, err := os.Create(b.log(name + ".log"))
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer logs.Close()
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	cmd.Stdout = cmd.Stderr
	// An interrupt ends the command with all its children: a compiler or an unpacking left behind would go on writing.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	var tail []string
	for s := bufio.NewScanner(pipe); s.Scan(); {
		fmt.Fprintln(logs, s.Text())
		each(s.Text())
		if tail = append(tail, s.Text()); len(tail) > 15 {
			tail = tail[1:]
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w (log: %s):\n  %s", name, err, logs.Name(), strings.Join(tail, "\n  "))
	}
	return nil
}
