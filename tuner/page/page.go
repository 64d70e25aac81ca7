// Package page shows the tuner in a browser and as JSON: what it is doing, how the load is against the SLO, the knobs, every trial with its effect
// and reason. It is self-contained (no script, font or picture from elsewhere), reads only, and leaves out authentication.
package page

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
)

//go:embed page.html
var source string

const (
	remembered = 300 // points of the two curves: ten minutes at one per 2 s
	width      = 600
	height     = 90
)

type point struct{ p99, goodput *float64 }

// Page serves the newest snapshot of a board.
type Page struct {
	board *status.Board
	page  *template.Template

	mu      sync.Mutex
	history []point
}

// New parses the page.
func New(b *status.Board) (*Page, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"rate": rate, "ms": ms, "percent": percent, "clock": clock, "ago": ago, "number": number, "value": value,
	}).Parse(source)
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	return &Page{board: b, page: t}, nil
}

// Remember adds a point to the curves.
func (p *Page) Remember(s status.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history = append(p.history, point{p99: s.Live.P99, goodput: s.Live.Acked})
	if n := len(p.history); n > remembered {
		p.history = append([]point(nil), p.history[n-remembered:]...)
	}
}

// Routes are the page and the API, for internal/web; "/" takes its landing page's place.
func (p *Page) Routes() map[string]http.Handler {
	return map[string]http.Handler{
		"/":                  http.HandlerFunc(p.html),
		"GET /api/v1/status": http.HandlerFunc(p.json),
	}
}

func (p *Page) json(w http.ResponseWriter, _ *http.Request) {
	body, err := json.MarshalIndent(p.board.Snapshot(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // a reader that left is not our error
}

type view struct {
	status.Snapshot
	Reversed  []status.Trial
	Outside   []status.Change
	P99Curve  string
	SLOLine   float64
	RateCurve string
	P99Top    float64
	RateTop   float64
	W, H      int
	InSLO     bool
	Phases    []ledger.Phase
}

func (p *Page) html(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != "/" {
		http.NotFound(w, req)
		return
	}
	s := p.board.Snapshot()
	v := view{Snapshot: s, W: width, H: height, InSLO: s.Live.P99 != nil && *s.Live.P99 <= s.SLO, Phases: ledger.Phases()}
	for i := len(s.Trials) - 1; i >= 0; i-- {
		v.Reversed = append(v.Reversed, s.Trials[i])
	}
	for i := len(s.Changes) - 1; i >= 0; i-- {
		if s.Changes[i].Trial == 0 {
			v.Outside = append(v.Outside, s.Changes[i])
		}
	}
	p.mu.Lock()
	history := append([]point(nil), p.history...)
	p.mu.Unlock()
	v.P99Curve, v.P99Top = curve(history, func(q point) *float64 { return q.p99 }, 1.5*s.SLO)
	v.RateCurve, v.RateTop = curve(history, func(q point) *float64 { return q.goodput }, 0)
	if v.P99Top > 0 {
		v.SLOLine = height * (1 - s.SLO/v.P99Top)
	}
	var out bytes.Buffer
	if err := p.page.Execute(&out, v); err != nil {
		http.Error(w, "render page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(out.Bytes())
}

// curve is an SVG path; where a figure was not known it has a gap.
func curve(history []point, of func(point) *float64, least float64) (path string, top float64) {
	top = least
	for _, q := range history {
		if v := of(q); v != nil {
			top = max(top, *v*1.05)
		}
	}
	if top == 0 {
		return "", 0
	}
	var b strings.Builder
	pen := "M"
	for i, q := range history {
		v := of(q)
		if v == nil {
			pen = "M"
			continue
		}
		x := float64(width) * float64(remembered-len(history)+i) / (remembered - 1)
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x, height*(1-*v/top))
		pen = "L"
	}
	return b.String(), top
}

const unknown = "–"

func rate(v *float64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf("%.0f/s", *v)
}

func ms(v *float64) string {
	if v == nil {
		return "N/A"
	}
	return fmt.Sprintf("%.1f ms", *v)
}

func percent(v *float64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf("%+.1f %%", *v*100)
}

func number(v *float64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf("%.2f", *v)
}

func value(v *int64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprint(*v)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

func ago(now, t time.Time) string { return now.Sub(t).Round(time.Second).String() }
