package verify_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/verify"
)

const (
	run   = 77
	grace = time.Minute
)

// bench is one consumer group's verifier and the log that it reads.
type bench struct {
	*verify.Verifier
	now    time.Duration
	offset int64 // of the record appended last
	faults []verify.Fault
}

func mustNew(t testing.TB, change func(*verify.Config)) *bench {
	t.Helper()
	b := &bench{offset: -1}
	c := verify.Config{
		Topic: "lab", Partitions: 2, Run: run, Grace: grace,
		Now:   func() time.Duration { return b.now },
		Found: func(f verify.Fault) { b.faults = append(b.faults, f) },
	}
	if change != nil {
		change(&c)
	}
	v, err := verify.New(c)
	if err != nil {
		t.Fatal(err)
	}
	b.Verifier = v
	return b
}

// close says of both partitions that nothing more is to come.
func (b *bench) close() { closeAll(b.Verifier, 2) }

func closeAll(v *verify.Verifier, partitions int) {
	for p := range partitions {
		v.Closed(int32(p))
	}
}

// consume appends records of our producer 1 to partition 0 and reads them.
func (b *bench) consume(sequences ...uint64) {
	for _, s := range sequences {
		b.offset++
		b.again(b.offset, s)
	}
}

// again reads a record of our producer 1 that has been appended before.
func (b *bench) again(offset int64, sequence uint64) {
	b.Consumed(0, offset, stamp.Stamp{Run: run, Producer: 1, Sequence: sequence})
}

// other appends records of another run's producer 1, stamped now, and reads them.
func (b *bench) other(failed uint32, sequences ...uint64) {
	for _, s := range sequences {
		b.offset++
		b.Consumed(0, b.offset, stamp.Stamp{Run: run + 1, Producer: 1, Sequence: s, Failed: failed, Wall: int64(b.now)})
	}
}

func (b *bench) corrupt(sequence uint64, named bool) {
	b.offset++
	s := stamp.Stamp{}
	if named {
		s = stamp.Stamp{Run: run, Producer: 1, Sequence: sequence}
	}
	b.Corrupted(0, b.offset, s, named)
}

func (b *bench) failed(sequences ...uint64) {
	for _, s := range sequences {
		b.Failed(0, 1, s)
	}
}

func (b *bench) pass(d time.Duration) {
	b.now += d
	b.Sweep()
}

type judged struct {
	do    func(*bench)
	want  verify.Counts
	named []string // kind first-last, with /count where it is not all of them
}

func judge(t *testing.T, change func(*verify.Config), cases map[string]judged) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := mustNew(t, change)
			tc.do(b)
			if got := b.Counts(); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			var named []string
			for _, f := range b.faults {
				n := fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last)
				if f.Count != f.Last-f.First+1 {
					n += fmt.Sprintf("/%d", f.Count)
				}
				named = append(named, n)
				if f.Topic != "lab" {
					t.Errorf("fault without its topic: %+v", f)
				}
			}
			if !slices.Equal(named, tc.named) {
				t.Errorf("got %v, want %v", named, tc.named)
			}
		})
	}
}

