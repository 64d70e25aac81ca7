package report_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/search"
)

// spread is n latencies between two.
func spread(n int, from, to time.Duration) hist.Packed {
	var r hist.Recorder
	for i := range n {
		r.Record(from + (to-from)*time.Duration(i)/time.Duration(n))
	}
	return pack(&r)
}

func slow(by time.Duration) func(*rand.Rand, int) time.Duration {
	return func(r *rand.Rand, _ int) time.Duration { return by + time.Duration(r.IntN(1e6)) }
}

// growing is a response that doubles every ten seconds.
func growing(r *rand.Rand, second int) time.Duration {
	return time.Duration(second)*4*time.Millisecond + time.Duration(r.IntN(1e6))
}

func TestTheVerdictNamesWhatLimitedTheRun(t *testing.T) {
	none := func(*report.Report) {}
	once, _ := made{}.make(t)
	healthy := *once
	for name, c := range map[string]struct {
		made   made
		change func(*report.Report)
		limit  report.Limit
		reason string // one of them
	}{
		"a healthy run":       {made{}, none, report.LimitTarget, "acknowledged 200.0 of 200.0 records offered per second"},
		"a healthy run's P99": {made{}, none, report.LimitTarget, "meets the SLO of 200 ms"},
		"damage is told even when the rate was served": {made{}, func(r *report.Report) { r.Faults.Lost, r.Faults.Corrupted = 1, 2000 }, report.LimitTarget, "1 record lost"},
		"nothing offered": {made{}, func(r *report.Report) { r.Measured, r.WarmUp = report.Phase{}, report.Phase{} }, report.LimitUnknown, "no record was offered"},

		"nothing acknowledged": {made{}, func(r *report.Report) {
			r.Measured = report.Phase{Offered: 10000, Sent: 10000, Failed: 10000}
			r.Errors = map[string]uint64{"no such topic": 10000}
		}, report.LimitErrors, "none of 10,000 records offered was acknowledged, 10,000 failed"},
		"some failed": {made{}, func(r *report.Report) {
			r.Measured.Acked, r.Measured.Failed = 9900, 100
			r.Errors = map[string]uint64{"timed out": 90, "refused": 10}
		}, report.LimitErrors, "100 of 10,000 records sent failed (1 %)"},
		"the most frequent error is named": {made{}, func(r *report.Report) {
			r.Measured.Acked, r.Measured.Failed = 9900, 100
			r.Errors = map[string]uint64{"timed out": 90, "refused": 10}
		}, report.LimitErrors, "90 times: timed out"},
		"a few that failed are no limit": {made{}, func(r *report.Report) { r.Measured.Acked, r.Measured.Failed = 9995, 5 }, report.LimitTarget, ""},

		"senders that overslept": {made{}, func(r *report.Report) { r.Generators[0].Overslept = spread(1000, 0, 40*time.Millisecond) }, report.LimitGenerator,
			"the senders woke up late by themselves: P99 39."},
		"one process of two that overslept": {made{}, func(r *report.Report) {
			r.Generators = append(r.Generators, report.Generator{Run: "b", Senders: 1, CPUs: 2, Overslept: spread(1000, 0, 40*time.Millisecond)})
		}, report.LimitGenerator, "the senders of process 2 (run b) woke up late"},
		"seconds in which it was late": {made{}, func(r *report.Report) { r.Generators[0].Limited = 6 }, report.LimitGenerator, "could not keep the schedule for 6 s of 60 s"},
		"no processor to spare":        {made{}, func(r *report.Report) { r.Generators[0].CPU = 115 }, report.LimitGenerator, "had no processor to spare: 95.8 % of 2 were used"},
		"lag without a cause elsewhere": {made{}, func(r *report.Report) { r.Measured.Lag = spread(10000, 0, 50*time.Millisecond) }, report.LimitGenerator,
			"records went out late though nothing held the senders up: P99 of schedule lag 49."},
		"a late generator before a slow broker": {made{latency: slow(time.Second)}, func(r *report.Report) { r.Generators[0].Limited = 30 }, report.LimitGenerator, "could not keep the schedule"},

		"the in-flight limit was full": {made{}, func(r *report.Report) {
			r.Generators[0].Blocked = 30
			r.Measured.Lag = spread(10000, 0, time.Second)
		}, report.LimitBroker, "waited 25 % of their time for one of 512 records in flight to be acknowledged"},
		"senders that mostly waited, and were late besides": {made{}, func(r *report.Report) {
			r.Generators[0].Blocked, r.Generators[0].Limited = 100, 6
			r.Measured.Lag = spread(10000, 0, time.Second)
		}, report.LimitBroker, "waited 83.3 % of their time"},
		"senders that waited on after the end": {made{}, func(r *report.Report) { r.Generators[0].Blocked = 500 }, report.LimitBroker, "waited 100 % of their time"},
		"senders that were mostly late, and waited besides": {made{}, func(r *report.Report) {
			r.Generators[0].Blocked, r.Generators[0].Limited = 62, 50
		}, report.LimitGenerator, "could not keep the schedule for 50 s of 60 s"},
		"fewer acknowledged than offered": {made{}, func(r *report.Report) { r.Measured.Acked = 9800 }, report.LimitBroker, "acknowledged 196.0 of 200.0 records offered per second"},
		"records given up unsent": {made{}, func(r *report.Report) { r.Measured.Sent, r.Measured.Acked, r.Measured.Failed = 9900, 9900, 100 }, report.LimitBroker,
			"100 records (1 %) could not be sent in time"},
		"consumption that falls behind":  {made{}, func(r *report.Report) { r.Measured.Consumed = 9000 }, report.LimitBroker, "consumed 180.0 of 200.0 records acknowledged per second"},
		"aborted records are not missed": {made{}, func(r *report.Report) { r.Measured.Acked, r.Measured.Consumed, r.Measured.Aborted = 5000, 5000, 5000 }, report.LimitTarget, ""},
		"aborted records hide nothing": {made{}, func(r *report.Report) { r.Measured.Acked, r.Measured.Consumed, r.Measured.Aborted = 5000, 4000, 5000 }, report.LimitBroker,
			"consumed 80.0 of 100.0 records acknowledged per second"},
		"one of two groups that stopped": {made{}, func(r *report.Report) { r.Groups = 2 }, report.LimitBroker, "consumed 200.0 of 400.0 records acknowledged per second"},
		"a copy that consumed another's": {made{}, func(r *report.Report) { r.Copies, r.Measured.Consumed = 2, 100 }, report.LimitTarget, ""},
		"a copy without a partition": {made{}, func(r *report.Report) {
			r.Copies, r.Measured.Consumed, r.Measured.EndToEnd = 2, 0, hist.Packed{}
		}, report.LimitTarget, ""},
		"nothing was to be consumed": {made{}, func(r *report.Report) {
			r.ProduceOnly = true
			r.Measured.Consumed, r.Measured.EndToEnd = 0, hist.Packed{}
		}, report.LimitTarget, "P99 of response"},
		"latency that grows":        {made{latency: growing}, func(r *report.Report) { r.SLO = 0 }, report.LimitBroker, "the median response grew from "},
		"an SLO that is not met":    {made{latency: slow(300 * time.Millisecond)}, none, report.LimitBroker, "breaches the SLO of 200 ms"},
		"an SLO and nothing to see": {made{}, func(r *report.Report) { r.Measured.EndToEnd = hist.Packed{} }, report.LimitBroker, "no end to end latency was measured to hold against the SLO of 200 ms"},
		"a closed loop":             {made{}, func(r *report.Report) { r.Closed = true }, report.LimitBroker, "closed loop"},

		"slo mode below its highest rate": {made{}, func(r *report.Report) { r.Mode, r.MaxRate = report.ModeSLO, 1000 }, report.LimitBroker, "the rate was held where P99 of end to end"},
		"slo mode at its highest rate":    {made{}, func(r *report.Report) { r.Mode, r.MaxRate = report.ModeSLO, 200 }, report.LimitTarget, ""},
		"a search that found the rate": {made{}, func(r *report.Report) {
			r.Search = report.NewSearch(search.Result{Kind: search.Found, Rate: 1234, Low: 1200, High: 1300})
		}, report.LimitBroker, "the SLO is met up to 1,234 records per second (95 % confidence: 1,200 to 1,300)"},
		"a search that found no limit":      {made{}, func(r *report.Report) { r.Search = report.NewSearch(search.Result{Kind: search.AtLeast, Rate: 9}) }, report.LimitTarget, ""},
		"a search below which nothing is":   {made{}, func(r *report.Report) { r.Search = report.NewSearch(search.Result{Kind: search.Below, High: 50}) }, report.LimitBroker, "down to 50.0"},
		"a search in which nothing is said": {made{}, func(r *report.Report) { r.Search = report.NewSearch(search.Result{Kind: search.Unknown, Why: "ended"}) }, report.LimitUnknown, "ended"},
	} {
		t.Run(name, func(t *testing.T) {
			r := healthy
			if c.made.latency != nil {
				other, _ := c.made.make(t)
				r = *other
			}
			r.Generators = slices.Clone(r.Generators)
			c.change(&r)
			v := r.Summary().Verdict
			if v.Limit != c.limit || len(v.Reasons) == 0 || !slices.ContainsFunc(v.Reasons, func(s string) bool { return strings.Contains(s, c.reason) }) {
				t.Errorf("got %q because %q; want %q because %q", v.Limit, v.Reasons, c.limit, c.reason)
			}
		})
	}
}

