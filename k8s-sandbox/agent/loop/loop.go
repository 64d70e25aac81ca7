// Package loop lets vibectl tune the broker: each tick it gives the goal and the newest figures to one short run of vibectl, and says what
// that did.
//
// It promises that a model is not asked about figures that are too old, nor (within reason) before the tuner has measured what runs now and scored what was
// changed last; that vibectl waits for nobody (its standard input is closed and its time bounded), that its exit code counts for nothing (it is 0 when all fails)
// and the calls of kubectl count instead, that a tick that goes wrong is said and followed by the next one, and that a key is in no file, no log, no argument
// and no call of kubectl.
package loop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/shim"
)

// Config is how the loop runs.
type Config struct {
	Telemetry string        // latency.json
	Freshness time.Duration // older telemetry is not shown to a model
	Vibectl   string        // the program
	Kubectl   string        // the one that makes the calls that are let through
	Home      string        // a folder of its own for vibectl and llm; it may be lost
	Model     string        // as llm names it
	Address   string        // of an API that serves the model, OpenAI's or, with a key of Anthropic's, that; empty: the model's own
	Keys      map[string]string
	Every     time.Duration // from the start of a turn to that of the next
	Look      time.Duration // from one look at the telemetry to the next while the tuner is waited for
	Patience  time.Duration // the longest wait for the tuner
	Longest   time.Duration // a run of vibectl
	Steps     int           // of vibectl in a turn
	Pause     time.Duration // between its steps
	Logger    *slog.Logger
}

// Loop is vibectl at the wheel.
type Loop struct {
	c     Config
	last  []string  // what was done in the last turn
	wrote time.Time // when a turn ended in which something was changed, the last of them
	waits string    // for what the tuner is waited for; empty: it is not
	since time.Time // when the wait began
	said  string    // what of it is in the log already
}

// Tick is what one tick came to.
type Tick struct {
	Asked   bool // the model was
	Calls   []shim.Call
	Writes  int
	Refused int    // by the shim or by the server
	Waits   string // what the tuner has to finish first; the loop looks again soon
	Trouble string // what went wrong, or why it waits
}

// New prepares vibectl's configuration.
func New(c Config) (*Loop, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	l := &Loop{c: c}
	if err := l.configure(); err != nil {
		return nil, fmt.Errorf("configure vibectl: %w", err)
	}
	return l, nil
}

