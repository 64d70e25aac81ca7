package orders_test

import (
	"testing"

	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// TestBook: what is in force after these records.
func TestBook(t *testing.T) {
	four, eight := space.Point{"io": 4}, space.Point{"io": 8}
	order := func(c orders.Command, trial int, p space.Point) ledger.Record {
		return orders.Order{Command: c, Trial: trial, Point: p, By: "sre", Window: judge.Window{Goodput: 9, P99: 0.1}}.Record()
	}
	begin := func(purpose ledger.Purpose, p space.Point) ledger.Record {
		return ledger.Record{Kind: ledger.Edge, Phase: ledger.Proposed, Purpose: purpose, Point: p}
	}
	for name, c := range map[string]struct {
		records []ledger.Record
		holds   func(*orders.Book) bool
	}{
		"nothing":                      {nil, func(b *orders.Book) bool { return b.Pause == nil && b.Rollback == nil && len(b.Queue) == 0 }},
		"a pause":                      {[]ledger.Record{order(orders.Pause, 0, nil)}, func(b *orders.Book) bool { return b.Pause != nil && b.Pause.By == "sre" }},
		"a pause that has ended":       {[]ledger.Record{order(orders.Pause, 0, nil), order(orders.Resume, 0, nil)}, func(b *orders.Book) bool { return b.Pause == nil }},
		"an approval":                  {[]ledger.Record{order(orders.Approve, 1, four)}, func(b *orders.Book) bool { return b.Approved(1, four) }},
		"an approval of another trial": {[]ledger.Record{order(orders.Approve, 1, four)}, func(b *orders.Book) bool { return !b.Approved(2, four) }},
		"an approval of another point": {[]ledger.Record{order(orders.Approve, 1, four)}, func(b *orders.Book) bool { return !b.Approved(1, eight) }},
		"an approval that was used":    {[]ledger.Record{order(orders.Approve, 1, four), begin("", four)}, func(b *orders.Book) bool { return !b.Approved(1, four) }},
		"two proposals":                {[]ledger.Record{order(orders.Propose, 0, four), order(orders.Propose, 0, eight)}, func(b *orders.Book) bool { return len(b.Queue) == 2 && b.Queue[0].Point.Key() == "io=4" }},
		"a proposal that is tried":     {[]ledger.Record{order(orders.Propose, 0, four), order(orders.Propose, 0, eight), begin(ledger.Asked, four)}, func(b *orders.Book) bool { return len(b.Queue) == 1 && b.Queue[0].Point.Key() == "io=8" }},
		"a proposal that waits": {[]ledger.Record{order(orders.Propose, 0, four), order(orders.Propose, 0, eight)}, func(b *orders.Book) bool {
			before := b.Queue
			return b.Hold(eight, "why") && !b.Hold(eight, "why") && !b.Hold(space.Point{"io": 9}, "why") && b.Queue[0].Held == "" && b.Queue[1].Held == "why" && before[1].Held == "" && b.Hold(eight, "")
		}},
		"a proposal that is rejected":             {[]ledger.Record{order(orders.Propose, 0, four), order(orders.Reject, 1, four)}, func(b *orders.Book) bool { return len(b.Queue) == 0 && len(b.Rejected) == 1 }},
		"a proposal, while another trial is made": {[]ledger.Record{order(orders.Propose, 0, four), begin("", four)}, func(b *orders.Book) bool { return len(b.Queue) == 1 }},
		"a way back":              {[]ledger.Record{order(orders.Rollback, 2, nil)}, func(b *orders.Book) bool { return b.Rollback != nil && b.Rollback.Trial == 2 }},
		"a way back that is gone": {[]ledger.Record{order(orders.Rollback, 2, nil), begin(ledger.Rollback, four)}, func(b *orders.Book) bool { return b.Rollback == nil }},
		"an end":                  {[]ledger.Record{order(orders.Abort, 3, nil)}, func(b *orders.Book) bool { return b.Aborted(3) != nil && b.Aborted(2) == nil }},
		"a measurement":           {[]ledger.Record{order(orders.Tell, 0, four)}, func(b *orders.Book) bool { return len(b.Told) == 1 && b.Told[0].Window.Goodput == 9 }},
	} {
		if b := orders.Fold(c.records); !c.holds(b) {
			t.Errorf("%s: got %+v", name, b)
		}
	}
}
