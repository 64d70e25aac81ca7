package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/watch"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// moment has so many trials, the last of which runs, and an hour of samples.
func moment(trials int) watch.Moment {
	ptr := status.Ptr[float64]
	n := status.Ptr[int64]
	s := status.Snapshot{
		Time: at, Mode: "auto", State: status.Trialing, SLO: 200,
		Live: status.Live{P99: ptr(237.64), Acked: ptr(1715), Offered: ptr(1720), Consumed: ptr(1714)},
		Knobs: []status.Knob{
			{Name: "heap", Unit: "MiB", Desired: n(1024), Effective: n(1024), Best: n(1024)},
			{Name: "io_threads", Unit: "threads", Desired: n(4), Effective: n(2), Best: n(2)},
			{Name: "network_threads", Unit: "threads", Desired: n(1), Best: n(1)},
		},
		Goal:   status.Goal{Baseline: ptr(1392), Best: ptr(2323), Ratio: ptr(1.67)},
		Budget: status.Budget{Trials: 25, TrialsUsed: trials, Restarts: 60, RestartsUsed: 6, Violation: 1800},
	}
	outcomes := []string{"kept", "reverted", "inconclusive", "discarded"}
	for i := range trials {
		began := at.Add(time.Duration(i-trials) * 2 * time.Minute)
		s.Trials = append(s.Trials, status.Trial{
			Number: i + 1, Knob: "io_threads", Old: 2, New: 4, Outcome: outcomes[i%4], Effect: ptr(0.0123 * float64(i%7)), Started: began,
			Reason: fmt.Sprintf("goodput 1724/s → %d/s, p<0.001, P99 171 ms", 1800+i),
		})
		for _, outcome := range []string{"attempted", outcomes[i%4]} {
			s.Changes = append(s.Changes, status.Change{Time: began, Trial: i + 1, Author: "kafkalab-tuner", Outcome: outcome, Knob: "io_threads", Old: "2", New: "4", Effect: ptr(0.1)})
		}
	}
	last := &s.Trials[trials-1]
	last.Outcome, last.Effect, last.Phase, last.Since, last.WindowsSoFar, last.Reason = "", nil, "measuring", at.Add(-52*time.Second), 5, "next step up of io_threads"
	s.Trial = last
	s.Changes = append(s.Changes, status.Change{Time: at, Author: "kubectl-patch", Outcome: "outside", Knob: "heap", Old: "-Xmx1g", New: "-Xmx2g"})
	m := watch.Moment{Status: s, Plan: watch.Plan{Settle: 10, Warmup: 45, Windows: 8}}
	for _, name := range []string{"Prometheus", "Kafka", "ledger"} {
		m.Health = append(m.Health, watch.Part{Name: name, State: "good", Text: "as it should be"})
	}
	for i := range 1800 {
		p99 := 150 + 100*math.Sin(float64(i)/200)
		if i > 300 && i < 400 {
			p99 = math.NaN()
		}
		m.Past = append(m.Past, watch.Sample{Time: at.Add(time.Duration(i-1800) * 2 * time.Second), P99: p99, Rate: 1000 + float64(i)})
	}
	return m
}

// TestMain is the tuner's command as far as it matters here when the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("WATCH_TEST") != "" {
		ask := func(context.Context) (watch.Moment, error) { return moment(500), nil }
		if err := watch.Run(context.Background(), watch.Config{Ask: ask, Address: "http://127.0.0.1:9500", Interval: 100 * time.Millisecond, In: os.Stdin, Out: os.Stdout}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestEverythingIsThereInEightyColumns(t *testing.T) {
	got := strings.Join(watch.Frame(moment(500), 80, 24, 0), "\n")
	for _, want := range []string{
		"kafkalab tuner  mode auto", "03:04:05 UTC", "trialing    trials 500 of 25, restarts 6 of 60", "P99         237.6 ms, SLO 200 ms (119 %)", "1715/s of 1720 offered, 1714 read",
		"start 1392, best 2323/s (1.67 ×)", "the last 60 min", "trial 500   io_threads 2 → 4  next step up", "measuring, 5 of 8 windows, for 52 s", "knobs            desired    effective         best",
		"heap                1024         1024         1024 MiB", "network_threads", "N/A", "health      good: Prometheus, Kafka, ledger", "outside      heap -Xmx1g → -Xmx2g, by kubectl-patch",
		"trials      500 to", "500  io_threads 2 → 4", "499  io_threads 2 → 4     inconclusive", "q quit",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q on the screen:\n%s", want, got)
		}
	}
}