// Run ticks until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	for n := 1; ; {
		began := time.Now()
		t := l.Tick(ctx)
		l.say(n, t)
		pause := l.c.Every - time.Since(began)
		if t.Waits == "" {
			n++
		} else {
			pause = min(pause, l.c.Look)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// say puts a turn into the log: each call that the model made, and what came of them. A wait is said once.
func (l *Loop) say(n int, t Tick) {
	if t.Waits != "" && t.Waits == l.said {
		return
	}
	l.said = t.Waits
	for _, c := range t.Calls {
		l.c.Logger.Info("call", "tick", n, "call", c)
	}
	level, text := slog.LevelInfo, "vibectl had its turn"
	switch {
	case t.Waits != "":
		text = "vibectl waits for the tuner"
	case t.Trouble != "":
		level, text = slog.LevelWarn, "tick went wrong"
	case t.Asked && len(t.Calls) == 0:
		text = "vibectl did nothing"
	}
	l.c.Logger.Log(context.Background(), level, text, "tick", n, "asked", t.Asked, "calls", len(t.Calls), "writes", t.Writes, "refused", t.Refused, "trouble", t.Trouble)
}

// Tick gives vibectl one turn, unless the figures are too old or the tuner is waited for.
func (l *Loop) Tick(ctx context.Context) (t Tick) {
	now := time.Now()
	news, err := read(l.c.Telemetry, now, l.c.Freshness)
	if err != nil {
		l.waits = "" // a tuner that was away has begun anew what it was about
		t.Trouble = err.Error()
		return t
	}
	what, why, overdue := l.held(news, now)
	if what != "" && !overdue {
		t.Waits, t.Trouble = what, why
		return t
	}
	if overdue {
		why = fmt.Sprintf("%s. It was waited for for %v; go on without it if you must.", why, l.c.Patience)
		l.c.Logger.Warn("the tuner is waited for no longer", "reason", why)
	}
	text, err := request(news, l.last, why)
	if err != nil {
		t.Trouble = err.Error()
		return t
	}
	from, err := size(l.calls())
	if err != nil {
		t.Trouble = err.Error()
		return t
	}
	t.Asked = true
	t.Trouble = l.vibectl(ctx, text)
	t.Calls, err = callsSince(l.calls(), from)
	if err != nil {
		t.Trouble = strings.TrimSpace(t.Trouble + " " + err.Error())
	}
	l.last = nil
	for _, c := range t.Calls {
		if c.Write {
			t.Writes++
		}
		if c.Write && c.Refused == "" && c.Exit == 0 {
			l.wrote = time.Now()
		}
		if c.Refused != "" || c.Write && c.Exit != 0 {
			t.Refused++
		}
		l.last = append(l.last, remember(c))
	}
	return t
}

// remember is a call in a line for the model.
func remember(c shim.Call) string {
	what := "kubectl " + strings.Join(c.Args, " ")
	switch {
	case c.Refused != "":
		return what + " → refused: " + c.Refused
	case c.Exit != 0:
		return what + " → failed: " + c.Error
	}
	return what + " → done"
}

// vibectl runs it once and says what went wrong, as far as that can be known: its exit code is 0 whatever happened.
func (l *Loop) vibectl(ctx context.Context, text string) (trouble string) {
	ctx, stop := context.WithTimeout(ctx, l.c.Longest)
	defer stop()
	cmd := exec.CommandContext(ctx, l.c.Vibectl, "auto", "--show-kubectl", "--show-raw-output",
		"--limit", strconv.Itoa(l.c.Steps), "--interval", strconv.Itoa(int(l.c.Pause.Seconds())), text)
	cmd.Env = l.environment()
	cmd.Dir = l.c.Home
	out := &redacted{to: l.c.Logger, secrets: l.secrets()}
	cmd.Stdout, cmd.Stderr = out, out
	// All that it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	out.end()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Sprintf("vibectl was not done within %v", l.c.Longest)
	case ctx.Err() != nil:
		return ""
	case err != nil:
		return fmt.Sprintf("run vibectl: %v", err)
	}
	return out.trouble
}

// redacted writes each line of output to the log, without the keys.
type redacted struct {
	to      *slog.Logger
	secrets []string
	rest    []byte
	trouble string // the last line that says that something failed
}

func (r *redacted) Write(p []byte) (int, error) {
	r.rest = append(r.rest, p...)
	for {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		r.line(string(line))
		r.rest = rest
	}
}

func (r *redacted) end() {
	r.line(string(r.rest))
	r.rest = nil
}

func (r *redacted) line(text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	for _, s := range r.secrets {
		text = strings.ReplaceAll(text, s, "[key]")
	}
	r.to.Info("vibectl", "says", text)
	if strings.HasPrefix(text, "Error:") || strings.HasPrefix(text, "[ERROR]") {
		r.trouble = text
	}
}

// size is how far the log of calls has come.
func size(file string) (int64, error) {
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at log of calls: %w", err)
	}
	return info.Size(), nil
}

// callsSince reads what was added to the log of calls.
func callsSince(file string, from int64) (calls []shim.Call, err error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open log of calls: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read log of calls: %w", err)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c shim.Call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return calls, fmt.Errorf("read log of calls: %w", err)
		}
		calls = append(calls, c)
	}
	if err := lines.Err(); err != nil {
		return calls, fmt.Errorf("read log of calls: %w", err)
	}
	return calls, nil
}

// folders are where vibectl and llm look for what they are told.
func (l *Loop) folders() (vibectl, llm string) {
	return filepath.Join(l.c.Home, "vibectl"), filepath.Join(l.c.Home, "llm")
}

// calls is where the kubectl that vibectl calls writes down what it was asked.
func (l *Loop) calls() string { return filepath.Join(l.c.Home, "calls.jsonl") }

// tools is a folder with that kubectl, and nothing else: all of vibectl's PATH.
func (l *Loop) tools() string { return filepath.Join(l.c.Home, "bin") }
