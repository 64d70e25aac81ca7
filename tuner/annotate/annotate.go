// Package annotate gives each change of the target one annotation in Grafana: made when the change is attempted, completed when it was kept or taken
// back. What others change has one, too.
//
// It promises that each change of the ledger has its annotation in the end, and one only, however often Grafana fails and the tuner is killed. Grafana's
// API knows no request that may safely be sent twice, and an answer that did not arrive says nothing about what was done. So nothing is
// remembered: what the ledger tells of is compared with what Grafana has, the difference is made good, and that is repeated until there is none.
// What was made is looked at once more some time later, since a request that was given up can still be carried out then. The tuner
// never waits for any of this. It leaves out annotations that somebody deletes or edits in Grafana: they are made good at the next start, no earlier.
package annotate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// Config says where to write, and of what.
type Config struct {
	URL    string // of Grafana; with its path, where it has one
	Access promql.Access
	Target string                   // namespace/name of what is changed; a tag
	Show   func(status.Annotations) // is told how far it is whenever that changes
	Logger *slog.Logger
}

// pace is how long to wait for what.
type pace struct {
	answer   time.Duration // one request
	first    time.Duration // after a failure; each further one in a row doubles it
	longest  time.Duration
	lookBack time.Duration // until what was made is looked at once more; longer than a request can be on its way
}

// Worker writes the changes of one ledger at a time. It is a collector of Prometheus metrics.
type Worker struct {
	client client
	target string
	show   func(status.Annotations)
	log    *slog.Logger
	pace   pace
	wake   chan struct{}

	requests *prometheus.CounterVec
	pending  prometheus.Gauge

	mu    sync.Mutex
	study *study.Study
	book  string // the ledger's name; empty: it has no record yet
	known map[string]known
}

// known is what Grafana is known to have of a change.
type known struct {
	has  string    // how the annotation is; empty: not known
	look time.Time // when it is looked at once more; zero: it need not be
}

