package status

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/tuner/ledger"
)

// maxChanges bounds the series of tuner_change_timestamp_seconds: the newest are what a graph shows.
const maxChanges = 200

type collector struct {
	board *Board
	desc  map[string]*prometheus.Desc
}

// NewCollector makes the tuner's metrics from the board. A figure that is not known has no sample.
func NewCollector(b *Board) prometheus.Collector {
	c := &collector{board: b, desc: map[string]*prometheus.Desc{}}
	for _, m := range []struct {
		name, help string
		labels     []string
	}{
		{"tuner_trials_total", "Trials that ended, by outcome.", []string{"outcome"}},
		{"tuner_trial_phase", "1 for the phase that the running trial is in, 0 for the others.", []string{"phase"}},
		{"tuner_trial_number", "Number of the newest trial.", nil},
		{"tuner_knob_desired", "Value the target is meant to have, in bytes or threads.", []string{"knob"}},
		{"tuner_knob_effective", "Value read back from the broker or the JVM, in bytes or threads.", []string{"knob"}},
		{"tuner_knob_best", "Value in the best configuration so far, in bytes or threads.", []string{"knob"}},
		{"tuner_change_timestamp_seconds", "When the target was changed, one series per change.",
			[]string{"change", "trial", "author", "outcome", "knob", "old", "new"}},
		{"tuner_objective", "Median goodput in records per second.", []string{"which"}},
		{"tuner_objective_ratio", "Best goodput divided by the baseline's.", nil},
		{"tuner_state", "1 for the state the tuner is in, 0 for the others.", []string{"state"}},
		{"tuner_contested", "1 while somebody keeps putting back what the tuner has set or taken back, 0 otherwise.", nil},
		{"tuner_p99_seconds", "Consumer P99 latency now.", nil},
		{"tuner_goodput", "Acknowledged records per second now.", nil},
		{"tuner_slo_seconds", "P99 that the objective demands.", nil},
		{"tuner_ledger_entries_total", "Records in the ledger.", nil},
	} {
		c.desc[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	}
	return c
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.desc {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.board.Snapshot()
	gauge := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.desc[name], prometheus.GaugeValue, v, labels...)
	}
	counter := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.desc[name], prometheus.CounterValue, v, labels...)
	}
	known := func(name string, v *float64, perUnit float64, labels ...string) {
		if v != nil {
			gauge(name, *v/perUnit, labels...)
		}
	}
	trials(s, counter, gauge)
	for _, k := range s.Knobs {
		for name, v := range map[string]*int64{"tuner_knob_desired": k.Desired, "tuner_knob_effective": k.Effective, "tuner_knob_best": k.Best} {
			if v != nil {
				gauge(name, float64(*v)*float64(k.Scale), k.Name)
			}
		}
	}
	for _, change := range s.Changes[max(0, len(s.Changes)-maxChanges):] {
		gauge("tuner_change_timestamp_seconds", float64(change.Time.UnixMilli())/1000, changeLabels(change)...)
	}
	for which, v := range map[string]*float64{"incumbent": s.Goal.Incumbent, "candidate": s.Goal.Candidate, "baseline": s.Goal.Baseline, "best": s.Goal.Best} {
		known("tuner_objective", v, 1, which)
	}
	known("tuner_objective_ratio", s.Goal.Ratio, 1)
	for _, state := range States() {
		gauge("tuner_state", flag(s.State == state), string(state))
	}
	gauge("tuner_contested", flag(s.Contested != ""))
	known("tuner_p99_seconds", s.Live.P99, 1e3)
	known("tuner_goodput", s.Live.Acked, 1)
	gauge("tuner_slo_seconds", s.SLO/1e3)
	counter("tuner_ledger_entries_total", float64(s.Ledger))
}

type emit = func(name string, v float64, labels ...string)

func trials(s Snapshot, counter, gauge emit) {
	ended := map[ledger.Outcome]float64{}
	for _, t := range s.Trials {
		if t.Ended != nil {
			ended[ledger.Outcome(t.Outcome)]++
		}
	}
	for _, o := range ledger.Outcomes() {
		counter("tuner_trials_total", ended[o], string(o))
	}
	now := ""
	if s.Trial != nil {
		now = s.Trial.Phase
	}
	for _, p := range ledger.Phases() {
		gauge("tuner_trial_phase", flag(string(p) == now), string(p))
	}
	gauge("tuner_trial_number", float64(len(s.Trials)))
}

func changeLabels(c Change) []string {
	trial := ""
	if c.Trial > 0 {
		trial = strconv.Itoa(c.Trial)
	}
	return []string{strconv.FormatUint(c.ID, 10) + "-" + c.Knob, trial, c.Author, c.Outcome, c.Knob, c.Old, c.New}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
