package collector

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Family describes one metric family of the exporter.
type Family struct {
	Name   string
	Kind   string // gauge, counter or histogram
	Labels []string
	Help   string
}

func (f Family) desc() *prometheus.Desc { return prometheus.NewDesc(f.Name, f.Help, f.Labels, nil) }

// Families lists all metric families that the exporter has, in the order of the subjects.
func Families() []Family {
	return slices.Concat(clusterFamilies(), topicFamilies(), groupFamilies(), selfFamilies())
}

// sink takes the samples of one scrape.
type sink struct {
	descs map[string]*prometheus.Desc
	out   chan<- prometheus.Metric
}

func (s sink) gauge(f Family, v float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(s.descs[f.Name], prometheus.GaugeValue, v, labels...)
}

// known adds the sample only if the value is known.
func (s sink) known(f Family, v optional, labels ...string) {
	if v.known {
		s.gauge(f, float64(v.value), labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
