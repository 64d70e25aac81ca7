// Package api is how programs and people talk to a running tuner over HTTP: what it is doing, every trial, why; and orders to it. API.md describes it.
// Client is the other side.
//
// It promises that an order is answered with success only after it is in the ledger; that orders are taken from nobody but the holder of the token,
// or, where the tuner listens on loopback only and has no token, from programs of this machine and not from a web page open in its browser. Reading is
// free to whoever reaches the port, as it is for metrics; TLS and passwords for everything are internal/web's. A proposal for which no budget is left is
// refused. It leaves out carrying orders out.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/kafkalab/kafkalab/tuner/config"
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
	File      config.File // what space and goal tell of
	Ledger    string      // its file, for report and ledger
	TokenFile string      // read at each order, so that it can be renewed; empty: orders from this machine only
	Listen    string      // the address that is listened on
	Logger    *slog.Logger
}

// API answers requests.
type API struct {
	c     Config
	guard Guard

	proposing sync.Mutex // from the look at the budgets until the proposal is in the queue
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
		if _, err := Token(c.TokenFile); err != nil && !errors.Is(err, os.ErrNotExist) { // it may come later
			return nil, err
		}
	}
	return &API{c: c, guard: Guard{TokenFile: c.TokenFile, Listen: c.Listen, Logger: c.Logger}}, nil
}

// Routes are the handlers by pattern, for internal/web.
func (a *API) Routes() map[string]http.Handler {
	routes := map[string]http.Handler{
		"GET /api/v1/trials":         http.HandlerFunc(a.trials),
		"GET /api/v1/trials/{trial}": http.HandlerFunc(a.trial),
		"GET /api/v1/why":            http.HandlerFunc(a.why),
		"GET /api/v1/ask":            http.HandlerFunc(a.ask),
		"GET /api/v1/space":          http.HandlerFunc(a.space),
		"GET /api/v1/goal":           http.HandlerFunc(a.goal),
		"GET /api/v1/report":         http.HandlerFunc(a.report),
		"GET /api/v1/ledger":         http.HandlerFunc(a.ledger),
	}
	for _, c := range []orders.Command{
		orders.Pause, orders.Resume, orders.Approve, orders.Reject, orders.Abort, orders.Rollback, orders.Propose, orders.Tell,
	} {
		routes["POST /api/v1/"+string(c)] = a.guard.Handler(a.order(c))
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
		switch err := a.take(o); {
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

// take hands an order on, unless it is a proposal that would not be tried.
func (a *API) take(o orders.Order) error {
	if o.Command != orders.Propose {
		return a.c.Orders.Order(o)
	}
	a.proposing.Lock()
	defer a.proposing.Unlock()
	if err := a.mayPropose(a.c.Board.Snapshot(), o.Point); err != nil {
		return err
	}
	return a.c.Orders.Order(o)
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

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(v) // a reader that left is not our error
}

func fail(w http.ResponseWriter, code int, err error) { answer(w, code, Failure{Error: err.Error()}) }
