// Package mcp lets agents take part by the Model Context Protocol: they read what a running tuner knows and, where that was switched on, propose what it
// is to try. MCP.md describes it for their users.
//
// It promises that an agent gets no further than the tuner's API lets it: a proposal is subject to mode, ranges and budgets there, waits for a person in
// mode approve, and is in the ledger under the name mcp:CLIENT, which no person has. Whatever else may be ordered (approve, reject, abort, rollback,
// pause, resume, tell) is left to people. The token is in no answer, error or log. It leaves out the protocol itself, which is the official SDK's.
package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kafkalab/kafkalab/tuner/api"
)

// Config of a Server. Tuner is required.
type Config struct {
	Tuner   api.Client
	Propose bool // agents may propose
	Version string
	Logger  *slog.Logger
}

// Server answers agents.
type Server struct {
	tuner  api.Client
	server *mcp.Server
}

// limit of one question to the tuner.
const limit = 10 * time.Second

const instructions = `A tuner for Apache Kafka: it turns one broker setting after the other, measures what comes of it and keeps or takes back the change.
Read goal first (what is wanted, what must not happen, how much may still be tried), then space (what may be turned, and how far), status and trials.
Latencies are in ms, rates in records per second. Figures that are not known are null or absent, and status says why.`

const readOnly = `
You may only read.`

const mayPropose = `
With propose you may ask for one configuration to be tried next. The tuner measures it, watches its guards, and takes it back unless it is better; what you
propose is subject to its mode, ranges and budgets. In mode approve it waits until a person approves it. Everything else is left to people.`

// New checks the configuration.
func New(c Config) (*Server, error) {
	if err := c.Tuner.Check(); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	text := instructions + readOnly
	if c.Propose {
		text = instructions + mayPropose
	}
	s := &Server{tuner: c.Tuner, server: mcp.NewServer(&mcp.Implementation{Name: "kafkalab-tuner", Title: "kafkalab's tuner", Version: c.Version}, &mcp.ServerOptions{
		Instructions: text, Logger: c.Logger, Capabilities: &mcp.ServerCapabilities{},
	})}
	s.reading()
	s.resources()
	if c.Propose {
		s.proposing()
	}
	return s, nil
}

// Run talks to one agent over a pair of pipes until it hangs up or ctx ends.
func (s *Server) Run(ctx context.Context, in io.ReadCloser, out io.WriteCloser) error {
	session, err := s.server.Connect(ctx, &mcp.IOTransport{Reader: in, Writer: out}, nil)
	if err != nil {
		return fmt.Errorf("talk to agent: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = session.Close() }) // nobody listens any more
	defer stop()
	if err := session.Wait(); err != nil && ctx.Err() == nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("talk to agent: %w", err)
	}
	return nil
}

// Handler talks to any number of agents over HTTP. It has no guard of its own.
func (s *Server) Handler() http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.server }, &mcp.StreamableHTTPOptions{
		Stateless:                  true, // nothing is remembered between requests, so there is nothing to lose or to take over
		JSONResponse:               true,
		DisableLocalhostProtection: true, // the guard in front looks at the Host as well, and lets the token's holder come by any name
	})
}

// tool adds one that answers with JSON. Its errors are the agent's to read: they say what was wrong and what is allowed.
func tool[In any](s *Server, t mcp.Tool, answer func(context.Context, *mcp.CallToolRequest, In) (any, error)) {
	mcp.AddTool(s.server, &t, func(ctx context.Context, req *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		out, err := answer(ctx, req, in)
		return nil, out, err
	})
}
