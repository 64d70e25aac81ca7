package collector

import (
	"slices"

	"github.com/kafkalab/kafkalab/exporter/exposition"
)

// Family describes one metric family of the exporter.
type Family exposition.Family

// Families lists all metric families that the exporter has by its own names, in the order of the subjects.
func Families() []Family {
	return slices.Concat(clusterFamilies(), topicFamilies(), groupFamilies(), selfFamilies(), requestFamilies())
}

// FamilyNames are the names of all families that an exporter with these Names and TopicConfigs can show.
func FamilyNames(names []Naming, topicConfigs []string) ([]string, error) {
	n, err := newNamings(names)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range n.families(topicConfigs) {
		all = append(all, f.Name)
	}
	return all, nil
}

// Shows lists the families that Show has samples of: all but those of the requests to Kafka, which a registry has.
func (e *Exporter) Shows() []exposition.Family {
	var all []exposition.Family
	for _, f := range e.names.families(e.conf.TopicConfigs) {
		if !e.hidden[f.Name] {
			all = append(all, exposition.Family(f))
		}
	}
	return all
}

// sink takes the samples of one scrape, or counts them by family.
type sink struct {
	page    *exposition.Page
	hidden  map[string]bool // families that the settings leave out
	dropped map[string]int  // those that the limit of series leaves out
	counts  map[string]int  // instead of a page
}

func (s sink) gauge(f Family, v float64, labels ...string) {
	if s.hidden[f.Name] || s.dropped[f.Name] > 0 {
		return
	}
	if s.counts != nil {
		s.counts[f.Name]++
		return
	}
	s.page.Add(f.Name, v, labels...)
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