func TestFaultsAreFoundAndNamed(t *testing.T) {
	judge(t, nil, map[string]judged{
		"in order: nothing":              {func(b *bench) { b.consume(0, 1, 2, 3); b.pass(2 * grace) }, verify.Counts{}, nil},
		"one missing is lost":            {func(b *bench) { b.consume(0, 1, 3); b.pass(grace) }, verify.Counts{Lost: 1}, []string{"lost 2-2"}},
		"a stretch missing is lost":      {func(b *bench) { b.consume(0, 10); b.pass(grace) }, verify.Counts{Lost: 9}, []string{"lost 1-9"}},
		"the very first missing is lost": {func(b *bench) { b.consume(2); b.pass(grace) }, verify.Counts{Lost: 2}, []string{"lost 0-1"}},
		"missing, but not for long yet":  {func(b *bench) { b.consume(0, 2); b.pass(grace - 1) }, verify.Counts{}, nil},
		"late by one is reordered":       {func(b *bench) { b.consume(0, 2, 1, 3); b.pass(grace) }, verify.Counts{Reordered: 1}, []string{"reordered 1-1"}},
		"backwards is reordered":         {func(b *bench) { b.consume(3, 2, 1, 0); b.pass(grace) }, verify.Counts{Reordered: 3}, []string{"reordered 2-2", "reordered 1-1", "reordered 0-0"}},
		"twice in a row is duplicated":   {func(b *bench) { b.consume(0, 1, 1, 2) }, verify.Counts{Duplicated: 1}, []string{"duplicated 1-1"}},
		"a batch again is duplicated":    {func(b *bench) { b.consume(0, 1, 2, 0, 1, 2, 3) }, verify.Counts{Duplicated: 3}, []string{"duplicated 0-0", "duplicated 1-1", "duplicated 2-2"}},
		"late, and then again":           {func(b *bench) { b.consume(0, 2, 1, 1) }, verify.Counts{Reordered: 1, Duplicated: 1}, []string{"reordered 1-1", "duplicated 1-1"}},
		"after it was lost: duplicated":  {func(b *bench) { b.consume(0, 2); b.pass(grace); b.consume(1) }, verify.Counts{Lost: 1, Duplicated: 1}, []string{"lost 1-1", "duplicated 1-1"}},
		"each in a gap keeps its time":   {func(b *bench) { b.pass(grace); b.consume(0, 5, 2, 1); b.pass(grace - 1) }, verify.Counts{Reordered: 2}, []string{"reordered 2-2", "reordered 1-1"}},
		"from behind in a gap": {func(b *bench) { b.consume(0, 4, 3, 2, 2); b.pass(grace) },
			verify.Counts{Reordered: 2, Duplicated: 1, Lost: 1}, []string{"reordered 3-3", "reordered 2-2", "duplicated 2-2", "lost 1-1"}},
		"each gap has its own time": {func(b *bench) { b.consume(0, 2); b.pass(grace / 2); b.consume(4); b.pass(grace / 2) },
			verify.Counts{Lost: 1}, []string{"lost 1-1"}},
		"damaged, name readable":   {func(b *bench) { b.consume(0); b.corrupt(1, true); b.consume(2); b.pass(grace) }, verify.Counts{Corrupted: 1}, []string{"corrupted 1-1"}},
		"damaged, name unreadable": {func(b *bench) { b.consume(0); b.corrupt(1, false); b.consume(2); b.pass(grace) }, verify.Counts{Corrupted: 1, Lost: 1}, []string{"corrupted 0-0/0", "lost 1-1"}},
		"damaged and late": {func(b *bench) { b.consume(0, 2); b.corrupt(1, true); b.pass(grace) },
			verify.Counts{Corrupted: 1, Reordered: 1}, []string{"reordered 1-1", "corrupted 1-1"}},
		"producers do not disturb each other": {func(b *bench) {
			for s := range uint64(100) {
				for p := range uint32(10) {
					b.offset++
					b.Consumed(int32(p%2), b.offset, stamp.Stamp{Run: run, Producer: p, Sequence: s})
				}
			}
			b.pass(grace)
		}, verify.Counts{}, nil},
		"the end of a run settles what is open": {func(b *bench) { b.consume(0, 2); b.close() }, verify.Counts{Lost: 1}, []string{"lost 1-1"}},
		"the end of a run shows a missing tail": {func(b *bench) { b.consume(0, 1); b.Ended(0, 1, 5); b.close() }, verify.Counts{Lost: 3}, []string{"lost 2-4"}},
		"a tail given up is not missing":        {func(b *bench) { b.consume(0, 1); b.failed(3, 4); b.Ended(0, 1, 5); b.close() }, verify.Counts{Lost: 1}, []string{"lost 2-2"}},
		"more than the whole has arrived":       {func(b *bench) { b.consume(0, 1, 2); b.Ended(0, 1, 1); b.consume(3); b.close() }, verify.Counts{}, nil},
		"a whole tail has arrived":              {func(b *bench) { b.consume(0, 1); b.Ended(0, 1, 2); b.Ended(0, 7, 0); b.close() }, verify.Counts{}, nil},
		"of a stream nothing arrived at all":    {func(b *bench) { b.Ended(0, 7, 2); b.close() }, verify.Counts{Lost: 2}, []string{"lost 0-1"}},
	})
}

