// Package watch shows a running tuner in a terminal at a glance: how the load is against the SLO and was in the last hour, what is tried and how far that
// is, the knobs, the last changes, every trial.
//
// It promises that the terminal is left as it was, however the watching ends short of SIGKILL; that nothing it shows can give the terminal orders; and that it
// needs no more than 80 columns and 24 rows. What is not a terminal gets the same as text, one after the other. It leaves out how the tuner is asked, and
// orders to it.
package watch

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/kafkalab/kafkalab/tuner/status"
)

// Moment is what the tuner says of itself at one time.
type Moment struct {
	Status status.Snapshot
	Health []Part
	Plan   Plan
	Past   []Sample // all of before; nil: as it was
}

// Part is a component and how it is: good, uneasy, bad or unknown.
type Part struct{ Name, State, Text string }

// Plan is how long phases take, in seconds, and how many windows are measured; 0 is not known.
type Plan struct {
	Settle, Warmup float64
	Windows        int
}

// Sample is one point of the curves; NaN is not known.
type Sample struct {
	Time time.Time
	P99  float64 // ms
	Rate float64 // records per second
}

// Config of a watch.
type Config struct {
	Ask      func(context.Context) (Moment, error)
	Address  string // of the tuner, to be shown
	Interval time.Duration
	Once     bool // show it once, as text
	In       *os.File
	Out      io.Writer
}

// asked bounds one question.
const asked = 5 * time.Second

// Run shows the tuner until ctx ends or somebody quits.
func Run(ctx context.Context, c Config) error {
	w := &watch{Config: c, screen: screen{address: c.Address}, colours: os.Getenv("NO_COLOR") == ""}
	out, file := c.Out.(*os.File)
	if c.Once || !file || !term.IsTerminal(int(out.Fd())) || os.Getenv("TERM") == "dumb" {
		return w.print(ctx)
	}
	w.size = func() (int, int, error) { return term.GetSize(int(out.Fd())) }
	return w.show(ctx)
}

type watch struct {
	Config
	screen  screen
	colours bool
	size    func() (columns, rows int, err error)
}

// ask takes what the tuner says into the screen.
func (w *watch) ask(ctx context.Context) answer {
	ctx, cancel := context.WithTimeout(ctx, asked)
	defer cancel()
	m, err := w.Ask(ctx)
	return answer{m, err}
}

type answer struct {
	moment Moment
	err    error
}

func (s *screen) take(a answer, now time.Time) {
	if a.err != nil {
		if s.problem == "" {
			s.since = now
		}
		s.problem = a.err.Error()
		return
	}
	s.problem, s.moment = "", a.moment
	if a.moment.Past != nil {
		s.samples = a.moment.Past
	}
	one := Sample{Time: a.moment.Status.Time, P99: value(a.moment.Status.Live.P99), Rate: value(a.moment.Status.Live.Acked)}
	if n := len(s.samples); n == 0 || one.Time.After(s.samples[n-1].Time) {
		s.samples = append(s.samples, one)
	}
	old := 0
	for old < len(s.samples) && one.Time.Sub(s.samples[old].Time) > history {
		old++
	}
	s.samples = s.samples[old:]
}

func value(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// wide is for text that goes to a file or a program.
const wide = 120

// print writes the screen as text, once or again and again.
func (w *watch) print(ctx context.Context) error {
	tick := time.NewTicker(w.Interval)
	defer tick.Stop()
	for {
		a := w.ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if a.err != nil && w.Once {
			return a.err
		}
		w.screen.take(a, time.Now())
		var b strings.Builder
		for _, l := range w.screen.frame(wide, 0) {
			b.WriteString(l.render(wide, false) + "\n")
		}
		if !w.Once {
			b.WriteByte('\n')
		}
		if _, err := io.WriteString(w.Out, b.String()); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if w.Once {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// What a terminal obeys: the second screen without a cursor, and back. The first screen is as it was.
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[2J"
	leave = "\x1b[?25h\x1b[?1049l"
)

// show holds the terminal until it ends.
func (w *watch) show(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	keys := make(chan key)
	if term.IsTerminal(int(w.In.Fd())) {
		before, err := term.MakeRaw(int(w.In.Fd()))
		if err != nil {
			return fmt.Errorf("take the terminal: %w", err)
		}
		defer func() { _ = term.Restore(int(w.In.Fd()), before) }() // there is nobody to tell
		w.screen.keys = true
		go read(ctx, w.In, keys)
	}
	if _, err := io.WriteString(w.Out, enter); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	defer func() { _, _ = io.WriteString(w.Out, leave) }()

	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	tick := time.NewTicker(w.Interval)
	defer tick.Stop()
	// The keys go on while the tuner is slow to answer: one question is under way at a time, beside them.
	answers, waiting := make(chan answer, 1), false
	question := func() {
		if !waiting {
			waiting = true
			go func() { answers <- w.ask(ctx) }()
		}
	}
	for question(); ; {
		if err := w.draw(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case a := <-answers:
			waiting = false
			w.screen.take(a, time.Now())
		case <-tick.C:
			question()
		case <-resized:
		case k := <-keys:
			if k == quit {
				return nil
			}
			w.scroll(k)
		}
	}
}

// draw writes the whole screen over what was there: two kilobytes, and no need to know what that was.
func (w *watch) draw() error {
	columns, rows, err := w.size()
	if err != nil {
		return fmt.Errorf("size of the terminal: %w", err)
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, l := range w.screen.frame(columns, rows) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l.render(columns, w.colours) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	if _, err := io.WriteString(w.Out, b.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// key is what somebody wants.
type key int

const (
	quit key = iota
	down
	up
	pageDown
	pageUp
	first
	last
)

const page = 10

func (w *watch) scroll(k key) {
	switch k {
	case down:
		w.screen.scroll++
	case up:
		w.screen.scroll--
	case pageDown:
		w.screen.scroll += page
	case pageUp:
		w.screen.scroll -= page
	case first:
		w.screen.scroll = 0
	case last:
		w.screen.scroll = math.MaxInt
	}
}

// read turns what is typed into keys. It ends with the process: a read of a terminal cannot be called off.
func read(ctx context.Context, in io.Reader, keys chan<- key) {
	names := map[string]key{
		"q": quit, "Q": quit, "\x03": quit, "\x04": quit, "j": down, "\x1b[B": down, "\x1bOB": down, "\x0e": down, "k": up, "\x1b[A": up, "\x1bOA": up, "\x10": up,
		" ": pageDown, "f": pageDown, "\x1b[6~": pageDown, "b": pageUp, "\x1b[5~": pageUp, "g": first, "\x1b[H": first, "G": last, "\x1b[F": last,
	}
	for r := bufio.NewReader(in); ; {
		text, err := press(r)
		k, known := names[text]
		if err != nil {
			k, known = quit, true // the terminal is gone
		}
		if !known {
			continue
		}
		select {
		case keys <- k:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// press is one key: a character, or a sequence that begins with an escape and ends with a letter or a tilde.
func press(r *bufio.Reader) (string, error) {
	b, err := r.ReadByte()
	if err != nil || b != 0x1b || r.Buffered() == 0 {
		return string(rune(b)), err
	}
	text := []byte{b}
	for {
		if b, err = r.ReadByte(); err != nil {
			return "", err
		}
		text = append(text, b)
		letter := b >= '@' && b <= '~'
		if letter && !(len(text) == 2 && (b == '[' || b == 'O')) || r.Buffered() == 0 {
			return string(text), nil
		}
	}
}
