package exposition

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/common/expfmt"
)

// Pages answers scrapes with a page each.
type Pages struct {
	families []Family
	shared   []string
	compress func(http.Handler) http.HandlerFunc
	spare    atomic.Pointer[Page] // its memory serves one scrape after another; nil while one uses it
}

// NewPages prepares pages as New does.
func NewPages(families []Family, shared ...string) (*Pages, error) {
	page, err := New(families, shared...)
	if err != nil {
		return nil, err
	}
	p := &Pages{families: families, shared: shared}
	p.spare.Store(page)
	// At the best speed a page is a twentieth of its size or less; the usual level takes two to three times as long for an eighth less.
	if p.compress, err = gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed)); err != nil {
		return nil, fmt.Errorf("prepare compression: %w", err)
	}
	return p, nil
}

// Before answers with a page that fill fills, followed by what next answers, as one answer. Next is promhttp's handler of a registry that has
// none of the page's families; it chooses the format, and ends the answer as the format wants it. Both heed the parameter name[], which a client that wants
// but some of the families repeats for each.
func (p *Pages) Before(next http.Handler, fill func(*Page)) http.Handler {
	return p.compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := p.spare.Swap(nil)
		if page == nil {
			page, _ = New(p.families, p.shared...) // NewPages has seen that it can be made
		}
		defer p.spare.Store(page)

		rest := answer{header: w.Header(), status: http.StatusOK}
		plain := r.Clone(r.Context())
		plain.Header.Set("Accept-Encoding", "identity") // the two parts are compressed as one
		next.ServeHTTP(&rest, plain)
		if rest.status != http.StatusOK {
			w.WriteHeader(rest.status)
			_, _ = rest.body.WriteTo(w)
			return
		}
		page.Begin(expfmt.Format(w.Header().Get("Content-Type")))
		page.Only(r.URL.Query()["name[]"])
		fill(page)
		if _, err := page.WriteTo(w); err != nil {
			panic(http.ErrAbortHandler) // whoever asked has hung up, or must not take the half for the whole
		}
		_, _ = rest.body.WriteTo(w)
	}))
}

// answer is kept until it is its turn.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