func TestRecordsGivenUpAreExcused(t *testing.T) {
	judge(t, nil, map[string]judged{
		"before: no loss":           {func(b *bench) { b.failed(1); b.consume(0, 2); b.pass(grace) }, verify.Counts{}, nil},
		"after: no loss":            {func(b *bench) { b.consume(0, 2); b.failed(1); b.pass(grace) }, verify.Counts{}, nil},
		"twice: no loss":            {func(b *bench) { b.failed(1, 1); b.consume(0, 2); b.failed(1); b.pass(grace) }, verify.Counts{}, nil},
		"twice, arrived, and again": {func(b *bench) { b.failed(1, 1); b.consume(0, 1, 1) }, verify.Counts{Duplicated: 1}, []string{"duplicated 1-1"}},
		"late, but in time":         {func(b *bench) { b.failed(1); b.consume(0, 2); b.pass(grace / 2); b.consume(1) }, verify.Counts{}, nil},
		"late, but not for ever":    {func(b *bench) { b.failed(1); b.consume(0, 2); b.pass(grace); b.consume(1) }, verify.Counts{Duplicated: 1}, []string{"duplicated 1-1"}},
		"late, after more were given up": {func(b *bench) {
			b.failed(1)
			b.pass(grace / 2)
			b.failed(2)
			b.consume(0, 3)
			b.pass(grace / 2)
			b.consume(1)
		},
			verify.Counts{}, nil},
		"and arrived: no fault":     {func(b *bench) { b.failed(1); b.consume(0, 1, 2); b.pass(grace) }, verify.Counts{}, nil},
		"arrived before: no fault":  {func(b *bench) { b.consume(0, 1, 2); b.failed(1); b.pass(grace) }, verify.Counts{}, nil},
		"and arrived late":          {func(b *bench) { b.failed(1); b.consume(0, 2, 1); b.pass(grace) }, verify.Counts{}, nil},
		"arrived late, and again":   {func(b *bench) { b.failed(1); b.consume(0, 2, 1, 1) }, verify.Counts{Duplicated: 1}, []string{"duplicated 1-1"}},
		"arrived in order, again":   {func(b *bench) { b.failed(1); b.consume(0, 1, 1, 2) }, verify.Counts{Duplicated: 1}, []string{"duplicated 1-1"}},
		"amid losses":               {func(b *bench) { b.failed(4, 5, 6); b.consume(0, 10); b.pass(grace) }, verify.Counts{Lost: 6}, []string{"lost 1-3", "lost 7-9"}},
		"amid losses, afterwards":   {func(b *bench) { b.consume(0, 10); b.failed(6, 4, 5); b.pass(grace) }, verify.Counts{Lost: 6}, []string{"lost 1-3", "lost 7-9"}},
		"far ahead of the consumer": {func(b *bench) { b.failed(1, 3); b.pass(9 * grace); b.consume(0, 2, 4); b.pass(grace) }, verify.Counts{}, nil},
		"everything":                {func(b *bench) { b.failed(0, 1, 2); b.Ended(0, 1, 3); b.close() }, verify.Counts{}, nil},
		"another producer's do not count": {func(b *bench) { b.Failed(0, 2, 1); b.Failed(1, 1, 1); b.consume(0, 2); b.pass(grace) },
			verify.Counts{Lost: 1}, []string{"lost 1-1"}},
	})
}

