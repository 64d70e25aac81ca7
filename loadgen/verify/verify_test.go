package verify_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/verify"
)

const (
	run   = 77
	grace = time.Minute
)

type bench struct {
	*verify.Verifier
	now    time.Duration
	faults []verify.Fault
}

func mustNew(t testing.TB, partitions int) *bench {
	t.Helper()
	b := &bench{}
	v, err := verify.New(verify.Config{
		Topic: "lab", Partitions: partitions, Run: run, Grace: grace,
		Now:   func() time.Duration { return b.now },
		Found: func(f verify.Fault) { b.faults = append(b.faults, f) },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Verifier = v
	return b
}

func (b *bench) consume(sequences ...uint64) {
	for _, s := range sequences {
		b.Consumed(0, run, 1, s)
	}
}

func (b *bench) pass(d time.Duration) {
	b.now += d
	b.Sweep(false)
}

func TestFaultsAreFoundAndNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		do    func(*bench)
		want  verify.Counts
		named []string // kind first-last
	}{
		"in order: nothing":              {func(b *bench) { b.consume(0, 1, 2, 3); b.pass(2 * grace) }, verify.Counts{}, nil},
		"one missing is lost":            {func(b *bench) { b.consume(0, 1, 3); b.pass(grace) }, verify.Counts{Lost: 1}, []string{"lost 2-2"}},
		"a stretch missing is lost":      {func(b *bench) { b.consume(0, 10); b.pass(grace) }, verify.Counts{Lost: 9}, []string{"lost 1-9"}},
		"the very first missing is lost": {func(b *bench) { b.consume(2); b.pass(grace) }, verify.Counts{Lost: 2}, []string{"lost 0-1"}},
		"missing, but not for long yet":  {func(b *bench) { b.consume(0, 2); b.pass(grace - 1) }, verify.Counts{}, nil},
		"late by one is reordered":       {func(b *bench) { b.consume(0, 2, 1, 3); b.pass(grace) }, verify.Counts{Reordered: 1}, []string{"reordered 1-1"}},
		"backwards is reordered":         {func(b *bench) { b.consume(3, 2, 1, 0); b.pass(grace) }, verify.Counts{Reordered: 3}, []string{"reordered 2-2", "reordered 1-1", "reordered 0-0"}},
		"twice in a row is duplicated":   {func(b *bench) { b.consume(0, 1, 1, 2) }, verify.Counts{Duplicated: 1}, []string{"duplicated 1-1"}},
		"a batch again is duplicated":    {func(b *bench) { b.consume(0, 1, 2, 0, 1, 2, 3) }, verify.Counts{Duplicated: 3}, []string{"duplicated 0-0", "duplicated 1-1", "duplicated 2-2"}},
		"after it was lost: duplicated":  {func(b *bench) { b.consume(0, 2); b.pass(grace); b.consume(1) }, verify.Counts{Lost: 1, Duplicated: 1}, []string{"lost 1-1", "duplicated 1-1"}},
		"failed before: no loss":         {func(b *bench) { b.Failed(0, 1, 1); b.consume(0, 2); b.pass(grace) }, verify.Counts{}, nil},
		"failed after: no loss":          {func(b *bench) { b.consume(0, 2); b.Failed(0, 1, 1); b.pass(grace) }, verify.Counts{}, nil},
		"failed and arrived: no fault":   {func(b *bench) { b.Failed(0, 1, 1); b.consume(0, 1, 2); b.pass(grace) }, verify.Counts{}, nil},
		"failed and arrived late":        {func(b *bench) { b.Failed(0, 1, 1); b.consume(0, 2, 1); b.pass(grace) }, verify.Counts{}, nil},
		"failed, arrived, and again":     {func(b *bench) { b.Failed(0, 1, 1); b.consume(0, 2, 1, 1) }, verify.Counts{Duplicated: 1}, []string{"duplicated 1-1"}},
		"a stretch failed amid losses": {func(b *bench) {
			for s := uint64(4); s < 7; s++ {
				b.Failed(0, 1, s)
			}
			b.consume(0, 10)
			b.pass(grace)
		}, verify.Counts{Lost: 6}, []string{"lost 1-3", "lost 7-9"}},
		"damaged, name readable":   {func(b *bench) { b.consume(0); b.Corrupted(0, run, 1, 1, true); b.consume(2); b.pass(grace) }, verify.Counts{Corrupted: 1}, []string{"corrupted 1-1"}},
		"damaged, name unreadable": {func(b *bench) { b.consume(0); b.Corrupted(0, 0, 0, 0, false); b.consume(2); b.pass(grace) }, verify.Counts{Corrupted: 1, Lost: 1}, []string{"corrupted 0-0", "lost 1-1"}},
		"another run from its middle": {func(b *bench) {
			for _, s := range []uint64{500, 501, 503} {
				b.Consumed(0, run+1, 1, s)
			}
			b.pass(grace)
		}, verify.Counts{Lost: 1}, []string{"lost 502-502"}},
		"producers do not disturb each other": {func(b *bench) {
			for s := range uint64(100) {
				for p := range uint32(10) {
					b.Consumed(int32(p%2), run, p, s)
				}
			}
			b.pass(grace)
		}, verify.Counts{}, nil},
		"the end of a run settles what is open": {func(b *bench) { b.consume(0, 2); b.Sweep(true) }, verify.Counts{Lost: 1}, []string{"lost 1-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := mustNew(t, 2)
			tc.do(b)
			if got := b.Counts(); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			var named []string
			for _, f := range b.faults {
				named = append(named, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last))
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

// Faults are put into a long stream of many producers at random, as a broker might; every one must be found and nothing else.
func TestInjectedFaultsAreAllFound(t *testing.T) {
	const producers, records = 8, 100_000
	r := rand.New(rand.NewPCG(11, 12))
	b := mustNew(t, 4)
	var want verify.Counts
	for p := range uint32(producers) {
		for s := uint64(0); s < records; s++ {
			part := int32(p % 4)
			switch {
			case s > 0 && s < records-2 && r.IntN(5000) == 0: // lost
				want.Lost++
				continue
			case r.IntN(5000) == 0:
				want.Duplicated++
				b.Consumed(part, run, p, s)
			case s < records-2 && r.IntN(5000) == 0: // two change places
				want.Reordered++
				b.Consumed(part, run, p, s+1)
				b.Consumed(part, run, p, s)
				s++
				continue
			}
			b.Consumed(part, run, p, s)
		}
	}
	if want.Lost == 0 || want.Duplicated == 0 || want.Reordered == 0 {
		t.Fatalf("the test put in too little: %+v", want)
	}
	b.pass(grace)
	if got := b.Counts(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSeenCountsWhatIsBehindUs(t *testing.T) {
	b := mustNew(t, 1)
	b.consume(0, 1, 5) // 2 to 4 are missing, and their successors have arrived
	if got := b.Seen(); got != 6 {
		t.Errorf("got %d, want 6", got)
	}
	if got := b.Missing(); got != 3 {
		t.Errorf("missing: got %d, want 3", got)
	}
	b.Failed(0, 1, 7)
	if got := b.Seen(); got != 7 {
		t.Errorf("after one ahead has failed: got %d, want 7", got)
	}
	b.consume(6, 7, 8)
	if got := b.Seen(); got != 9 {
		t.Errorf("after all have arrived: got %d, want 9", got)
	}
	b.Consumed(0, run+1, 1, 100)
	if got := b.Seen(); got != 9 {
		t.Errorf("after another run's record: got %d, want 9", got)
	}
}

func TestMemoryStaysBounded(t *testing.T) {
	b := mustNew(t, 1)
	b.faults = make([]verify.Fault, 0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for s := uint64(0); s < 400_000; s += 2 { // every other record is missing and every gap stays open
		b.Consumed(0, run, 1, s)
		b.faults = b.faults[:0]
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("grew by %d bytes with two hundred thousand gaps", grown)
	}
	if b.Missing() > verify.MaxGaps {
		t.Errorf("got %d open gaps, want at most %d", b.Missing(), verify.MaxGaps)
	}
	if total := b.Counts().Lost + b.Missing(); total != 199_999 {
		t.Errorf("got %d lost or missing, want 199999", total)
	}
}

func TestPartitionsOutsideTheTopicAreIgnored(t *testing.T) {
	b := mustNew(t, 1)
	for _, p := range []int32{-1, 1} {
		b.Consumed(p, run, 1, 5)
		b.Failed(p, 1, 5)
		b.Corrupted(p, run, 1, 5, true)
	}
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

func BenchmarkConsumed(b *testing.B) {
	v := mustNew(b, 1)
	b.ReportAllocs()
	var s uint64
	for b.Loop() {
		v.Consumed(0, run, 1, s)
		s++
	}
}
