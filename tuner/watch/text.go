package watch

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// style is how a piece of text looks: a number of the terminal's own colours, so that they fit to its background.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "34"
	purple style = "35"
)

type span struct {
	text  string
	style style
}

// line is one row of the screen.
type line []span

func (l *line) add(s style, format string, args ...any) {
	*l = append(*l, span{fmt.Sprintf(format, args...), s})
}

// pad fills up to a column.
func (l *line) pad(column int) {
	if n := column - l.width(); n > 0 {
		l.add(plain, "%s", strings.Repeat(" ", n))
	}
}

func (l line) width() int {
	n := 0
	for _, s := range l {
		n += cells(s.text)
	}
	return n
}

// fit is what of the line fits into so many cells.
func (l line) fit(most int) line {
	var out line
	for _, s := range l {
		s.text = cut(s.text, most)
		most -= cells(s.text)
		out = append(out, s)
	}
	return out
}

// render is the line in at most so many cells, with colours or without.
func (l line) render(most int, colours bool) string {
	var b strings.Builder
	for _, s := range l.fit(most) {
		if colours && s.style != plain && strings.TrimSpace(s.text) != "" {
			fmt.Fprintf(&b, "\x1b[%sm%s\x1b[0m", s.style, s.text)
		} else {
			b.WriteString(s.text)
		}
	}
	if colours {
		return b.String()
	}
	return strings.TrimRight(b.String(), " ")
}

// safe is text without what a terminal would obey: names and reasons are other people's words.
func safe(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return '·'
		}
		return r
	}, text)
}

// cell is how many columns a character takes.
func cell(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

func cells(text string) int {
	n := 0
	for _, r := range text {
		n += cell(r)
	}
	return n
}

// cut takes what fits into so many cells; an ellipsis says that there was more.
func cut(text string, most int) string {
	if most <= 0 {
		return ""
	}
	n, end := 0, 0 // end is where the text is cut if it does not fit
	for i, r := range text {
		if n <= most-1 {
			end = i
		}
		if n += cell(r); n > most {
			return text[:end] + "…"
		}
	}
	return text
}

// fill is the text in exactly so many cells.
func fill(text string, exactly int) string {
	text = cut(text, exactly)
	return text + strings.Repeat(" ", max(0, exactly-cells(text)))
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// spark draws values from 0 to top, one cell each; what is not known is a gap.
func spark(values []float64, top float64) string {
	var b strings.Builder
	for _, v := range values {
		if math.IsNaN(v) || top <= 0 {
			b.WriteByte(' ')
			continue
		}
		i := int(v / top * float64(len(blocks)))
		b.WriteRune(blocks[min(max(i, 0), len(blocks)-1)])
	}
	return b.String()
}

// bar is full up to the share.
func bar(share float64, length int) string {
	n := min(max(int(math.Round(share*float64(length))), 0), length)
	return strings.Repeat("█", n) + strings.Repeat("░", length-n)
}

// ago is a length of time for people.
func ago(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