func TestARebalanceBringsRedeliveriesAndNoFaults(t *testing.T) {
	judge(t, nil, map[string]judged{
		"read again after the last commit": {func(b *bench) {
			b.consume(0, 1, 2, 3)
			b.Assigned(0, 2)
			b.again(2, 2)
			b.again(3, 3)
			b.consume(4)
		}, verify.Counts{Redelivered: 2}, nil},
		"the one before has not finished": {func(b *bench) {
			b.consume(0, 1, 2, 3)
			b.Assigned(0, 2)
			b.again(2, 2)
			b.consume(4) // the old consumer, from its buffer
			b.again(3, 3)
			b.again(4, 4)
			b.consume(5)
		}, verify.Counts{Redelivered: 3}, nil},
		"the new one is ahead": {func(b *bench) {
			b.consume(0, 1, 2, 3)
			b.again(3, 3)
			b.consume(4, 5)
			b.again(4, 4) // the old consumer, from its buffer
			b.again(5, 5)
		}, verify.Counts{Redelivered: 3}, nil},
		"faults are not found again": {func(b *bench) {
			b.consume(0, 2, 1, 1)
			b.corrupt(3, true)
			b.corrupt(4, false)
			b.consume(5)
			for i, s := range []uint64{0, 2, 1, 1} {
				b.again(int64(i), s)
			}
			b.Corrupted(0, 4, stamp.Stamp{Run: run, Producer: 1, Sequence: 3}, true)
			b.Corrupted(0, 5, stamp.Stamp{}, false)
			b.again(6, 5)
			b.pass(grace)
		}, verify.Counts{Reordered: 1, Duplicated: 1, Corrupted: 2, Lost: 1, Redelivered: 7},
			[]string{"reordered 1-1", "duplicated 1-1", "corrupted 3-3", "corrupted 0-0/0", "lost 4-4"}},
		"an unreadable one is not found again": {func(b *bench) { b.consume(0); b.corrupt(1, false); b.Corrupted(0, 1, stamp.Stamp{}, false) },
			verify.Counts{Corrupted: 1, Redelivered: 1}, []string{"corrupted 0-0/0"}},
		"a gap is none the less a loss": {func(b *bench) { b.consume(0, 2); b.again(0, 0); b.again(1, 2); b.pass(grace) },
			verify.Counts{Lost: 1, Redelivered: 2}, []string{"lost 1-1"}},
		"control records and a new leader move the offset": {func(b *bench) { b.consume(0, 1); b.offset += 7; b.consume(2); b.pass(grace) }, verify.Counts{}, nil},
		"the log was made anew": {func(b *bench) {
			b.consume(0, 1, 2, 3)
			b.offset = -1
			b.consume(4, 5, 5, 8, 7) // at offsets that have been here before
			b.pass(grace)
		}, verify.Counts{Duplicated: 1, Reordered: 1, Lost: 1}, []string{"duplicated 5-5", "reordered 7-7", "lost 6-6"}},
		"the consumer begins anew at the end of the log": {func(b *bench) { b.consume(0, 1); b.Assigned(0, -1); b.offset = 40; b.consume(4); b.pass(grace) },
			verify.Counts{Lost: 2}, []string{"lost 2-3"}},
	})
}

