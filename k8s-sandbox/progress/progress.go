// Package progress says what a long command is doing, how far it is, and how long it has taken: plain lines that read as well in a log as
// on a terminal.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const heartbeat = 10 * time.Second

// Steps numbers the steps of a command.
type Steps struct {
	w     io.Writer
	total int
	mu    sync.Mutex
	n     int
	began time.Time
}

// New counts to total.
func New(w io.Writer, total int) *Steps { return &Steps{w: w, total: total, began: time.Now()} }

// Do runs one step. While it lasts, a line tells every ten seconds what note says; the last line tells how long it took.
func (s *Steps) Do(what string, step func(note func(string)) error) error {
	s.mu.Lock()
	s.n++
	label := fmt.Sprintf("[%d/%d] %s", s.n, s.total, what)
	s.mu.Unlock()
	began := time.Now()
	var mu sync.Mutex
	text := ""
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				mu.Lock()
				now := text
				mu.Unlock()
				fmt.Fprintf(s.w, "%s: %s (%s so far)\n", label, now, Duration(time.Since(began)))
			}
		}
	})
	err := step(func(t string) {
		mu.Lock()
		text = t
		mu.Unlock()
	})
	close(done)
	wg.Wait()
	if err != nil {
		fmt.Fprintf(s.w, "%s: failed after %s\n", label, Duration(time.Since(began)))
		return err
	}
	fmt.Fprintf(s.w, "%s: done in %s\n", label, Duration(time.Since(began)))
	return nil
}

// Elapsed is the time since New.
func (s *Steps) Elapsed() string { return Duration(time.Since(s.began)) }

// Duration is written as a person would say it.
func Duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
}
