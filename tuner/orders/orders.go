// Package orders is what people and agents told the tuner: to pause, to approve, to try something, to go back. Each order is a record of the ledger,
// so it outlives the tuner, and the book here is the sum of those records.
//
// It is pure. It promises that the same records always give the same book. It leaves out who may give orders (the API) and carrying them out
// (trial).
package orders

import (
	"slices"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// Command is what is ordered.
type Command string

// The commands.
const (
	Pause    Command = "pause"    // begin nothing more; a running trial goes to its end
	Resume   Command = "resume"   // the end of a pause
	Approve  Command = "approve"  // begin the trial that waits for it
	Reject   Command = "reject"   // do not, and do not ask again
	Abort    Command = "abort"    // take the running trial's change back now
	Rollback Command = "rollback" // go back to the configuration that was in force when trial N had ended; 0: the first one
	Propose  Command = "propose"  // try this configuration next
	Tell     Command = "tell"     // this configuration was measured elsewhere; the search may learn from it
)

// Order is a command with what belongs to it.
type Order struct {
	Command Command
	Trial   int         // approve, reject, abort, rollback
	Point   space.Point // approve and reject: what was looked at; propose, tell: the whole configuration
	Window  judge.Window
	By      string
	Reason  string
	Time    time.Time
	Held    string // why a proposal cannot be tried now; of this process, not of the ledger
}

// Record is the order's place in the ledger.
func (o Order) Record() ledger.Record {
	r := ledger.Record{Kind: ledger.Control, Command: string(o.Command), Trial: o.Trial, Point: o.Point, Author: o.By, Reason: o.Reason}
	if o.Command == Tell {
		r.Windows = []judge.Window{o.Window}
	}
	return r
}

func order(r ledger.Record) Order {
	o := Order{Command: Command(r.Command), Trial: r.Trial, Point: r.Point, By: r.Author, Reason: r.Reason, Time: r.Time}
	if len(r.Windows) > 0 {
		o.Window = r.Windows[0]
	}
	return o
}

// Book is the sum of the orders. Its zero value is ready to use.
type Book struct {
	Pause    *Order  // in force
	Rollback *Order  // to be carried out
	Queue    []Order // proposals to be tried, oldest first
	Told     []Order
	Rejected []Order
	approved []Order
	aborted  []Order
}

// Fold adds up records.
func Fold(records []ledger.Record) *Book {
	b := &Book{}
	for _, r := range records {
		b.Add(r)
	}
	return b
}

// Add takes the next record into account: an order, or the trial that carries one out.
func (b *Book) Add(r ledger.Record) {
	if r.Kind == ledger.Edge && r.Phase == ledger.Proposed {
		b.begun(r)
	}
	if r.Kind != ledger.Control {
		return
	}
	switch o := order(r); o.Command {
	case Pause:
		b.Pause = &o
	case Resume:
		b.Pause = nil
	case Approve:
		b.approved = append(b.approved, o)
	case Reject:
		b.Rejected = append(b.Rejected, o)
		b.drop(o.Point)
	case Abort:
		b.aborted = append(b.aborted, o)
	case Rollback:
		b.Rollback = &o
	case Propose:
		b.Queue = append(b.Queue, o)
	case Tell:
		b.Told = append(b.Told, o)
	}
}

func (b *Book) begun(r ledger.Record) {
	b.approved = nil // each holds for one trial
	switch r.Purpose {
	case ledger.Rollback:
		b.Rollback = nil
	case ledger.Asked:
		b.drop(r.Point)
	}
}

// Drop forgets an order that cannot be carried out any more. The next fold finds it again, and whoever carries out drops it again.
func (b *Book) Drop(o Order) {
	switch o.Command {
	case Rollback:
		b.Rollback = nil
	case Propose:
		b.drop(o.Point)
	}
}

// Hold notes why a proposal is not tried now; empty: it may be. It says whether that is news.
func (b *Book) Hold(p space.Point, why string) bool {
	i := b.place(p)
	if i < 0 || b.Queue[i].Held == why {
		return false
	}
	b.Queue = slices.Clone(b.Queue)
	b.Queue[i].Held = why
	return true
}

func (b *Book) place(p space.Point) int {
	return slices.IndexFunc(b.Queue, func(o Order) bool { return o.Point.Key() == p.Key() })
}

// drop takes a proposal out of the queue.
func (b *Book) drop(p space.Point) {
	if i := b.place(p); i >= 0 {
		b.Queue = slices.Delete(slices.Clone(b.Queue), i, i+1)
	}
}

// Approved says whether this trial of this configuration may begin. An approval of something that looked otherwise is none.
func (b *Book) Approved(trial int, p space.Point) bool {
	return slices.ContainsFunc(b.approved, func(o Order) bool { return o.Trial == trial && o.Point.Key() == p.Key() })
}

// Aborted is the order that ends the trial, or nil.
func (b *Book) Aborted(trial int) *Order {
	for i := range b.aborted {
		if b.aborted[i].Trial == trial {
			return &b.aborted[i]
		}
	}
	return nil
}