func TestTheScreenIsExactlyFilled(t *testing.T) {
	names := []string{"knob", "名前の長いノブ", "a_knob_with_a_name_that_is_far_too_long_for_a_column", "e\u0301"}
	for _, size := range [][2]int{{80, 24}, {200, 60}, {120, 30}, {60, 16}, {30, 10}, {10, 3}, {1, 1}, {0, 0}} {
		for _, trials := range []int{1, 3, 500} {
			m := moment(trials)
			for i := range 20 {
				m.Status.Knobs = append(m.Status.Knobs, status.Knob{Name: names[i%len(names)]})
			}
			if trials == 3 {
				m.Status.Knobs = nil
			}
			m.Status.Reason = strings.Repeat("寬", 100)
			lines := watch.Frame(m, size[0], size[1], 3)
			if len(lines) != size[1] && size[1] > 0 {
				t.Errorf("%v, %d trials: want %d rows (got %d)", size, trials, size[1], len(lines))
			}
			for _, l := range lines {
				if n := watch.Cells(l); n > size[0] && size[1] > 0 {
					t.Errorf("%v: %d cells in %q", size, n, l)
				}
			}
		}
	}
}

func TestNoTextGivesTheTerminalOrders(t *testing.T) {
	const evil = "\x1b]0;owned\x07\x1b[2J\r\n\u202e\u009b31m"
	m := moment(3)
	m.Status.Reason, m.Status.Trial.Reason, m.Status.Trials[0].Reason, m.Status.Changes[6].Author, m.Status.Changes[6].Knob = evil, evil, evil, evil, evil
	m.Status.Knobs[0].Name, m.Status.Knobs[0].Unit, m.Health[0] = evil, evil, watch.Part{Name: evil, State: "bad", Text: evil}
	m.Status.Changes[6].Old, m.Status.Changes[6].New, m.Status.Trials[1].Knob = evil, evil, evil
	for _, l := range watch.Frame(m, 400, 40, 0) {
		for _, r := range l {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Errorf("%U in %q", r, l)
			}
		}
	}
}

func TestScrollingStaysInTheList(t *testing.T) {
	for scroll, want := range map[int]string{0: "500 to 495 of 500", 3: "497 to 492 of 500", 1 << 40: "6 to 1 of 500", -5: "500 to 495 of 500"} {
		if got := strings.Join(watch.Frame(moment(500), 80, 24, scroll), "\n"); !strings.Contains(got, want) {
			t.Errorf("scrolled by %d: want trials %s:\n%s", scroll, want, got)
		}
	}
}

func TestWhatIsNotKnownIsNotMadeUp(t *testing.T) {
	got := strings.Join(watch.Frame(watch.Moment{Status: status.Snapshot{
		Time: at, State: status.Holding, Reason: "prometheus is away", Live: status.Live{Missing: map[string]string{"p99": "no-data: the result is empty"}},
	}}, 100, 24, 0), "\n")
	for _, want := range []string{"holding", "prometheus is away", "N/A: no-data: the result is empty", "N/A/s of N/A offered", "none runs", "none yet"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q:\n%s", want, got)
		}
	}
}

// pipe is a writer that ends what is written to it after so many snapshots.
type pipe struct {
	b    bytes.Buffer
	left int
	end  func()
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.left--; p.left == 0 {
		p.end()
	}
	return p.b.Write(b)
}

func TestWhatIsNotATerminalGetsText(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, asked := &pipe{left: 3, end: cancel}, 0
	ask := func(context.Context) (watch.Moment, error) {
		if asked++; asked == 2 {
			return watch.Moment{}, errors.New("connection refused")
		}
		return moment(20), nil
	}
	if err := watch.Run(ctx, watch.Config{Ask: ask, Interval: time.Millisecond, Out: out}); err != nil {
		t.Fatal(err)
	}
	text := out.b.String()
	if strings.Contains(text, "\x1b") || strings.Count(text, "kafkalab tuner") != 3 || strings.Count(text, "connection refused") != 1 {
		t.Errorf("want three snapshots without colours, the second of which says what is wrong:\n%s", text)
	}
	out = &pipe{}
	if err := watch.Run(t.Context(), watch.Config{Ask: ask, Once: true, Interval: time.Hour, Out: out}); err != nil || strings.Count(out.b.String(), "kafkalab tuner") != 1 {
		t.Errorf("want one snapshot (got %v):\n%s", err, out.b.String())
	}
	refused := func(context.Context) (watch.Moment, error) { return watch.Moment{}, errors.New("connection refused") }
	if err := watch.Run(t.Context(), watch.Config{Ask: refused, Once: true, Interval: time.Hour, Out: out}); err == nil {
		t.Error("want the error of a tuner that cannot be asked")
	}
}

