package watch

import "strings"

// Frame is what a terminal of that size shows of the moment after the samples, scrolled by so many trials; without colours.
func Frame(m Moment, columns, rows, scroll int) []string {
	s := screen{address: "http://127.0.0.1:9500", keys: true, scroll: scroll}
	s.take(answer{moment: m}, m.Status.Time)
	var out []string
	for _, l := range s.frame(columns, rows) {
		out = append(out, l.render(columns, false))
	}
	return out
}

// Cells is how many columns a text takes.
func Cells(text string) int { return cells(text) }

// Drawer draws the same moment into a string as often as it is told to.
func Drawer(m Moment, columns, rows int) func() int {
	var b strings.Builder
	w := watch{Config: Config{Out: &b}, colours: true, size: func() (int, int, error) { return columns, rows, nil }}
	w.screen.take(answer{moment: m}, m.Status.Time)
	return func() int {
		b.Reset()
		_ = w.draw() // into memory
		return b.Len()
	}
}
