// K8s-sandbox is the Kubernetes that the lab runs on: it starts it, says how it is, and takes it down.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kafkalab/kafkalab/k8s-sandbox/build"
	"github.com/kafkalab/kafkalab/k8s-sandbox/sandbox"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	app := kingpin.New("k8s-sandbox", "The Kubernetes that the lab runs on.")
	app.UsageWriter(stdout)
	app.ErrorWriter(stderr)
	app.HelpFlag.Short('h')
	checkout := app.Flag("checkout", "The clone of kafkalab whose .lab holds the state.").Default(".").String()
	up := app.Command("up", "Start what does not run, apply what has changed, wait until everything is ready.")
	check := app.Command("check", "Say what would make a build or a start fail on this machine.")
	buildOnly := check.Flag("build", "Only what a build needs.").Bool()
	builds := app.Command("build", "Build programs, Kubernetes, Prometheus and images into .lab; what is up to date is kept.")
	existing := app.Command("up-existing", "Apply the manifests to the cluster of KUBECONFIG, with images from IMAGE_PREFIX (and IMAGE_TAG).")
	existingDown := app.Command("down-existing", "Remove from the cluster of KUBECONFIG what up-existing applied.")
	logs := app.Command("logs", "Follow a log.")
	of := logs.Arg("of", "A workload (kafka, tuner, ...) or a component (kubelet, etcd, ...).").Required().String()
	down := app.Command("down", "End and remove everything that up made.")
	status := app.Command("status", "Show components and pods at a glance.")
	supervise := app.Command("supervise", "Run the components (up starts this by itself, inside the node's network).").Hidden()
	missing := app.Command("missing", "Print the Debian packages that the sandbox needs and this machine lacks.")

	ended, code := false, 0
	app.Terminate(func(c int) { ended, code = true, c })
	command, err := app.Parse(args)
	if ended {
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "k8s-sandbox: %v (see --help)\n", err)
		return 2
	}
	if *checkout, err = realPath(*checkout); err != nil {
		fmt.Fprintln(stderr, "k8s-sandbox: checkout:", err)
		return 1
	}
	if command == missing.FullCommand() {
		for _, p := range sandbox.Missing() {
			fmt.Fprintln(stdout, p)
		}
		return 0
	}
	if command == builds.FullCommand() {
		if err := (build.Builder{Checkout: *checkout, Out: stdout}).All(ctx); err != nil {
			fmt.Fprintln(stderr, "k8s-sandbox build:", err)
			return 1
		}
		return 0
	}
	if command == existing.FullCommand() || command == existingDown.FullCommand() {
		cluster := sandbox.Existing{Checkout: *checkout, Getenv: os.Getenv, Out: stdout}
		act := cluster.Up
		if command == existingDown.FullCommand() {
			act = cluster.Down
		}
		if err := act(ctx); err != nil {
			fmt.Fprintf(stderr, "k8s-sandbox %s: %v\n", command, err)
			return 1
		}
		return 0
	}
	box, err := sandbox.New(sandbox.Config{Checkout: *checkout, Out: stdout})
	if err == nil {
		switch command {
		case check.FullCommand():
			err = box.Check(!*buildOnly)
		case up.FullCommand():
			err = box.Up(ctx)
		case down.FullCommand():
			err = box.Down(ctx)
		case logs.FullCommand():
			err = box.Logs(ctx, *of)
		case status.FullCommand():
			err = box.Status(ctx)
		case supervise.FullCommand():
			err = box.Supervise(ctx, slog.New(slog.NewTextHandler(stderr, nil)))
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "k8s-sandbox %s: %v\n", command, err)
		return 1
	}
	return 0
}

// realPath follows links: the kernel tells of mounts and processes by their real paths, so that is what the sandbox must go by.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
