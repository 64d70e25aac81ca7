package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/version"

	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/internal/web"
	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/mcp"
)

// agents is what the server for agents is given.
type agents struct {
	tuner   api.Client
	propose bool
	listen  string
	webFile string
}

func (a *agents) flags(app *cli.App) {
	c := app.Command("mcp", "Let agents read, and propose if told to, by the Model Context Protocol: over standard input and output, or over HTTP with --listen.")
	c.Flag("address", "The tuner's address.").Default("http://127.0.0.1:9500").StringVar(&a.tuner.Address)
	c.Flag("propose", "Let agents propose configurations; otherwise they may only read.").BoolVar(&a.propose)
	c.Flag("token-file", "File with the token, where the tuner wants one; with --listen agents must send the same one.").StringVar(&a.tuner.TokenFile)
	c.Flag("listen", "Serve any number of agents over HTTP at this address, under /mcp; on loopback only, unless there is a token.").StringVar(&a.listen)
	c.Flag("web.config.file", "TLS and passwords of --listen, as for the Prometheus exporters.").StringVar(&a.webFile)
}

func (a *agents) run(ctx context.Context, out io.Writer, log *slog.Logger) error {
	server, err := mcp.New(mcp.Config{Tuner: a.tuner, Propose: a.propose, Version: version.Version, Logger: log})
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	if a.tuner.TokenFile != "" {
		if _, err := api.Token(a.tuner.TokenFile); err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
	}
	if a.listen == "" {
		return server.Run(ctx, os.Stdin, leftOpen{out})
	}
	guard := api.Guard{TokenFile: a.tuner.TokenFile, Listen: a.listen, Logger: log}
	if err := guard.Check(); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s, err := web.New(web.Config{
		Name: "tuner mcp", Listen: []string{a.listen}, File: a.webFile, Registry: registry, Logger: log,
		Routes: map[string]http.Handler{"POST /mcp": guard.Handler(server.Handler())},
	})
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}

// leftOpen is the program's own to close.
type leftOpen struct{ io.Writer }

func (leftOpen) Close() error { return nil }
