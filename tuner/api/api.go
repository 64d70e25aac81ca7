// Package api is how programs and people talk to a running tuner over HTTP: what it is doing, every trial, why; and orders to it. API.md describes it.
//
// It promises that an order is answered with success only after it is in the ledger; that orders are taken from nobody but the holder of the token,
// or, where the tuner listens on loopback only and has no token, from programs of this machine and not from a web page open in its browser. Reading is
// free to whoever reaches the port, as it is for metrics; TLS and passwords for everything are internal/web's. It leaves out carrying orders out.
package api

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// Taker takes orders; trial.Runner is one.
type Taker interface {
	Order(o orders.Order) error
}

// Config of an API. Board and Orders are required.
type Config struct {
	Board     *status.Board
	Orders    Taker
	TokenFile string // read at each order, so that it can be renewed; empty: orders from this machine only
	Listen    string // the address that is listened on
	Logger    *slog.Logger
}

// API answers requests.
type API struct {
	c        Config
	loopback bool
}

// New checks the configuration.
func New(c Config) (*API, error) {
	if c.Board == nil || c.Orders == nil {
		return nil, errors.New("api: board and orders are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.TokenFile != "" {
		if _, err := token(c.TokenFile); err != nil && !errors.Is(err, os.ErrNotExist) { // it may come later
			return nil, err
		}
	}
	return &API{c: c, loopback: loopback(c.Listen)}, nil
}

// Routes are the handlers by pattern, for internal/web.
func (a *API) Routes() map[string]http.Handler {
	routes := map[string]http.Handler{
		"GET /api/v1/trials":         http.HandlerFunc(a.trials),
		"GET /api/v1/trials/{trial}": http.HandlerFunc(a.trial),
		"GET /api/v1/why":            http.HandlerFunc(a.why),
		"GET /api/v1/ask":            http.HandlerFunc(a.ask),
	}
	for _, c := range []orders.Command{
		orders.Pause, orders.Resume, orders.Approve, orders.Reject, orders.Abort, orders.Rollback, orders.Propose, orders.Tell,
	} {
		routes["POST /api/v1/"+string(c)] = http.NewCrossOriginProtection().Handler(a.trusted(a.order(c)))
	}
	return routes
}

func (a *API) trials(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, a.c.Board.Snapshot().Trials)
}

func (a *API) trial(w http.ResponseWriter, r *http.Request) {
	t, err := find(a.c.Board.Snapshot(), r.PathValue("trial"))
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	answer(w, http.StatusOK, t)
}

func find(s status.Snapshot, text string) (status.Trial, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > len(s.Trials) {
		return status.Trial{}, fmt.Errorf("trial: want 1..%d (got %q)", len(s.Trials), text)
	}
	return s.Trials[n-1], nil
}

// Why is the answer to GET /api/v1/why.
type Why struct {
	Text string `json:"text"` // for people, several lines
}

func (a *API) why(w http.ResponseWriter, r *http.Request) {
	s := a.c.Board.Snapshot()
	if number := r.URL.Query().Get("trial"); number != "" {
		t, err := find(s, number)
		if err != nil {
			fail(w, http.StatusNotFound, err)
			return
		}
		answer(w, http.StatusOK, Why{Text: whyTrial(t)})
		return
	}
	answer(w, http.StatusOK, Why{Text: whyNow(s)})
}

func (a *API) ask(w http.ResponseWriter, _ *http.Request) {
	s := a.c.Board.Snapshot()
	if s.Next == nil {
		fail(w, http.StatusNotFound, fmt.Errorf("nothing is proposed now: state %s %s", s.State, s.Reason))
		return
	}
	answer(w, http.StatusOK, s.Next)
}

// Order is the body of every order; API.md says which fields each command takes.
type Order struct {
	By      string      `json:"by"`
	Reason  string      `json:"reason,omitempty"`
	Trial   *int        `json:"trial,omitempty"`
	Knobs   space.Point `json:"knobs,omitempty"`
	Goodput float64     `json:"goodput,omitempty"` // records per second
	P99     float64     `json:"p99_ms,omitempty"`
}

// Accepted is the answer to an order that is in the ledger.
type Accepted struct {
	Accepted orders.Command `json:"accepted"`
}

// Failure is the answer to everything that is not.
type Failure struct {
	Error string `json:"error"`
}

const maxBody = 64 << 10