func TestTheFiguresGiveRiseToWarnings(t *testing.T) {
	once, _ := made{rate: 300}.make(t)
	healthy := *once
	for name, c := range map[string]struct {
		change func(*report.Report)
		want   string
	}{
		"a run within its warm-up": {func(r *report.Report) { r.Measured, r.Lasted = report.Phase{}, 8 }, "the run ended within its warm-up of 10 s: the figures are those of the warm-up"},
		"clocks that differ":       {func(r *report.Report) { r.Faults.Skewed = 1 }, "1 record consumed before they were meant to be sent"},
		"read again":               {func(r *report.Report) { r.Faults.Redelivered = 12 }, "12 records consumed again after a rebalance"},
		"nothing known at the end": {func(r *report.Report) { r.Faults.Unverified = 7 }, "7 records acknowledged of which nothing was known when the run ended"},
		"another program's":        {func(r *report.Report) { r.Faults.Foreign = 1500 }, "1,500 records consumed without a stamp: another program has sent them"},
		"few records":              {func(r *report.Report) { r.Measured.Lag = spread(900, 1, 2) }, "fewer than 10 records are beyond P99.9 of schedule lag: the percentile is uncertain"},
		"the report's own":         {func(r *report.Report) { r.Warnings = []string{"linger"} }, "linger"},
	} {
		t.Run(name, func(t *testing.T) {
			r := healthy
			c.change(&r)
			if got := r.Summary().Warnings; len(got) == 0 || !strings.Contains(got[0], c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := healthy.Summary().Warnings; len(got) != 0 {
		t.Errorf("a healthy run: got %q", got)
	}
}

// A record that failed has never come, so it is later than all that came: where more than one in a hundred failed the SLO is not met, however soon the
// others came.
func TestRecordsThatFailedAreLate(t *testing.T) {
	for name, c := range map[string]struct {
		failed, groups uint64
		late           int // of a hundred that came
		want           bool
	}{
		"none":                                 {0, 1, 0, true},
		"a few":                                {50, 1, 0, true},
		"one in fifty":                         {200, 1, 0, false},
		"as many as came":                      {10000, 1, 0, false},
		"the same, of two groups":              {100, 2, 0, false},
		"few beside few that came late":        {60, 1, 0, true},
		"few beside one in a hundred too late": {60, 1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			r, _ := made{latency: func(*rand.Rand, int) time.Duration {
				if n++; n%100 < c.late {
					return time.Second
				}
				return 10 * time.Millisecond
			}}.make(t)
			r.Groups = int(c.groups)
			r.Measured.Failed, r.Measured.Offered = c.failed, r.Measured.Offered+c.failed
			got := r.Summary().SLO
			if got.Met != c.want || got.Failed != c.failed {
				t.Errorf("got %+v, want met: %v", got, c.want)
			}
			if said := got.String(); c.failed > 0 && !strings.Contains(said, "that failed") {
				t.Errorf("got %q, want it to speak of those that failed", said)
			}
		})
	}
}
