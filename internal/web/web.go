// Package web is the HTTP side that the three programs share: metrics, health, readiness, a landing page, and an orderly end.
//
// It promises that a request under way when the context ends is answered before Serve returns (within the drain time), and
// that the address is bound before anything else happens, so a busy port is the first error a user sees and not the last.
// It leaves out TLS and authentication.
package web

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	drain             = 5 * time.Second  // an SRE's preStop budget is rarely longer
	readHeaderTimeout = 10 * time.Second // a client that sends its header byte by byte must not hold a connection for ever
)

// Config says what to serve. Listen, Name and Registry are required.
type Config struct {
	Name     string // program name, shown on the landing page
	Listen   string // host:port
	Registry *prometheus.Registry
	Logger   *slog.Logger
	// Ready returns nil when the program can do its work; otherwise the reason is shown with status 503.
	Ready func() error
	// Routes are further handlers by pattern (net/http's patterns). One for "/" replaces the landing page.
	Routes map[string]http.Handler
	// Metrics wraps the handler of /metrics: a program that measures when asked does so in here. Nil leaves it as it is.
	Metrics func(http.Handler) http.Handler
}

// Server is bound to its address but serves only once Serve is called.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
}

// New binds the address. The error names the address.
func New(c Config) (*Server, error) {
	if c.Name == "" || c.Registry == nil {
		return nil, errors.New("web: name and registry are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", c.Listen, err)
	}
	return &Server{
		listener: l,
		http:     &http.Server{Handler: handler(c), ReadHeaderTimeout: readHeaderTimeout},
		log:      c.Logger,
	}, nil
}

// Addr is the bound address; with port 0 in Config.Listen it holds the port that was given.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until ctx ends, then finishes the requests under way.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	s.log.Info("listening", "addr", s.Addr())
	select {
	case err := <-failed:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := s.http.Shutdown(end); err != nil {
		return fmt.Errorf("drain http: %w", err)
	}
	return nil
}

func handler(c Config) http.Handler {
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{
		Registry:          c.Registry,
		EnableOpenMetrics: true,
		ErrorHandling:     promhttp.ContinueOnError, // one bad family must not hide the others
	})
	if c.Metrics != nil {
		metrics = c.Metrics(metrics)
	}
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") })
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	if _, own := c.Routes["/"]; !own {
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { landing(w, c) })
	}
	for pattern, h := range c.Routes {
		mux.Handle(pattern, h)
	}
	return mux
}

func landing(w http.ResponseWriter, c Config) {
	links := []string{"/metrics", "/-/healthy", "/-/ready"}
	for pattern := range c.Routes {
		_, path, found := strings.Cut(pattern, " ")
		if !found {
			path = pattern
		}
		links = append(links, path)
	}
	sort.Strings(links)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>%[1]s</title><h1>%[1]s</h1><ul>", html.EscapeString(c.Name))
	for _, l := range links {
		fmt.Fprintf(w, `<li><a href="%[1]s">%[1]s</a>`, html.EscapeString(l))
	}
	fmt.Fprintln(w, "</ul>")
}
