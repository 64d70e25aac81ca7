package observe

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Span is the time that a measurement is about.
type Span struct {
	Trial    time.Time // when the trial began to be measured: applied, settled and warm; the zero time: From
	From, To time.Time
}

func (s Span) width() time.Duration { return s.To.Sub(s.From) }

func (s Span) trial() time.Time {
	if s.Trial.IsZero() {
		return s.From
	}
	return s.Trial
}

// The variables of a query.
//
//	$window  how long the window is, as a duration: rate(x_total[$window])
//	$since   how long the trial has been measured, as a duration, up to the window's end
//	$start   when the trial began to be measured, in unix seconds: time() - $start, x @ $start
//	$end     when the window ended, in unix seconds
//	$scrape  the scrape interval, as a duration
func (s Span) variables(scrape time.Duration) map[string]string {
	return map[string]string{
		"$window": duration(s.width()), "$since": duration(s.To.Sub(s.trial())), "$scrape": duration(scrape),
		"$start": seconds(s.trial()), "$end": seconds(s.To),
	}
}

func duration(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) + "ms" }

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// The parts of PromQL that need to be known here. The parser of Prometheus itself would pull the client of Kubernetes up to the version that it uses.
const (
	text    = `"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|` + "`[^`]*`"
	comment = `#[^\n]*`
	labels  = `\{(?:[^"'` + "`" + `{}]|` + text + `)*\}`
	series  = `(?:[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:` + labels + `)?|` + labels + `)`
)

var (
	skipped  = regexp.MustCompile(text + `|` + comment + `|\$[a-z_]+`)
	selected = regexp.MustCompile(text + `|` + comment + `|(?:\b(rate|increase|irate)\s*\(\s*)?(` + series + `)\s*\[\s*\$window\s*\](\s*(?:offset\b|@))?`)
)

// expand puts values for the variables, except in texts and comments.
func expand(query string, variables map[string]string) string {
	return skipped.ReplaceAllStringFunc(query, func(found string) string {
		if value, known := variables[found]; known {
			return value
		}
		return found
	})
}

// selector is what a query takes from the window.
type selector struct {
	series  string
	counter bool // its growth is taken, so that a reset in the window loses some
}

// selectors lists each once, and refuses what could not be checked.
func selectors(query string) ([]selector, error) {
	known := Span{}.variables(time.Second)
	for _, found := range skipped.FindAllString(query, -1) {
		if _, ok := known[found]; !ok && strings.HasPrefix(found, "$") {
			return nil, fmt.Errorf("want $window, $since, $start, $end or $scrape as variables (got %s)", found)
		}
	}
	var out []selector
	at := map[string]int{}
	for _, m := range selected.FindAllStringSubmatch(query, -1) {
		name := strings.TrimSpace(m[2])
		if name == "" {
			continue // a text or a comment
		}
		if m[3] != "" {
			return nil, fmt.Errorf("want the window itself, not another time by%s after %s[$window]", " "+strings.TrimSpace(m[3]), name)
		}
		i, seen := at[name]
		if !seen {
			i, at[name] = len(out), len(out)
			out = append(out, selector{series: name})
		}
		out[i].counter = out[i].counter || m[1] != ""
	}
	return out, nil
}