func TestPartitionsThatOtherCopiesReadAreJudgedFromWhereWeReadThem(t *testing.T) {
	judge(t, nil, map[string]judged{
		"away and back": {func(b *bench) {
			b.Assigned(0, -1)
			b.Assigned(0, 0)
			b.Began()
			b.consume(0, 1, 2)
			b.offset = 99 // the other copy read up to here
			b.Assigned(0, 100)
			b.consume(50, 51, 53)
			b.pass(grace)
		}, verify.Counts{Lost: 1}, []string{"lost 52-52"}},
		"away and back, read again from its last commit": {func(b *bench) {
			b.consume(0, 1, 2)
			b.Assigned(0, 100)
			b.again(60, 10) // ours from before, that was not told yet
			b.offset = 99
			b.consume(50, 51, 51)
		}, verify.Counts{Redelivered: 1, Duplicated: 1}, []string{"duplicated 51-51"}},
		"a gap from before stays one": {func(b *bench) { b.consume(0, 2); b.Assigned(0, 100); b.offset = 99; b.consume(50); b.pass(grace) },
			verify.Counts{Lost: 1}, []string{"lost 1-1"}},
		"a number from the time away is not judged": {func(b *bench) { b.consume(0, 1); b.Assigned(0, 100); b.offset = 99; b.consume(50, 30, 51) }, verify.Counts{}, nil},
		"first assigned after we began": {func(b *bench) {
			b.Began()
			b.failed(3, 4)
			b.Assigned(0, 1000)
			b.offset = 999
			b.consume(500, 501, 503)
			b.pass(grace)
		}, verify.Counts{Lost: 1}, []string{"lost 502-502"}},
		"never assigned, so nothing is missing": {func(b *bench) { b.Began(); b.Assigned(0, 7); b.Ended(0, 1, 100); b.close() }, verify.Counts{}, nil},
		"assigned before we began: from the first": {func(b *bench) {
			b.Assigned(0, -1)
			b.Began()
			b.Assigned(0, 5)
			b.offset = 4
			b.consume(1)
			b.pass(grace)
		},
			verify.Counts{Lost: 1}, []string{"lost 0-0"}},
		"from one of our consumers to another": {func(b *bench) {
			b.Assigned(0, 0)
			b.Began()
			b.consume(0, 1)
			b.Assigned(0, 2)
			b.consume(3)
			b.pass(grace)
		}, verify.Counts{Lost: 1}, []string{"lost 2-2"}},
		"streams of other runs are taken up again too": {func(b *bench) {
			b.other(0, 5, 6)
			b.Assigned(0, 100)
			b.offset = 99
			b.other(0, 50)
			b.pass(grace)
			b.other(0, 51)
		},
			verify.Counts{}, nil},
	})
}

