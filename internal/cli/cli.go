// Package cli is how the three programs read their command line and start: kingpin flags in the Prometheus style, slog, signals.
package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
)

// App is a kingpin application whose usage and errors go to the given writers instead of the process's own, so that it can be tested.
type App struct {
	*kingpin.Application
	log    *promslog.Config
	stderr io.Writer
}

// New makes an application with --version, --log.level and --log.format.
func New(name, help string, stdout, stderr io.Writer) *App {
	a := &App{Application: kingpin.New(name, help), log: &promslog.Config{Writer: stderr}, stderr: stderr}
	a.UsageWriter(stdout)
	a.ErrorWriter(stderr)
	a.Version(version.Print(name))
	a.HelpFlag.Short('h')
	promslogflag.AddFlags(a.Application, a.log)
	return a
}

// Parse reads args. When done is true the program is to exit with code (help and version: 0, bad usage: 2).
func (a *App) Parse(args []string) (command string, log *slog.Logger, code int, done bool) {
	ended := false
	a.Terminate(func(c int) { code, ended = c, true })
	command, err := a.Application.Parse(args)
	switch {
	case ended:
		return "", nil, code, true
	case err != nil:
		fmt.Fprintf(a.stderr, "%s: %v (see --help)\n", a.Name, err)
		return "", nil, 2, true
	}
	return command, promslog.New(a.log), 0, false
}

// Context ends with the first interrupt or termination signal; the second one ends the process at once.
func Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