func (a *API) order(c orders.Command) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body Order
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		in.DisallowUnknownFields()
		if err := in.Decode(&body); err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("read order: %w", err))
			return
		}
		if _, err := in.Token(); !errors.Is(err, io.EOF) {
			fail(w, http.StatusBadRequest, errors.New("read order: want one JSON object and nothing behind it"))
			return
		}
		if err := body.check(c); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		o := orders.Order{
			Command: c, By: body.By, Reason: body.Reason, Point: body.Knobs, Window: judge.Window{Goodput: body.Goodput, P99: body.P99 / 1000},
		}
		if body.Trial != nil {
			o.Trial = *body.Trial
		}
		switch err := a.c.Orders.Order(o); {
		case errors.Is(err, trial.ErrConflict):
			fail(w, http.StatusConflict, err)
		case errors.Is(err, trial.ErrInvalid):
			fail(w, http.StatusBadRequest, err)
		case err != nil:
			fail(w, http.StatusInternalServerError, err)
		default:
			answer(w, http.StatusAccepted, Accepted{Accepted: c})
		}
	}
}

// longest text that a person may leave in the ledger.
const longest = 500

// check says everything that is wrong with the order's form.
func (o Order) check(c orders.Command) error {
	var errs []error
	bad := func(want string, got any, field string) {
		errs = append(errs, fmt.Errorf("%s: %s (got %v)", field, want, got))
	}
	if o.By == "" || len(o.By) > 100 {
		bad("want who gives the order, at most 100 bytes", strconv.Quote(o.By), "by")
	}
	if len(o.Reason) > longest {
		bad(fmt.Sprintf("want at most %d bytes", longest), len(o.Reason), "reason")
	}
	numbered := c == orders.Approve || c == orders.Reject || c == orders.Rollback
	if numbered && o.Trial == nil {
		bad("want the number of a trial", "none", "trial")
	}
	if !numbered && c != orders.Abort && o.Trial != nil {
		bad("want none with "+string(c), *o.Trial, "trial")
	}
	configured := c == orders.Propose || c == orders.Tell
	if configured != (len(o.Knobs) > 0) {
		bad(fmt.Sprintf("want values of knobs with propose and tell only, and there at least one (command %s)", c), o.Knobs.Key(), "knobs")
	}
	if measured := c == orders.Tell; measured && !(o.Goodput > 0 && o.P99 > 0) || !measured && (o.Goodput != 0 || o.P99 != 0) {
		bad("want both above 0 with tell, and none with anything else", fmt.Sprintf("%g, %g", o.Goodput, o.P99), "goodput, p99_ms")
	}
	return errors.Join(errs...)
}

// trusted lets only those through who may give orders.
func (a *API) trusted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, err := a.examine(r); err != nil {
			a.c.Logger.Warn("order refused", "path", r.URL.Path, "from", r.RemoteAddr, "err", err)
			if code == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			fail(w, code, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *API) examine(r *http.Request) (code int, err error) {
	// No page of another site can send this type without asking first, and it is never answered when it asks.
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return http.StatusUnsupportedMediaType, fmt.Errorf("header Content-Type: want application/json (got %q)", r.Header.Get("Content-Type"))
	}
	if a.c.TokenFile == "" {
		switch {
		case !a.loopback:
			return http.StatusForbidden, errors.New("orders are taken where the tuner listens on loopback only, or by a token (--api.token-file)")
		case !loopback(r.Host): // a name that leads here, on somebody else's page
			return http.StatusForbidden, fmt.Errorf("header Host: want a loopback address (got %q)", r.Host)
		}
		return 0, nil
	}
	want, err := token(a.c.TokenFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return http.StatusForbidden, fmt.Errorf("there is no token yet, so nobody may give orders: %w", err)
	case err != nil:
		return http.StatusInternalServerError, err
	}
	got, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found || subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return http.StatusUnauthorized, errors.New("header Authorization: want Bearer and the token")
	}
	return 0, nil
}

// shortest token that cannot be found by trying.
const shortest = 16

func token(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	t := strings.TrimSpace(string(text))
	if len(t) < shortest {
		return "", fmt.Errorf("read token %s: want at least %d bytes (got %d)", path, shortest, len(t))
	}
	return t, nil
}

// loopback says whether an address with or without a port leads to this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(v) // a reader that left is not our error
}

func fail(w http.ResponseWriter, code int, err error) { answer(w, code, Failure{Error: err.Error()}) }