func TestOtherRunsSayHowManyTheyGaveUp(t *testing.T) {
	judge(t, nil, map[string]judged{
		"from the middle on":                 {func(b *bench) { b.other(9, 500, 501); b.pass(grace); b.other(9, 502) }, verify.Counts{}, nil},
		"before the middle is not judged":    {func(b *bench) { b.other(0, 500, 501, 400, 502) }, verify.Counts{}, nil},
		"missing for the grace time: lost":   {func(b *bench) { b.other(0, 500, 502); b.pass(grace); b.other(0, 503) }, verify.Counts{Lost: 1}, []string{"lost 501-501"}},
		"not for the grace time yet":         {func(b *bench) { b.other(0, 500, 502); b.pass(grace - 1); b.other(0, 503) }, verify.Counts{}, nil},
		"given up when the gap shows":        {func(b *bench) { b.other(0, 500); b.other(2, 503); b.pass(grace); b.other(2, 504) }, verify.Counts{}, nil},
		"known to be given up only later":    {func(b *bench) { b.other(0, 500, 503); b.other(0, 504); b.other(2, 505); b.pass(grace); b.other(2, 506) }, verify.Counts{}, nil},
		"at the last moment":                 {func(b *bench) { b.other(0, 500, 503); b.pass(grace); b.other(2, 504) }, verify.Counts{}, nil},
		"some given up, some lost":           {func(b *bench) { b.other(0, 500, 504); b.other(2, 505); b.pass(grace); b.other(2, 506) }, verify.Counts{Lost: 1}, []string{"lost 501-503/1"}},
		"the producer stopped or was killed": {func(b *bench) { b.other(0, 500, 502); b.pass(grace); b.pass(99 * grace); b.close() }, verify.Counts{}, nil},
		"the consumer lags: stamps decide":   {func(b *bench) { b.other(0, 500, 502); at := b.now; b.pass(9 * grace); b.now = at; b.other(0, 503) }, verify.Counts{}, nil},
		"given up and arrived all the same does not excuse what is lost later": {func(b *bench) {
			b.other(0, 500)
			b.other(3, 501, 502)
			b.other(3, 504)
			b.pass(grace)
			b.other(3, 505)
		}, verify.Counts{Lost: 1}, []string{"lost 503-503"}},
		"known to be given up one by one": {func(b *bench) { b.other(0, 500, 503); b.other(1, 504); b.other(2, 505); b.pass(grace); b.other(2, 506) }, verify.Counts{}, nil},
		"given up and arrived late does not excuse what is lost later": {func(b *bench) {
			b.other(0, 500, 503)
			b.other(2, 504, 501, 502, 506)
			b.pass(grace)
			b.other(2, 507)
		}, verify.Counts{Lost: 1}, []string{"lost 505-505"}},
		"given up and arrived late":          {func(b *bench) { b.other(0, 500, 502); b.other(1, 503, 501); b.pass(grace); b.other(1, 504) }, verify.Counts{}, nil},
		"late is reordered":                  {func(b *bench) { b.other(0, 500, 502, 501, 503); b.pass(grace); b.other(0, 504) }, verify.Counts{Reordered: 1}, []string{"reordered 501-501"}},
		"twice is duplicated":                {func(b *bench) { b.other(0, 500, 501, 501) }, verify.Counts{Duplicated: 1}, []string{"duplicated 501-501"}},
		"an older count comes late":          {func(b *bench) { b.other(1, 500, 502); b.other(0, 501); b.other(1, 504); b.pass(grace); b.other(1, 505) }, verify.Counts{Reordered: 1, Lost: 1}, []string{"reordered 501-501", "lost 503-503"}},
		"the count passes its highest value": {func(b *bench) { b.other(1<<32-1, 500); b.other(1, 503); b.pass(grace); b.other(1, 504) }, verify.Counts{}, nil},
		"a stream that was silent for long is met anew": {func(b *bench) {
			b.other(0, 500, 501)
			b.pass(11 * grace)
			b.pass(11 * grace)
			b.other(0, 600)
			b.pass(grace)
			b.other(0, 601)
		}, verify.Counts{}, nil},
		"and one that was silent for less is not": {func(b *bench) { b.other(0, 500); b.pass(9 * grace); b.other(0, 502); b.pass(grace); b.other(0, 503) },
			verify.Counts{Lost: 1}, []string{"lost 501-501"}},
		"nor one that goes on": {func(b *bench) {
			b.other(0, 500)
			b.pass(1)
			b.other(0, 501)
			b.pass(9 * grace)
			b.other(0, 502)
			b.pass(9 * grace)
			b.other(0, 504)
			b.pass(grace)
			b.other(0, 505)
		},
			verify.Counts{Lost: 1}, []string{"lost 503-503"}},
		"nor one that goes on and fails": {func(b *bench) {
			b.other(0, 500)
			b.pass(9 * grace)
			b.other(1, 501)
			b.pass(9 * grace)
			b.other(1, 503)
			b.pass(grace)
			b.other(1, 504)
		},
			verify.Counts{Lost: 1}, []string{"lost 502-502"}},
		"a restarted producer is a new run": {func(b *bench) {
			b.other(0, 500, 501)
			b.Consumed(0, b.offset+1, stamp.Stamp{Run: run + 2, Producer: 1})
			b.Consumed(0, b.offset+2, stamp.Stamp{Run: run + 2, Producer: 1, Sequence: 1})
			b.pass(grace)
		}, verify.Counts{}, nil},
	})
}
