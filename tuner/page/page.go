// Package page shows the tuner in a browser: what runs, how good it is against the SLO, what was changed when and by whom and whether it helped, with
// buttons for the orders of tuner/api.
//
// It promises that everything comes from the tuner itself (no other host is asked by the browser, and the policy that the page is sent with forbids it);
// that what was written by others is shown as text; that the curves go on over a reload, and over a restart of the tuner by what Prometheus holds; and that
// no answer waits for the ledger or for Prometheus, except the first one. It leaves out taking orders and authentication, which are tuner/api's and
// internal/web's.
package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/uplot"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/status"
)

//go:embed assets
var assets embed.FS

// Config of a page. Board is required.
type Config struct {
	Board  *status.Board
	Ledger string // its file; it may not be there yet
	File   config.File
	Memory int64 // bytes that the target may use; 0 is not known
	Token  bool  // orders need one
	Past   Past  // nil: the curves begin with the process
	Logger *slog.Logger
}

// Page serves the newest snapshot of a board, the ledger's history and the curves.
type Page struct {
	c       Config
	files   map[string]file
	book    *book
	samples *samples
}

// file is one that the page is made of.
type file struct {
	kind, tag string
	body      []byte
}

// New reads what the page is made of.
func New(c Config) (*Page, error) {
	if c.Board == nil {
		return nil, errors.New("page: a board is required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Page{c: c, files: map[string]file{}, book: newBook(c), samples: newSamples(time.Now())}
	p.add("uplot.js", []byte(uplot.Script))
	p.add("uplot.css", []byte(uplot.Style))
	entries, err := assets.ReadDir("assets")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		body, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, err
		}
		p.add(e.Name(), body)
	}
	return p, nil
}

// kinds are named here and not asked of the system, which may have none or others.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

func (p *Page) add(name string, body []byte) {
	sum := sha256.Sum256(body)
	p.files[name] = file{kind: kinds[path.Ext(name)], tag: `"` + hex.EncodeToString(sum[:8]) + `"`, body: body}
}

// Remember adds the snapshot's figures to the curves.
func (p *Page) Remember(s status.Snapshot) {
	p.samples.add(Sample{Time: s.Time, P50: s.Live.P50, P99: s.Live.P99, Offered: s.Live.Offered, Acked: s.Live.Acked})
}

// Routes are the page and what it asks for, for internal/web; "/" takes its landing page's place.
func (p *Page) Routes() map[string]http.Handler {
	return map[string]http.Handler{
		"/":                  http.HandlerFunc(p.index),
		"GET /page/{file}":   http.HandlerFunc(p.file),
		"GET /page/now":      http.HandlerFunc(p.now),
		"GET /page/study":    http.HandlerFunc(p.study),
		"GET /report":        http.HandlerFunc(p.report),
		"GET /api/v1/status": http.HandlerFunc(p.status),
	}
}

// policy lets the page take scripts, styles and data from where it came from, and nothing from anywhere else. No text can become a script or markup: there
// is no inline script, and the ways from a string to markup are closed.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func guarded(w http.ResponseWriter, policy string) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func (p *Page) index(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	p.send(w, r, p.files["index.html"])
}

func (p *Page) file(w http.ResponseWriter, r *http.Request) {
	f, there := p.files[r.PathValue("file")]
	if !there || strings.HasPrefix(f.kind, "text/html") {
		http.NotFound(w, r)
		return
	}
	p.send(w, r, f)
}

// send answers with what the browser does not have yet.
func (p *Page) send(w http.ResponseWriter, r *http.Request, f file) {
	guarded(w, policy)
	w.Header().Set("ETag", f.tag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	_, _ = w.Write(f.body) // a reader that left is not our error
}

func (p *Page) status(w http.ResponseWriter, _ *http.Request) {
	body, err := json.MarshalIndent(p.c.Board.Snapshot(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
}

// study is the ledger's history, as far as it has been read.
func (p *Page) study(w http.ResponseWriter, r *http.Request) {
	v := p.book.view()
	p.send(w, r, file{kind: "application/json", tag: `"` + v.tag + `"`, body: v.body})
}

// report is what the study came to, for keeping and for printing. Its style is its own, since it must be one file; no script can run in it.
func (p *Page) report(w http.ResponseWriter, _ *http.Request) {
	guarded(w, "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := p.book.html(w); err != nil {
		p.c.Logger.Error("report", "err", err)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		http.Error(w, "there is no report: "+err.Error(), http.StatusInternalServerError)
	}
}
