// Package supervise keeps a set of programs running: it starts each after those it needs, restarts what ends (with back-off), asks each
// whether it is healthy, keeps their logs, and stops them in reverse order.
//
// A supervisor that is killed takes nobody with it: the programs go on, and the next supervisor takes them over by their pid files. It
// does not restart a program for being unhealthy: on a slow machine that would make a slow start endless. It leaves out everything
// about what the programs are.
package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 15 * time.Second
	steady       = 30 * time.Second // having run this long, a program has earned a quick restart
	probeEvery   = time.Second
	probeTimeout = 3 * time.Second
	maxLog       = 32 << 20
)

// Component is one program. Name and Args are required.
type Component struct {
	Name  string
	Args  []string
	Env   []string
	After []string // started only once these are healthy
	Grace time.Duration
	// Probe is nil when the program is healthy to the extent that it runs.
	Probe func(context.Context) error
}

// Status is what is known of a component.
type Status struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid,omitempty"`
	State    string    `json:"state"` // waiting, running, backing off, stopped
	Healthy  bool      `json:"healthy"`
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts"`
	Adopted  bool      `json:"adopted,omitempty"`
	Reason   string    `json:"reason,omitempty"` // why it is not healthy, or how it ended last
}

// Config says what to run and where its files are. All but Logger are required.
type Config struct {
	Components []Component
	LogDir     string
	PidFile    func(name string) string
	Socket     string // answers GET /status and POST /stop
	Logger     *slog.Logger
}

// Supervisor runs components. Make one with New.
type Supervisor struct {
	conf   Config
	mu     sync.Mutex
	status map[string]*Status
	procs  map[string]*process
}