// terminal is a real one, as a program sees it.
type terminal struct {
	*os.File // our side
	tty      *os.File
	mu       sync.Mutex
	text     string
}

func open(t *testing.T) *terminal {
	t.Helper()
	ours, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{File: ours, tty: tty}
	if err := pty.Setsize(ours, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 4096); ; {
			n, err := ours.Read(b)
			x.mu.Lock()
			x.text += string(b[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { tty.Close(); ours.Close(); <-ended })
	return x
}

func (x *terminal) shown() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text
}

// sees waits until the terminal was sent the text since it last saw one.
func (x *terminal) sees(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		x.mu.Lock()
		i := strings.Index(x.text, want)
		if i >= 0 {
			x.text = x.text[i+len(want):]
		}
		rest := x.text
		x.mu.Unlock()
		if i >= 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("want %q within a minute (got %q)", want, rest)
		}
	}
}

func (x *terminal) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := x.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// TestTheTerminalIsLeftAsItWas: however it ends, the modes are what they were, the cursor is back, and so is the first screen.
func TestTheTerminalIsLeftAsItWas(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *terminal, *os.Process){
		"q":       func(t *testing.T, x *terminal, _ *os.Process) { x.press(t, "q") },
		"Ctrl-C":  func(t *testing.T, x *terminal, _ *os.Process) { x.press(t, "\x03") },
		"SIGTERM": func(_ *testing.T, _ *terminal, p *os.Process) { _ = p.Signal(syscall.SIGTERM) },
		"SIGINT":  func(_ *testing.T, _ *terminal, p *os.Process) { _ = p.Signal(syscall.SIGINT) },
		"SIGHUP":  func(_ *testing.T, _ *terminal, p *os.Process) { _ = p.Signal(syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t)
			before, err := term.GetState(int(x.tty.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			cmd := watching(t, x)
			x.sees(t, "\x1b[?1049h\x1b[?25l")
			x.sees(t, "q quit")
			if now, err := term.GetState(int(x.tty.Fd())); err != nil || reflect.DeepEqual(before, now) {
				t.Errorf("want other modes while it runs (got %v, %v)", now, err)
			}
			end(t, x, cmd.Process)
			if err := cmd.Wait(); err != nil {
				t.Errorf("want it to end well (got %v)", err)
			}
			if after, err := term.GetState(int(x.tty.Fd())); err != nil || !reflect.DeepEqual(before, after) {
				t.Errorf("want the modes as they were, %v (got %v, %v)", before, after, err)
			}
			x.sees(t, "\x1b[?25h\x1b[?1049l")
		})
	}
}

func watching(t *testing.T, x *terminal, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "WATCH_TEST=1", "TERM=xterm-256color", "NO_COLOR="), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.tty, x.tty, x.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // it dies with the terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestKeysScrollAndTheScreenFollowsTheTerminal(t *testing.T) {
	t.Parallel()
	x := open(t)
	watching(t, x)
	x.sees(t, "500 to 495 of 500")
	for _, step := range []struct{ keys, want string }{
		{"j", "499 to 494"}, {"\x1b[B", "498 to 493"}, {"k", "499 to 494"}, {"\x1bOA", "500 to 495"}, {" ", "490 to 485"}, {"b", "500 to 495"}, {"G", "6 to 1 of"}, {"g", "500 to 495"},
		{"x\x1b[15~\x1b", "500 to 495"},
	} {
		x.press(t, step.keys)
		x.sees(t, step.want)
	}
	if err := pty.Setsize(x.File, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	x.sees(t, "500 to 484 of 500")
}

func TestNoColourWhereNoneIsWanted(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]bool{"NO_COLOR=1": false, "NO_COLOR=": true} {
		x := open(t)
		cmd := watching(t, x, env)
		for end := time.Now().Add(time.Minute); !strings.Contains(x.shown(), "q quit"); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: want the whole screen within a minute (got %q)", env, x.shown())
			}
		}
		x.press(t, "q")
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(x.shown(), "\x1b[32m"); got != want {
			t.Errorf("%s: want colours %t (got %t)", env, want, got)
		}
	}
}

// BenchmarkFrame draws 500 trials and an hour of samples.
func BenchmarkFrame(b *testing.B) {
	for _, size := range [][2]int{{80, 24}, {240, 80}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			draw := watch.Drawer(moment(500), size[0], size[1])
			for b.Loop() {
				draw()
			}
		})
	}
}
