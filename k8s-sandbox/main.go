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
	"slices"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kafkalab/kafkalab/k8s-sandbox/build"
	"github.com/kafkalab/kafkalab/k8s-sandbox/sandbox"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// The sandboxes that --sandbox names.
const (
	embedded = "embedded"
	compose  = "compose"
	k3d      = "k3d"
	existing = "existing"
)

// asked is what the command line says.
type asked struct {
	command, checkout, sandbox, of string
	onlyBuild                      bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var a asked
	app := a.flags()
	app.UsageWriter(stdout)
	app.ErrorWriter(stderr)
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
	a.command = command
	if a.checkout, err = realPath(a.checkout); err != nil {
		fmt.Fprintln(stderr, "k8s-sandbox: checkout:", err)
		return 1
	}
	if err := a.do(ctx, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "k8s-sandbox %s: %v\n", command, err)
		return 1
	}
	return 0
}

func (a *asked) flags() *kingpin.Application {
	app := kingpin.New("k8s-sandbox", "The Kubernetes that the lab runs on.")
	app.HelpFlag.Short('h')
	app.Flag("checkout", "The clone of kafkalab whose .lab holds the state.").Default(".").StringVar(&a.checkout)
	app.Flag("sandbox", "Where it runs: embedded (on this machine), compose (in Docker's containers), k3d (K3d through Docker), existing (the cluster of KUBECONFIG).").
		Envar("SANDBOX").Default(embedded).EnumVar(&a.sandbox, embedded, compose, k3d, existing)
	app.Command("up", "Start what does not run, apply what has changed, wait until everything is ready.")
	check := app.Command("check", "Say what would make a build or a start fail on this machine.")
	check.Flag("build", "Only what a build needs.").BoolVar(&a.onlyBuild)
	app.Command("build", "Build programs, Kubernetes, Prometheus and images into .lab, with AGENT set those of the agent too; what is up to date is kept.")
	logs := app.Command("logs", "Follow a log.")
	logs.Arg("of", "A workload (kafka, tuner, ...) or a component (kubelet, etcd, ...).").Required().StringVar(&a.of)
	app.Command("down", "End and remove everything that up made.")
	app.Command("status", "Show components and pods at a glance.")
	app.Command("contained", "Run in the container of compose.yml, until told to stop.")
	app.Command("healthy", "Whether Kubernetes and Kafka are, in that container: its health check.")
	app.Command("supervise", "Run the components (up starts this by itself, inside the node's network).").Hidden()
	app.Command("relay", "Hand what an agent asks of its model on to that model (up starts this by itself, on the machine).").Hidden()
	app.Command("missing", "Print the Debian packages that the sandbox needs and this machine lacks.")
	return app
}

func (a *asked) do(ctx context.Context, stdout, stderr io.Writer) error {
	switch {
	case a.command == "missing":
		for _, p := range sandbox.Missing(os.Getenv("AGENT") != "") {
			fmt.Fprintln(stdout, p)
		}
		return nil
	case a.command == "build":
		return build.Builder{Checkout: a.checkout, Agent: os.Getenv("AGENT") != "", Out: stdout, For: a.sandbox}.All(ctx)
	case slices.Contains([]string{"contained", "healthy", "supervise", "relay"}, a.command):
		return a.inside(ctx, stdout, stderr)
	}
	l, err := a.lab(stdout)
	if err != nil {
		return err
	}
	switch a.command {
	case "check":
		return l.check(ctx)
	case "up":
		return l.up(ctx)
	case "down":
		return l.down(ctx)
	case "status":
		return l.status(ctx)
	default:
		return l.logs(ctx, a.of)
	}
}

// inside are the commands that others than people start.
func (a *asked) inside(ctx context.Context, stdout, stderr io.Writer) error {
	where := sandbox.InContainer
	if a.command == "supervise" || a.command == "relay" {
		where = sandbox.OnMachine
	}
	box, err := sandbox.New(sandbox.Config{Checkout: a.checkout, Out: stdout, Where: where})
	if err != nil {
		return err
	}
	switch a.command {
	case "contained":
		return box.Serve(ctx)
	case "healthy":
		return box.Healthy(ctx)
	case "relay":
		return box.Relay(ctx, slog.New(slog.NewTextHandler(stderr, nil)))
	default:
		return box.Supervise(ctx, slog.New(slog.NewTextHandler(stderr, nil)))
	}
}

// lab is what the commands do in one sandbox.
type lab struct {
	check, up, down, status func(context.Context) error
	logs                    func(ctx context.Context, of string) error
}

func (a *asked) lab(out io.Writer) (lab, error) {
	if os.Getenv("AGENT") != "" && a.sandbox != embedded && (a.command == "check" || a.command == "up") {
		return lab{}, fmt.Errorf("AGENT: an agent has the wheel in the embedded sandbox only (got SANDBOX=%s)", a.sandbox)
	}
	switch a.sandbox {
	case compose:
		c := sandbox.Compose{Checkout: a.checkout, Getenv: os.Getenv, Out: out}
		return lab{c.Check, c.Up, c.Down, c.Status, c.Logs}, nil
	case existing:
		e := sandbox.Existing{Checkout: a.checkout, Getenv: os.Getenv, Out: out}
		return lab{e.Check, e.Up, e.Down, e.Status, e.Logs}, nil
	}
	if a.sandbox == k3d {
		k, err := sandbox.NewK3d(sandbox.Config{Checkout: a.checkout, Out: out})
		if err != nil {
			return lab{}, err
		}
		return lab{k.Check, k.Up, k.Down, k.Status, k.Logs}, nil
	}
	box, err := sandbox.New(sandbox.Config{Checkout: a.checkout, Out: out})
	if err != nil {
		return lab{}, err
	}
	check := func(context.Context) error { return box.Check(!a.onlyBuild) }
	return lab{check, box.Up, box.Down, box.Status, box.Logs}, nil
}

// realPath follows links: the kernel tells of mounts and processes by their real paths, so that is what the sandbox must go by.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
