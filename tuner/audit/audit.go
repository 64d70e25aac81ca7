// Package audit shows each record of the ledger as a metric, so that a graph can mark it and nobody has to read the file.
//
// It promises that a record is among the metrics from the moment on that it is in the ledger, that none is shown that is not, and that after a start the
// earlier ones are there again; of very many the newest are shown. It leaves out what a record means: tuner/status has the changes and their outcomes.
package audit

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkalab/kafkalab/tuner/ledger"
)

// shown bounds the series: fifty trials of ten edges, a day of tuning. A series stays for hours, so that a Prometheus that was away misses none.
const shown = 500

// Journal keeps records; ledger.Ledger is one.
type Journal interface {
	Append(r ledger.Record) (ledger.Record, error)
}

// Book shows one journal at a time. It may be scraped while that is written.
type Book struct {
	when  *prometheus.Desc
	total *prometheus.Desc

	mu     sync.Mutex
	newest []ledger.Record // without what is measured: their names and times
	counts map[class]float64
}

type class struct {
	kind  ledger.Kind
	phase ledger.Phase
}

// New shows nothing yet.
func New() *Book {
	return &Book{
		when: prometheus.NewDesc("tuner_ledger_record_timestamp_seconds", "When the record was written, one series per record of the ledger, of very many the newest.",
			[]string{"record", "kind", "trial", "phase", "outcome", "author"}, nil),
		total: prometheus.NewDesc("tuner_ledger_records_total", "Records of the ledger, by kind and phase.", []string{"kind", "phase"}, nil),
	}
}

// Of is the journal to write to in j's place. What j holds already is shown from now on, and nothing of an earlier one.
func (b *Book) Of(j Journal, records []ledger.Record) Journal {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.newest, b.counts = nil, map[class]float64{}
	for _, r := range records {
		b.add(r)
	}
	return seen{j, b}
}

type seen struct {
	Journal
	book *Book
}

// Append shows the record after it is in the ledger.
func (s seen) Append(r ledger.Record) (ledger.Record, error) {
	written, err := s.Journal.Append(r)
	if err == nil {
		s.book.mu.Lock()
		defer s.book.mu.Unlock()
		s.book.add(written)
	}
	return written, err
}

func (b *Book) add(r ledger.Record) {
	b.counts[class{r.Kind, r.Phase}]++
	if len(b.newest) == shown {
		b.newest = append(b.newest[:0], b.newest[1:]...)
	}
	b.newest = append(b.newest, ledger.Record{Seq: r.Seq, Time: r.Time, Kind: r.Kind, Trial: r.Trial, Phase: r.Phase, Outcome: r.Outcome, Author: r.Author})
}

// Describe is for Prometheus' registry.
func (b *Book) Describe(ch chan<- *prometheus.Desc) {
	ch <- b.when
	ch <- b.total
}

// Collect is for Prometheus' registry.
func (b *Book) Collect(ch chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.newest {
		trial := ""
		if r.Trial > 0 {
			trial = strconv.Itoa(r.Trial)
		}
		ch <- prometheus.MustNewConstMetric(b.when, prometheus.GaugeValue, float64(r.Time.UnixMilli())/1000,
			strconv.FormatUint(r.Seq, 10), string(r.Kind), trial, string(r.Phase), string(r.Outcome), r.Author)
	}
	for c, n := range b.counts {
		ch <- prometheus.MustNewConstMetric(b.total, prometheus.CounterValue, n, string(c.kind), string(c.phase))
	}
}
