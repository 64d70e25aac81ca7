package trial

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// desk is where orders are taken while the loop is busy. Its lock is the journal's too: orders and the loop's records are written one at a time.
type desk struct {
	mu      sync.Mutex
	book    *orders.Book
	entries int
	offered struct {
		trial int
		point space.Point
	}
	running int // the trial that vigil is kept over; 0: none
	vigil   *vigil
	poke    chan struct{}
}

// write is the only way into the journal.
func (r *Runner) write(rec ledger.Record) (ledger.Record, error) {
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	rec.Term = r.Term
	written, err := r.Journal.Append(rec)
	if err != nil {
		return written, err
	}
	r.desk.book.Add(written)
	r.desk.entries++
	if rec.Kind != ledger.Control && rec.Phase == ledger.Proposed {
		r.desk.offered.trial = 0
	}
	return written, nil
}

// ErrConflict says that an order cannot be carried out as things are; another order, or the same one later, may be.
var ErrConflict = errors.New("not now")

// ErrInvalid says that an order can never be carried out.
var ErrInvalid = errors.New("invalid")

func conflict(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrConflict, fmt.Sprintf(format, args...))
}

// Order takes an order. When it returns nil the order is in the ledger, and the loop carries it out. It may be called from any goroutine.
func (r *Runner) Order(o orders.Order) error {
	o, news, err := r.examine(o)
	if err != nil || !news {
		return err
	}
	if _, err := r.write(o.Record()); err != nil {
		return err
	}
	r.Logger.Info("order", "command", o.Command, "by", o.By, "trial", o.Trial, "point", o.Point.Key(), "reason", o.Reason)
	r.publishOrders()
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	if o.Command == orders.Abort && r.desk.running == o.Trial {
		r.desk.vigil.end(aborted(o))
	}
	select {
	case r.desk.poke <- struct{}{}:
	default:
	}
	return nil
}

func aborted(o orders.Order) *end {
	return &end{outcome: ledger.OutcomeDiscarded, failure: "aborted", author: o.By, reason: fmt.Sprintf("taken back, as ordered by %s: %s", o.By, o.Reason)}
}

// examine completes an order, or says why it cannot be. An order that is carried out already is no news.
func (r *Runner) examine(o orders.Order) (_ orders.Order, news bool, err error) {
	s := r.Board.Snapshot()
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	switch o.Command {
	case orders.Pause:
		return o, r.desk.book.Pause == nil, nil
	case orders.Resume:
		return o, r.desk.book.Pause != nil, nil
	case orders.Tell:
		return o, true, r.complete(o.Point)
	}
	if !r.File.Mode.Acts() {
		return o, false, conflict("the tuner is in mode %s, in which it changes nothing", r.File.Mode)
	}
	switch o.Command {
	case orders.Approve, orders.Reject:
		if r.File.Mode != config.Approve || r.desk.offered.trial != o.Trial || o.Trial == 0 {
			return o, false, conflict("trial %d does not wait for approval", o.Trial)
		}
		o.Point = r.desk.offered.point
	case orders.Abort:
		if o.Trial == 0 && s.Trial != nil {
			o.Trial = s.Trial.Number
		}
		if r.desk.running == 0 || r.desk.running != o.Trial {
			return o, false, conflict("trial %d does not run", o.Trial)
		}
	case orders.Rollback:
		if o.Trial < 0 || o.Trial > len(s.Trials) || o.Trial > 0 && s.Trials[o.Trial-1].Ended == nil {
			return o, false, conflict("there is no trial %d that has ended", o.Trial)
		}
	case orders.Propose:
		o.Point = over(s, o.Point)
		if err := r.complete(o.Point); err != nil {
			return o, false, err
		}
	default:
		return o, false, fmt.Errorf("%w: command: want one that is known (got %q)", ErrInvalid, o.Command)
	}
	return o, true, nil
}

// over fills what a proposal does not name with what stays as it is.
func over(s status.Snapshot, p space.Point) space.Point {
	full := space.Point(s.Incumbent())
	maps.Copy(full, p)
	return full
}

// complete says everything that is wrong with a configuration.
func (r *Runner) complete(p space.Point) error {
	var errs []error
	for _, k := range r.knobs {
		v, named := p[k.Name]
		if !named {
			errs = append(errs, fmt.Errorf("knobs.%s: want a value (got none)", k.Name))
			continue
		}
		if err := k.Check(v, r.Memory); err != nil {
			errs = append(errs, fmt.Errorf("knobs.%w", err))
		}
	}
	for name := range p {
		if !slices.ContainsFunc(r.knobs, func(k space.Knob) bool { return k.Name == name }) {
			errs = append(errs, fmt.Errorf("knobs.%s: there is no such knob", name))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, r.File.SearchSpace().Check(p, space.Pod{Memory: r.Memory})) // what holds between knobs
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func (d *desk) paused() *orders.Order {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.book.Pause
}

func (d *desk) rollback() *orders.Order {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.book.Rollback
}

func (d *desk) queue() []orders.Order {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.book.Queue)
}

func (d *desk) rejected() []space.Point {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []space.Point
	for _, o := range d.book.Rejected {
		out = append(out, o.Point)
	}
	return out
}

func (d *desk) approved(trial int, p space.Point) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.book.Approved(trial, p)
}

func (d *desk) offer(trial int, p space.Point) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.offered.trial, d.offered.point = trial, p
}

// drop forgets an order that has become pointless: the target is there already, or may not go there any more.
func (d *desk) drop(o *orders.Order) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.book.Drop(*o)
}

// hold notes why a proposal is not tried now, and says whether that is news.
func (d *desk) hold(o orders.Order, why string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.book.Hold(o.Point, why)
}

// watch is told over which trial a vigil is kept; an order that came before, to an earlier process perhaps, is carried out.
func (d *desk) watch(trial int, v *vigil) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.vigil = trial, v
	if o := d.book.Aborted(trial); v != nil && o != nil {
		v.end(aborted(*o))
	}
}

// publishOrders shows what is ordered.
func (r *Runner) publishOrders() {
	r.desk.mu.Lock()
	var pause *status.Order
	if p := r.desk.book.Pause; p != nil {
		pause = showOrder(*p)
	}
	var queue []status.Order
	for _, o := range r.desk.book.Queue {
		queue = append(queue, *showOrder(o))
	}
	entries := r.desk.entries
	r.desk.mu.Unlock()
	r.Board.Update(func(s *status.Snapshot) { s.Pause, s.Queue, s.Ledger, s.Term = pause, queue, entries, r.Term })
}

func showOrder(o orders.Order) *status.Order {
	return &status.Order{By: o.By, Time: o.Time, Reason: o.Reason, Knobs: o.Point, Held: o.Held}
}
