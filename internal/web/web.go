// Package web is the HTTP side that the three programs share: metrics, health, readiness, a landing page, TLS and authentication, and an
// orderly end.
//
// It promises that a request under way when the context ends is answered before Serve returns (within the drain time); that the addresses are
// bound before anything else happens, so a busy port is the first error a user sees and not the last; and that two metrics which contradict
// each other cost those two their place and no other's. TLS and passwords are those of the Prometheus exporters: one file, read again for each
// connection and request.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"
)

const (
	drain             = 4500 * time.Millisecond // of the 5 s that an end may take
	readHeaderTimeout = 10 * time.Second        // a client that sends its header byte by byte must not hold a connection for ever
)

// Config says what to serve. Name, Registry and an address are required.
type Config struct {
	Name          string   // program name, shown on the landing page
	Listen        []string // host:port
	SystemdSocket bool     // take the sockets that systemd gives instead of Listen
	File          string   // of exporter-toolkit: TLS, client certificates, passwords; none: plain HTTP
	Registry      *prometheus.Registry
	Logger        *slog.Logger
	// Ready returns nil when the program can do its work; otherwise the reason is shown with status 503.
	Ready func() error
	// Routes are further handlers by pattern (net/http's patterns). One for "/" replaces the landing page.
	Routes map[string]http.Handler
	// Metrics wraps the handler of /metrics: a program that measures when asked does so in here. Nil leaves it as it is.
	Metrics func(http.Handler) http.Handler
}

// Server is bound to its addresses but serves only once Serve is called.
type Server struct {
	listeners []net.Listener
	handler   http.Handler
	file      string
	log       *slog.Logger
}

// New binds the addresses and reads the file. Errors name the address or the file.
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
	if err := toolkit.Validate(c.File); err != nil {
		return nil, fmt.Errorf("read web configuration %q: %w", c.File, err)
	}
	h, err := handler(c)
	if err != nil {
		return nil, err
	}
	listeners, err := listen(c)
	if err != nil {
		return nil, err
	}
	return &Server{listeners: listeners, handler: h, file: c.File, log: c.Logger}, nil
}

func listen(c Config) ([]net.Listener, error) {
	if c.SystemdSocket {
		listeners, err := activation.Listeners()
		if err == nil && len(listeners) == 0 {
			err = errors.New("it gave none; is the program started by a socket unit?")
		}
		if err != nil {
			return nil, fmt.Errorf("take sockets from systemd: %w", err)
		}
		return listeners, nil
	}
	if len(c.Listen) == 0 {
		return nil, errors.New("web: at least one address is required")
	}
	var listeners []net.Listener
	for _, addr := range c.Listen {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close() // nobody has connected
			}
			return nil, fmt.Errorf("listen on %q: %w", addr, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// Addr is the first bound address; with port 0 in Config.Listen it holds the port that was given.
func (s *Server) Addr() string { return s.listeners[0].Addr().String() }

// Serve answers until ctx ends, then finishes the requests under way.
func (s *Server) Serve(ctx context.Context) error {
	all, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	var servers []*http.Server
	for _, l := range s.listeners {
		// One server each: the toolkit puts its own handler into the server that it is given.
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: readHeaderTimeout, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
		servers = append(servers, server)
		no := false
		flags := &toolkit.FlagConfig{WebConfigFile: &s.file, WebSystemdSocket: &no}
		all.Go(func() error {
			if err := toolkit.Serve(l, server, flags, quiet(s.log)); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve http: %w", err)
			}
			return nil
		})
		s.log.Info("listening", "addr", l.Addr().String())
	}
	select {
	case <-failed.Done():
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	ends := make(chan error, len(servers))
	for _, server := range servers {
		go func() { ends <- server.Shutdown(end) }()
	}
	var problems []error
	for range servers {
		if err := <-ends; err != nil {
			problems = append(problems, fmt.Errorf("drain http: %w", err))
		}
	}
	return errors.Join(append(problems, all.Wait())...)
}

// quiet leaves out what the toolkit says about each address when all is well.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(fromWarn{log.Handler()}) }

type fromWarn struct{ slog.Handler }

func (h fromWarn) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func handler(c Config) (http.Handler, error) {
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{
		Registry:          c.Registry,
		EnableOpenMetrics: true,
		ErrorHandling:     promhttp.ContinueOnError, // one bad family must not hide the others
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelError),
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
		page, err := landing(c)
		if err != nil {
			return nil, fmt.Errorf("make landing page: %w", err)
		}
		mux.Handle("GET /{$}", page)
	}
	for pattern, h := range c.Routes {
		mux.Handle(pattern, h)
	}
	return mux, nil
}

func landing(c Config) (http.Handler, error) {
	paths := []string{"/metrics", "/-/healthy", "/-/ready"}
	for pattern := range c.Routes {
		_, path, found := strings.Cut(pattern, " ")
		if !found {
			path = pattern
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	var links []toolkit.LandingLinks
	for _, p := range paths {
		links = append(links, toolkit.LandingLinks{Address: p, Text: p})
	}
	return toolkit.NewLandingPage(toolkit.LandingConfig{Name: c.Name, Version: version.Version, Profiling: "false", Links: links})
}