// New checks the address and reads what the connection needs; it asks nothing.
func New(c Config) (*Worker, error) {
	base, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("grafana: %w", err)
	}
	transport, err := c.Access.Transport("grafana")
	if err != nil {
		return nil, fmt.Errorf("grafana: %w", err)
	}
	w := &Worker{
		target: c.Target, show: c.Show, log: c.Logger, wake: make(chan struct{}, 1),
		pace: pace{answer: 10 * time.Second, first: time.Second, longest: 5 * time.Minute, lookBack: 30 * time.Second},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tuner_annotation_requests_total", Help: "Requests to Grafana about annotations of changes, by what was asked and whether it was done.",
		}, []string{"operation", "result"}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tuner_annotations_pending", Help: "Changes of which Grafana does not have the annotation yet, or not as it should be.",
		}),
	}
	for _, operation := range []string{find, create, update, remove} {
		for _, result := range []string{"done", "failed"} {
			w.requests.WithLabelValues(operation, result)
		}
	}
	w.client = client{base: base, timeout: w.pace.answer, count: w.count, http: &http.Client{
		Transport: transport,
		// To follow would turn what is to be written into a question, whose answer looks like success.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return w, nil
}

func (w *Worker) count(operation string, err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	w.requests.WithLabelValues(operation, result).Inc()
}

// Journal keeps records; ledger.Ledger is one.
type Journal interface {
	Append(r ledger.Record) (ledger.Record, error)
}

// Of is the journal to write to in j's place. What j holds already is written to Grafana from now on, and nothing of an earlier one.
func (w *Worker) Of(j Journal, records []ledger.Record) Journal {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.study, w.book, w.known = &study.Study{}, "", map[string]known{}
	for _, r := range records {
		w.add(r)
	}
	w.nudge()
	return seen{j, w}
}

type seen struct {
	Journal
	worker *Worker
}

// Append goes on once the record is in the ledger: nothing is written to Grafana that is not, and nobody waits for Grafana.
func (s seen) Append(r ledger.Record) (ledger.Record, error) {
	written, err := s.Journal.Append(r)
	if err == nil {
		s.worker.mu.Lock()
		defer s.worker.mu.Unlock()
		s.worker.add(written)
		s.worker.nudge()
	}
	return written, err
}

func (w *Worker) add(r ledger.Record) {
	if w.book == "" {
		w.book = name(w.target, r)
	}
	r.Windows = nil // most of a ledger, and nothing that an annotation tells
	w.study.Add(r)
}

func (w *Worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	pause, said := w.pace.first, ""
	for {
		progress, next, err := w.pass(ctx)
		if ctx.Err() != nil {
			return
		}
		wake := w.wake
		if err == nil {
			if said != "" {
				w.log.Info("annotations are in Grafana again")
			}
			pause, said = w.pace.first, ""
		} else {
			if progress {
				pause = w.pace.first
			}
			if err.Error() != said {
				said = err.Error()
				w.log.Warn("annotations in Grafana: tried again until it succeeds", "err", err)
			}
			next, wake = pause, nil // a new change does not make Grafana well
			pause = min(2*pause, w.pace.longest)
		}
		var timer <-chan time.Time
		if next > 0 {
			timer = time.After(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case <-wake:
		}
	}
}

// pass compares once and makes the difference good. It tells whether anything was done, and in how long there is something to look at again.
func (w *Worker) pass(ctx context.Context) (progress bool, next time.Duration, err error) {
	book, all, todo := w.todo(time.Now())
	w.report(all, nil)
	if len(todo) > 0 {
		progress, err = w.compare(ctx, book, len(all), todo)
		if ctx.Err() == nil {
			w.report(all, err)
		}
	}
	return progress, w.next(time.Now()), err
}

func (w *Worker) todo(now time.Time) (book string, all, todo []mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.book == "" {
		return "", nil, nil
	}
	all = marks(w.study, w.book, w.target)
	for _, m := range all {
		k := w.known[m.key]
		if k.has != m.state() || !k.look.IsZero() && !now.Before(k.look) {
			todo = append(todo, m)
		}
	}
	return w.book, all, todo
}

// state is what is to be in Grafana, in one string.
func (m mark) state() string { return fmt.Sprint(m.begin(), m.end(), m.text, m.tags) }

func (w *Worker) next(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first time.Time
	for _, k := range w.known {
		if !k.look.IsZero() && (first.IsZero() || k.look.Before(first)) {
			first = k.look
		}
	}
	if first.IsZero() {
		return 0
	}
	return max(first.Sub(now), time.Millisecond)
}

// compare asks once what Grafana has of all that is to be done.
func (w *Worker) compare(ctx context.Context, book string, count int, todo []mark) (progress bool, err error) {
	from, to := todo[0].begin(), todo[0].end()
	for _, m := range todo {
		to = max(to, m.end())
	}
	found, err := w.client.find(ctx, []string{ledgerTag(book)}, from, to, 2*count+1000)
	if err != nil {
		return false, err
	}
	there := map[string][]annotation{}
	for _, a := range found {
		for _, t := range a.Tags {
			there[t] = append(there[t], a)
		}
	}
	var errs []error
	for _, m := range todo {
		err := w.settle(ctx, book, m, there[m.key])
		if err == nil {
			progress = true
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.key, err))
		var no refused
		if !errors.As(err, &no) || !no.one() {
			break // the next would fare no better
		}
	}
	return progress, errors.Join(errs...)
}

// settle sees to it that there is one annotation for the mark, and that it is right.
func (w *Worker) settle(ctx context.Context, book string, m mark, there []annotation) error {
	halfMade := func(annotation) bool { return false }
	if len(there) == 0 || w.due(m) {
		// Grafana writes an annotation first and its tags after it. One of which it wrote only the first half has no tag to be found by.
		moment, err := w.moment(ctx, book, m)
		if err != nil {
			return err
		}
		tagged := there
		halfMade = func(a annotation) bool {
			return !slices.ContainsFunc(tagged, func(b annotation) bool { return b.ID == a.ID })
		}
		there = moment
	}
	if len(there) == 0 {
		if err := w.client.create(ctx, m.annotation()); err != nil {
			return err
		}
		w.remember(m, time.Now().Add(w.pace.lookBack))
		return nil
	}
	look := w.later(m)
	slices.SortFunc(there, func(a, b annotation) int { return cmp.Compare(a.ID, b.ID) })
	for _, surplus := range there[1:] {
		if err := w.client.remove(ctx, surplus.ID); err != nil {
			return err
		}
	}
	if !m.is(there[0]) || halfMade(there[0]) {
		if err := w.client.update(ctx, there[0].ID, m.annotation()); err != nil {
			return err
		}
	}
	w.remember(m, look)
	return nil
}

// moment looks for the mark's annotation among all of its moment.
func (w *Worker) moment(ctx context.Context, book string, m mark) ([]annotation, error) {
	const atOnce = 5000 // far more than anybody can see
	found, err := w.client.find(ctx, nil, m.begin(), m.begin(), atOnce)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(a annotation) bool {
		return !slices.Contains(a.Tags, ledgerTag(book)) || !slices.Contains(a.Tags, m.key)
	}), nil
}

// later is when the mark is still to be looked at once more.
func (w *Worker) later(m mark) time.Time {
	if w.due(m) {
		return time.Time{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[m.key].look
}

// due tells whether the mark is to be looked at once more now.
func (w *Worker) due(m mark) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	look := w.known[m.key].look
	return !look.IsZero() && !time.Now().Before(look)
}

func (w *Worker) remember(m mark, look time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[m.key] = known{has: m.state(), look: look}
}

// report tells how many changes have their annotation.
func (w *Worker) report(all []mark, err error) {
	w.mu.Lock()
	pending := 0
	for _, m := range all {
		if w.known[m.key].has != m.state() {
			pending++
		}
	}
	w.mu.Unlock()
	w.pending.Set(float64(pending))
	s := status.Annotations{Written: len(all) - pending, Pending: pending}
	if err != nil {
		s.Error = err.Error()
	}
	w.show(s)
}

// Describe is for Prometheus' registry.
func (w *Worker) Describe(ch chan<- *prometheus.Desc) {
	w.requests.Describe(ch)
	w.pending.Describe(ch)
}

// Collect is for Prometheus' registry.
func (w *Worker) Collect(ch chan<- prometheus.Metric) {
	w.requests.Collect(ch)
	w.pending.Collect(ch)
}
