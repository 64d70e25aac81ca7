package verify_test

import (
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/stamp"
	"github.com/kafkalab/kafkalab/loadgen/verify"
)

func TestAbortedTransactions(t *testing.T) {
	aborted := func(b *bench) { b.Aborted(0, 1, 1) }
	t.Run("for readers of committed records", func(t *testing.T) {
		judge(t, func(c *verify.Config) { c.Committed = true }, map[string]judged{
			"not arrived: no fault":      {func(b *bench) { b.consume(0); aborted(b); b.consume(2); b.pass(grace) }, verify.Counts{}, nil},
			"arrived before":             {func(b *bench) { b.consume(0, 1); aborted(b); b.consume(2) }, verify.Counts{Uncommitted: 1}, []string{"uncommitted 1-1"}},
			"arrived after":              {func(b *bench) { b.consume(0); aborted(b); b.consume(1, 2) }, verify.Counts{Uncommitted: 1}, []string{"uncommitted 1-1"}},
			"arrived late":               {func(b *bench) { b.consume(0); aborted(b); b.consume(2, 1) }, verify.Counts{Uncommitted: 1}, []string{"uncommitted 1-1"}},
			"given up as well":           {func(b *bench) { b.failed(1); aborted(b); b.consume(0, 2); b.pass(grace) }, verify.Counts{}, nil},
			"one beside a failed one":    {func(b *bench) { b.failed(0); aborted(b); b.failed(2); b.consume(0, 1, 2) }, verify.Counts{Uncommitted: 1}, []string{"uncommitted 1-1"}},
			"given up and missed before": {func(b *bench) { b.failed(1); b.consume(0, 2); aborted(b); b.pass(grace) }, verify.Counts{}, nil},
			"two of three arrived": {func(b *bench) {
				for n := uint64(1); n < 4; n++ {
					b.Aborted(0, 1, n)
				}
				b.consume(0, 2, 3)
			}, verify.Counts{Uncommitted: 2}, []string{"uncommitted 2-2", "uncommitted 3-3"}},
			"a loss beside it":           {func(b *bench) { aborted(b); b.consume(3); b.pass(grace) }, verify.Counts{Lost: 2}, []string{"lost 0-0", "lost 2-2"}},
			"told after the gap is open": {func(b *bench) { b.consume(0, 2); aborted(b); b.pass(grace) }, verify.Counts{}, nil},
			"another copy reads it":      {func(b *bench) { b.Began(); b.Assigned(0, 9); b.offset = 8; b.consume(5); aborted(b) }, verify.Counts{}, nil},
		})
	})
	t.Run("for readers of all records", func(t *testing.T) {
		judge(t, nil, map[string]judged{
			"not arrived: no fault": {func(b *bench) { b.consume(0); aborted(b); b.consume(2); b.pass(grace) }, verify.Counts{}, nil},
			"arrived: no fault":     {func(b *bench) { b.consume(0, 1); aborted(b); b.consume(2); b.pass(grace) }, verify.Counts{}, nil},
		})
	})
}

func TestSeenCountsWhatIsBehindUs(t *testing.T) {
	b := mustNew(t, nil)
	b.consume(0, 1, 5) // 2 to 4 are missing, and their successors have arrived
	if got := b.Seen(); got != 6 {
		t.Errorf("got %d, want 6", got)
	}
	if got := b.Missing(); got != 3 {
		t.Errorf("missing: got %d, want 3", got)
	}
	b.failed(3)
	if got := b.Missing(); got != 2 {
		t.Errorf("missing after one has failed: got %d, want 2", got)
	}
	b.failed(7)
	if got := b.Seen(); got != 7 {
		t.Errorf("after one ahead has failed: got %d, want 7", got)
	}
	b.consume(6, 7, 8)
	if got := b.Seen(); got != 9 {
		t.Errorf("after all have arrived: got %d, want 9", got)
	}
	b.other(0, 100)
	if got := b.Seen(); got != 9 {
		t.Errorf("after another run's record: got %d, want 9", got)
	}
	b.close()
	if got := b.Missing(); got != 0 {
		t.Errorf("missing at the end: got %d, want 0", got)
	}
}

func TestFaultsPrintForPeople(t *testing.T) {
	f := verify.Fault{Topic: "lab", Partition: 3, Offset: -1, Run: 0xab, Producer: 2, First: 17, Last: 19, Count: 3}
	for want, change := range map[string]func(*verify.Fault){
		"lost: topic lab, partition 3, producer 2, sequence 17..19 (run 00000000000000ab)":      func(f *verify.Fault) { f.Kind = verify.Lost },
		"lost: topic lab, partition 3, producer 2, 2 of sequence 17..19 (run 00000000000000ab)": func(f *verify.Fault) { f.Kind, f.Count = verify.Lost, 2 },
		"duplicated: topic lab, partition 3, offset 812, producer 2, sequence 17 (run 00000000000000ab)": func(f *verify.Fault) {
			f.Kind, f.Offset, f.Last, f.Count = verify.Duplicated, 812, 17, 1
		},
		"corrupted: topic lab, partition 3, offset 0, stamp unreadable": func(f *verify.Fault) { f.Kind, f.Offset, f.Count = verify.Corrupted, 0, 0 },
	} {
		f := f
		change(&f)
		if got := f.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := f.LogValue().String(); !strings.Contains(got, "kind="+f.Kind) {
			t.Errorf("in a log: got %s", got)
		}
	}
}

func TestPartitionsOutsideTheTopicAreIgnored(t *testing.T) {
	b := mustNew(t, nil)
	for _, p := range []int32{-1, 2} {
		b.Assigned(p, 5)
		b.Consumed(p, 5, stamp.Stamp{Run: run, Sequence: 5})
		b.Failed(p, 1, 5)
		b.Aborted(p, 1, 5)
		b.Corrupted(p, 6, stamp.Stamp{Run: run, Sequence: 5}, true)
		b.Ended(p, 1, 5)
		b.Closed(p)
	}
	b.close()
	if got := b.Counts(); got != (verify.Counts{}) {
		t.Errorf("got %+v", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	_, err := verify.New(verify.Config{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"topic:", "partitions:", "grace:", "now:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("got %q, want it to name %q", err, field)
		}
	}
}
