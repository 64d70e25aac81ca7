package page_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/page"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// patience is for a machine that is busy with something else.
const patience = 2 * time.Minute

// tab is one page that somebody looks at.
type tab struct {
	t       testing.TB
	ctx     context.Context
	mu      sync.Mutex
	console []string
}

// watched says what went on in the page before its own scripts began.
const watched = `window.long = []; new PerformanceObserver(l => long.push(...l.getEntries().map(e => e.duration))).observe({type: "longtask", buffered: true});`

func open(t testing.TB, browser context.Context, url string, width, height int64, prepare ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleException || m.Type == chromedp.ConsoleWarning {
				b.mu.Lock()
				b.console = append(b.console, m.String()+" ("+m.URL+")")
				b.mu.Unlock()
			}
		}
	}()
	b.do(prepare...)
	if _, err := chromedp.Call(ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: watched}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, height), chromedp.Navigate(url))
	b.wait(`document.getElementById("lead").textContent.startsWith("Asking") === false`)
	return b
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	limited, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(limited, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	limited, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(limited, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait until it is true, and say for how long.
func (b *tab) wait(condition string) time.Duration {
	b.t.Helper()
	began := time.Now()
	for time.Since(began) < patience {
		if eval[bool](b, "Boolean("+condition+")") {
			return time.Since(began)
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatalf("it did not become true: %s; the page says: %s", condition, eval[string](b, `document.body.innerText.slice(0, 1500)`))
	return 0
}

func (b *tab) text(id string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`document.getElementById(%q).textContent`, id))
}

func (b *tab) click(selector string) { b.t.Helper(); b.do(chromedp.Click(chromedp.CSS(selector))) }

func (b *tab) keys(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }

func (b *tab) dark(is bool) {
	b.t.Helper()
	value := map[bool]string{true: "dark", false: "light"}[is]
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}}); err != nil {
		b.t.Fatal(err)
	}
}

// quiet fails the test with what the browser complained of.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) > 0 {
		b.t.Errorf("want nothing in the console (got %s)", strings.Join(b.console, "; "))
	}
}

// taker keeps orders, and does to the board what a runner would.
type taker struct {
	mu    sync.Mutex
	board *status.Board
	got   []orders.Order
}

func (k *taker) Order(o orders.Order) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if o.By == "nobody" {
		return errors.New("no order is taken from nobody")
	}
	k.got = append(k.got, o)
	k.board.Update(func(s *status.Snapshot) {
		switch o.Command {
		case orders.Pause:
			s.Pause = &status.Order{By: o.By, Reason: o.Reason}
		case orders.Resume:
			s.Pause = nil
		case orders.Abort:
			s.Trial = nil
		case orders.Approve, orders.Reject:
			s.Next, s.State = nil, status.Trialing
		}
	})
	return nil
}

func (k *taker) orders() []orders.Order {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]orders.Order(nil), k.got...)
}

// site is a tuner's page with a study behind it.
type site struct {
	url    string
	path   string // of the ledger
	board  *status.Board
	page   *page.Page
	orders *taker
}

type scene struct {
	acts  []act
	until time.Duration
	step  time.Duration // of the curves
	token string
	mode  config.Mode
	alter func(*status.Snapshot)
	more  []ledger.Record
}

func (s scene) serve(t testing.TB) *site {
	t.Helper()
	f := lab(t)
	if s.mode != "" {
		f.Mode = s.mode
	}
	if s.acts == nil {
		s.acts, s.until = demo(), until
	}
	if s.step == 0 {
		s.step = 2 * time.Second
	}
	began := time.Now().Add(-s.until)
	records := append(told(f, began, s.acts), s.more...)
	samples := curves(began, s.acts, s.until, s.step)
	x := &site{path: written(t, records), board: board(f, records, samples[len(samples)-1])}
	x.orders = &taker{board: x.board}
	if s.alter != nil {
		x.board.Update(s.alter)
	}
	c := page.Config{Board: x.board, Ledger: x.path, File: f, Memory: 4 << 30,
		Past: func(context.Context, time.Time, time.Time, time.Duration) ([]page.Sample, error) { return samples, nil }}
	a := api.Config{Board: x.board, Orders: x.orders, Listen: "127.0.0.1:9500"}
	if s.token != "" {
		c.Token, a.TokenFile = true, filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(a.TokenFile, []byte(s.token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var h http.Handler
	x.page, h = serve(t, c)
	x.page.Recall(t.Context())
	orders, err := api.New(a)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	for pattern, h := range orders.Routes() {
		mux.Handle(pattern, h)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	x.url = server.URL
	return x
}

// refused is what another site's page, or somebody without the token, gets.
func refused(t *testing.T, x *site, change func(*http.Request)) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.url+"/api/v1/pause", strings.NewReader(`{"by":"sre"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	change(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