// New checks the configuration.
func New(c Config) (*Supervisor, error) {
	if c.LogDir == "" || c.PidFile == nil || c.Socket == "" {
		return nil, errors.New("supervise: log directory, pid files and socket are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Supervisor{conf: c, status: map[string]*Status{}, procs: map[string]*process{}}
	for _, comp := range c.Components {
		if comp.Name == "" || len(comp.Args) == 0 || s.status[comp.Name] != nil {
			return nil, fmt.Errorf("supervise: component %q: needs a name of its own and arguments", comp.Name)
		}
		for _, dep := range comp.After {
			if s.status[dep] == nil {
				return nil, fmt.Errorf("supervise: component %s: starts after %q, which does not stand before it", comp.Name, dep)
			}
		}
		s.status[comp.Name] = &Status{Name: comp.Name, State: "waiting", Since: time.Now()}
	}
	return s, nil
}

// Run keeps the components running until ctx ends or a stop is asked for, then stops them, last first.
func (s *Supervisor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := os.MkdirAll(s.conf.LogDir, 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	stopped := make(chan struct{}) // closed when everything has been stopped
	server, err := s.listen(cancel, stopped)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, c := range s.conf.Components {
		wg.Go(func() { s.keep(ctx, c) })
	}
	<-ctx.Done()
	wg.Wait()
	for i := len(s.conf.Components) - 1; i >= 0; i-- {
		s.stop(s.conf.Components[i])
	}
	close(stopped)
	end, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	return server.Shutdown(end)
}

// keep starts a component, and again whenever it ends, until ctx ends. It leaves the last process running: Run stops in order.
func (s *Supervisor) keep(ctx context.Context, c Component) {
	backoff := firstBackoff
	for first := true; ; first = false {
		p, adopted := (*process)(nil), false
		if first {
			p, adopted = adopt(s.conf.PidFile(c.Name))
		}
		if !adopted {
			if first && !s.waitFor(ctx, c.After) {
				return
			}
			var err error
			if p, err = s.launch(c); err != nil {
				s.set(c.Name, func(st *Status) { st.State, st.Reason = "backing off", err.Error() })
				p = nil
			}
		}
		began := time.Now()
		if p != nil {
			s.running(c, p, adopted)
			if !s.watch(ctx, c, p) {
				return
			}
		}
		if time.Since(began) > steady {
			backoff = firstBackoff
		}
		s.conf.Logger.Warn("component ended", "component", c.Name, "restart_in", backoff)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
		s.set(c.Name, func(st *Status) { st.Restarts++ })
	}
}

func (s *Supervisor) launch(c Component) (*process, error) {
	logFile := filepath.Join(s.conf.LogDir, c.Name+".log")
	trim(logFile)
	p, err := start(c, logFile)
	if err != nil {
		return nil, err
	}
	if err := writePid(s.conf.PidFile(c.Name), p.pid); err != nil {
		s.conf.Logger.Warn("no pid file: a next supervisor will not find this process", "component", c.Name, "err", err)
	}
	return p, nil
}

func (s *Supervisor) running(c Component, p *process, adopted bool) {
	s.conf.Logger.Info("component runs", "component", c.Name, "pid", p.pid, "adopted", adopted)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[c.Name] = p
	st := s.status[c.Name]
	st.PID, st.State, st.Since, st.Adopted, st.Healthy, st.Reason = p.pid, "running", time.Now(), adopted, false, "not asked yet"
}

// watch asks for health until the process ends (true) or ctx does (false).
func (s *Supervisor) watch(ctx context.Context, c Component, p *process) bool {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		err := s.probe(ctx, c)
		s.set(c.Name, func(st *Status) {
			st.Healthy, st.Reason = err == nil, ""
			if err != nil {
				st.Reason = err.Error()
			}
		})
		trim(filepath.Join(s.conf.LogDir, c.Name+".log"))
		select {
		case <-ctx.Done():
			return false
		case <-p.done:
			s.set(c.Name, func(st *Status) {
				st.State, st.Healthy, st.PID, st.Since, st.Reason = "backing off", false, 0, time.Now(), p.how
			})
			return true
		case <-tick.C:
		}
	}
}

func (s *Supervisor) probe(ctx context.Context, c Component) error {
	if c.Probe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return c.Probe(ctx)
}

func (s *Supervisor) waitFor(ctx context.Context, names []string) bool {
	for {
		if s.healthy(names) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Supervisor) healthy(names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		if !s.status[n].Healthy {
			return false
		}
	}
	return true
}

func (s *Supervisor) stop(c Component) {
	s.mu.Lock()
	p := s.procs[c.Name]
	s.mu.Unlock()
	if p != nil {
		p.stop(max(c.Grace, time.Second))
	}
	_ = os.Remove(s.conf.PidFile(c.Name))
	s.set(c.Name, func(st *Status) { st.State, st.Healthy, st.PID = "stopped", false, 0 })
	s.conf.Logger.Info("component stopped", "component", c.Name)
}

func (s *Supervisor) set(name string, change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.status[name])
}

// listen serves the control socket. Only its owner can open it: the directory's other users cannot stop the sandbox.
func (s *Supervisor) listen(cancel context.CancelFunc, stopped <-chan struct{}) (*http.Server, error) {
	_ = os.Remove(s.conf.Socket) // left by a supervisor that was killed: the caller holds the lock, so nobody listens there
	l, err := net.Listen("unix", s.conf.Socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.conf.Socket, err)
	}
	if err := os.Chmod(s.conf.Socket, 0o600); err != nil {
		return nil, fmt.Errorf("restrict %s: %w", s.conf.Socket, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Status())
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		<-stopped
		fmt.Fprintln(w, "stopped")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: probeTimeout}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.conf.Logger.Error("control socket", "err", err)
		}
	}()
	return server, nil
}

// Status is every component's, in the order they were given.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.conf.Components))
	for _, c := range s.conf.Components {
		all = append(all, *s.status[c.Name])
	}
	return all
}

// trim empties a log that has grown past its limit, keeping one older part. The writer's descriptor stays valid: it appends.
func trim(file string) {
	info, err := os.Stat(file)
	if err != nil || info.Size() <= maxLog {
		return
	}
	if data, err := os.ReadFile(file); err == nil {
		_ = os.WriteFile(file+".1", data, 0o600)
	}
	_ = os.Truncate(file, 0)
}
